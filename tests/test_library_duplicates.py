"""Finding the same recording: by blocks and clip by clip, beside slow and obvious twins."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clap_musicgen.embedding import mean_direction, unit
from clap_musicgen.library import duplicates
from clap_musicgen.library.duplicates import (
    ALIKE_COSINE,
    CLIP_COSINE,
    SINGLE_COSINE,
    WINDOW_SECONDS,
    alike,
    best_first,
    candidate_pairs,
    duplicate_groups,
    is_same,
    likeness,
    linked,
    sizes_of,
)
from clap_musicgen.library.records import Track
from clap_musicgen.library.rows import Clips

TRACK = Track("/music/a.mp3", "Calm", "Nina", "", "", None, 61.4, "00", "")


def clips_of(vectors: NDArray[np.float32], *, seconds: float = 10.0, last: float = 10.0) -> Clips:
    starts = np.arange(len(vectors), dtype=np.float64) * seconds
    ends = np.asarray(starts + seconds, dtype=np.float64)
    ends[-1] += last - seconds
    return Clips(starts, ends, vectors)


def music(seed: int, count: int = 6, dim: int = 8) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


class TestPairs:
    @given(st.integers(0, 10_000), st.integers(0, 40))
    def test_all_pairs_that_are_close_in_both(self, seed: int, count: int) -> None:
        rng = np.random.default_rng(seed)
        means = unit(rng.normal(size=(count, 3)))
        durations = rng.choice([2.0, 2.1, 3.0, 20.0, 21.0, 22.6, 24.0, 30.0], count)
        expected = [
            [i, j]
            for i, j in itertools.combinations(range(count), 2)
            if means[i] @ means[j] >= 0.7
            and abs(durations[i] - durations[j]) <= min(1.5, max(durations[i], durations[j]) / 10)
        ]
        assert candidate_pairs(means, durations, cosine=0.7, seconds=1.5).tolist() == expected

    def test_across_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        means, durations = unit(rng.normal(size=(300, 3))), rng.uniform(0, 60, 300)
        whole = candidate_pairs(means, durations, cosine=0.8).tolist()
        monkeypatch.setattr(duplicates, "_ROWS", 7)
        monkeypatch.setattr(duplicates, "_COLUMNS", 5)
        assert candidate_pairs(means, durations, cosine=0.8).tolist() == whole
        assert len(whole) > 100

    def test_one_against_many_agrees(self) -> None:
        rng = np.random.default_rng(1)
        means = unit(np.array([1.0, 0, 0]) + 0.1 * rng.normal(size=(60, 3)))
        durations = rng.uniform(0, 10, 60)
        found = candidate_pairs(means, durations, cosine=ALIKE_COSINE)
        pairs = {tuple(pair) for pair in found.tolist()}
        for row in range(60):
            near = set(np.flatnonzero(alike(means, durations, means[row], durations[row])))
            expected = {a + b - row for a, b in pairs if row in {a, b}}
            assert near - {row} == expected
        assert pairs


class TestLikeness:
    @given(st.integers(0, 1_000), st.integers(1, 6), st.integers(1, 6), st.floats(1.0, 12.0))
    def test_the_best_shift_clip_by_clip(
        self, seed: int, ours: int, theirs: int, seconds: float
    ) -> None:
        """The slow twin: each shift, each clip, in plain loops."""
        left = clips_of(music(seed, ours), seconds=seconds, last=0.4 * seconds)
        right = clips_of(music(seed + 1, theirs), seconds=seconds, last=0.7 * seconds)
        longest = max((run.ends - run.starts).max() for run in (left, right))
        best = -1.0
        for early, late in ((left, right), (right, left)):
            for shift in (0, 0.5, 1, 1.5, 2, 2.5, 3):
                whole, part = divmod(shift / longest, 1)
                pairs = []
                for n in range(len(late.vectors)):
                    m = n + int(whole)
                    if m >= len(early.vectors):
                        break
                    after = early.vectors[min(m + 1, len(early.vectors) - 1)]
                    mixed = unit((1 - part) * early.vectors[m] + part * after)
                    spans = early.ends[m] - early.starts[m], late.ends[n] - late.starts[n]
                    pairs.append((float(mixed @ late.vectors[n]), min(spans)))
                kept = sorted(pairs)[1:] if len(pairs) >= 3 else pairs
                if kept:
                    weight = sum(span for _, span in kept)
                    best = max(best, sum(cosine * span for cosine, span in kept) / weight)
        assert likeness(left, right) == pytest.approx(best, abs=1e-5)
        assert likeness(left, right) == pytest.approx(likeness(right, left), abs=1e-6)

    def test_the_order_of_the_clips_counts(self) -> None:
        vectors = music(0)
        left, right = clips_of(vectors), clips_of(vectors[::-1].copy())
        assert mean_direction(left.vectors) == pytest.approx(mean_direction(right.vectors))
        assert likeness(left, right) < CLIP_COSINE
        assert likeness(left, left) == pytest.approx(1)

    @pytest.mark.parametrize("shift", [-3, -2, -1, 0, 1, 2, 3])
    def test_short_clips_may_be_shifted_by_whole_ones(self, shift: int) -> None:
        vectors = music(0, 20)
        left = clips_of(vectors[3:17], seconds=1.0, last=1.0)
        right = clips_of(vectors[3 + shift : 17 + shift], seconds=1.0, last=1.0)
        assert likeness(left, right) == pytest.approx(1, abs=1e-5)

    def test_silence_before_is_looked_through(self) -> None:
        """Moments of half a second; a clip of ten seconds is their mean, as a pooling model's is."""
        rng = np.random.default_rng(0)
        moments = unit(rng.normal(size=(120, 8)).cumsum(axis=0))

        def run(of: NDArray[np.float32]) -> Clips:
            return clips_of(
                np.stack([unit(of[n : n + 20].mean(axis=0)) for n in range(0, 120, 20)])
            )

        silence = np.repeat(unit(rng.normal(size=(1, 8))), 4, axis=0)
        late = run(np.concatenate([silence, moments])[:120])
        plain = float(np.mean(np.sum(run(moments).vectors * late.vectors, axis=1)))
        assert 1 - likeness(run(moments), late) < (1 - plain) / 3

    def test_one_clip_may_differ_and_two_may_not(self) -> None:
        vectors, others = music(0), music(7)
        for count, expected in [(1, True), (2, False)]:
            changed = np.concatenate([others[:count], vectors[count:]])
            assert is_same(clips_of(vectors), clips_of(changed)) == expected

    def test_a_whole_long_clip_is_too_far(self) -> None:
        vectors = music(0, 8)
        assert likeness(clips_of(vectors[:7]), clips_of(vectors[1:])) < 0.9

    def test_a_single_clip_must_agree_better(self) -> None:
        turn = np.arccos((CLIP_COSINE + SINGLE_COSINE) / 2)
        ours = np.tile([[1.0, 0.0]], (3, 1)).astype(np.float32)
        theirs = np.tile([[np.cos(turn), np.sin(turn)]], (3, 1)).astype(np.float32)
        assert is_same(clips_of(ours), clips_of(theirs))
        assert not is_same(clips_of(ours[:1]), clips_of(theirs[:1]))
        assert is_same(clips_of(ours[:1]), clips_of(ours[:1]))

    def test_no_clips(self) -> None:
        none = clips_of(music(0, 1))
        empty = Clips(none.starts[:0], none.ends[:0], none.vectors[:0])
        assert likeness(empty, empty) == -1
        assert likeness(empty, none) == -1


class TestGroups:
    def test_a_small_library(self) -> None:
        """0 and 1: same bytes. 2: nearly the same. 3: same mean, other order. 4: other length."""
        vectors = music(0)
        noisy = unit(vectors + 0.01 * music(9))
        runs = [clips_of(v) for v in (vectors, noisy, vectors[::-1].copy(), vectors, music(5))]
        means = np.stack([mean_direction(run.vectors) for run in runs])
        content_rows = np.array([0, 0, 1, 2, 3, 4])
        durations = np.array([60.0, 60, 60.4, 60, 80, 60])
        asked: list[int] = []

        def clips(row: int) -> Clips:
            asked.append(row)
            return runs[row]

        assert duplicate_groups(means, durations, content_rows, clips) == [[0, 1, 2]]
        assert sorted(asked) == [0, 1, 2]  # each once, and only candidates

    def test_a_chain_is_one_group(self) -> None:
        step = np.arccos(SINGLE_COSINE) * 0.9
        turn = np.arange(4)[::-1] * step
        vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
        runs = [clips_of(vector[None]) for vector in vectors]
        found = duplicate_groups(vectors, np.full(4, 9.0), np.arange(4), runs.__getitem__)
        assert found == [[0, 1, 2, 3]]

    def test_nothing(self) -> None:
        none = np.empty((0, 3), dtype=np.float32)
        assert (
            duplicate_groups(none, np.empty(0), np.empty(0, np.int64), lambda _: clips_of(none))
            == []
        )

    @given(st.integers(1, 12), st.data())
    def test_linked_by_any_way(self, count: int, data: st.DataObject) -> None:
        nodes = st.integers(0, count - 1)
        pairs = data.draw(st.lists(st.tuples(nodes, nodes), max_size=15))
        together = [{n} for n in range(count)]
        for _ in range(count):  # the slow twin: spread along the pairs until nothing changes
            for a, b in pairs:
                union = together[a] | together[b]
                together[a] = together[b] = union
            for n in range(count):
                for other in tuple(together[n]):
                    together[n] = together[n] | together[other]
        labels = linked(count, pairs)
        for a, b in itertools.product(range(count), repeat=2):
            assert (labels[a] == labels[b]) == (b in together[a])


class TestBest:
    def test_whole_then_lossless_then_longer_then_bigger(self) -> None:
        tracks = [
            replace(TRACK, path="/b.mp3", content="02"),
            replace(TRACK, path="/a.mp3", content="02"),
            replace(TRACK, path="/big.mp3", content="03"),
            replace(TRACK, path="/long.mp3", content="04", duration=63.0),
            replace(TRACK, path="/x.FLAC", content="05", duration=61.0),
            replace(TRACK, path="/y.flac", content="06", problem="truncated"),
            replace(TRACK, path="/copy.flac", content="05", duration=61.0),
        ]
        sizes = [3, 3, 9, None, 20, 99, 20]
        found = best_first(tracks, sizes)
        names = ["copy.flac", "x.FLAC", "long.mp3", "big.mp3", "a.mp3", "b.mp3", "y.flac"]
        assert [copy.track.path for copy in found] == [f"/{name}" for name in names]
        assert [copy.same_bytes for copy in found] == [True, True, *[False] * 5]
        assert found[2].size is None
        assert best_first([], []) == []

    def test_sizes(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"abc")
        tracks = [replace(TRACK, path=str(tmp_path / name)) for name in ("a", "gone")]
        assert sizes_of(tracks) == [3, None]


def test_the_window_is_seconds() -> None:
    means = np.ones((2, 1), dtype=np.float32)
    for length, apart, expected in [(50, 3.0, 1), (50, 3.1, 0), (2, 0.2, 1), (2, 0.3, 0)]:
        assert WINDOW_SECONDS == 3
        assert len(candidate_pairs(means, np.array([length, length + apart]))) == expected
