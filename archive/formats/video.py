"""Videos, reduced block by block to the maximum and the index of the maximum.

FFmpeg does the decoding, through PyAV, on one thread. Levels are the luma expanded to the full range,
whatever range the file has, in the depth of its codec; OpenCV's detour through BGR gives the same within
two levels on a monochrome camera.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple, cast

import av
import av._core
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from nightsift.archive.errors import BadFrame
from nightsift.archive.formats.picture import Levels, Picture, library_errors

BLOCK_FRAMES = 256  # as an FF file of RMS, so that a time map fits eight bits
MAX_VIDEO_PIXELS = 2**24
MAX_FRAME_BYTES = 2**25  # a codec may hold seventeen frames
MAX_FRAMES = 2**22
# Without "explode" a decoder paints over damage from its neighbours and says nothing.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "max_pixels": str(MAX_VIDEO_PIXELS)}
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_LONGEST_S = 7 * 86400.0
_MAX_ALLOCATION = 2**27  # a few bytes of a sample table announce gigabytes


def _bound_allocations() -> None:
    """Bound FFmpeg's single allocations, for the whole process; PyAV has no name for this function."""
    bound = ctypes.CDLL(av._core.__file__).av_max_alloc
    bound.argtypes, bound.restype = [ctypes.c_size_t], None
    bound(_MAX_ALLOCATION)


_bound_allocations()


class _Shot(NamedTuple):
    gray: Levels
    colour: Levels | None
    time_s: float | None


def decode_video(source: bytes | BinaryIO, container: str, *, colour: bool = False) -> Iterator[Picture]:
    """One picture per block of `BLOCK_FRAMES` frames; the last block is shorter.

    Parameters
    ----------
    source
        The bytes of a video, or a binary file that can be read and sought. It is streamed.
    container
        FFmpeg's name of its container: ``avi``, ``flv``, ``matroska`` or ``mov``.
    colour
        Also give each pixel's colour at the moment of its maximum.

    Raises
    ------
    BadFrame
        ``corrupt``: no frame can be decoded, or none of up to `MAX_VIDEO_PIXELS`; or, after the blocks
        before the fault, damage, or fewer frames than the container announces. ``too-large``: frames above
        `MAX_FRAME_BYTES`, or more than `MAX_FRAMES` of them.

    Notes
    -----
    Of several frames with the same level the first counts. Where the file's time stamps differ by more than
    half a frame from its nominal rate, a block's rate and exposure follow the time stamps: n frames whose
    first and last are T apart have the exposure T n / (n - 1).
    """
    trouble: BadFrame | None = None
    reel = _Reel(source, container, colour)
    block = _Block(0)
    try:
        for shot in reel:
            block.add(shot)
            if block.frames == BLOCK_FRAMES:
                yield block.picture(reel)
                block = _Block(block.first + BLOCK_FRAMES)
    except BadFrame as bad:
        trouble = bad
    if block.frames:
        yield block.picture(reel)
    if trouble is not None:
        raise trouble


@dataclass
class _Block:
    """The running maximum of a block."""

    first: int
    gray: Any = None
    colour: Any = None
    timemap: Any = None
    times_s: list[float | None] = field(default_factory=list)

    @property
    def frames(self) -> int:
        return len(self.times_s)

    def add(self, shot: _Shot) -> None:
        if self.gray is None:
            self.gray, self.colour = shot.gray.copy(), None if shot.colour is None else shot.colour.copy()
            self.timemap = np.zeros(shot.gray.shape, np.uint8)
        else:
            brighter = shot.gray > self.gray
            np.copyto(self.gray, shot.gray, where=brighter)
            np.copyto(self.timemap, self.frames, where=brighter, casting="unsafe")
            if shot.colour is not None:
                np.copyto(self.colour, shot.colour, where=brighter[..., None])
        self.times_s.append(shot.time_s)

    def picture(self, reel: _Reel) -> Picture:
        rate_hz = self._rate_hz(reel.rate_hz)
        return Picture(
            self.gray,
            colour=self.colour,
            timemap=self.timemap,
            short_exposures=self.frames,
            rate_hz=rate_hz,
            first=self.first,
            offset_s=self._offset_s(reel),
            exposure_s=self.frames / rate_hz if rate_hz else None,
        )

    def _rate_hz(self, nominal: float | None) -> float | None:
        times = [time for time in self.times_s if time is not None]
        steps = len(times) - 1
        if steps < 1 or len(times) < self.frames or any(a >= b for a, b in pairwise(times)):
            return nominal
        measured = steps / (times[-1] - times[0])
        if nominal and abs(steps / nominal - steps / measured) <= 0.5 / nominal:
            return nominal
        return measured if times[-1] - times[0] <= _LONGEST_S else nominal

    def _offset_s(self, reel: _Reel) -> float | None:
        begin, here = reel.begin_s, self.times_s[0]
        if begin is not None and here is not None and 0 <= here - begin <= _LONGEST_S:
            return here - begin
        return self.first / reel.rate_hz if reel.rate_hz else None


class _Reel:
    """The frames of a video in order; raises `BadFrame` where it is damaged or ends too early."""

    def __init__(self, source: bytes | BinaryIO, container: str, colour: bool) -> None:
        self._source = _Source(BytesIO(source) if isinstance(source, bytes) else source)
        self._container, self._colour = container, colour
        self._reformatter = VideoReformatter()
        self.rate_hz: float | None = None
        self.begin_s: float | None = None

    def __iter__(self) -> Iterator[_Shot]:
        frames = 0
        end_s: float | None = None
        with self._source.own_failures(), library_errors("video"), self._opened() as video:
            stream = self._stream(video)
            for frame in video.decode(stream):
                if frame.is_corrupt:
                    raise BadFrame("corrupt", f"frame {frames} of the video is damaged")
                if frames == 0:
                    self.begin_s, kind = frame.time, _kind(frame)
                elif _kind(frame) != kind:
                    raise BadFrame("corrupt", f"frame {frames} changes from {kind} to {_kind(frame)}")
                yield self._shot(frame)
                frames += 1
                end_s = frame.time
                if frames > MAX_FRAMES:
                    raise BadFrame("too-large", f"expected at most {MAX_FRAMES} frames, found more")
            self._check_end(video, stream, frames, end_s)

    def _opened(self) -> InputContainer:
        # An explicit format: FFmpeg's probing may take a text for a playlist and open what it names.
        opened: InputContainer = av.open(self._source, "r", format=self._container, options=dict(_STRICT))
        return opened

    def _stream(self, video: InputContainer) -> VideoStream:
        if not video.streams.video:
            raise BadFrame("corrupt", f"no pictures among the {len(video.streams)} streams of this video")
        stream = video.streams.video[0]
        if stream.codec_context is None:
            raise BadFrame("unsupported", "no decoder for the pictures of this video")
        _check_frame(stream)
        stream.codec_context.options = dict(_STRICT)
        stream.codec_context.thread_count = 1
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.rate_hz = rate if 1e-4 < rate < 1e5 else None
        return stream

    def _shot(self, frame: VideoFrame) -> _Shot:
        bits = max(8, frame.format.components[0].bits)
        if bits > 16:
            raise BadFrame("unsupported", f"expected at most 16 bits a level, found {bits}")
        gray, rgb = ("gray", "rgb24") if bits == 8 else (f"gray{bits}le", f"gbrp{bits}le")
        has_colour = self._colour and not frame.format.name.startswith("gray")
        return _Shot(
            self._as_array(frame, gray), self._as_array(frame, rgb) if has_colour else None, frame.time
        )

    def _as_array(self, frame: VideoFrame, name: str) -> Levels:
        converted = self._reformatter.reformat(frame, format=name, interpolation=_EXACT, threads=1)
        array: Any = converted.to_ndarray()
        return cast(Levels, array)

    def _check_end(
        self, video: InputContainer, stream: VideoStream, frames: int, end_s: float | None
    ) -> None:
        """Refuse a video that ends, without an error of the decoder, before its announced end."""
        if frames == 0:
            raise BadFrame("corrupt", "no frame in this video")
        if not self.rate_hz:
            return
        announced_s = stream.frames / self.rate_hz if stream.frames else (video.duration or 0) / av.time_base
        seen_s = frames / self.rate_hz
        if end_s is not None and self.begin_s is not None:
            seen_s = max(seen_s, end_s - self.begin_s + 1 / self.rate_hz)
        tolerated_s = 1.5 / self.rate_hz if len(video.streams) == 1 else 1.0  # sound may go on for longer
        if announced_s - seen_s > tolerated_s:
            raise BadFrame("corrupt", f"cut off: expected {announced_s:.1f} s, found {seen_s:.1f} s")


def _kind(frame: VideoFrame) -> str:
    return f"{frame.width} x {frame.height} {frame.format.name}"


def _check_frame(stream: VideoStream) -> None:
    pixels = stream.width * stream.height
    if pixels == 0:  # FFmpeg keeps no size that it refuses
        raise BadFrame("corrupt", f"expected frames of up to {MAX_VIDEO_PIXELS} pixels, found none or larger")
    size = pixels * (stream.format.padded_bits_per_pixel if stream.format else 8) // 8
    if size > MAX_FRAME_BYTES:
        found = f"{stream.width} x {stream.height} px in {size} bytes"
        raise BadFrame("too-large", f"expected frames of at most {MAX_FRAME_BYTES} bytes, found {found}")


class _Source:
    """A file whose own failures, such as a lost connection, are told apart from damage of the video."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except Exception as error:
            self._failure = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    @contextmanager
    def own_failures(self) -> Iterator[None]:
        """Raise what the file raised, whatever became of it in between."""
        try:
            yield
        except BadFrame:
            if self._failure is not None:
                raise self._failure from None
            raise
