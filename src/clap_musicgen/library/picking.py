"""From a ranked list of candidates to the answers a person wants to see.

Near-duplicates are folded into one answer, and there is one answer per artist or album on request.
Pure. Knows tracks and their vectors; neither the store nor how candidates are ranked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from clap_musicgen.errors import InputError
from clap_musicgen.library.duplicates import alike
from clap_musicgen.library.folding import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.library.records import Track

Per: TypeAlias = Literal["artist", "album"]
"""Of what there may be one answer each."""

FETCH_FACTOR, FETCH_MORE = 4, 16
"""For k answers 4 k + 16 candidates are asked for, and four times as many if these do not do."""
MOST_CANDIDATES = 20_000
"""More are not looked at: they would fill the memory, and fit no better than anything else."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best tracks of a ranking, the best first.

    Attributes:
        rows: (n,) what the caller calls each track.
        scores: (n,) highest first.
        tracks: the n tracks.
        vectors: (n, D) their mean directions, of unit length; may be (n, 0) if nothing is folded.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    tracks: Sequence[Track]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pick:
    """One answer.

    Attributes:
        row: what the caller calls the track.
        score: its score.
        track: the track.
        also: near-duplicates among the candidates that were looked at, by rank.
    """

    row: int
    score: float
    track: Track
    also: tuple[Track, ...] = ()


def pick(
    fetch: Callable[[int], Candidates], k: int, *, per: Per | None = None, folding: bool = True
) -> list[Pick]:
    """Choose the best `k` answers, asking for more candidates until they are found.

    A candidate is passed over if a better answer is alike (then it is one of its `also`), or has
    the same artist or album (`per`). Alike are files with the same bytes, and tracks of about the
    same length whose mean directions nearly agree: what `duplicates.alike` lets through. A track
    without artist (album) stands for itself.

    There may be fewer than `k` answers although there are more artists (albums) if the best
    MOST_CANDIDATES tracks have no more.

    The answers for k are the first k of those for any larger k. Each `also` may grow with k, since
    more candidates are looked at.

    Args:
        fetch: returns the n best candidates, fewer if there are no more.
        k: how many answers at most.
        per: "artist" or "album" for one answer each.
        folding: whether near-duplicates are folded.

    Raises:
        InputError: `per` is something else.
    """
    check_per(per)
    wanted = FETCH_FACTOR * k + FETCH_MORE
    while True:
        candidates = fetch(wanted)
        answers = _sift(candidates, k, per=per, folding=folding)
        exhausted = len(candidates.tracks) < wanted or wanted >= MOST_CANDIDATES
        if len(answers) == k or exhausted:
            return [answer.pick(candidates) for answer in answers]
        wanted = min(FETCH_FACTOR * wanted, MOST_CANDIDATES)


def check_per(per: str | None) -> None:
    """InputError unless `per` is one of those there are."""
    if per is not None and per not in get_args(Per):
        raise InputError(f"per must be one of {', '.join(get_args(Per))}, not {per!r}")


@dataclass(slots=True)
class _Answer:
    """An answer by the places of its tracks among the candidates."""

    place: int
    also: list[int] = field(default_factory=list)

    def pick(self, candidates: Candidates) -> Pick:
        return Pick(
            int(candidates.rows[self.place]),
            float(candidates.scores[self.place]),
            candidates.tracks[self.place],
            tuple(candidates.tracks[place] for place in self.also),
        )


def _sift(candidates: Candidates, k: int, *, per: Per | None, folding: bool) -> list[_Answer]:
    """Go through all candidates, also when there are k answers: these may have near-duplicates."""
    answers: list[_Answer] = []
    taken: set[Hashable] = set()
    durations = np.array([track.duration for track in candidates.tracks])
    for place, track in enumerate(candidates.tracks):
        same = _folded_into(answers, candidates, durations, place) if folding else None
        if same is not None:
            same.also.append(place)
            continue
        names = groups(track, per) if per else ()
        if len(answers) < k and taken.isdisjoint(names):
            answers.append(_Answer(place))
            taken.update(names)
    return answers


def _folded_into(
    answers: list[_Answer], candidates: Candidates, durations: NDArray[np.float64], place: int
) -> _Answer | None:
    """The best answer that the candidate at `place` is alike to."""
    if not answers:
        return None
    places = np.array([answer.place for answer in answers])
    same = alike(
        candidates.vectors[places], durations[places], candidates.vectors[place], durations[place]
    )
    content = candidates.tracks[place].content
    for answer, is_alike in zip(answers, same.tolist(), strict=True):
        if is_alike or candidates.tracks[answer.place].content == content:
            return answer
    return None


def groups(track: Track, per: Per) -> tuple[Hashable, ...]:
    """What the answers of one group have in common: they share one of these; none if unknown.

    Tracks are of one album if its title and either the artist or the folder are the same: there
    are many Greatest Hits, a compilation has many artists, and an album may lie in two folders.
    """
    artist, album = fold(track.artist).strip(), fold(track.album).strip()
    if per == "artist":
        return (artist,) if artist else ()
    if not album:
        return ()
    by_artist = (("artist", album, artist),) if artist else ()
    return (*by_artist, ("folder", album, os.path.dirname(track.path)))  # noqa: PTH120 - exact
