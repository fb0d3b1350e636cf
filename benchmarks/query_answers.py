"""Does a library notice that nothing in it fits? Calibrated scores where a thing is there or is not.

For each label, libraries are drawn at random from the tracks that lack it; a second one has a few of
its tracks in their place. The same question goes to both. Also the coverage: how often a pair of a
label and a track that lacks it reaches a calibrated score. Knows neither a model nor files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embeddings
from clap_musicgen.evaluation.bootstrap import mean_interval
from clap_musicgen.library.calibration import Calibration, Correction
from query_correction import Words
from query_data import Labelled, phrase

THRESHOLDS = (0.3, 0.5, 0.8, 0.9, 0.95)
FACETS = ("genre", "instrument")
"""Moods are left out: a piece without a mood in its labels may well have that mood."""
PLANTED = 3
"""How many tracks with the label the second library has."""
LEAST = 3
NOT_MUSIC = (
    "how to repair a bicycle tyre",
    "tax return for the self-employed",
    "a photograph of a red car",
    "the capital of Mongolia",
    "recipe for lentil soup",
    "error code 404 page not found",
    "weather in Lisbon tomorrow",
    "cheap flights to Chicago",
    "mitochondria and the cell membrane",
    "a contract of employment in German law",
    "knitting pattern for socks",
    "football results of last Saturday",
)
"""Questions that no music answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question got from one library of N tracks.

    Attributes:
        label: what was asked for.
        scores: (N,) as the library ranks.
        calibrated: (N,) the same from 0 to 1.
        chance: (N,) their p-values, pair by pair.
        meant: (N,) which tracks have the label.
    """

    label: tuple[str, str]
    scores: NDArray[np.floating]
    calibrated: NDArray[np.floating]
    chance: NDArray[np.floating]
    meant: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Library:
    """Tracks as they are searched: vectors corrected, scores calibrated."""

    music: Embeddings
    correction: Correction
    calibration: Calibration

    @classmethod
    def of(cls, music: Embeddings, bank: Embeddings) -> Library:
        """Learn what is usual among these tracks (N, D)."""
        correction = Correction.fit(music)
        return cls(correction.music(music), correction, Calibration.fit(bank, music, correction))

    def ask(self, text: Embeddings, label: tuple[str, str], meant: NDArray[np.bool_]) -> Answer:
        """Ask with the vector (D,) of a text."""
        direction = self.correction.question(text, "text")
        scores = self.music @ direction - self.correction.bias(self.music)
        calibrated = self.calibration.calibrated(scores, direction=direction)
        chance = self.calibration.chance(scores, direction=direction)
        return Answer(label, scores, calibrated, chance, meant)


def asked(
    data: Labelled, words: Words, *, size: int, draws: int
) -> Iterator[tuple[Answer, Answer, list[float]]]:
    """For each label and draw: the answers where it is absent and present, and to `NOT_MUSIC`."""
    for label in data.labels(least=LEAST, facets=FACETS):
        having = data.having(label)
        have, lack = np.flatnonzero(having), np.flatnonzero(~having)
        if len(lack) < size:
            continue
        for seed in range(draws):
            rng = np.random.default_rng((seed, size, len(have)))
            rows = rng.choice(lack, size, replace=False)
            planted = np.concatenate([rng.choice(have, PLANTED, replace=False), rows[PLANTED:]])
            question, bank = words.of[phrase(label)], words.bank
            without = Library.of(data.vectors[rows], bank)
            library = Library.of(data.vectors[planted], bank)
            none = np.zeros(size, dtype=bool)
            other = [
                float(without.ask(words.of[x], label, none).calibrated.max()) for x in NOT_MUSIC
            ]
            yield (
                without.ask(question, label, none),
                library.ask(question, label, having[planted]),
                other,
            )


def answer_rows(
    found: Sequence[tuple[Answer, Answer, list[float]]], thresholds: Sequence[float] = THRESHOLDS
) -> list[tuple[str, ...]]:
    """One row per least score: shares answered, and how many of the answers are meant."""
    groups = [absent.label for absent, _, _ in found]
    rows: list[tuple[str, ...]] = []
    for least in thresholds:
        there = [float(present.calibrated.max() >= least) for _, present, _ in found]
        gone = [float(absent.calibrated.max() >= least) for absent, _, _ in found]
        other = [float(np.mean([score >= least for score in own])) for *_, own in found]
        given = [present.meant[present.calibrated >= least] for _, present, _ in found]
        right = np.concatenate(given) if given else np.zeros(0)
        meant = [float(one.calibrated[one.meant].max() >= least) for _, one, _ in found]
        reached = [float((absent.calibrated >= least).mean()) for absent, _, _ in found]
        rare = [float((absent.chance <= 1 - least).mean()) for absent, _, _ in found]
        columns = (there, meant, gone, other, reached, rare)
        cells = [_share(column, groups) for column in columns]
        rows.append((f"{least:g}", *cells, f"{right.mean():.2f}" if len(right) else "—"))
    return rows


def separation(found: Sequence[tuple[Answer, Answer, list[float]]]) -> tuple[float, float]:
    """How often the best answer is better where the thing is there: calibrated, and by raw score.

    A half is no separation; over all pairs of a question there and any question absent.
    """
    there = np.array([[one.calibrated.max(), one.scores.max()] for _, one, _ in found])
    gone = np.array([[one.calibrated.max(), one.scores.max()] for one, _, _ in found])
    above = there[:, None] > gone[None]
    equal = there[:, None] == gone[None]
    calibrated, raw = (above + 0.5 * equal).mean(axis=(0, 1))
    return float(calibrated), float(raw)


def _share(values: Sequence[float], groups: Sequence[tuple[str, str]]) -> str:
    bounds = mean_interval(values, groups=groups)
    return f"{np.mean(values):.2f} [{bounds.low:.2f}, {bounds.high:.2f}]"
