"""Music and views of libraries that the library's tests share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audio_factory import write_wav
from clap_musicgen.library.folder import read_description
from clap_musicgen.library.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from clap_musicgen.library import Track

RATE = 8_000


def write_tone(path: Path, hertz: float, *, seconds: float = 1.5) -> Path:
    """Write a sine as a 16-bit WAV."""
    time = np.arange(round(RATE * seconds)) / RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = (8_000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)
    return write_wav(path, wave, sample_rate=RATE)


def write_sweep(path: Path, *, seconds: float) -> Path:
    """Write a rising tone: each of its clips has another vector."""
    time = np.arange(round(RATE * seconds)) / RATE
    wave = (8_000 * np.sin(2 * np.pi * (100 + 1500 * time / seconds) * time)).astype(np.int16)
    return write_wav(path, wave, sample_rate=RATE)


def write_tones(folder: Path, count: int, *, seconds: float = 1.5) -> list[Path]:
    """Write `count` different tones, 00.wav and so on."""
    return [
        write_tone(folder / f"{number:02}.wav", 100 + 37 * number, seconds=seconds)
        for number in range(count)
    ]


def touch(path: Path) -> None:
    """Give a file another time of modification."""
    moment = path.stat().st_mtime_ns + 5_000_000_000
    os.utime(path, ns=(moment, moment))


@dataclass(frozen=True, slots=True)
class Held:
    """What a library knows of one track; comparable, vectors included."""

    track: Track
    mean: tuple[float, ...]
    clips: tuple[tuple[float, float, tuple[float, ...]], ...]


def everything(library: Path | str) -> dict[str, Held]:
    """Return all that a library holds, by path."""
    state = Store(library, dim=read_description(library).dim).resident()
    held: dict[str, Held] = {}
    means = state.means()
    for row, track in enumerate(state.tracks):
        content_row = int(state.content_rows[row])
        segments = state.segments(content_row)
        clips = tuple(
            (float(start), float(end), tuple(vector.tolist()))
            for start, end, vector in zip(
                segments.starts, segments.ends, segments.vectors, strict=True
            )
        )
        held[track.path] = Held(track, tuple(means[content_row].tolist()), clips)
    return held


def strings(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return paths as a library writes them."""
    return tuple(str(path) for path in paths)
