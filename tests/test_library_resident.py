"""One state of a library: exact in memory and the same by the index, against slow twins."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.audio.files import Tags
from clap_musicgen.embedding import mean_direction, unit
from clap_musicgen.library import nearest
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.rows import Clips, NewTrack, Summary
from clap_musicgen.library.store import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.library.resident import State

DIM = 8
CONTENTS, COPIES = 300, 20
MODES = ("memory", "disk")


def make_tracks(rng: np.random.Generator) -> list[NewTrack]:
    """Tracks with one to five clips round a direction of their own, some of them copies."""
    tracks = []
    for number in range(CONTENTS):
        centre = unit(rng.normal(size=DIM) + 1)
        vectors = unit(centre + 0.2 * rng.normal(size=(int(rng.integers(1, 6)), DIM)))
        starts = np.arange(len(vectors), dtype=np.float64) * 2
        duration = float(starts[-1] + 2)
        summary = Summary(duration, "", datetime(2026, 1, 1, tzinfo=UTC), mean_direction(vectors))
        tracks.append(
            NewTrack(
                f"/{rng.integers(10**9):09}-{number}.wav",
                tags=Tags(title=str(number)),
                size=1,
                mtime_ns=1,
                content=f"{number:032x}",
                summary=summary,
                clips=Clips(starts, np.asarray(starts + 2, dtype=np.float64), vectors),
                replaces=False,
            )
        )
    copies = [
        replace(track, path=f"/copy {number}.wav", clips=None)
        for number, track in enumerate(tracks[:COPIES])
    ]
    return tracks + copies


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, State]:
    """The same library held in memory, and left on disk behind an index with rows outside it."""
    rng = np.random.default_rng(1)
    tracks = make_tracks(rng)
    texts = unit(rng.normal(size=(40, DIM)) - 1)
    folder = tmp_path_factory.mktemp("states") / "library"
    store = Store.create(folder, dim=DIM, exact_up_to=100)
    store.commit(tracks[:280])
    store.commit(tracks[280:])
    store.write_texts([str(number) for number in range(40)], texts)
    indices = [index.columns for index in store._tables["clips"]._handle.list_indices()]
    assert ["vector"] in indices
    return {"memory": Store(folder, dim=DIM).resident(), "disk": store.resident()}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few rows be many, so that the index answers."""
    monkeypatch.setattr(nearest, "FEW", 10)
    monkeypatch.setattr(nearest, "FEW_CLIPPED", 10)
    monkeypatch.setattr(nearest, "LEAST_CANDIDATES", 60)


def questions(state: State) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    asked = [state.correction.question(unit(rng.normal(size=DIM)), "text") for _ in range(6)]
    return [*asked, state.correction.question(state.means()[3], "sound")]


def slow_scores(state: State, direction: NDArray[np.float32]) -> NDArray[np.float32]:
    corrected = state.correction.music(state.means())
    scores = np.clip(corrected @ direction, -1, 1) - state.correction.bias(corrected)
    return np.asarray(scores, dtype=np.float32)


def masks() -> list[NDArray[np.int64] | None]:
    rng = np.random.default_rng(2)
    count = CONTENTS + COPIES
    return [
        None,
        np.flatnonzero(rng.random(count) < 0.5),
        np.flatnonzero(rng.random(count) < 0.05),
        np.asarray([7]),
        np.empty(0, dtype=np.int64),
    ]


def test_both_hold_the_same(states: dict[str, State]) -> None:
    memory, disk = states["memory"], states["disk"]
    assert [track.path for track in memory.tracks] == sorted(track.path for track in disk.tracks)
    assert len(memory.row_of_content) == CONTENTS
    np.testing.assert_array_equal(memory.content_rows, disk.content_rows)
    np.testing.assert_array_equal(memory.means(), disk.means())
    rows = np.asarray([5, 300, 5, 0])
    np.testing.assert_array_equal(memory.vectors(rows), disk.vectors(rows))
    np.testing.assert_array_equal(memory.vectors(rows), memory.means()[memory.content_rows[rows]])
    assert memory.row_of_key[path_key(memory.tracks[9].path)] == 9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 12, 1000])
def test_ranked_against_a_slow_twin(states: dict[str, State], mode: str, k: int) -> None:
    state = states[mode]
    for direction in questions(state):
        scores = slow_scores(state, direction)[state.content_rows]
        for rows in masks():
            allowed = np.arange(len(scores)) if rows is None else rows
            slow = sorted(allowed.tolist(), key=lambda row: (-scores[row], row))[:k]
            found = state.ranked(direction, k=k, rows=rows)
            np.testing.assert_allclose(found.scores, scores[slow], atol=1e-5)
            paths = [state.tracks[row].path for row in found.rows.tolist()]
            ties = zip(-found.scores, paths, strict=True)
            assert sorted(paths) == sorted({*paths})
            assert list(zip(-found.scores, paths, strict=True)) == sorted(ties)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [1, 12, 2000])
def test_ranked_clips_against_a_slow_twin(states: dict[str, State], mode: str, k: int) -> None:
    state = states[mode]
    segments = {content: states["memory"].segments(content) for content in range(CONTENTS)}
    for direction in questions(state)[:3]:
        for rows in masks():
            allowed = range(len(state.tracks)) if rows is None else rows.tolist()
            first = {int(state.content_rows[row]): row for row in reversed(list(allowed))}
            slow: dict[tuple[int, float], float] = {}
            for content, row in first.items():
                corrected = state.correction.music(segments[content].vectors)
                scores = corrected @ direction - state.correction.bias(corrected)
                starts = segments[content].starts.tolist()
                slow |= {
                    (row, start): score
                    for score, start in zip(scores.tolist(), starts, strict=True)
                }
            found = state.ranked_clips(direction, k=k, rows=rows)
            best = sorted(slow.values(), reverse=True)[:k]
            np.testing.assert_allclose(found.scores, best, atol=1e-5)
            clips = list(zip(found.rows.tolist(), found.starts.tolist(), strict=True))
            assert len(set(clips)) == len(clips)
            np.testing.assert_allclose(found.scores, [slow[clip] for clip in clips], atol=1e-5)
            np.testing.assert_array_equal(found.ends, found.starts + 2)


@pytest.mark.parametrize("mode", MODES)
def test_best_segments_against_a_slow_twin(states: dict[str, State], mode: str) -> None:
    state = states[mode]
    direction = questions(state)[0]
    contents = np.asarray([4, 200, 4, 17])
    starts, ends = state.best_segments(contents, direction)
    for content, start, end in zip(contents.tolist(), starts, ends, strict=True):
        segments = state.segments(content)
        assert sorted(segments.starts) == segments.starts.tolist()
        best = int(np.argmax(state.correction.music(segments.vectors) @ direction))
        assert (start, end) == (segments.starts[best], segments.ends[best])
    assert [len(part) for part in state.best_segments(contents[:0], direction)] == [0, 0]


def test_copies_tie_exactly_and_come_by_path(states: dict[str, State]) -> None:
    state = states["memory"]
    found = state.ranked(questions(state)[0], k=1000)
    assert len({float(score) for score in found.scores}) <= CONTENTS
    for row in range(COPIES):
        pair = [
            place
            for place, other in enumerate(found.rows)
            if state.content_rows[other] == state.content_rows[found.rows[row]]
        ]
        assert pair == list(range(pair[0], pair[0] + len(pair)))
