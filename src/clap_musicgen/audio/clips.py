"""Streams of samples → clips of a fixed length that cover every sample; padding for batches.

Knows numpy only: neither files nor models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Waveform


@dataclass(frozen=True, slots=True)
class Clip:
    """An excerpt of a track.

    Attributes:
        start: where it begins, in seconds.
        end: where it ends, in seconds.
        waveform: its (T,) samples, without any padding.
    """

    start: float
    end: float
    waveform: Waveform


def split_clips(
    blocks: Iterable[Waveform], *, sample_rate: int, clip_seconds: float
) -> Iterator[Clip]:
    """Cut a stream of (T_i,) blocks into consecutive clips, in bounded memory.

    Every sample is in exactly one clip; the last clip may be short. The sizes of the blocks do not
    matter. A stream without samples gives no clip.

    Raises:
        InputError: a rate or length that is not positive.
    """
    length = clip_length(sample_rate=sample_rate, clip_seconds=clip_seconds)
    buffer, filled, start = np.empty(length, dtype=np.float32), 0, 0
    for block in blocks:
        taken = 0
        while taken < len(block):
            part = block[taken : taken + length - filled]
            buffer[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == length:
                yield _clip(buffer, start, sample_rate)
                buffer, filled, start = np.empty(length, dtype=np.float32), 0, start + length
    if filled:
        yield _clip(buffer[:filled].copy(), start, sample_rate)


def clip_length(*, sample_rate: int, clip_seconds: float) -> int:
    """Samples in a full clip.

    Raises:
        InputError: a rate or length that is not positive.
    """
    if not (sample_rate > 0 and clip_seconds > 0):
        raise InputError(
            f"sample_rate and clip_seconds must be positive, not {sample_rate!r} Hz and "
            f"{clip_seconds!r} s"
        )
    return max(1, round(sample_rate * clip_seconds))


def _clip(waveform: Waveform, start: int, sample_rate: int) -> Clip:
    return Clip(start / sample_rate, (start + len(waveform)) / sample_rate, waveform)


def pad_clips(
    waveforms: Sequence[Waveform], *, length: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lay clips of different lengths side by side, zeros behind the short ones.

    Returns:
        (B, length) float32 samples and the (B,) int64 true lengths.

    Raises:
        InputError: a waveform that is longer than `length`, or not one-dimensional.
    """
    padded = np.zeros((len(waveforms), length), dtype=np.float32)
    lengths = np.zeros(len(waveforms), dtype=np.int64)
    for row, waveform in enumerate(waveforms):
        if waveform.ndim != 1 or len(waveform) > length:
            raise InputError(
                f"waveform {row} has shape {waveform.shape}; expected (T,) with T ≤ {length}: "
                "cut it with split_clips first"
            )
        padded[row, : len(waveform)] = waveform
        lengths[row] = len(waveform)
    return padded, lengths
