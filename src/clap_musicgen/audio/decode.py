"""Any audio file → mono blocks at the file's own sample rate, and what was wrong with it.

The door to PyAV. Demuxes packet by packet, so that the good part of a damaged file is used.
Knows nothing of resampling, clips or tags.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import av
import numpy as np
from av.error import FFmpegError

from clap_musicgen.audio.headers import STATED_BY_CONTAINER, ogg_end_missing, stated_seconds
from clap_musicgen.embedding import Waveform
from clap_musicgen.errors import AudioError, EmptyAudioError, NotAudioError, UnreadableAudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

Block: TypeAlias = tuple[int, Waveform]
"""A sample rate in Hz and the (T,) mono samples at that rate."""

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 1_536_000
LOUDEST = 1e9
"""Larger float samples, like infinite ones, are broken numbers and not sound."""

_MAX_DEMUX_FAILURES = 32  # in a row, before the rest of a file is given up
_SCALES = {"u1": 1 / 128, "i2": 1 / 2**15, "i4": 1 / 2**31, "i8": 1 / 2**63, "f4": 1.0, "f8": 1.0}
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}

# Playlists, images, subtitles and raw samples are no audio files: a playlist would make FFmpeg
# open other files or addresses, and anything at all can be read as raw samples.
_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,iff,loas,"
    "matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,oga,ogg,oma,qoa,rm,shn,tak,tta,voc,w64,wav,wv,xwma",
}
_MAGIC = {
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"FORM": "AIFF",
    b"ID3": "MP3",
    b"wvpk": "WavPack",
    b"\x1aE\xdf\xa3": "Matroska",
    b"0&\xb2u": "WMA",
}


@dataclass(slots=True)
class Tally:
    """What one pass over a file has met; `problem()` says it in words."""

    samples: Counter[int] = field(default_factory=Counter)  # decoded, by their sample rate
    stated: float | None = None
    end: float = 0.0  # of the latest frame, by its time stamp
    packets: int = 0
    failed: int = 0
    recovered: bool = False  # a good packet followed a failed one
    broken_numbers: int = 0
    end_missing: bool = False
    guessed: bool = False  # the content alone did not tell what format it is

    @property
    def seconds(self) -> float:
        """How much could be decoded."""
        return sum(count / rate for rate, count in self.samples.items())

    def problem(self) -> str:
        """Return "" or, for example, "truncated: 12.3 of 30.0 s could be decoded"."""
        parts = [part for part in (self._lost(), self._numbers()) if part]
        return "; ".join(parts)

    def _lost(self) -> str:
        failures = f" ({self.failed} of {self.packets} packets failed)" if self.failed else ""
        if self.stated is not None:
            slack = 0.25 + 0.001 * self.stated  # encoders pad, and headers round
            if self.seconds < self.stated - slack:
                in_the_middle = self.recovered or self.end >= self.stated - slack
                kind = "damaged" if in_the_middle else "truncated"
                amount = f"{self.seconds:.1f} of {self.stated:.1f} s"
                return f"{kind}: {amount} could be decoded{failures}"
            if not self.end_missing:
                return ""  # nothing is lost: what failed was a tag behind or between the music
        if self.failed or self.end_missing:
            kind = "damaged" if self.recovered else "truncated"
            return f"{kind}: {self.seconds:.1f} s could be decoded{failures}"
        return ""

    def _numbers(self) -> str:
        if not self.broken_numbers:
            return ""
        return f"{self.broken_numbers} samples were not finite numbers and were taken as silence"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Folders, pipes, sockets and devices are refused, because reading some of them never ends.

    Raises:
        UnreadableAudioError: it is no regular file, is missing or may not be read.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
            raise UnreadableAudioError(path, f"is {kind}, not a file")
        # Through a bare descriptor FFmpeg sees no name: it then judges the content, not the suffix.
        return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")
    except OSError as error:
        raise UnreadableAudioError(path, (error.strerror or str(error)).lower()) from error
    except ValueError as error:  # a null byte in the name
        raise UnreadableAudioError(path, str(error)) from error


def decode(path: Path, tally: Tally) -> Iterator[Block]:
    """Decode a file to mono blocks at its own rate, in bounded memory, filling `tally` on the way.

    The rate may change between blocks. Blocks follow the file's packets and may be short.

    Raises:
        NotAudioError: the content is not audio.
        EmptyAudioError: an audio container without a single sample that can be decoded.
        UnreadableAudioError: missing, no permission, no regular file, or an I/O error.
    """
    for rate, planes, channels in decode_planes(path, tally):
        waveform, broken = mono(planes, channels=channels)
        tally.broken_numbers += broken
        yield rate, waveform


def decode_planes(path: Path, tally: Tally) -> Iterator[tuple[int, list[NDArray[Any]], int]]:
    """Decode a file to what `mono` takes: the rate in Hz, the planes, and the number of channels.

    The planes are views of memory that the next step overwrites. Otherwise, and in its errors, as
    `decode`.
    """
    with open_regular(path) as file, _open_container(path, file, tally) as container:
        stream = _audio_stream(path, container)
        _read_headers(path, container, stream, tally)
        for frame in _frames(path, container, stream, tally):
            rate, samples = int(frame.sample_rate), int(frame.samples)
            if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
                raise NotAudioError(path, f"its header states a sample rate of {rate} Hz")
            tally.samples[rate] += samples
            if frame.time is not None:
                tally.end = frame.time + samples / rate
            yield rate, _planes(frame), int(frame.layout.nb_channels)
    if tally.seconds == 0:
        raise _nothing_decoded(path, tally)


def mono(planes: list[NDArray[Any]], *, channels: int) -> tuple[Waveform, int]:
    """Mix to the plain mean of the channels, within ±1 for integers.

    Args:
        planes: one (T,) array per channel, or a single interleaved (T · channels,) array.
        channels: how many there are.

    Returns:
        The (T,) waveform and how many samples were not finite (they count as 0).
    """
    planar = len(planes) == channels
    sound = np.stack(planes) if planar else planes[0].reshape(-1, channels).T
    code = sound.dtype.str[1:]
    broken = 0
    if sound.dtype.kind == "f":
        bad = ~(np.abs(sound) <= LOUDEST)  # also true for NaN
        broken = int(np.count_nonzero(bad))
        sound = np.where(bad, sound.dtype.type(0), sound) if broken else sound
    mean = sound.mean(axis=0, dtype=np.float64)
    if code == "u1":
        mean -= 128
    return np.asarray(mean * _SCALES[code], dtype=np.float32), broken


def _planes(frame: Any) -> list[NDArray[Any]]:
    """View the samples of a frame as arrays, one per plane; a packed frame has one plane."""
    dtype = np.dtype(_DTYPES[frame.format.name.removesuffix("p")])
    planar, channels = frame.format.is_planar, frame.layout.nb_channels
    count = frame.samples * (1 if planar else channels)
    # PyAV 18 lists planes that do not exist when there are 8 or more; reading those crashes.
    planes = frame.planes[: channels if planar else 1]
    return [np.frombuffer(plane, dtype=dtype, count=count) for plane in planes]


def _open_container(path: Path, file: BinaryIO, tally: Tally) -> Any:
    """Open by content; failing that by name, for a file whose beginning is damaged."""
    head = file.read(12)
    file.seek(0)
    if not head:
        raise EmptyAudioError(path, "the file is empty (0 bytes)")
    try:
        return av.open(file, options=dict(_OPTIONS), metadata_errors="replace")
    except FFmpegError:
        tally.guessed = True  # by its name; the next attempt raises what is to be said
    except OSError as error:
        raise UnreadableAudioError(path, (error.strerror or str(error)).lower()) from error
    try:
        return av.open(str(path.absolute()), options=dict(_OPTIONS), metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise _cannot_open(path, head) from error


def _cannot_open(path: Path, head: bytes) -> AudioError:
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")
    if head[4:8] == b"ftyp":
        kind = "MP4"
    if not kind:
        return NotAudioError(path, "the content is not audio")
    reason = f"begins like {kind}, but no audio can be found: truncated or damaged"
    return EmptyAudioError(path, reason)


def _audio_stream(path: Path, container: Any) -> Any:
    """Choose the stream that FFmpeg thinks best, if it has a decoder, else the first with one."""
    streams = [stream for stream in container.streams if stream.type == "audio"]
    # A stream without a codec context crashes the process when it is decoded.
    usable = [stream for stream in streams if stream.codec_context is not None]
    if usable:
        best = container.streams.best("audio")
        chosen = best if best in usable else usable[0]
        # PyAV 18.1 frees a custom channel layout twice, which ends the process; only its number
        # of channels is needed here, so it gets the plain layout of as many.
        if count := chosen.codec_context.channels:
            chosen.codec_context.layout = f"{count} channels"
        return chosen
    if streams:
        raise NotAudioError(path, "its audio is of a kind that no decoder here knows")
    if container.format.name.startswith("mov"):
        raise EmptyAudioError(path, "its index lists no audio: truncated, or without sound")
    raise NotAudioError(path, "the content is not audio")


def _read_headers(path: Path, container: Any, stream: Any, tally: Tally) -> None:
    """Note how long the file says it is, in seconds, where FFmpeg would not merely guess."""
    name = container.format.name.split(",")[0]
    with open_regular(path) as file:  # a second handle: FFmpeg keeps the position of its own
        tally.stated = stated_seconds(file, container=name)
        tally.end_missing = name == "ogg" and ogg_end_missing(file)
    if tally.stated is not None or name not in STATED_BY_CONTAINER:
        return
    if stream.duration is not None and stream.time_base is not None:
        tally.stated = float(stream.duration * stream.time_base)
    elif len(container.streams) == 1 and container.duration is not None:
        tally.stated = container.duration / 1e6  # of several streams it may be the film's


def _frames(path: Path, container: Any, stream: Any, tally: Tally) -> Iterator[Any]:
    """Decode packet by packet; a failed packet is counted and passed over."""
    for packet in _packets(path, container, stream, tally):
        try:
            frames = packet.decode()
        except (FFmpegError, OSError):
            tally.failed += packet.size > 0
            continue
        for frame in frames:
            if frame.samples > 0 and frame.layout.nb_channels > 0:
                tally.recovered |= tally.failed > 0 and packet.size > 0
                yield frame


def _packets(path: Path, container: Any, stream: Any, tally: Tally) -> Iterator[Any]:
    """Demux, starting again behind a damaged place."""
    failures = 0
    while failures < _MAX_DEMUX_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                tally.packets += packet.size > 0
                yield packet
        except FFmpegError:
            tally.failed += failures == 0  # one damaged place, however often it is tried
            tally.packets += failures == 0
            failures += 1
        except OSError as error:
            raise UnreadableAudioError(path, (error.strerror or str(error)).lower()) from error
        else:
            return


def _nothing_decoded(path: Path, tally: Tally) -> AudioError:
    if tally.stated:
        lost = f"none of its {tally.stated:.1f} s could be decoded: truncated or damaged"
        return EmptyAudioError(path, lost)
    if tally.failed or tally.guessed:
        return NotAudioError(path, "the content is not audio, or is damaged beyond use")
    return EmptyAudioError(path, "has no audio samples")
