"""What a score means: the middle of a library taken out, and calibrated scores from 0 to 1.

A cosine says nothing by itself: every text lies at some distance from every track, and which
distance is usual differs from model to model and from library to library. `Correction` takes out
what the tracks of a library have in common. `Calibration` then compares a score with those of
*unrelated* questions in the same library: everyday captions (`vocabulary.bank`) for words, the other
tracks for sounds. docs/scores.md has formulas, sources and what was measured.

Pure arithmetic: knows neither a model nor the store. It does not know what music is like outside
the library: where every track is metal, "metal" singles out none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from clap_musicgen.embedding import unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings

Kind: TypeAlias = Literal["text", "sound"]

PRIOR_TRACKS = 20.0
"""A mean over N tracks counts as N / (N + this): of a few tracks one cannot tell what is usual."""
SAMPLE = 2048
"""So many tracks, evenly spaced, stand for a larger library."""
SOUNDS = 256
"""So many of those ask for the others, to learn what unrelated sounds score."""
SENSIBLE_MIN_SCORE = 0.8
"""A bar below which answers are mostly chance; what it costs is in docs/scores.md."""
_SAME = 0.9999  # vectors this close are copies: neither says what the other scores by chance
_TAIL = 1000  # one of so many unrelated scores is in the tail that is extrapolated
_LEAST_TAIL = 20  # scores in the tail, below which nothing is extrapolated


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Takes out what all tracks of a library have in common ("centring").

    Corrected tracks are `unit(x - centre)`, sounds that ask likewise; texts stay as they are, and no
    track has a bias. Of the corrections that were compared it is the one that cost nothing on the
    validation pieces and helped search by sound there (docs/scores.md).

    Attributes:
        music_centre: (D,) subtracted from sounds and tracks; None leaves them as they are.
    """

    music_centre: NDArray[np.float32] | None = None

    @classmethod
    def fit(cls, music: Embeddings) -> Self:
        """Learn from all contents of a library, (U, D) unit vectors, or from an even sample.

        Harmless for few, since the mean is shrunk.
        """
        if not len(music):
            return cls()
        share = len(music) / (len(music) + PRIOR_TRACKS)
        return cls((share * music.mean(axis=0, dtype=np.float64)).astype(np.float32))

    def question(self, vector: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
        """A unit vector (D,) of a text or a sound as it is compared with `music` → (D,)."""
        if kind == "text" or self.music_centre is None:
            return vector
        return unit(vector - self.music_centre)

    def music(self, vectors: Embeddings) -> Embeddings:
        """Unit vectors (N, D) of tracks or clips as they are compared with questions → (N, D)."""
        return vectors if self.music_centre is None else unit(vectors - self.music_centre)

    def bias(self, corrected: Embeddings) -> NDArray[np.float32]:
        """What is subtracted from the scores of tracks (N, D), from `music` → (N,) zeros."""
        return np.zeros(len(corrected), dtype=np.float32)


NONE = Correction()
"""Changes nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What unrelated questions score in a library, and so what a score is worth.

    Attributes:
        sample: (n, D) corrected vectors of tracks that stand for the library.
        bias: (n,) of those.
        tracks: how many contents the library has, n or more.
        null: kind → scores of unrelated questions on these tracks, each question's shrunken mean
            taken out, ascending.
    """

    sample: Embeddings
    bias: NDArray[np.float32]
    tracks: int
    null: Mapping[Kind, NDArray[np.float64]]

    @classmethod
    def fit(
        cls,
        texts: Embeddings | None,
        music: Embeddings,
        correction: Correction,
        *,
        tracks: int | None = None,
    ) -> Self:
        """Learn what chance scores; the same input always gives the same.

        Args:
            texts: (M, D) raw vectors of the bank of captions; None if the library has none: then
                words are judged as sounds are, which is strict.
            music: (U, D) raw unit vectors of all contents, or an even sample of them.
            correction: the library's.
            tracks: how many contents there are, where `music` is a sample.
        """
        sample = correction.music(music[_evenly(len(music), SAMPLE)])
        bias = correction.bias(sample)
        sound = _null(sample[_evenly(len(sample), SOUNDS)], sample, bias)
        text = sound
        if texts is not None and len(texts):
            asked = np.stack([correction.question(vector, "text") for vector in texts])
            text = _null(asked, sample, bias)
        count = max(len(music), tracks or 0, 1)
        return cls(sample, bias, count, {"text": text, "sound": sound})

    def calibrated(
        self,
        scores: NDArray[np.floating],
        *,
        direction: NDArray[np.float32],
        kind: Kind = "text",
    ) -> NDArray[np.float32]:
        """How sure it is that tracks with such scores have to do with the question → (n,), 0 to 1.

        One minus the false discovery rate (Benjamini and Hochberg, "Controlling the false discovery
        rate", 1995): of the library's tracks that score as much or more, the share that would also
        do so by chance. At 0.9 about one in ten of them is there by chance, however large the
        library. If nothing fits, some track reaches 1 - a for about a of all questions.

        Args:
            scores: (n,) corrected scores; of one question a higher one never gets less.
            direction: (D,) the question as it was compared with the tracks.
            kind: "sound" if sounds alone ask; words with sounds are judged as words.
        """
        given = np.asarray(scores, dtype=np.float64)
        own = np.sort(self._own(direction))
        false = self._false_share(given, own, kind) * self.tracks
        false /= np.maximum(self._as_good(given, own), 1.0)
        if len(own):
            # A track's rate is the least of all sets that it belongs to: those of lower scores too.
            each = self._false_share(own, own, kind) * self.tracks / self._as_good(own, own)
            least = np.concatenate([[np.inf], np.minimum.accumulate(each)])
            false = np.minimum(false, least[np.searchsorted(own, given, side="right")])
        return np.clip(1.0 - false, 0.0, 1.0).astype(np.float32)

    def chance(
        self,
        scores: NDArray[np.floating],
        *,
        direction: NDArray[np.float32],
        kind: Kind = "text",
    ) -> NDArray[np.float64]:
        """How often an unrelated question scores as much on a track, or more → (n,) p-values.

        If the question is drawn as the bank was and has nothing to do with the tracks, a value of
        at most a is as rare as a (a conformal p-value over pairs: Vovk, Gammerman and Shafer,
        "Algorithmic learning in a random world", 2005). Arguments as for `calibrated`.
        """
        given = np.asarray(scores, dtype=np.float64)
        return self._false_share(given, self._own(direction), kind)

    def _own(self, direction: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the question itself scores on the sample; tracks it is a copy of left out."""
        cosines = self.sample @ direction
        return np.asarray((cosines - self.bias)[cosines < _SAME], dtype=np.float64)

    def _false_share(
        self, scores: NDArray[np.float64], own: NDArray[np.float64], kind: Kind
    ) -> NDArray[np.float64]:
        return _upper_share(self.null[kind], scores - _usual(own))

    def _as_good(
        self, scores: NDArray[np.float64], own: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How many tracks of the library score as much or more; at least one, the track itself."""
        above = len(own) - np.searchsorted(own, scores, side="left")
        return np.asarray(np.maximum(above * (self.tracks / max(len(own), 1)), 1.0))


def _null(
    questions: Embeddings, tracks: Embeddings, bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Scores of questions (Q, D) on tracks (n, D), each question's usual score taken out → sorted."""
    cosines = questions @ tracks.T
    scores = np.asarray(cosines - bias, dtype=np.float64)
    apart = cosines < _SAME
    rows = [row[valid] - _usual(row[valid]) for row, valid in zip(scores, apart, strict=True)]
    return np.sort(np.concatenate(rows)) if rows else np.empty(0)


def _usual(scores: NDArray[np.float64]) -> float:
    """Mean of one question's scores on N tracks, shrunk to 0 for few."""
    return float(scores.sum() / (len(scores) + PRIOR_TRACKS))


def _upper_share(null: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the null (sorted) at or above each score, the score itself counted in.

    Beyond the highest thousandth it falls exponentially, with the mean excess there as scale, since
    a sample cannot tell the rare from the impossible.
    """
    above = len(null) - np.searchsorted(null, scores, side="left")
    share = (1.0 + above) / (1.0 + len(null))
    count = len(null) // _TAIL
    if count < _LEAST_TAIL:
        return np.asarray(share)
    edge = null[-count]
    excess = max(float((null[-count:] - edge).mean()), 1e-9)
    beyond = (1.0 + count) / (1.0 + len(null)) * np.exp(-np.maximum(scores - edge, 0.0) / excess)
    return np.asarray(np.where(scores > edge, beyond, share))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Row numbers, evenly spaced, at most so many; always the same."""
    return np.asarray(np.linspace(0, count - 1, min(count, most)).round(), dtype=np.int64)
