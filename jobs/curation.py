"""A page of the confidently wrong, and the verdict file beside it, which training accepts."""

from __future__ import annotations

import base64
import csv
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nightsift.catalogs.verdicts import VERDICTS
from nightsift.models.classify import Classifier
from nightsift.models.judging import Mistake

PAGE: Final = "index.html"
FILE: Final = "verdicts.csv"
COLUMNS: Final = ("frame_key", "verdict", "label", "score", "station", "night")
WIDTH_PX: Final = 420
HEAT_PIXELS: Final = 40_000_000  # of heat maps at once: 160 MB

Heat = NDArray[np.float32]


def write_page(folder: Path, mistakes: Sequence[Mistake], classifier: Classifier, title: str) -> Path:
    """Write ``index.html``, which needs nothing else, and ``verdicts.csv`` with the labels as they are.

    Parameters
    ----------
    folder
        Made where it is missing; both files are replaced.
    mistakes
        Greatest loss first.
    title
        The package and the set.

    Returns
    -------
    pathlib.Path
        Of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heats = _heats(mistakes, classifier)
    ranked = enumerate(zip(mistakes, heats, strict=True), start=1)
    cards = "\n".join(_card(rank, mistake, heat) for rank, (mistake, heat) in ranked)
    page = folder / PAGE
    page.write_text(_filled(escape(title), len(mistakes), cards), encoding="utf-8")
    with (folder / FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_row(mistake) for mistake in mistakes)
    return page


def _filled(title: str, number: int, cards: str) -> str:
    template = files("nightsift.jobs").joinpath("curation.html").read_text(encoding="utf-8")
    # The cards last: what they hold is not to be filled in.
    return template.replace("[[title]]", title).replace("[[number]]", str(number)).replace("[[cards]]", cards)


def _row(mistake: Mistake) -> tuple[object, ...]:
    frame, label = mistake.shown.frame, mistake.shown.verdict
    score = f"{mistake.score:.6f}"
    return frame["frame_key"], label, label, score, frame["station"], frame["night"]


def _card(rank: int, mistake: Mistake, heat: Heat) -> str:
    key, verdict, label, score, station, night = (escape(str(value)) for value in _row(mistake))
    options = "".join(f"<option{' selected' if name == verdict else ''}>{name}</option>" for name in VERDICTS)
    picture, warm = (_data_uri(image) for image in _pictures(mistake, heat))
    data = f'data-key="{key}" data-label="{label}" data-score="{score}"'
    return f"""<article {data} data-station="{station}" data-night="{night}">
<figure><img src="{picture}" alt="difference of {key}"><figcaption>difference</figcaption></figure>
<figure><img src="{warm}" alt="heat map of {key}"><figcaption>heat map of meteor</figcaption></figure>
<div><h2>{rank}. {key}</h2>
<dl><dt>label</dt><dd>{label}</dd><dt>score of meteor</dt><dd>{float(score):.4f}</dd>
<dt>loss</dt><dd>{mistake.loss:.2f}</dd><dt>station</dt><dd>{station}</dd><dt>night</dt><dd>{night}</dd></dl>
<label>verdict <select>{options}</select></label></div>
</article>"""


def _heats(mistakes: Sequence[Mistake], classifier: Classifier) -> list[Heat]:
    """Heat maps at the size of the page's pictures; frames of one form together, as batches are filled up."""
    heats: dict[int, Heat] = {}
    forms = [
        (item.shown.picture.shape, item.shown.picture.dtype, item.shown.rise is None) for item in mistakes
    ]
    for form in dict.fromkeys(forms):
        rows = [index for index, found in enumerate(forms) if found == form]
        step = max(1, HEAT_PIXELS // (form[0][0] * form[0][1]))
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            shown = [mistakes[index].shown for index in part]
            rises = [item.rise for item in shown if item.rise is not None]
            pictures: Any = np.stack([item.picture for item in shown])
            found = classifier.heat_map(pictures, rises or None)
            heats |= {index: _small(heat) for index, heat in zip(part, found, strict=True)}
    return [heats[index] for index in range(len(mistakes))]


def _small(image: NDArray[Any]) -> NDArray[Any]:
    height, width = image.shape
    size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
    interpolation = cv2.INTER_AREA if width > WIDTH_PX else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=interpolation))


def _pictures(mistake: Mistake, heat: Heat) -> tuple[NDArray[Any], NDArray[Any]]:
    """The difference, gray, and with the heat map over it, BGR; both of the width of the page's pictures."""
    picture = mistake.shown.picture
    small = _small(picture.view(np.uint8) * np.uint8(255 if picture.dtype == np.bool_ else 1))
    small = cv2.convertScaleAbs(small, alpha=255 / max(int(small.max()), 1))
    warm = cv2.convertScaleAbs(heat, alpha=255 / max(float(heat.max()), 1e-9))
    warm = cv2.applyColorMap(warm, cv2.COLORMAP_INFERNO)
    return small, cv2.addWeighted(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), 0.5, warm, 0.7, 0)


def _data_uri(image: NDArray[Any]) -> str:
    _, data = cv2.imencode(".png", image)
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"
