"""Playlists: which tracks, and in which order.

Two kinds. A *theme* takes the tracks that fit a question best and only chooses their order: the one
in which neighbours sound alike. A *path* leads from one track to another in even steps. Both judge
by the mean direction of whole tracks: they know nothing of how a track ends or begins, of tempo or
of key. Pure: knows arrays; neither the store nor a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.library.duplicates import alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DEFAULT_TRACKS = 25
RANKED = 2_000
"""How many of a ranking a theme needs to be shown: enough to find `k` by different artists."""
OVERSHOOT = 0.05
"""A playlist of so many minutes may be longer by this share, never by more."""
PATH_POOL = 1_600
"""How many tracks a path is chosen from, all steps together; see `smooth_path`."""
LONGEST_PATH = 500
"""Its time grows with the third power of the tracks: here, seconds."""
STEP_POWER = 4
"""What a step of a path costs: its angle to this power. The higher, the evener the steps and the
longer the way; beyond 4 the largest step hardly shrinks (`benchmarks/playlists.py`)."""
_LEAST_PER_STEP = 4
_UNTANGLED = 500  # tracks; beyond, the table of all pairs grows too large
_TRIES = 4  # at a path of so many minutes


@dataclass(frozen=True, slots=True)
class Length:
    """How long a playlist shall be: so many tracks at most, or so many minutes.

    Raises:
        InputError, InputTypeError: not exactly one of the two, or one that is not positive.
    """

    tracks: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.tracks is None) == (self.minutes is None):
            raise InputError("give either the number of tracks or the minutes of a playlist")
        if self.tracks is not None:
            if not isinstance(self.tracks, int):
                raise InputTypeError(f"tracks must be a whole number, not {self.tracks!r}")
            if self.tracks < 1:
                raise InputError(f"a playlist has at least 1 track, not {self.tracks}")
        elif not 0 < (self.minutes or 0.0) < math.inf:
            raise InputError(f"the minutes of a playlist must be positive, not {self.minutes!r}")

    @classmethod
    def of(cls, tracks: int | None, minutes: float | None) -> Self:
        """Read two arguments of which both may be absent: `DEFAULT_TRACKS` tracks then."""
        if tracks is None and minutes is None:
            tracks = DEFAULT_TRACKS
        return cls(tracks, minutes)


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Tracks that may be in a playlist.

    Attributes:
        vectors: (N, D) unit vectors, the mean directions of the tracks.
        durations: (N,) seconds.
        artists: N names; "" is unknown.
    """

    vectors: NDArray[np.float32]
    durations: NDArray[np.float64]
    artists: Sequence[str]


def theme(pool: Pool, length: Length, *, per_artist: int | None = None) -> NDArray[np.int64]:
    """Choose the tracks that fit best and put them in a smooth order.

    The best ones are taken as they come, so the theme is kept: only the order cares for neighbours.
    Left out are tracks that seem to be a recording taken before (`duplicates.alike`), and those of
    an artist who has `per_artist` already; tracks of unknown artists count as by different ones.
    By minutes, a track that would make the playlist too long is skipped, and it is done when there
    is no room for half a track more.

    Args:
        pool: N tracks, the best fit first.
        length: of the playlist.
        per_artist: how many tracks of one artist at most.

    Returns:
        Positions in `pool` in the order of playing; the best fit is played first.
    """
    chosen = _chosen(pool, length, per_artist)
    order = smooth_order(pool.vectors[chosen])
    return np.asarray(chosen, dtype=np.int64)[order]


def path(pool: Pool, *, first: int, last: int, length: Length) -> NDArray[np.int64]:
    """Lead from one track to another (`smooth_path`), by number of tracks or by minutes.

    By minutes, the number of tracks is found by trying; the total comes close, and is not exact.
    """
    vectors, durations = pool.vectors, pool.durations
    if length.tracks is not None:
        return smooth_path(vectors, first, last, length.tracks, durations=durations)
    wished = 60.0 * (length.minutes or 0.0)
    k = max(2, round(wished / max(float(np.median(durations)), 1.0)))
    found: dict[int, NDArray[np.int64]] = {}
    while k not in found and len(found) < _TRIES:
        found[k] = smooth_path(vectors, first, last, k, durations=durations)
        total = float(durations[found[k]].sum())
        k = min(max(2, round(len(found[k]) * wished / max(total, 1.0))), len(vectors))
    return min(found.values(), key=lambda rows: abs(float(durations[rows].sum()) - wished))


# Choosing


def _chosen(pool: Pool, length: Length, per_artist: int | None) -> list[int]:
    if per_artist is not None and per_artist < 1:
        raise InputError(f"per_artist must be at least 1, not {per_artist}")
    vectors, durations = pool.vectors, pool.durations
    chosen: list[int] = []
    heard: dict[str, int] = {}
    for row, artist in enumerate(pool.artists):
        if _is_full(durations[chosen], length):
            break
        name = artist.casefold().strip()
        if name and per_artist is not None and heard.get(name, 0) >= per_artist:
            continue
        if _overshoots(float(durations[chosen].sum() + durations[row]), length):
            continue
        if alike(vectors[chosen], durations[chosen], vectors[row], durations[row]).any():
            continue
        chosen.append(row)
        heard[name] = heard.get(name, 0) + 1
    if not chosen and len(vectors):
        chosen = [0]  # every track is longer than what was wished: the best one then
    return chosen


def _overshoots(seconds: float, length: Length) -> bool:
    return length.minutes is not None and seconds > 60.0 * length.minutes * (1 + OVERSHOOT)


def _is_full(durations: NDArray[np.float64], length: Length) -> bool:
    if length.minutes is None:
        return len(durations) >= (length.tracks or 0)
    room = 60.0 * length.minutes - float(durations.sum())
    return len(durations) > 0 and room < float(durations.mean()) / 2


# Order


def angles(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    """Angles in radians between unit vectors (N, D) and (M, D) → (N, M)."""
    cosines = np.asarray(left, dtype=np.float64) @ np.asarray(right, dtype=np.float64).T
    return np.asarray(np.arccos(np.clip(cosines, -1.0, 1.0)))


def smooth_order(vectors: NDArray[np.floating]) -> list[int]:
    """Order (N, D) unit vectors so that neighbours are close; row 0 stays first.

    What is kept small is the sum of the squared angles between neighbours: one jump costs more than
    the same way in small steps. A chain of nearest neighbours, then 2-opt: as long as turning a
    part of the order round makes the sum smaller, the best such turn is made (G. A. Croes, A Method
    for Solving Traveling-Salesman Problems, 1958). That is a local optimum. Of more than 500 tracks
    the chain is taken as it is.
    """
    order = nearest_chain(vectors)
    if not 3 <= len(order) <= _UNTANGLED:
        return order
    costs = angles(vectors[order], vectors[order]) ** 2
    return [order[place] for place in _untangled(costs)]


def nearest_chain(vectors: NDArray[np.floating]) -> list[int]:
    """Go from row 0 of (N, D) unit vectors to the nearest one left, and so on; all N rows."""
    order = [0] if len(vectors) else []
    left = np.arange(1, len(vectors))
    while len(left):
        nearest = int(np.argmax(vectors[left] @ vectors[order[-1]]))
        order.append(int(left[nearest]))
        left = np.delete(left, nearest)
    return order


def _untangled(costs: NDArray[np.float64]) -> list[int]:
    """Improve the order 0, 1, … of (N, N) symmetric costs by 2-opt; the end is free."""
    count = len(costs)
    order = np.arange(count)
    for _ in range(count * count):  # each turn makes the sum smaller, so this is never reached
        now = costs[np.ix_(order, order)]
        steps = np.append(np.diagonal(now, 1), 0.0)  # from each place to the next
        # Turning i..j round: i-1 now meets j, and i meets j+1 (nothing, if j is the end).
        beyond = np.pad(now[1:, 2:], ((0, 0), (0, 1)))  # cost of i and j+1
        gain = steps[:-1, None] + steps[None, 1:] - now[:-1, 1:] - beyond
        gain[np.tril_indices(count - 1, -1)] = 0.0
        i, j = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[i, j] <= 1e-12:
            break
        order[i + 1 : j + 2] = order[i + 1 : j + 2][::-1].copy()
    return [int(place) for place in order]


# Paths


def smooth_path(
    vectors: NDArray[np.floating],
    first: int,
    last: int,
    k: int,
    *,
    durations: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Lead from one track to another in `k` tracks, by steps as small and as even as can be.

    As A. Flexer et al. (Playlist Generation Using Start and End Songs, ISMIR 2008), each track gets
    a place between the ends by its angles a with the first and b with the last: a / (a + b). The
    path only moves forward in that place, so it never comes back to a track. Of all such ways, the
    one with the least sum of angles to the power of `STEP_POWER` is taken, by dynamic programming:
    exact among the tracks that it looks at. These are, for each step, those that make the least
    detour a + b; `PATH_POOL` in all.

    Args:
        vectors: (N, D) unit vectors.
        first: row of the first track.
        last: row of the last, another one.
        k: how many tracks, both ends included; fewer if there are fewer.
        durations: (N,) seconds; with them, recordings that are on the way already are left out.

    Returns the rows in the order of playing, none twice. Raises InputError if the ends are one
    track, or `k` is below 2 or above `LONGEST_PATH`.
    """
    if first == last:
        raise InputError("a path leads from one track to another one: both ends are the same")
    if not 2 <= k <= LONGEST_PATH:
        raise InputError(f"a path has 2 to {LONGEST_PATH} tracks, its ends included, not {k}")
    ends = np.array([first, last])
    to_first, to_last = angles(vectors, vectors[ends]).T
    detours = to_first + to_last
    places = np.divide(to_first, detours, out=np.full(len(vectors), 0.5), where=detours > 1e-9)
    pool = _pool(places, detours, steps=k - 1, ends=ends)
    if durations is not None:
        pool = _different(vectors, durations, pool, ends)
    nodes = np.concatenate([[first], pool[np.lexsort((pool, places[pool]))], [last]])
    costs = angles(vectors[nodes], vectors[nodes]) ** STEP_POWER
    chain = cheapest_chain(costs, min(k, len(nodes)))
    return np.asarray(nodes[chain], dtype=np.int64)


def _pool(
    places: NDArray[np.float64],
    detours: NDArray[np.float64],
    *,
    steps: int,
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Rows with the least detours in each part of the way, and as many as the path needs."""
    rows = np.setdiff1d(np.arange(len(places)), ends)
    parts = np.minimum((places[rows] * steps).astype(np.int64), steps - 1)
    by_part = rows[np.lexsort((rows, detours[rows], parts))]
    own = np.minimum((places[by_part] * steps).astype(np.int64), steps - 1)
    rank = np.arange(len(own)) - np.searchsorted(own, own)  # within its part
    pool = by_part[rank < max(_LEAST_PER_STEP, PATH_POOL // steps)]
    missing = steps - 1 - len(pool)
    if missing > 0:
        rest = np.setdiff1d(rows, pool)
        pool = np.append(pool, rest[np.argsort(detours[rest], kind="stable")[:missing]])
    return np.asarray(pool, dtype=np.int64)


def _different(
    vectors: NDArray[np.floating],
    durations: NDArray[np.float64],
    pool: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Those of the pool that are neither the recording of an end nor of one before."""
    kept = list(ends)
    for row in pool:
        if not alike(vectors[kept], durations[kept], vectors[row], durations[row]).any():
            kept.append(row)
    return np.asarray(kept[len(ends) :], dtype=np.int64)


def cheapest_chain(costs: NDArray[np.float64], k: int) -> list[int]:
    """`k` of N nodes in rising order, node 0 and node N-1 included, with the least sum of costs.

    Args:
        costs: (N, N); `costs[i, j]` of going from i to j.
        k: 2 to N; 1 if N is 1.
    """
    count = len(costs)
    forward = np.where(np.triu(np.ones((count, count), dtype=bool), 1), costs, np.inf)
    best = np.full(count, np.inf)  # of chains so far that end at each node
    best[0] = 0.0
    origins = []
    for _ in range(k - 1):
        through = best[:, None] + forward
        origins.append(through.argmin(axis=0))
        best = through.min(axis=0)
    chain = [count - 1]
    for origin in reversed(origins):
        chain.append(int(origin[chain[-1]]))
    return chain[::-1]
