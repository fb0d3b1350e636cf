"""What a library gives back: tracks, matches, reports.

Plain data. Knows neither the store nor the model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Track:
    """One file of a library.

    Attributes:
        path: absolute; bytes that are not UTF-8 are surrogate escapes, so `open(path)` works.
        title: falls back to the file's stem.
        artist: "" if unknown.
        album: "" if unknown.
        genre: "" if unknown.
        year: None if unknown.
        duration: seconds.
        content: hash of the file's bytes; equal for copies.
        problem: "" or what was wrong, for example that only the beginning could be decoded.
    """

    path: str
    title: str
    artist: str
    album: str
    genre: str
    year: int | None
    duration: float
    content: str
    problem: str


@dataclass(frozen=True, slots=True)
class Match:
    """One answer to a question.

    Attributes:
        track: the track.
        score: what the ranking goes by: cosine of the question with the mean direction of the whole
            track, both corrected for this library (see `calibration`).
        start: where the track's best fitting clip begins, in seconds.
        end: where it ends.
        calibrated: how sure it is that the track has to do with the question, 0 to 1: of the tracks
            that score as much in this library, about one in ten is there by chance at 0.9.
        also: near-duplicates of the track that fit as well and were folded into this answer.
    """

    track: Track
    score: float
    start: float
    end: float
    calibrated: float = 0.0
    also: tuple[Track, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A moment that answers a question: one clip of a track.

    Attributes:
        track: the track.
        score: as of `Match`, for this clip alone.
        start: where it begins, in seconds.
        end: where it ends.
    """

    track: Track
    score: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Found:
    """Some of the tracks that a text is found in.

    Attributes:
        total: how many there are.
        tracks: those asked for, by path.
    """

    total: int
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an `add` has come.

    Attributes:
        done: files settled so far, whatever became of them.
        total: files found.
        failed: of the settled ones, those that cannot be used.
        seconds: audio embedded so far, also of tracks that are not finished.
        path: the file last worked on.
    """

    done: int
    total: int
    failed: int
    seconds: float
    path: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an `add` did; every tuple is sorted by path.

    Attributes:
        added: files that were not in the library before, moved ones and copies included.
        updated: files whose content has changed, embedded anew.
        unchanged: files the library knew already.
        removed: tracks taken out because their file is gone (`prune`).
        failed: (path, reason) of files that cannot be used; a track already known stays as it was.
        problems: (path, problem) of tracks added or updated although something was wrong with them.
        seconds: audio embedded; 0 where only known content was found again.
    """

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Info:
    """A library at a glance.

    Attributes:
        path: its folder.
        tracks: how many tracks.
        clips: how many clip vectors; copies share theirs.
        hours: length of all tracks.
        fingerprint: of the model whose vectors it holds.
        dim: length of a vector.
        bytes: size on disk.
        made_with: how its maker asked for that model, such as "--model mini"; "" if unknown.
    """

    path: str
    tracks: int
    clips: int
    hours: float
    fingerprint: str
    dim: int
    bytes: int
    made_with: str = ""
