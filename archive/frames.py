"""The first stage: a night of files, streamed into one Zarr store of frames, its differences on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nightsift.archive.differences import DifferenceSettings, DifferenceWriter
from nightsift.archive.errors import BadFrame, UsageError
from nightsift.archive.exclusions import NO_EXCLUSION, Exclusion
from nightsift.archive.exposures import Exposure, NightReader, Rejected
from nightsift.archive.faults import storage_errors
from nightsift.archive.formats import Levels, Picture
from nightsift.archive.jpeg_chunks import JpegShardWriter, add_jpeg_array
from nightsift.archive.layouts import FrameRef
from nightsift.archive.night_store import (
    TIME_ATTRIBUTES,
    Form,
    NightStore,
    add_frames_array,
    add_series,
    described,
    frames_path,
    milliseconds,
    shard_frames,
)
from nightsift.archive.nights import StationNight
from nightsift.archive.receipts import read_objects
from nightsift.archive.shards import LZ4, ZSTD, Encoding, FrameWriter
from nightsift.archive.stations import Station
from nightsift.archive.stores import Archive, Workspace

STAGE_VERSION = 2
SAMPLE = 9  # frames that vote on the form of the night's frames
_NO_PIXELS: NDArray[np.uint8] = np.empty((0, 0), np.uint8)

KeepFrames = Literal["jpeg", "zstd", "lz4", False]
_ENCODINGS: Mapping[str, Encoding] = {"lz4": LZ4}


@dataclass(frozen=True)
class FrameSettings:
    """How frames are kept; none of it changes the differences.

    Attributes
    ----------
    keep_frames
        ``"jpeg"``: the camera's own JPEG files are the chunks, and frames of other formats are kept as by
        ``"zstd"``; ``"zstd"``, ``"lz4"``: the gray levels, compressed; False: frames are not kept.
    keep_colour
        Whether colour is kept beside the gray levels.
    """

    keep_frames: KeepFrames = "jpeg"
    keep_colour: bool = False


@dataclass(frozen=True)
class Ingested:
    """What became of a night's files.

    Attributes
    ----------
    frames
        Frames found usable.
    rejected
        Those that cannot be used.
    pairs
        Number of frames by outcome of their difference; empty where no differences were made.
    difference_seconds
        Part of the time that went into differences.
    """

    frames: int
    height_px: int
    width_px: int
    bits: int
    rejected: tuple[Rejected, ...]
    pairs: Mapping[str, int] = field(default_factory=dict)
    difference_seconds: float = 0.0

    @property
    def reasons(self) -> dict[str, int]:
        """Number of rejected frames by reason."""
        return dict(Counter(item.reason for item in self.rejected))


@dataclass(frozen=True)
class Night:
    """A station-night in its archive, and the workspace that its products go to."""

    archive: Archive
    workspace: Workspace
    station: Station
    unit: StationNight
    refs: tuple[FrameRef, ...]
    exclusion: Exclusion = NO_EXCLUSION


def ingest_night(
    night: Night, settings: FrameSettings | None, differences: DifferenceSettings | None = None
) -> Ingested:
    """Stream a night's files into its products, each file fetched and decoded once.

    Parameters
    ----------
    settings
        How ``frames/<station>/<night>.zarr`` is written; None leaves it as it is.
    differences
        How ``differences/<station>/<night>.zarr`` is written; None leaves it as it is.

    Returns
    -------
    Ingested
        Every frame of the night is either in the store or in ``rejected`` with its reason.

    Raises
    ------
    StorageError
        Either store failed.
    NightsiftError
        A file cannot be read at all. A file that is read but cannot be used never raises.

    Notes
    -----
    Frames of another size or depth than most of the night's are rejected. Memory is bounded by a shard and
    two blocks of files, whatever the length of the night.
    """
    reader = NightReader(night.archive, night.station, night.refs, bool(settings and settings.keep_colour))
    vote = _vote(reader)
    rejected: list[Rejected] = []
    with storage_errors(night.workspace.url):
        writers = _Writers(night, settings, differences, vote, reader.only_jpeg())
        for found in reader.exposures():
            if isinstance(found, Exposure):
                try:
                    writers.add(_fitting(found, vote))
                except BadFrame as bad:
                    start = found.start_utc.isoformat()
                    rejected.append(Rejected(found.key, start, bad.reason, bad.detail))
            else:
                rejected.append(found)
        pairs = writers.finish()
    form = vote.form
    return Ingested(
        writers.count, *form.shape, 8 * form.dtype.itemsize, tuple(rejected), pairs, round(writers.seconds, 3)
    )


@dataclass(frozen=True)
class _Vote:
    """What most of a sample of the night's frames have in common."""

    form: Form
    timemap: np.dtype[Any] | None = None
    colour: bool = False


def _vote(reader: NightReader) -> _Vote:
    votes = Counter(_ballot(picture) for picture in reader.sample(SAMPLE))
    if votes:
        return votes.most_common(1)[0][0]
    # None of the sample can be decoded: whatever can be decides.
    for picture in reader.sample(None):
        return _ballot(picture)
    return _Vote(Form((1, 1), np.dtype(np.uint8)))


def _ballot(picture: Picture) -> _Vote:
    height, width = picture.gray.shape
    timemap = None if picture.timemap is None else picture.timemap.dtype
    return _Vote(Form((height, width), picture.gray.dtype), timemap, picture.colour is not None)


def _fitting(found: Exposure, vote: _Vote) -> Exposure:
    form = _ballot(found.picture).form
    if form.shape != vote.form.shape:
        raise BadFrame("wrong-size", f"expected {vote.form} as most of the night, found {form}")
    if form.dtype != vote.form.dtype:
        raise BadFrame("wrong-depth", f"expected {vote.form} as most of the night, found {form}")
    return found


class _Writers:
    """The products of one pass over a night."""

    def __init__(
        self,
        night: Night,
        settings: FrameSettings | None,
        differences: DifferenceSettings | None,
        vote: _Vote,
        jpeg: bool,
    ) -> None:
        length = len(night.refs)
        self._frames = None if settings is None else FramesWriter(night, settings, vote, jpeg, length)
        self._differences = (
            None
            if differences is None
            else DifferenceWriter(
                night.workspace, night.station, night.unit, differences, night.exclusion, vote.form, length
            )
        )
        self.count = 0
        self.seconds = 0.0

    def add(self, found: Exposure) -> None:
        if self._frames is not None:
            self._frames.add(found)
        begin = perf_counter()
        if self._differences is not None:
            gray, digest = found.picture.gray, found.digest
            self._differences.add(gray, found.start_utc, found.exposure_s, found.key, digest)
        self.seconds += perf_counter() - begin
        self.count += 1

    def finish(self) -> dict[str, int]:
        if self._frames is not None:
            self._frames.finish()
        return self._differences.finish() if self._differences is not None else {}


class FramesWriter:
    """Writes ``frames/<station>/<night>.zarr`` from exposures that come in time order.

    Arrays: ``frame`` (time, y, x) unless frames are not kept; ``timemap`` (time, y, x) where files have one;
    ``colour`` (time, y, x, channel) when it is kept. Series along time: the rest of an exposure.
    """

    def __init__(self, night: Night, settings: FrameSettings, vote: _Vote, jpeg: bool, length: int) -> None:
        self._store = NightStore(night.workspace, frames_path(night.unit))
        self._group = self._store.create(described("Frames", night.station, night.unit))
        self._series: list[Exposure] = []
        self._jpeg: JpegShardWriter | None = None
        self._arrays: dict[str, FrameWriter] = {}
        self._make_arrays(settings, vote, jpeg, max(1, length))

    def _make_arrays(self, settings: FrameSettings, vote: _Vote, jpeg: bool, length: int) -> None:
        shard = shard_frames(vote.form.frame_bytes)
        attributes = {"long_name": "gray level (luma)", "units": "1"}
        if not settings.keep_frames:
            return
        if settings.keep_frames == "jpeg" and jpeg:
            self._jpeg = add_jpeg_array(
                self._group,
                "frame",
                length=length,
                frame_shape=vote.form.shape,
                shard=shard,
                attributes=attributes,
            )
        else:
            self._arrays["frame"] = add_frames_array(
                self._group,
                "frame",
                dtype=vote.form.dtype,
                length=length,
                frame_shape=vote.form.shape,
                shard=shard,
                encoding=_ENCODINGS.get(str(settings.keep_frames), ZSTD),
                attributes=attributes,
            )
        if vote.timemap is not None:
            self._arrays["timemap"] = add_frames_array(
                self._group,
                "timemap",
                dtype=vote.timemap,
                length=length,
                frame_shape=vote.form.shape,
                shard=shard,
                attributes={"long_name": "short exposure at which the pixel was brightest", "units": "1"},
            )
        if settings.keep_colour and vote.colour:
            self._arrays["colour"] = add_frames_array(
                self._group,
                "colour",
                dtype=vote.form.dtype,
                length=length,
                frame_shape=(*vote.form.shape, 3),
                dims=("y", "x", "channel"),
                shard=max(1, shard // 3),
                attributes={"long_name": "red, green, blue", "units": "1"},
            )

    def add(self, found: Exposure) -> None:
        """Take the next exposure, of the night's form."""
        if self._jpeg is not None:
            self._jpeg.append(found.data)
        for name, writer in self._arrays.items():
            image = found.picture.gray if name == "frame" else getattr(found.picture, name)
            if image is None:
                writer.append_empty()
            else:
                writer.append(image)
        # The pixels must not stay in memory.
        self._series.append(_without_pixels(found))

    def finish(self) -> None:
        """Complete the store."""
        for writer in (self._jpeg, *self._arrays.values()):
            if writer is not None:
                writer.close()
        for name, values, dtype, attributes in _series(self._series):
            add_series(self._group, name, values, attributes, dtype)
        self._store.finish()


def _without_pixels(found: Exposure) -> Exposure:
    picture = replace(found.picture, gray=_NO_PIXELS, colour=None, timemap=None)
    return replace(found, picture=picture, data=b"")


def _series(kept: Sequence[Exposure]) -> Iterator[tuple[str, Sequence[Any], Any, Mapping[str, str]]]:
    yield "time", [milliseconds(e.start_utc) for e in kept], "int64", TIME_ATTRIBUTES
    length = {"long_name": "length of the exposure", "units": "s"}
    yield "exposure_s", [e.exposure_s for e in kept], "float32", length
    yield "key", [e.key for e in kept], str, {"long_name": "object key in the archive"}
    yield "etag", [e.etag for e in kept], str, {"long_name": "entity tag when it was read"}
    yield "digest", [e.digest for e in kept], str, {"long_name": "BLAKE3 digest of the file"}
    if any(e.picture.rate_hz for e in kept):
        rates = [e.picture.rate_hz or np.nan for e in kept]
        yield "rate_hz", rates, "float32", {"long_name": "rate of the short exposures", "units": "s-1"}
        counts = [e.picture.short_exposures for e in kept]
        yield "short_exposures", counts, "int32", {"long_name": "short exposures in a frame", "units": "1"}


def read_frame(
    archive: Archive, workspace: Workspace, station: Station, unit: StationNight, key: str
) -> Levels:
    """One frame of a night, (y, x): from its store, or from the archive where frames are not kept.

    Raises
    ------
    UsageError
        It is in neither any more.
    """
    group: Any = NightStore(workspace, frames_path(unit)).open()
    (found,) = np.nonzero(group["key"][:] == key)
    if "frame" in group and len(found):
        frame: Levels = group["frame"][int(found[0])]
        return frame
    recorded = read_objects(workspace, unit)
    refs = tuple(ref for ref in recorded if key.startswith(ref.key))
    exposure = NightReader(archive, station, refs).find(key)
    if exposure is None:
        raise UsageError(
            f"{key} is neither in {frames_path(unit)} nor in the archive any more",
            found="an archive that changed since the release was made",
            mend="draw a newer release",
        )
    return exposure.picture.gray
