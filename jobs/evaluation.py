"""``nightsift model evaluate --set``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nightsift.archive.errors import ConfigurationError
from nightsift.jobs import report
from nightsift.jobs.curation import FILE, write_page
from nightsift.jobs.datasets import SetOptions, open_set
from nightsift.models.classify import Classifier
from nightsift.models.evaluation import Evaluation, evaluate_scores
from nightsift.models.judging import judge
from nightsift.models.package import ModelPackage


@dataclass(frozen=True)
class Measured:
    """An evaluation with its package, what was left out by reason, and the page if one was asked for."""

    package: ModelPackage
    figures: Evaluation
    left_out: dict[str, int]
    page: Path | None


def evaluate_package(
    package: ModelPackage, named: str, options: SetOptions, page: Path | None = None, top_losses: int = 50
) -> Measured:
    """Measure a package on a named set.

    Parameters
    ----------
    named
        Such as ``simulated`` or ``folder:PATH``.
    page
        Folder for the page of the ``top_losses`` most confidently wrong frames.

    Raises
    ------
    NightsiftError
        There is no such set, or it is empty.
    """
    found = open_set(named, package.recipe.threshold, options)
    classifier = Classifier(package)
    judged = judge(classifier, found.shown, top_losses if page else 0)
    if judged.frames.empty:
        left = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise ConfigurationError(f"{named} has no frame to evaluate on", found=f"left out: {left or 'none'}")
    figures = evaluate_scores(
        judged.frames, judged.score, judged.position, package.threshold, name=named, real=found.real
    )
    made = write_page(page, judged.worst, classifier, f"{package.name} on {named}") if page else None
    return Measured(package, figures, dict(found.left_out), made)


def show(measured: Measured, as_json: bool) -> None:
    """Write tables, or one JSON document, to stdout."""
    package, figures = measured.package, measured.figures
    if as_json:
        said = {"model": package.name, "model_sha256": package.sha256, **figures.as_dict()}
        page = str(measured.page) if measured.page else None
        report.show_json({**said, "left_out": measured.left_out, "page": page})
        return
    report.out.print(f"Model {package.name}, sha256 {package.sha256[:12]}; intervals: 95 %")
    for title, columns, rows in figures.tables():
        report.show_table(title, columns, rows)
    if caveat := figures.caveat():
        report.out.print(caveat)
    for reason, count in measured.left_out.items():
        report.out.print(f"Left out: {count:,} {reason}")
    if measured.page:
        report.out.print(f"Page: {measured.page}; correct {measured.page.with_name(FILE)}")
