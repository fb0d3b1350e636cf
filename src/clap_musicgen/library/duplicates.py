"""Tracks that are the same recording: the same bytes, another format, another master.

Two steps. Candidates are pairs of about the same length whose mean directions nearly agree; they
are confirmed clip by clip, in order, since two pieces of one album may agree on the whole and not
from moment to moment. `benchmarks/duplicates.py` measures both on a folder of yours.

It judges sounds as the model hears them, so there is what it cannot tell. A live version, a cover or
another take is another recording to it only as far as it sounds different; the same recording a
semitone higher or a little faster hardly does to the bundled model, and counts as the same. An edit
that is shorter by more than `WINDOW_SECONDS` is another recording. Other words over the same backing,
and loops without any change, may pass for the same. Sounds of a single clip show little: copies with
silence added are missed. Knows arrays and tracks; neither the store nor a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clap_musicgen.embedding import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.library.records import Track

WINDOW_SECONDS = 3.0
"""Formats and masters of one recording differ in length by no more: silence at its ends."""
WINDOW_SHARE = 0.1
"""Nor by more than this share of the longer one: one sample of two seconds is like the next."""
MEAN_COSINE = 0.9
"""Of the mean directions of two tracks that may be the same recording."""
CLIP_COSINE = 0.95
"""Of their clips, on average over the time they share."""
SINGLE_COSINE = 0.98
"""The same where one of them has a single clip, as a sample or a jingle has."""
ALIKE_COSINE = 0.99
"""Of the mean directions of two tracks that `alike` takes for one, without a look at their clips."""
LOSSLESS = frozenset({".flac", ".wav", ".aif", ".aiff", ".alac", ".ape", ".wv", ".tta", ".w64"})
"""Suffixes that come first among copies. What was lossy before cannot be seen from it."""
_ROWS, _COLUMNS = 1_024, 8_192  # of a block of cosines: 32 MiB
_REMEMBERED = 4_096  # contents whose clips are kept at hand
_SHIFT_SECONDS = 0.5  # between the shifts that are tried


class ClipRun(Protocol):
    """The clips of one content, by time."""

    @property
    def starts(self) -> NDArray[np.float64]:
        """(C,) seconds."""

    @property
    def ends(self) -> NDArray[np.float64]:
        """(C,) seconds."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(C, D) unit vectors."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of a group of duplicates.

    Attributes:
        track: the track.
        size: bytes of its file now; None if it cannot be looked at.
        same_bytes: it has the same bytes as the first of its group.
    """

    track: Track
    size: int | None
    same_bytes: bool


def alike(
    vectors: NDArray[np.floating],
    durations: NDArray[np.float64],
    vector: NDArray[np.floating],
    duration: float,
) -> NDArray[np.bool_]:
    """Tell which of (N, D) tracks may be the same recording as another one → (N,).

    Judged by means alone: quick, and good enough to leave a track out of a list where it may be
    twice.
    """
    near = _close(np.asarray(durations), np.float64(duration), WINDOW_SECONDS)
    return np.asarray(near & (np.asarray(vectors) @ vector >= ALIKE_COSINE))


def duplicate_groups(
    means: NDArray[np.float32],
    durations: NDArray[np.float64],
    content_rows: NDArray[np.int64],
    clips_of: Callable[[int], ClipRun],
) -> list[list[int]]:
    """Find the tracks that are the same recording.

    What is the same as a third one is the same, so a group may hold two that were never compared.

    Args:
        means: (U, D) the mean directions of all contents, unit vectors.
        durations: (N,) seconds of the tracks.
        content_rows: (N,) the row in `means` of each track.
        clips_of: gives the clips of a content by its row; asked for candidates only.

    Returns:
        Groups of two or more track rows, ascending, by their first row. Each track is in at most one.
    """
    lengths = np.zeros(len(means))
    lengths[content_rows] = durations
    pairs = candidate_pairs(means, lengths)
    remembered = lru_cache(maxsize=_REMEMBERED)(clips_of)
    same = [
        (left, right)
        for left, right in pairs.tolist()
        if is_same(remembered(left), remembered(right))
    ]
    recordings = np.asarray(linked(len(means), same), dtype=np.int64)[content_rows]
    order = np.argsort(recordings, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(recordings[order])) + 1)
    return sorted([int(row) for row in run] for run in runs if len(run) > 1)


def candidate_pairs(
    means: NDArray[np.floating],
    durations: NDArray[np.float64],
    *,
    cosine: float = MEAN_COSINE,
    seconds: float = WINDOW_SECONDS,
) -> NDArray[np.int64]:
    """Pairs of (U, D) unit vectors with at least that cosine and lengths that close → (P, 2).

    Each pair once, the lower row first, in ascending order. By blocks, along the durations: of
    100,000 tracks only those of about the same length are compared, and never held all at once.
    """
    order = np.argsort(durations, kind="stable")
    sorted_durations = np.asarray(durations)[order]
    found = [np.empty((0, 2), dtype=np.int64)]
    for rows, columns in _blocks(sorted_durations, seconds):
        scores = means[order[rows]] @ means[order[columns]].T
        ours, theirs = sorted_durations[rows][:, None], sorted_durations[columns][None, :]
        later = columns[None, :] > rows[:, None]
        left, right = np.nonzero((scores >= cosine) & _close(ours, theirs, seconds) & later)
        found.append(np.stack([order[rows[left]], order[columns[right]]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], dtype=np.int64)


def _close(
    ours: NDArray[np.float64], theirs: NDArray[np.float64] | np.float64, seconds: float
) -> NDArray[np.bool_]:
    """Which lengths may be those of one recording; any shapes that fit each other."""
    window = np.minimum(seconds, WINDOW_SHARE * np.maximum(ours, theirs))
    return np.asarray(np.abs(ours - theirs) <= window)


def _blocks(
    durations: NDArray[np.float64], seconds: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks of places in ascending `durations` that hold all pairs that close."""
    for first in range(0, len(durations), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(durations)))
        # A little more than needed: the exact comparison is made on the differences themselves.
        beyond = int(np.searchsorted(durations, durations[rows[-1]] + seconds * 1.001, "right"))
        for column in range(first, beyond, _COLUMNS):
            yield rows, np.arange(column, min(column + _COLUMNS, beyond))


def likeness(left: ClipRun, right: ClipRun) -> float:
    """Compare two tracks clip by clip, in order: mean cosine, weighted by seconds, -1 to 1.

    One may begin up to `WINDOW_SECONDS` after the other, so that its clips lie across theirs: such
    a clip is taken for the mixture of the two it lies across, by its share in each. The best shift
    counts. Clips that have no counterpart take no part, and of three or more the one that agrees
    least does not either: one at an end may be half silence in one file and not in the other.
    """
    longest = max(float(np.max(run.ends - run.starts, initial=0.0)) for run in (left, right))
    if longest <= 0:
        return -1.0
    shifts = np.arange(0.0, WINDOW_SECONDS + _SHIFT_SECONDS / 2, _SHIFT_SECONDS) / longest
    return max(
        _shifted(*runs, shift)
        for runs in ((left, right), (right, left))
        for shift in shifts.tolist()
    )


def _shifted(early: ClipRun, late: ClipRun, shift: float) -> float:
    """The likeness if clip n of `late` lies `shift` clips behind clip n of `early`."""
    whole, part = int(shift), shift % 1
    across = early.vectors[whole:]
    if part:
        across = unit((1 - part) * across + part * np.concatenate([across[1:], across[-1:]]))
    count = min(len(across), len(late.vectors))
    if not count:
        return -1.0
    cosines = np.einsum("cd,cd->c", across[:count], late.vectors[:count])
    lengths = (early.ends - early.starts)[whole:][:count], (late.ends - late.starts)[:count]
    weights = np.maximum(np.minimum(*lengths), 1e-9)
    if count >= 3:
        weights[np.argmin(cosines)] = 0.0
    return float(np.average(cosines, weights=weights))


def is_same(left: ClipRun, right: ClipRun) -> bool:
    """Decide by the likeness; a track of a single clip shows little, so it must agree better."""
    single = min(len(left.vectors), len(right.vectors)) == 1
    return likeness(left, right) >= (SINGLE_COSINE if single else CLIP_COSINE)


def linked(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Label 0 to count-1 so that what pairs link, over any number of others, has one label."""
    parents = list(range(count))

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for left, right in pairs:
        one, other = root(left), root(right)
        parents[max(one, other)] = min(one, other)
    return [root(node) for node in range(count)]


def best_first(tracks: Sequence[Track], sizes: Sequence[int | None]) -> list[Copy]:
    """Order the copies of one recording by what is worth keeping.

    Whole files before damaged ones, lossless formats before others, then the longer, to the second,
    then the bigger, then by path.
    """

    def worth(place: int) -> tuple[bool, bool, int, int, str]:
        track, size = tracks[place], sizes[place]
        lossless = PurePath(track.path).suffix.lower() in LOSSLESS
        seconds = round(track.duration)
        return bool(track.problem), not lossless, -seconds, -(size or 0), track.path

    order = sorted(range(len(tracks)), key=worth)
    best = tracks[order[0]].content if order else ""
    return [Copy(tracks[n], sizes[n], tracks[n].content == best) for n in order]


def sizes_of(tracks: Sequence[Track]) -> list[int | None]:
    """Look up how many bytes each file has now; None where it cannot be looked at."""
    sizes: list[int | None] = []
    for track in tracks:
        try:
            sizes.append(Path(track.path).stat().st_size)
        except OSError:
            sizes.append(None)
    return sizes
