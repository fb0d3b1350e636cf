"""Questions to one state of a library: words and sounds → one direction → answers.

Knows the model as an Embedder and a state; neither the store nor who writes to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clap_musicgen.audio.files import content_hash
from clap_musicgen.errors import InputError, InputTypeError, TrackNotFoundError
from clap_musicgen.library import query as queries
from clap_musicgen.library.paths import absolute, is_gone, path_key
from clap_musicgen.library.picking import Candidates, pick
from clap_musicgen.library.playlists import Pool
from clap_musicgen.library.records import Match, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder, Embeddings
    from clap_musicgen.library.calibration import Calibration, Kind
    from clap_musicgen.library.picking import Per
    from clap_musicgen.library.query import Phrase, Sound
    from clap_musicgen.library.resident import State


class Asked(NamedTuple):
    """What a person asks for, checked.

    Attributes:
        wanted: phrases and their weights.
        unwanted: phrases and how strongly each is avoided.
        like: sounds.
        unlike: sounds.
    """

    wanted: Sequence[Phrase]
    unwanted: Sequence[Phrase]
    like: Sequence[Sound]
    unlike: Sequence[Sound]


class Direction(NamedTuple):
    """A question as a state understands it: a corrected unit vector (D,), and of what kind."""

    vector: NDArray[np.float32]
    kind: Kind


class Sounding(NamedTuple):
    """A sound's mean direction (D,) and, if the library has that content, its content row."""

    vector: NDArray[np.float32]
    content_row: int | None


def asked(
    query: str | Phrase | Sequence[str | Phrase] | None,
    *,
    without: str | Phrase | Sequence[str | Phrase] | None = None,
    like: Sound | Sequence[Sound] | None = None,
    unlike: Sound | Sequence[Sound] | None = None,
) -> Asked:
    """Check what is asked for; a single string is read in the query language.

    Raises:
        InputError, InputTypeError, LibraryQueryError: it cannot be understood, or asks for nothing.
    """
    wanted = queries.as_phrases(query, name="query")
    unwanted: list[Phrase] = []
    if isinstance(query, str):
        question = queries.parse(query)
        wanted, unwanted = list(question.wanted), list(question.unwanted)
    unwanted += queries.as_phrases(without, name="without")
    sounds = queries.as_sounds(like, name="like")
    others = queries.as_sounds(unlike, name="unlike")
    if not (wanted or sounds):
        queries.compose([], [(np.ones(1, dtype=np.float32), 1.0)] * len(unwanted))  # says so
    return Asked(wanted, unwanted, sounds, others)


def check_k(k: int) -> None:
    """InputError, InputTypeError unless `k` is a positive whole number."""
    if not isinstance(k, int) or isinstance(k, bool):
        raise InputTypeError(f"k must be a whole number, not {k!r}")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")


def check_min_score(min_score: float) -> None:
    """InputError, InputTypeError unless it is a calibrated score."""
    if not isinstance(min_score, (int, float)) or isinstance(min_score, bool):
        raise InputTypeError(f"min_score must be a number, not {min_score!r}")
    if not 0 <= min_score <= 1:
        raise InputError(f"min_score must be from 0 to 1, not {min_score!r}")


@dataclass(frozen=True)
class Asking:
    """A state and a model to ask it with.

    Attributes:
        model: embeds the questions.
        state: answers.
        calibration: tells what a score is worth in this library.
        library: what an error calls the library.
    """

    model: Embedder
    state: State
    calibration: Calibration
    library: str

    def direction(self, question: Asked) -> Direction:
        """Embed a question; AudioError or TrackNotFoundError if a sound of it cannot be used."""
        words = [*question.wanted, *question.unwanted]
        vectors = [
            self.state.correction.question(vector, "text")
            for vector in queries.embed_words(self.model, words)
        ]
        weighted = list(zip(vectors, (phrase.weight for phrase in words), strict=True))
        split = len(question.wanted)
        wanted = weighted[:split] + [(self._corrected(sound), 1.0) for sound in question.like]
        unwanted = weighted[split:] + [(self._corrected(sound), 1.0) for sound in question.unlike]
        return Direction(queries.compose(wanted, unwanted), "text" if split else "sound")

    def _corrected(self, sound: Sound) -> NDArray[np.float32]:
        return self.state.correction.question(self.sounding(sound).vector, "sound")

    def likeness(self, sound: Sound) -> tuple[Direction, int | None]:
        """The question for what sounds like this, and the sound's content row if it is known."""
        found = self.sounding(sound)
        vector = self.state.correction.question(found.vector, "sound")
        return Direction(vector, "sound"), found.content_row

    def pool(self, rows: NDArray[np.int64] | None = None) -> Pool:
        """The tracks `rows`, or all, as a playlist chooses from them."""
        if rows is None:
            rows, tracks = np.arange(len(self.state.tracks)), list(self.state.tracks)
        else:
            tracks = [self.state.tracks[row] for row in rows.tolist()]
        durations = np.array([track.duration for track in tracks])
        return Pool(self.state.vectors(rows), durations, [track.artist for track in tracks])

    def sounding(self, sound: Sound) -> Sounding:
        """Return a sound's vector: the library's own if it has it, else embedded.

        Raises:
            TrackNotFoundError: it is a path of neither a track nor a file.
            AudioError: the file cannot be used.
        """
        if not isinstance(sound, (str, os.PathLike)):
            return Sounding(queries.embed_sound(self.model, sound), None)
        path = absolute(sound)
        content_row = self._content_row(path)
        if content_row is None:
            return Sounding(queries.embed_sound(self.model, path), None)
        row = int(np.flatnonzero(self.state.content_rows == content_row)[0])
        return Sounding(self.state.vectors(np.array([row]))[0], content_row)

    def vectors(self, sounds: Sequence[Sound]) -> Embeddings:
        """Return the raw mean directions of sounds → (N, D); errors as of `sounding`."""
        found = np.zeros((len(sounds), self.model.dim), dtype=np.float32)
        paths = [
            path_key(absolute(sound)) if isinstance(sound, (str, os.PathLike)) else ""
            for sound in sounds
        ]
        rows = self.state.row_of_key.rows(paths)
        found[rows >= 0] = self.state.vectors(rows[rows >= 0])
        for place in np.flatnonzero(rows < 0).tolist():
            found[place] = self.sounding(sounds[place]).vector
        return found

    def _content_row(self, path: str) -> int | None:
        row = self.state.row_of_key.get(path_key(path))
        if row is not None:
            return int(self.state.content_rows[row])
        if is_gone(path):
            raise TrackNotFoundError(
                f"{path!r} is neither a track of the library {self.library!r} nor a file"
            )
        return self.state.row_of_content.get(content_hash(path))

    def row_of(self, path: str | os.PathLike[str]) -> int:
        """Row of a track; TrackNotFoundError if the library has none with this path."""
        row = self.state.row_of_key.get(path_key(absolute(path)))
        if row is None:
            raise TrackNotFoundError(
                f"the library {self.library!r} has no track {absolute(path)!r}: index it first"
            )
        return int(row)

    def matches(
        self,
        direction: Direction,
        *,
        k: int,
        rows: NDArray[np.int64] | None = None,
        per: Per | None = None,
        fold: bool = True,
        min_score: float = 0.0,
    ) -> list[Match]:
        """Return the best `k` tracks among `rows`, best first; see `Library.search`."""
        picks = pick(lambda n: self._candidates(direction, n, rows), k, per=per, folding=fold)
        if not picks:
            return []
        scores = np.array([one.score for one in picks], dtype=np.float32)
        calibrated = self.calibrated(scores, direction)
        found = [
            (one, float(c)) for one, c in zip(picks, calibrated, strict=True) if c >= min_score
        ]
        content_rows = self.state.content_rows[np.array([one.row for one, _ in found], dtype=int)]
        starts, ends = self.state.best_segments(content_rows, direction.vector)
        spans = zip(found, starts.tolist(), ends.tolist(), strict=True)
        return [
            Match(one.track, one.score, start, end, calibrated=value, also=one.also)
            for (one, value), start, end in spans
        ]

    def segments(
        self, direction: Direction, *, k: int, rows: NDArray[np.int64] | None = None
    ) -> list[Segment]:
        """Return the best `k` clips of the tracks `rows`, best first; see `Library.segments`."""
        best = self.state.ranked_clips(direction.vector, k=k, rows=rows)
        columns = (best.rows, best.scores, best.starts, best.ends)
        return [
            Segment(self.state.tracks[row], score, start, end)
            for row, score, start, end in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def segments_of(self, direction: Direction, row: int, *, k: int) -> list[Segment]:
        """Return the best `k` clips of one track, best first; of equal ones the first."""
        clips = self.state.segments(int(self.state.content_rows[row]))
        corrected = self.state.correction.music(clips.vectors)
        scores = corrected @ direction.vector - self.state.correction.bias(corrected)
        track = self.state.tracks[row]
        return [
            Segment(track, float(scores[n]), float(clips.starts[n]), float(clips.ends[n]))
            for n in np.argsort(-scores, kind="stable")[:k].tolist()
        ]

    def calibrated(self, scores: NDArray[np.float32], direction: Direction) -> NDArray[np.float32]:
        """Scores (n,) of a question → (n,) from 0 to 1."""
        return self.calibration.calibrated(scores, direction=direction.vector, kind=direction.kind)

    def _candidates(
        self, direction: Direction, count: int, rows: NDArray[np.int64] | None
    ) -> Candidates:
        best = self.state.ranked(direction.vector, k=count, rows=rows)
        tracks = [self.state.tracks[row] for row in best.rows.tolist()]
        return Candidates(best.rows, best.scores, tracks, self.state.vectors(best.rows))
