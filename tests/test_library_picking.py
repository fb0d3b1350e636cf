"""From ranked candidates to the answers a person wants to see."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.errors import InputError
from clap_musicgen.library.duplicates import alike
from clap_musicgen.library.picking import MOST_CANDIDATES, Candidates, Pick, groups, pick
from clap_musicgen.library.records import Track

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from clap_musicgen.library.picking import Per

PERS: tuple[Per | None, ...] = (None, "artist", "album")


def track(number: int = 0, **changes: object) -> Track:
    values: dict[str, object] = {
        "path": f"/music/{number:03}.mp3",
        "title": str(number),
        "artist": "",
        "album": "",
        "genre": "",
        "year": None,
        "duration": 100.0 * number,
        "content": f"content {number}",
        "problem": "",
    }
    return Track(**(values | changes))  # type: ignore[arg-type]


def fetching(
    tracks: Sequence[Track], vectors: NDArray[np.float32], asked: list[int] | None = None
) -> Callable[[int], Candidates]:
    """Rank the tracks as they are given; remember how many were asked for."""

    def fetch(n: int) -> Candidates:
        if asked is not None:
            asked.append(n)
        count = min(n, len(tracks))
        scores = np.linspace(1, 0, len(tracks), dtype=np.float32)[:count]
        rows = 7 * np.arange(count)  # what the caller calls them is the caller's
        return Candidates(rows, scores, list(tracks[:count]), vectors[:count])

    return fetch


def distinct(count: int) -> NDArray[np.float32]:
    return np.eye(count, dtype=np.float32)


@st.composite
def rankings(draw: st.DrawFn) -> tuple[list[Track], NDArray[np.float32]]:
    """Up to 60 tracks of few artists, albums, contents, directions and lengths."""
    count = draw(st.integers(0, 60))
    few = st.lists(st.integers(0, draw(st.integers(1, 30))), min_size=count, max_size=count)
    columns = [draw(few) for _ in range(6)]
    names = ["", "Nina", "NINA", "Björk", "Bjork", *(f"name {number}" for number in range(30))]
    tracks = [
        track(
            number,
            artist=names[artist],
            album=names[album],
            path=f"/music/{folder}/{number:03}.mp3",
            content=f"content {content}",
            duration=2.0 * length,
        )
        for number, (artist, album, folder, content, length, _) in enumerate(
            zip(*columns, strict=True)
        )
    ]
    vectors = np.eye(31, dtype=np.float32)[columns[5]]
    return tracks, vectors.reshape(count, 31)


def rows_of(picks: Sequence[Pick]) -> list[int]:
    return [one.row for one in picks]


def slow_alike(one: int, other: int, tracks: list[Track], vectors: NDArray[np.float32]) -> bool:
    if tracks[one].content == tracks[other].content:
        return True
    durations = np.array([tracks[one].duration])
    return bool(alike(vectors[[one]], durations, vectors[other], tracks[other].duration)[0])


def slow_pick(
    tracks: list[Track], vectors: NDArray[np.float32], k: int, per: Per | None
) -> list[int]:
    """Take one after the other, comparing with every answer so far."""
    answers: list[int] = []
    for place in range(len(tracks)):
        if any(slow_alike(answer, place, tracks, vectors) for answer in answers):
            continue
        if per and any(
            set(groups(tracks[answer], per)) & set(groups(tracks[place], per)) for answer in answers
        ):
            continue
        answers.append(place)
    return answers[:k]


@given(rankings(), st.integers(1, 30), st.sampled_from(PERS))
def test_the_answers_are_those_of_the_slow_way(
    ranking: tuple[list[Track], NDArray[np.float32]], k: int, per: Per | None
) -> None:
    tracks, vectors = ranking
    picks = pick(fetching(tracks, vectors), k, per=per)
    assert rows_of(picks) == [7 * place for place in slow_pick(tracks, vectors, k, per)]
    scores = np.linspace(1, 0, len(tracks), dtype=np.float32)
    for one in picks:
        assert one.track == tracks[one.row // 7]
        assert one.score == pytest.approx(scores[one.row // 7])


@given(rankings(), st.integers(1, 30), st.sampled_from(PERS), st.booleans())
def test_the_first_answers_do_not_depend_on_k(
    ranking: tuple[list[Track], NDArray[np.float32]], k: int, per: Per | None, folding: bool
) -> None:
    fewer = pick(fetching(*ranking), k, per=per, folding=folding)
    more = pick(fetching(*ranking), k + 1, per=per, folding=folding)
    assert rows_of(fewer) == rows_of(more)[:k]
    for one, other in zip(fewer, more, strict=False):
        assert one.also == other.also[: len(one.also)]


@given(rankings(), st.booleans())
def test_no_two_answers_are_of_one_artist(
    ranking: tuple[list[Track], NDArray[np.float32]], folding: bool
) -> None:
    picks = pick(fetching(*ranking), 30, per="artist", folding=folding)
    known = [one.track.artist.lower().replace("ö", "o") for one in picks if one.track.artist]
    assert len(set(known)) == len(known)


@given(rankings(), st.booleans())
def test_no_two_answers_are_of_one_album(
    ranking: tuple[list[Track], NDArray[np.float32]], folding: bool
) -> None:
    picks = pick(fetching(*ranking), 30, per="album", folding=folding)
    for one, other in combinations([one.track for one in picks if one.track.album], 2):
        same_title = one.album.lower().replace("ö", "o") == other.album.lower().replace("ö", "o")
        same_artist = one.artist and one.artist.lower() == other.artist.lower()
        same_folder = one.path.rpartition("/")[0] == other.path.rpartition("/")[0]
        assert not (same_title and (same_artist or same_folder))


@given(rankings())
def test_nothing_is_lost_that_is_not_folded(
    ranking: tuple[list[Track], NDArray[np.float32]],
) -> None:
    tracks, vectors = ranking
    count = max(1, len(tracks))
    picks = pick(fetching(tracks, vectors), count)
    shown = [one.track for one in picks] + [same for one in picks for same in one.also]
    assert sorted(one.path for one in shown) == sorted(one.path for one in tracks)
    assert len({one.track.content for one in picks}) == len(picks)
    assert rows_of(pick(fetching(tracks, vectors), count, folding=False)) == [
        7 * place for place in range(len(tracks))
    ]


def test_more_candidates_are_asked_for_until_there_are_k_answers() -> None:
    tracks = [track(n, artist="one" if n < 900 else f"artist {n}") for n in range(1000)]
    asked: list[int] = []
    picks = pick(fetching(tracks, distinct(1000), asked), 3, per="artist")
    assert rows_of(picks) == [0, 7 * 900, 7 * 901]
    assert asked == [28, 112, 448, 1792]
    asked.clear()
    assert len(pick(fetching(tracks, distinct(1000), asked), 3)) == 3
    assert asked == [28]
    asked.clear()
    same = [track(n, artist="one") for n in range(40)]
    assert len(pick(fetching(same, distinct(40), asked), 5, per="artist")) == 1
    assert asked == [36, 144]


def test_no_more_candidates_than_memory_bears() -> None:
    asked: list[int] = []

    def fetch(n: int) -> Candidates:
        asked.append(n)
        tracks = [track(0, artist="one")] * n
        return Candidates(
            np.arange(n), np.zeros(n, np.float32), tracks, np.zeros((n, 0), np.float32)
        )

    assert len(pick(fetch, 2, per="artist", folding=False)) == 1
    assert asked == [24, 96, 384, 1536, 6144, MOST_CANDIDATES]


def test_near_duplicates_stay_visible() -> None:
    close = np.zeros((5, 8), dtype=np.float32)
    close[:, 0] = 1
    close[1, 1] = 0.05  # a cosine of 0.9988 with the first
    close[3, 1] = 0.5
    close /= np.linalg.norm(close, axis=1, keepdims=True)
    tracks = [
        track(0, duration=200.0),
        track(1, duration=202.0),  # another master
        track(2, duration=240.0),  # as close, but longer
        track(3, duration=200.0),  # as long, but not as close
        track(4, duration=999.0, content="content 0"),  # the same bytes, said to be longer
    ]
    picks = pick(fetching(tracks, close), 5)
    assert [one.track.title for one in picks] == ["0", "2", "3"]
    assert [[same.title for same in one.also] for one in picks] == [["1", "4"], [], []]
    assert [one.track.title for one in pick(fetching(tracks, close), 1)] == ["0"]
    assert len(pick(fetching(tracks, close), 1)[0].also) == 2


def test_an_unknown_artist_or_album_is_each_its_own() -> None:
    tracks = [track(n) for n in range(4)] + [track(4, artist=" "), track(5, album=" ")]
    for per in PERS:
        assert len(pick(fetching(tracks, distinct(6)), 10, per=per)) == 6


def test_what_makes_an_album() -> None:
    queen = track(0, artist="Queen", album="Greatest Hits", path="/a/1.mp3")
    second = track(1, artist="queen", album="GREATEST HITS", path="/b/2.mp3")
    abba = track(2, artist="ABBA", album="Greatest Hits", path="/c/3.mp3")
    compiled = [
        track(n, artist=f"artist {n}", album="Now 45", path=f"/now/{n}.mp3") for n in (3, 4)
    ]
    picks = pick(fetching([queen, second, abba, *compiled], distinct(5)), 9, per="album")
    assert [one.track.title for one in picks] == ["0", "2", "3"]
    assert groups(abba, "artist") == groups(track(9, artist=" Abba"), "artist") == ("abba",)


def test_per_is_checked() -> None:
    with pytest.raises(InputError, match="per must be one of artist, album, not 'genre'"):
        pick(fetching([], distinct(0)), 1, per="genre")  # type: ignore[arg-type]
    assert pick(fetching([], distinct(0)), 1) == []
