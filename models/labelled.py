"""Labelled folders: ``meteor/`` and ``no-meteor/``, as guAIta and users of AllSky keep them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, NamedTuple

import pandas as pd
from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field

from nightsift.archive.differences import Threshold, difference
from nightsift.archive.errors import BadFrame, ConfigurationError
from nightsift.archive.formats import Levels, pictures
from nightsift.archive.layouts.stamps import find_stamp
from nightsift.models.package import METEOR
from nightsift.models.recipe import made_with
from nightsift.models.samples import AIRCRAFT, SATELLITE
from nightsift.models.shown import NO_METEOR, UNSURE, Shown, refuse_contradictions
from nightsift.models.splits import NAMED, some
from nightsift.models.streaks import rise_in_noise

# Folders that stand for a verdict, for a part, and for frames that only come before others.
LABEL_FOLDERS: Final = {
    **dict.fromkeys(("meteor", "meteors"), METEOR),
    **dict.fromkeys(("no-meteor", "no_meteor", "nometeor", "nothing"), NO_METEOR),
    **{name: name for name in (SATELLITE, AIRCRAFT, "other", UNSURE)},
}
PART_FOLDERS: Final = {
    **dict.fromkeys(("train", "training", "train_set", "training_set"), "training"),
    **dict.fromkeys(("valid", "validation", "val", "validation_set"), "validation"),
    **dict.fromkeys(("test", "test_set"), "test"),
}
BEFORE_FOLDER: Final = "before"
ENDINGS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".fit", ".fits")
UNDATED: Final = "undated"
SIZE_TOLERANCE: Final = 0.01

_DATE = re.compile(r"[0-9]{4}([-_]?)[0-9]{2}\1[0-9]{2}")
_CODE = re.compile(r"(?:^|_)([A-Z]{2}[0-9A-Z]{4})_")

Sized = tuple[str, tuple[int, int]]  # a file, and the (height, width) of its picture
Share = Annotated[float, Field(gt=0, lt=1)]


class Sides(BaseModel):
    """How labelled frames are split: always by station-night, never by frame.

    ``test_share`` of the frames test; of the others ``validation_share`` chooses the epoch. ``seed`` shuffles
    the station-nights. ``corrections`` is a CSV or Parquet file with ``frame_key`` and ``verdict`` that
    takes precedence over labels, such as ``nightsift model evaluate --top-losses`` writes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    validation_share: Share = 0.15
    test_share: Share = 0.2
    corrections: str | None = None


class FolderData(Sides):
    """Labelled frames in a folder.

    Attributes
    ----------
    path
        The folder. A file's label is that of the nearest folder above it that names one of `LABEL_FOLDERS`.
    kind
        ``differences`` that came ready-made, or ``frames``, of which the newest earlier one of the same
        station, labelled or in a folder ``before``, is subtracted.
    parts
        ``folders``: train, valid and test stand in the paths, where they do; ``drawn``: they are ignored.
    groups
        CSV with ``file`` (relative to ``path``), ``station``, ``night`` and, if known, ``event``, for files
        whose names do not tell.
    station
        Of files in whose path no folder names one.
    mixed_sizes
        Whether ready-made differences of unlike sizes are resized to the network's input or refused.
    max_gap_s
        Longest time between the starts of a frame and the one before.
    """

    source: Literal["folder"]
    path: str
    kind: Literal["differences", "frames"] = "differences"
    parts: Literal["folders", "drawn"] = "folders"
    groups: str | None = None
    station: str = "unnamed"
    mixed_sizes: Literal["refuse", "resize"] = "refuse"
    max_gap_s: Annotated[float, Field(gt=0)] = 120.0


class Place(NamedTuple):
    """What a file's path tells of it; ``time`` is as the name has it, to order the files of one station."""

    station: str
    night: str
    time: datetime | None


def place_of(path: str, station: str = "unnamed") -> Place:
    """Station and night of a file, from its path.

    The night is the date twelve hours before the time in the name (AllSky's ``saveImage.sh``); names in UTC
    are read the same, which is right for stations within some hours of Greenwich. The station is a code such
    as UK0006 in the name, else the nearest folder that names neither a label, nor a part, nor a date. A file
    whose name tells no time has a night of its own.

    >>> place_of("train/meteor/PUJALT/20210310/image-20210311002605.jpg")[:2]
    ('PUJALT', '2021-03-10')
    >>> place_of("test_set/meteor/image-20210311002605.jpg")[:2]
    ('unnamed', '2021-03-10')
    >>> place_of("meteor/FF_UK0006_20220914_194911_205_0079616.fits")[:2]
    ('UK0006', '2022-09-14')
    >>> place_of("meteor/tile_07.png")
    Place(station='unnamed', night='undated meteor/tile_07.png', time=None)
    """
    folders, name = PurePosixPath(path).parts[:-1], PurePosixPath(path).name
    code, stamp = _CODE.search(name), find_stamp(name)
    named = [folder for folder in folders if not _tells_other(folder)]
    found = code[1] if code else named[-1] if named else station
    if stamp is None:
        return Place(found, f"{UNDATED} {path}", None)
    time = stamp.time.replace(tzinfo=None)
    return Place(found, (time - timedelta(hours=12)).date().isoformat(), time)


def _tells_other(folder: str) -> bool:
    known = {*LABEL_FOLDERS, *PART_FOLDERS, BEFORE_FOLDER, "images"}
    return folder.lower() in known or _DATE.fullmatch(folder) is not None


@dataclass(frozen=True)
class LabelledFolder:
    """What a folder holds.

    Attributes
    ----------
    frames
        A row per labelled file: ``frame_key`` (its path below the folder), ``name``, ``station``, ``night``,
        ``time``, ``verdict``, ``part`` (empty where the path names none), ``event``, ``digest``.
    before
        The same of files in folders ``before``.
    """

    data: FolderData
    folder: Path
    frames: pd.DataFrame
    before: pd.DataFrame

    @classmethod
    def read(
        cls, data: FolderData, base: Path, corrections: Mapping[str, str] | None = None
    ) -> LabelledFolder:
        """List a folder; paths in ``data`` start at ``base``.

        Raises
        ------
        ConfigurationError
            There is nothing labelled in it, a file has two labels, ``groups`` names files that do not exist,
            or so do ``corrections`` (``frame_key`` to verdict).
        """
        folder = base / data.path
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        rows = [_row(path, folder, data) for path in paths]
        table = pd.DataFrame(
            rows, columns=["frame_key", "name", "station", "night", "time", "verdict", "part"]
        )
        table["time"] = pd.to_datetime(table["time"])
        table["digest"] = [blake3(path.read_bytes()).hexdigest() for path in paths]
        table["event"] = None
        if data.groups:
            table = _with_groups(table, base / data.groups)
        found = cls(data, folder, table[table["verdict"].notna()], table[table["verdict"].isna()])
        return found._corrected(corrections or {})

    def _corrected(self, corrections: Mapping[str, str]) -> LabelledFolder:
        refuse_unknown(list(corrections), self.frames["frame_key"], f"the folder {self.folder}")
        labels = zip(self.frames["frame_key"], self.frames["verdict"], strict=True)
        verdict = [corrections.get(key, label) for key, label in labels]
        frames = self.frames.assign(verdict=verdict).reset_index(drop=True)
        if frames.empty:
            raise ConfigurationError(
                f"{self.folder} holds no labelled pictures",
                expected=f"pictures below folders named {', '.join(LABEL_FOLDERS)}",
                mend="name another path",
            )
        refuse_contradictions(frames, str(self.folder))
        refuse_contradictions(frames.assign(station="", name=frames["digest"]), f"{self.folder}, by content,")
        return LabelledFolder(self.data, self.folder, frames, self.before)

    def shown(self, threshold: Threshold, left_out: Counter[str] | None = None) -> Iterator[Shown]:
        """The differences, in order of the paths.

        Parameters
        ----------
        threshold
            As the recipe has it; of ready-made differences it is not known.
        left_out
            Counts what is not given, by reason: ``unsure``, ``no-frame-before`` and those of `BadFrame`.

        Raises
        ------
        ConfigurationError
            Ready-made differences are of unlike sizes and ``mixed_sizes`` is ``refuse``.
        """
        counts = Counter[str]() if left_out is None else left_out
        first: Sized | None = None
        for row in ({str(k): v for k, v in each.items()} for each in self.frames.to_dict("records")):
            if row["verdict"] == UNSURE:
                counts[UNSURE] += 1
                continue
            try:
                picture, rise = self._picture(row, threshold)
            except BadFrame as bad:
                counts[bad.reason] += 1
                continue
            if self.data.kind == "differences" and self.data.mixed_sizes == "refuse":
                first = first or (row["frame_key"], picture.shape)
                self._refuse_other_size(first, (row["frame_key"], picture.shape))
            told = ("station", "night", "frame_key", "digest", "event", "part")
            yield Shown(picture, {name: row[name] for name in told}, row["verdict"], rise=rise)

    def _picture(self, row: Mapping[str, Any], threshold: Threshold) -> Any:
        gray = self._decoded(row["frame_key"])
        if self.data.kind == "differences":
            return gray if gray.dtype == "uint8" else (gray >> 8).astype("uint8"), None
        previous = self._decoded(self._before(row))
        if previous.shape != gray.shape or previous.dtype != gray.dtype:
            raise BadFrame("wrong-size", f"the frame before {row['frame_key']} has another form")
        return difference(gray, previous, made_with(threshold)), rise_in_noise(gray, previous)

    def _before(self, row: Mapping[str, Any]) -> str:
        found = self._earlier.get(row["frame_key"])
        if found is None:
            gap = self.data.max_gap_s
            raise BadFrame("no-frame-before", f"no frame within {gap:g} s before {row['frame_key']}")
        return found

    @cached_property
    def _earlier(self) -> Mapping[str, str]:
        """The newest earlier frame of the same station, by the key of the frame, where there is one."""
        every = pd.concat([self.frames, self.before])[["station", "time", "frame_key"]]
        timed = every[every["time"].notna()].sort_values("time", kind="stable")
        found = pd.merge_asof(
            timed,
            timed.rename(columns={"frame_key": "earlier"}),
            on="time",
            by="station",
            tolerance=pd.Timedelta(seconds=self.data.max_gap_s),
            allow_exact_matches=False,
        ).dropna()
        return dict(zip(found["frame_key"], found["earlier"], strict=True))

    def _decoded(self, key: str) -> Levels:
        return next(iter(pictures(key, (self.folder / key).read_bytes()))).gray

    def _refuse_other_size(self, first: Sized, other: Sized) -> None:
        if all(abs(a - b) <= SIZE_TOLERANCE * a for a, b in zip(first[1], other[1], strict=True)):
            return
        found = ", ".join(f"{key} of {width} x {height} px" for key, (height, width) in (first, other))
        raise ConfigurationError(
            f"{self.folder} holds ready-made differences of unlike sizes",
            expected="one size, to 1 %: how a ready-made difference was cut or squeezed is not known",
            found=found,
            mend='give the frames instead (kind = "frames"), or set mixed_sizes = "resize"',
        )


def refuse_unknown(named: list[str], known: pd.Series, where: str) -> None:
    """Refuse labels for frames that do not exist.

    Raises
    ------
    ConfigurationError
        Names the first few.
    """
    missing = sorted(set(named) - set(known))
    if missing:
        raise ConfigurationError(
            f"{len(missing)} labelled frames are not in {where}: {some(missing)}",
            expected=f"frames such as {', '.join(map(str, known.head(min(2, NAMED))))}",
            mend="correct the names, or leave the rows out",
        )


def _row(path: Path, folder: Path, data: FolderData) -> tuple[object, ...]:
    key = path.relative_to(folder).as_posix()
    station, night, time = place_of(key, data.station)
    folders = [name.lower() for name in PurePosixPath(key).parts[:-1]]
    verdicts = [LABEL_FOLDERS[name] for name in folders if name in LABEL_FOLDERS]
    parts = [PART_FOLDERS[name] for name in folders if name in PART_FOLDERS]
    verdict = None if BEFORE_FOLDER in folders or not verdicts else verdicts[-1]
    part = parts[0] if parts and data.parts == "folders" else ""
    return key, path.name, station, night, pd.NaT if time is None else time, verdict, part


def _with_groups(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        groups = pd.read_csv(path, dtype=str).set_index("file")[["station", "night"]]
        events = pd.read_csv(path, dtype=str).set_index("file").get("event")
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"{path} does not tell stations and nights",
            expected="CSV with file, station, night and, if known, event",
            found=str(error),
            mend="correct the file",
        ) from error
    refuse_unknown(list(groups.index), table["frame_key"], str(path))
    named = {str(name): table["frame_key"].map(groups[name]).fillna(table[name]) for name in groups}
    return table.assign(**named, event=None if events is None else table["frame_key"].map(events))
