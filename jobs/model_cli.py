"""``nightsift model``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markdown import Markdown

from nightsift.archive.errors import ConfigurationError, UsageError
from nightsift.archive.settings import parse_toml, read_toml
from nightsift.catalogs.release import read_product, read_release
from nightsift.catalogs.truth import evaluate_frames, read_truth
from nightsift.jobs import report
from nightsift.jobs.config import Configuration
from nightsift.jobs.options import AsJson
from nightsift.jobs.progress import stages
from nightsift.models.package import CARD, Architecture, ModelPackage
from nightsift.models.recipe import RECIPES
from nightsift.models.vetting.package import VettingPackage, is_vetting

PLACES = "Packaged name, folder, https://… or s3://bucket/prefix."

PackageName = Annotated[str, typer.Argument(help=PLACES, metavar="PACKAGE")]
EXIT_FAILURES = 1

app = typer.Typer(help="Model packages.", no_args_is_help=True)


@app.command()
def train(
    train_path: Annotated[Path, typer.Argument(help="The TRAIN file.", metavar="TRAIN.toml")],
    output: Annotated[Path, typer.Option(help="Folder of the package to write.")] = Path("model"),
    cache: Annotated[
        Path | None, typer.Option(help="Folder of drawn samples; default: OUTPUT-samples.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw samples.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed training was.")] = False,
    find_rate: Annotated[
        bool, typer.Option("--find-rate", help="Only suggest a learning rate, with rate.png and rate.csv.")
    ] = False,
    few_shot: Annotated[
        int, typer.Option(min=0, help="Vetting: fine-tune with so many real sequences of each kind.")
    ] = 0,
    config_path: Annotated[
        Path | None, typer.Option("--config", help="With --few-shot: nightsift.toml of the real release.")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="With --few-shot: CSV or Parquet, verdicts on its candidates.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a network on simulated or labelled frames and write a model package with its card."""
    from nightsift.jobs.datasets import draw_from, refuse_evaluation_seed
    from nightsift.jobs.few_shot import few_shot_samples, read_vetting
    from nightsift.models.streak_train import StreakConfig, train_streaks
    from nightsift.models.train import TrainConfig, checkpoints_of, relative_to, suggest_rate
    from nightsift.models.train import train as train_package
    from nightsift.models.vetting.train import train_vetting

    # A training that was killed while it wrote its package still has its checkpoints.
    if not (resume and checkpoints_of(output).exists()):
        _refuse_full(output)
    text = _text(train_path)
    streaks = read_toml(text, str(train_path)).get("model", {}).get("architecture") == "streaks"
    vetting_config = None if streaks else read_vetting(train_path, text)
    if (resume or find_rate) and (streaks or vetting_config):
        raise UsageError(
            "--resume and --find-rate are for the ResNets",
            found='architecture = "streaks"' if streaks else 'kind = "vetting"',
            mend="train it without them",
        )
    if not vetting_config and (few_shot or config_path or verdicts):
        raise UsageError(
            "--few-shot, --config and --verdicts are for vetting models",
            expected='kind = "vetting" in the TRAIN file',
            mend="train it without them, or name a release in [data]",
        )
    if streaks:
        full_size = parse_toml(StreakConfig, text, str(train_path))
        refuse_evaluation_seed(full_size.data)
        with stages() as progress:
            trained = train_streaks(full_size, output, progress, cache=cache, workers=workers)
        _show_trained(output, trained.sha256, as_json)
        return
    if vetting_config:
        real = few_shot_samples(vetting_config, few_shot, config_path, verdicts)
        with stages() as progress:
            vetted = train_vetting(
                vetting_config, output, progress, cache=cache, workers=workers, real=real, few_shot=few_shot
            )
        _show_trained(output, vetted.package.sha256, as_json)
        return
    config = parse_toml(TrainConfig, text, str(train_path))
    refuse_evaluation_seed(config.data)
    config, draw = relative_to(config, train_path.parent), draw_from(train_path.resolve().parent)
    if find_rate:
        with stages() as progress:
            found = suggest_rate(config, output, progress, cache=cache, workers=workers, draw=draw)
        values = {"stage": found.stage, "learning_rate": found.learning_rate}
        text = (
            f"learning_rate = {found.learning_rate:.2g} for [training] {found.stage}; see {output}/rate.png"
        )
        report.show_json(values) if as_json else report.out.print(text, soft_wrap=True)
        return
    with stages() as progress:
        done = train_package(config, output, progress, cache=cache, workers=workers, draw=draw, resume=resume)
    _show_trained(output, done.package.sha256, as_json)


def _show_trained(output: Path, sha256: str, as_json: bool) -> None:
    if as_json:
        report.show_json({"package": str(output), "sha256": sha256})
    else:
        report.out.print((output / CARD).read_text(encoding="utf-8"), soft_wrap=True)


@app.command()
def evaluate(
    config_path: Annotated[
        Path | None,
        typer.Argument(help="The configuration, nightsift.toml, of a release.", metavar="[CONFIG]"),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Compare a release's own scores: Parquet or CSV, frame_key and kind.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Release for --truth; default: the latest.")] = None,
    package: Annotated[str, typer.Option(help="Packaged name or folder, for --set.")] = "default",
    named: Annotated[
        str | None, typer.Option("--set", help="simulated, folder:PATH, or release:NAME with --verdicts.")
    ] = None,
    verdicts: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: verdicts of a release, corrections of a folder.")
    ] = None,
    complete: Annotated[bool, typer.Option(help="Frames without a verdict show nothing.")] = False,
    kind: Annotated[str, typer.Option(help="What a folder holds: differences or frames.")] = "differences",
    groups: Annotated[Path | None, typer.Option(help="CSV: file, station, night of a folder.")] = None,
    mixed_sizes: Annotated[
        str, typer.Option(help="Ready-made differences of unlike sizes: refuse or resize.")
    ] = "refuse",
    stations: Annotated[int | None, typer.Option(min=1, help="Simulated stations, to be quick.")] = None,
    top_losses: Annotated[
        int | None, typer.Option(min=1, help="How many of the confidently wrong the page shows; 50.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Folder for the page of the confidently wrong, and verdicts.csv.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a package on a named set, or compare a release with the truth about its frames."""
    if named is None:
        if config_path is None or truth is None:
            raise UsageError(
                "nothing to evaluate on", expected="--set, or CONFIG and --truth", mend="name one"
            )
        _evaluate_release(config_path, truth, release, as_json)
        return
    if top_losses and page is None:
        raise UsageError("--top-losses needs a folder for its page", mend="name one with --page")
    from nightsift.jobs.datasets import SetOptions
    from nightsift.jobs.evaluation import evaluate_package, show

    options = SetOptions(config_path, verdicts, kind, groups, mixed_sizes, complete, stations)
    measured = evaluate_package(ModelPackage.load(package), named, options, page, top_losses or 50)
    show(measured, as_json)


def _evaluate_release(config_path: Path, truth: Path, release: str | None, as_json: bool) -> None:
    config = Configuration.read(config_path)
    content = read_release(config.workspace, release)
    columns = ("frame_key", "score", "reason", "x_px", "y_px")
    frames = read_product(config.workspace, content, "frames", columns).to_pandas()
    measured = evaluate_frames(frames, read_truth(truth), content["threshold"])
    if as_json:
        report.show_json({"release": content["release"], "model": content["model"], **measured.as_dict()})
        return
    distance = "no positions" if measured.distance_px is None else f"{measured.distance_px:.1f} px"
    flagged = ", ".join(f"{count} {kind}" for kind, count in measured.flagged.items()) or "none"
    missed = ", ".join(f"{count} {reason}" for reason, count in measured.unscored_meteors.items()) or "none"
    rows = (
        ("meteor frames found (recall)", measured.recall),
        ("other frames flagged", measured.false_frames),
        ("candidates that are meteors (precision)", measured.precision),
        ("false candidates by what they show", flagged),
        ("meteor frames without a score", missed),
        ("median distance to the middle of the trail", distance),
    )
    title = f"Release {content['release']}, model {content['model']}, threshold {content['threshold']}"
    report.show_table(title, ("", ""), rows)


@app.command()
def show(
    package: PackageName = "default",
    as_json: AsJson = False,
) -> None:
    """Show a package's card and settings."""
    if is_vetting(package):
        _show_vetting(VettingPackage.load(package), as_json)
        return
    found = ModelPackage.load(package)
    if as_json:
        values: dict[str, Any] = {
            "name": found.name,
            "architecture": found.architecture,
            "head": found.head,
            "classes": found.classes,
            "threshold": found.threshold,
            "recipe": found.recipe.model_dump(),
            "sha256": found.sha256,
            "source": str(found.source),
        }
        report.show_json(values)
        return
    report.out.print(Markdown(_text(found.folder / CARD)))
    report.out.print(f"sha256 {found.sha256}")


def _show_vetting(found: VettingPackage, as_json: bool) -> None:
    if as_json:
        shown = ("name", "architecture", "classes", "paired", "sha256")
        values = {name: getattr(found, name) for name in shown}
        report.show_json({**values, "recipe": found.recipe.model_dump()})
        return
    report.out.print(Markdown(_text(found.folder / CARD)))
    report.out.print(f"sha256 {found.sha256}")


@app.command()
def verify(package: PackageName = "default", as_json: AsJson = False) -> None:
    """Replay a package's stored differences: exit code 1 when scores leave the stated tolerance."""
    from nightsift.models.verify import verify as verify_package

    found = verify_package(ModelPackage.load(package))
    values: dict[str, Any] = {
        "package": found.package.name,
        "sha256": found.package.sha256,
        "within": found.within,
        "differences": found.differences,
        "deviation": found.deviation,
        "tolerance": found.tolerance,
        "deviation_px": found.deviation_px if math.isfinite(found.deviation_px) else None,
        "then": dict(found.then),
        "now": dict(found.now),
    }
    (report.show_json if as_json else report.show_verification)(values)
    if not found.within:
        raise typer.Exit(EXIT_FAILURES)


@app.command("import")
def import_weights(
    weights: Annotated[Path, typer.Argument(help="A PyTorch state dict, or safetensors.", metavar="WEIGHTS")],
    architecture: Annotated[Architecture, typer.Option(help="The ResNet that the weights are of.")],
    classes: Annotated[str, typer.Option(help="In the order of the network's outputs: meteor,nothing.")],
    recipe: Annotated[str, typer.Option(help="Name of the preprocessing that it was trained with.")],
    output: Annotated[Path, typer.Option(help="Folder of the package to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the package; default: the folder's.")] = None,
    threshold: Annotated[float, typer.Option(help="Least score of a detection.")] = 0.85,
    as_json: AsJson = False,
) -> None:
    """Make a package of the weights of a torchvision ResNet, or of a fastai learner's model."""
    from nightsift.models.convert import import_weights as import_state

    _refuse_full(output)
    if recipe not in RECIPES:
        raise UsageError(
            f"there is no recipe {recipe!r}", expected=", ".join(RECIPES), mend="name one of these"
        )
    settings = {
        "name": name or output.resolve().name,
        "architecture": architecture,
        "classes": [each.strip() for each in classes.split(",")],
        "threshold": threshold,
        "recipe": RECIPES[recipe],
    }
    made = import_state(weights, output, settings)
    if as_json:
        report.show_json({"package": str(output), "sha256": made.sha256, "head": made.head})
    else:
        report.out.print(f"{output}: {made.architecture} under the head {made.head}\nsha256 {made.sha256}")


@app.command()
def export(
    package: Annotated[str, typer.Argument(help=PLACES, metavar="PACKAGE")],
    onnx: Annotated[Path, typer.Option(help="The file to write.")],
    as_json: AsJson = False,
) -> None:
    """Write a package's network as ONNX, and compare its scores with the package's own."""
    from nightsift.models.convert import export_onnx

    made = export_onnx(ModelPackage.load(package), onnx)
    values = {"onnx": str(onnx), "inputs": made.inputs, "deviation": made.deviation}
    if as_json:
        report.show_json({**values, "tolerance": made.tolerance, "opset": made.opset})
        return
    report.out.print(
        f"{onnx}: on {made.inputs} pictures the largest deviation of a score is {made.deviation:.2g}, "
        f"within {made.tolerance:g}.",
        soft_wrap=True,
    )


@app.command()
def seal(
    folder: Annotated[Path, typer.Argument(help="Folder of a package.", metavar="FOLDER")],
    as_json: AsJson = False,
) -> None:
    """Give a package of your own its check and its digests anew, after a change that you made."""
    from nightsift.models.verify import seal as seal_package

    sealed = seal_package(folder)
    if as_json:
        report.show_json({"package": str(folder), "sha256": sealed.sha256})
    else:
        report.out.print(f"sha256 {sealed.sha256}")


def _refuse_full(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        raise ConfigurationError(
            f"{output} is not empty", expected="a new folder for the package", mend="choose another --output"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read", found=str(error), mend="name another file"
        ) from error
