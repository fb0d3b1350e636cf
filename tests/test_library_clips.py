"""Clips in memory: the best of each content."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from clap_musicgen.embedding import unit
from clap_musicgen.library.clips import ClipRows, joined, owned, spans
from clap_musicgen.library.known import RowOf
from clap_musicgen.library.rows import vector_array


def make_clips(rng: np.random.Generator, count: int) -> ClipRows:
    starts = np.asarray(rng.integers(0, 6, size=count) * 2, dtype=np.float64)
    vectors = unit(rng.normal(size=(count, 4)))
    return ClipRows(
        rng.integers(0, 5, size=count), starts, np.asarray(starts + 2, dtype=np.float64), vectors
    )


@pytest.mark.parametrize("count", [0, 1, 40])
def test_spans_against_a_slow_twin(count: int) -> None:
    rng = np.random.default_rng(count)
    clips = make_clips(rng, count)
    scores = rng.integers(0, 4, size=count).astype(np.float32)  # many equal
    contents = np.asarray([3, 0, 6, 3, 4])
    durations = np.asarray([9.0, 8, 7, 9, 5])
    starts, ends = spans(clips, scores, contents, durations)
    for place, content in enumerate(contents):
        own = np.flatnonzero(clips.owners == content)
        if not len(own):
            assert (starts[place], ends[place]) == (0, durations[place])
            continue
        best = min(own, key=lambda clip: (-scores[clip], clips.starts[clip]))
        assert (starts[place], ends[place]) == (clips.starts[best], clips.ends[best])


def test_clips_of_unknown_contents_are_left_out() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(3, 4)))
    table = pa.table(
        {
            "content": ["b", "stray", "a"],
            "start": [0.0, 1, 2],
            "end": [1.0, 2, 3],
            "vector": vector_array(vectors, 4),
        }
    )
    clips = owned(table, RowOf(pa.array(["a", "b"])), 4)
    assert (clips.owners.tolist(), clips.starts.tolist()) == ([1, 0], [0, 2])
    np.testing.assert_allclose(clips.vectors, vectors[[0, 2]], atol=1e-3)
    assert len(joined([clips, clips], 4)) == 4
    assert joined([], 4).vectors.shape == (0, 4)
