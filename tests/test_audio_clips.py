"""Clips cover every sample, whatever the sizes of the blocks."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.audio.clips import Clip, clip_length, pad_clips, split_clips
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.embedding import Waveform


def slow_clips(waveform: Waveform, *, sample_rate: int, clip_seconds: float) -> list[Clip]:
    """The obvious twin: the whole waveform, sliced."""
    length = clip_length(sample_rate=sample_rate, clip_seconds=clip_seconds)
    return [
        Clip(start / sample_rate, min(start + length, len(waveform)) / sample_rate, part)
        for start in range(0, len(waveform), length)
        for part in [waveform[start : start + length]]
    ]


@given(
    sizes=st.lists(st.integers(0, 40), max_size=12),
    sample_rate=st.integers(1, 9),
    clip_seconds=st.sampled_from([0.3, 1.0, 2.5, 4.0]),
)
def test_clips_equal_slices_whatever_the_blocks(
    sizes: list[int], sample_rate: int, clip_seconds: float
) -> None:
    waveform = np.arange(1, sum(sizes) + 1, dtype=np.float32)
    blocks = np.split(waveform, np.cumsum(sizes)[:-1]) if sizes else []
    clips = list(split_clips(blocks, sample_rate=sample_rate, clip_seconds=clip_seconds))
    twin = slow_clips(waveform, sample_rate=sample_rate, clip_seconds=clip_seconds)
    assert [(clip.start, clip.end) for clip in clips] == [(clip.start, clip.end) for clip in twin]
    for clip, expected in zip(clips, twin, strict=True):
        np.testing.assert_array_equal(clip.waveform, expected.waveform)
        assert clip.waveform.dtype == np.float32


@given(total=st.integers(1, 500), sample_rate=st.integers(1, 50))
def test_clips_follow_each_other_without_gap_or_overlap(total: int, sample_rate: int) -> None:
    block = np.ones(total, dtype=np.float32)
    clips = list(split_clips([block], sample_rate=sample_rate, clip_seconds=1.5))
    assert clips[0].start == 0
    assert clips[-1].end == total / sample_rate
    for clip, following in pairwise(clips):
        assert clip.end == following.start
        assert len(clip.waveform) == clip_length(sample_rate=sample_rate, clip_seconds=1.5)
    assert sum(len(clip.waveform) for clip in clips) == total


def test_later_clips_do_not_overwrite_earlier_ones() -> None:
    blocks = [np.full(4, value, dtype=np.float32) for value in (1, 2, 3)]
    clips = list(split_clips(blocks, sample_rate=4, clip_seconds=1.0))
    assert [clip.waveform.tolist() for clip in clips] == [[1] * 4, [2] * 4, [3] * 4]


def test_a_block_can_be_reused_by_its_producer() -> None:
    def blocks() -> Iterator[Waveform]:
        shared = np.empty(4, dtype=np.float32)
        for value in (1, 2):
            shared[:] = value
            yield shared

    clips = list(split_clips(blocks(), sample_rate=4, clip_seconds=1.0))
    assert [clip.waveform.tolist() for clip in clips] == [[1] * 4, [2] * 4]


def test_no_samples_give_no_clips() -> None:
    assert list(split_clips([], sample_rate=8, clip_seconds=1.0)) == []
    empty = np.zeros(0, dtype=np.float32)
    assert list(split_clips([empty, empty], sample_rate=8, clip_seconds=1.0)) == []


def test_a_long_stream_needs_the_memory_of_a_few_clips() -> None:
    block = np.zeros(16_000, dtype=np.float32)
    tracemalloc.start()
    clips = split_clips((block for _ in range(3600)), sample_rate=16_000, clip_seconds=10.0)
    seconds = sum(clip.end - clip.start for clip in clips)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == pytest.approx(3600)
    assert peak < 5 * 10 * 16_000 * 4


@pytest.mark.parametrize(("sample_rate", "clip_seconds"), [(0, 1.0), (-1, 1.0), (8, 0.0), (8, -1)])
def test_senseless_lengths_are_refused(sample_rate: int, clip_seconds: float) -> None:
    with pytest.raises(InputError, match="must be positive"):
        list(split_clips([], sample_rate=sample_rate, clip_seconds=clip_seconds))


def test_a_clip_shorter_than_a_sample_holds_one_sample() -> None:
    clips = list(split_clips([np.ones(3, dtype=np.float32)], sample_rate=1, clip_seconds=0.1))
    assert [len(clip.waveform) for clip in clips] == [1, 1, 1]


@given(lengths=st.lists(st.integers(0, 9), max_size=6), length=st.integers(9, 12))
def test_padding_keeps_samples_and_adds_zeros(lengths: list[int], length: int) -> None:
    waveforms = [np.arange(1, size + 1, dtype=np.float32) for size in lengths]
    padded, true_lengths = pad_clips(waveforms, length=length)
    assert padded.shape == (len(lengths), length)
    assert padded.dtype == np.float32
    assert true_lengths.dtype == np.int64
    assert true_lengths.tolist() == lengths
    for row, waveform in zip(padded, waveforms, strict=True):
        assert row.tolist() == waveform.tolist() + [0.0] * (length - len(waveform))


def test_padding_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"waveform 1 has shape \(5,\)"):
        pad_clips([np.zeros(4, dtype=np.float32), np.zeros(5, dtype=np.float32)], length=4)
    with pytest.raises(InputError, match=r"shape \(2, 2\)"):
        pad_clips([np.zeros((2, 2), dtype=np.float32)], length=4)
