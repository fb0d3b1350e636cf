"""A music file → a WAV file that any player plays; for formats that a browser does not know.

Made in a process of its own, so that a decoder that crashes, hangs or swells takes nothing else
with it: `make_wav` starts `main` of this module. Knows neither libraries nor HTTP.
"""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

from clap_musicgen.audio.decode import Tally, decode_planes, mono
from clap_musicgen.audio.pool import environment
from clap_musicgen.errors import AudioError, InputError, UnreadableAudioError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    Sound: TypeAlias = NDArray[np.float32]
    """(T, C) samples within about ±1, of one channel or two."""

FULL_RATE, SMALL_RATE = 48_000, 22_050
_PROGRAM = "from clap_musicgen.audio.playing import main; main()"
_MEMORY = 4 * 2**30  # bytes of address space for the child
_LOUDEST = 2**15 - 1


def make_wav(
    source: str | Path, target: str | Path, *, duration: float, most_bytes: int, timeout: float
) -> None:
    """Write `source` as 16-bit WAV to `target`, in another process.

    In stereo, or mono if that is what it is, and at its own rate up to 48 kHz; a track that would
    be too large so becomes mono at 22.05 kHz. More than two channels are mixed to one.

    Args:
        source: any music file.
        target: a file that may be written.
        duration: of the track, in seconds, as it is known.
        most_bytes: how large the WAV may become.
        timeout: seconds after which the work is ended.

    Raises:
        InputError: it is too long for `most_bytes`.
        AudioError: it cannot be read or decoded, or not in time; nothing useful is in `target`.
    """
    full, small = (int(duration * bytes_) for bytes_ in (FULL_RATE * 4, SMALL_RATE * 2))
    if small > most_bytes:
        raise InputError(
            f"{str(source)!r} is {duration / 3600:.1f} h long, which is too much to be converted: "
            "play the file itself"
        )
    rate, channels = (FULL_RATE, 2) if full <= most_bytes else (SMALL_RATE, 1)
    asked = [str(source), str(target), str(rate), str(channels), str(most_bytes)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, *asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=environment(),
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableAudioError(source, f"could not be decoded in {timeout:g} s") from error
    if done.returncode:
        raise UnreadableAudioError(source, _reason(done.stdout, done.returncode))


def _reason(told: bytes, code: int) -> str:
    with suppress(ValueError):
        return str(json.loads(told))
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"the decoder crashed: {how}"


def write_wav(source: Path, target: Path, *, rate: int, channels: int) -> None:
    """Write `source` as 16-bit WAV with at most this rate, in Hz, and so many channels.

    Raises what `decode.decode` raises.
    """
    blocks = _sounds(source, most_channels=channels)
    first_rate, first = next(blocks)
    rate, channels = min(rate, first_rate), first.shape[1]
    with target.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframesraw(b"")
        for sound in _resampled(_chained((first_rate, first), blocks), rate, channels):
            whole = np.clip(np.rint(sound * _LOUDEST), -_LOUDEST - 1, _LOUDEST)
            file.writeframesraw(whole.astype("<i2").tobytes())


def _sounds(source: Path, *, most_channels: int) -> Iterator[tuple[int, Sound]]:
    for rate, planes, channels in decode_planes(source, Tally()):
        if channels == most_channels == 2:
            separate = planes if len(planes) == channels else list(planes[0].reshape(-1, 2).T)
            yield rate, np.stack([mono([one], channels=1)[0] for one in separate], axis=1)
        else:
            yield rate, mono(planes, channels=channels)[0][:, None]


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _resampled(blocks: Iterator[tuple[int, Sound]], rate: int, channels: int) -> Iterator[Sound]:
    """Bring blocks of any rates and channels to one form."""
    for source, run in groupby(blocks, key=itemgetter(0)):
        fitted = (_fitted(sound, channels) for _, sound in run)
        if source == rate:
            yield from fitted
            continue
        resampler = soxr.ResampleStream(source, rate, channels, dtype="float32", quality="HQ")
        for sound in fitted:
            yield resampler.resample_chunk(sound).reshape(-1, channels)
        nothing = np.zeros((0, channels), dtype=np.float32)
        yield resampler.resample_chunk(nothing, last=True).reshape(-1, channels)


def _fitted(sound: Sound, channels: int) -> Sound:
    if sound.shape[1] == channels:
        return np.ascontiguousarray(sound)
    mixed = sound.mean(axis=1, keepdims=True, dtype=np.float32)
    return np.ascontiguousarray(np.repeat(mixed, channels, axis=1))


def main() -> None:
    """Work as the child: source, target, rate, channels and the bytes it may write."""
    source, target, rate, channels, most = sys.argv[1:]
    _limit(int(most))
    try:
        write_wav(Path(source), Path(target), rate=int(rate), channels=int(channels))
    except AudioError as error:
        print(json.dumps(error.reason))
        sys.exit(1)
    except OSError as error:
        print(json.dumps(f"cannot be written as WAV: {error.strerror or error}"))
        sys.exit(1)


def _limit(most_bytes: int) -> None:
    """Bound what this process may take, where the system can."""
    try:
        import resource
        import signal
    except ImportError:  # not on Windows; there the parent's patience is the bound
        return
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an OSError then
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes + 2**20, most_bytes + 2**20))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
