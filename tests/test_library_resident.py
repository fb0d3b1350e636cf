"""Exact search in memory, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.embedding import unit
from clap_musicgen.library.records import Track
from clap_musicgen.library.resident import ClipVectors, Resident, top_k

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), max_size=40)


@given(SCORES, st.integers(1, 50))
def test_top_k_is_a_stable_sort(scores: list[float], k: int) -> None:
    slow = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:k]
    assert top_k(np.asarray(scores, dtype=np.float32), k).tolist() == slow


def make_resident(rng: np.random.Generator, *, contents: int, tracks: int) -> Resident:
    """Tracks of random contents, each with one to five clips in a shuffled table."""
    content_rows = rng.integers(0, contents, size=tracks)
    clips = [(row, time) for row in range(contents) for time in range(rng.integers(1, 6))]
    clips += [(-1, 0)] * 3  # left by an interrupted writer
    rng.shuffle(clips)
    owners, starts = np.asarray(clips).T
    names = [f"/{number:03}.wav" for number in range(tracks)]
    return Resident(
        1,
        tracks=[Track(name, name, "", "", "", None, 9.0, "", "") for name in names],
        row_of_key={},
        row_of_content={},
        content_rows=content_rows,
        means=unit(rng.normal(size=(contents, 6))),
        clips=ClipVectors(
            owners,
            starts=starts * 2.0,
            ends=starts * 2.0 + 2.0,
            vectors=unit(rng.normal(size=(len(clips), 6))),
            contents=contents,
        ),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("masked", [False, True])
def test_search_against_a_slow_twin(seed: int, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    resident = make_resident(rng, contents=20, tracks=50)
    question = unit(rng.normal(size=6))
    rows = np.flatnonzero(rng.random(50) < 0.5) if masked else np.arange(50)
    matches = resident.search(question, k=12, rows=rows if masked else None)

    means, clips = resident.means.astype(np.float64), resident.clips
    slow = []
    for row in rows.tolist():
        content = resident.content_rows[row]
        score = float(np.dot(means[content], question))
        best = max(clips.rows(int(content)), key=lambda clip: float(clips.vectors[clip] @ question))
        slow.append((-round(score, 5), resident.tracks[row].path, clips.starts[best]))
    slow.sort()
    assert [(-round(m.score, 5), m.track.path, m.start) for m in matches] == slow[:12]
    assert all(match.end == match.start + 2 for match in matches)
    assert all(-1 <= match.score <= 1 for match in matches)


def test_the_first_of_equal_clips_is_the_segment_and_strays_belong_to_nobody() -> None:
    vectors = unit(np.asarray([[1.0, 0], [1, 0], [0, 1], [1, 0]]))
    clips = ClipVectors(
        np.asarray([0, 0, 0, -1]),
        starts=np.asarray([2.0, 1.0, 0.0, 0.0]),
        ends=np.asarray([3.0, 2.0, 1.0, 1.0]),
        vectors=vectors,
        contents=2,
    )
    assert clips.rows(0).tolist() == [2, 1, 0]
    assert clips.rows(1).tolist() == []
    assert clips.best(0, vectors[0]) == (1.0, 2.0)
    assert clips.best(0, vectors[2]) == (0.0, 1.0)


def test_copies_tie_exactly_and_come_by_path() -> None:
    resident = make_resident(np.random.default_rng(0), contents=3, tracks=40)
    matches = resident.search(unit(np.ones(6)), k=40)
    assert len({match.score for match in matches}) == 3
    assert matches == sorted(matches, key=lambda match: (-match.score, match.track.path))
