"""Runs of clips and what must hold for them, each against a slow, obvious twin."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.embedding import mean_direction, unit
from clap_musicgen.library.examining import examine
from clap_musicgen.library.rows import clip_table, packed, track_table
from clap_musicgen.library.runs import is_hash, mean_flaw, runs, times_flaw, vectors_flaw
from made_library import DIM, track_of


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5))), st.data())
def test_runs_are_those_of_groupby_however_the_rows_are_batched(
    rows: list[tuple[str, int]], data: st.DataObject
) -> None:
    table = pa.table({"content": [c for c, _ in rows], "start": [s for _, s in rows]})
    batches, rest = [], table.cast(pa.schema([("content", pa.string()), ("start", pa.int64())]))
    while rest.num_rows:
        size = data.draw(st.integers(1, rest.num_rows))
        batches += rest.slice(0, size).combine_chunks().to_batches()
        rest = rest.slice(size)
    found = [(run.content, run.table["start"].to_pylist()) for run in runs(batches)]
    expected = groupby(rows, key=lambda row: row[0])
    assert found == [(content, [start for _, start in run]) for content, run in expected]


def slowly(starts: list[float], ends: list[float], duration: float) -> bool:
    at = 0.0
    for start, end in zip(starts, ends, strict=True):
        if not (abs(start - at) <= 1e-6 and end > start):
            return False
        at = end
    return bool(starts) and abs(at - duration) <= 1e-6


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5, float("nan"), float("inf")]), max_size=4),
    st.lists(st.sampled_from([1.0, 2.0, 2.5, 0.0, float("nan")]), max_size=4),
    st.sampled_from([1.0, 2.0, 2.5, float("nan"), float("inf")]),
)
def test_times_are_flawed_where_going_through_them_fails(
    starts: list[float], ends: list[float], duration: float
) -> None:
    count = min(len(starts), len(ends))
    starts, ends = starts[:count], ends[:count]
    flaw = times_flaw(np.array(starts), np.array(ends), duration=duration)
    assert (flaw == "") == slowly(starts, ends, duration), flaw


def test_half_precision_is_no_flaw_and_anything_else_is() -> None:
    vectors = packed(unit(np.random.default_rng(0).normal(size=(500, 64))))
    assert vectors_flaw(vectors) == ""
    for value, words in ((np.nan, "not finite"), (np.inf, "not finite"), (0.9, "length")):
        wrong = vectors.copy()
        wrong[137] *= value
        assert "137" in vectors_flaw(wrong)
        assert words in vectors_flaw(wrong)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 30.0])
def test_a_mean_that_was_rounded_is_the_mean_and_another_direction_is_not(spread: float) -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        clips = unit(generator.normal(size=(20, 64)) * spread + 1)
        seconds = generator.uniform(0.1, 10, size=20)
        mean = packed(mean_direction(clips, seconds)[None])[0]
        assert mean_flaw(mean, packed(clips), seconds=seconds) == ""
        other = unit(mean.astype(np.float32) + 0.3 * unit(generator.normal(size=64)))
        assert mean_flaw(other, packed(clips), seconds=seconds) != ""


def test_clips_that_cancel_out_have_any_mean() -> None:
    clips = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    any_direction = np.array([0, 1], dtype=np.float32)
    assert mean_flaw(any_direction, clips, seconds=np.ones(2)) == ""


def test_a_hash_is_thirty_two_hexadecimal_digits() -> None:
    assert is_hash("0123456789abcdef" * 2)
    for other in ("", "0" * 31, "0" * 33, "0" * 31 + "G", "0" * 32 + "\n", "' OR 1=1 --"):
        assert not is_hash(other)


def test_vectors_that_are_no_numbers_are_found_in_rows() -> None:
    """LanceDB refuses to write them; a damaged file may hold them all the same."""
    tracks = [track_of(f"/{name}.wav", name) for name in "abc"]
    rows, clips = track_table(tracks, DIM), clip_table(tracks, DIM)
    clips = clips.append_column("_rowid", pa.array(range(9), pa.uint64()))
    assert examine(rows, clips.to_batches(), DIM).findings == []
    vectors = np.stack(clips["vector"].to_numpy(zero_copy_only=False))
    vectors[4] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
    clips = clips.set_column(3, clips.schema.field("vector"), column)
    found = examine(rows, clips.to_batches(), DIM)
    assert [(finding.kind, finding.lost) for finding in found.findings] == [("clips", ("/b.wav",))]
    assert found.bad_clips[0].tolist() == [3, 4, 5]
    assert found.tracks is not None
    assert found.tracks["path"].to_pylist() == ["/a.wav", "/c.wav"]
