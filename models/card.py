"""The card of a model package."""

from __future__ import annotations

from nightsift.models.figures import Figures


def model_card(
    *,
    name: str,
    architecture: str,
    classes: tuple[str, ...],
    threshold: float,
    origin: str,
    measured: Figures,
    test: str,
    head: str = "mean-max",
    fitted: str = "",
    folds: str = "",
) -> str:
    """Text of ``README.md``.

    Parameters
    ----------
    origin
        What the network was trained on, a sentence or more.
    measured, test
        Figures, and on what they were measured.
    head
        What stands on the body.
    fitted
        How long the training took on what.
    folds
        Table of a cross-validation of the training set.
    """
    crossed = f"\n## Cross-validation of the training set\n\n{folds}\n" if folds else ""
    named = ", ".join(f"`{name}`" for name in classes)
    return f"""# {name}

{architecture}, head {head}, with the classes {named}.
A detection has a `meteor` score of {threshold:g} or more.

## Trained on

{origin}

{fitted}
{crossed}
## Measured

{test} Intervals are Wilson's, 95 %.

{measured.to_markdown()}

## Limits

Trained on simulated cameras alone. The shares say what it does on simulated cameras that it never saw, with
rates of meteors, satellites and aircraft far above those of the sky; precision on a real network is lower and
has to be measured by an audit. A single difference often cannot tell a satellite or an aircraft from a
meteor: consecutive frames decide.
"""
