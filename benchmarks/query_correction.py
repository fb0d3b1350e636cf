"""What each way of correcting scores is worth: search by words and by sound, labels, hubs.

Takes labelled tracks, vectors of their captions and labels and of the bank; gives rows of tables.
Knows neither a model nor files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embeddings
from clap_musicgen.evaluation import metrics
from clap_musicgen.evaluation.bootstrap import mean_interval
from clap_musicgen.evaluation.geometry import skewness
from clap_musicgen.evaluation.retrieval import genre_overlap, unique_captions
from query_data import Labelled
from query_ways import Scores, Way

DEPTH = 10
SMALLEST = 8
"""A set with fewer tracks is no library to search."""


@dataclass(frozen=True, slots=True)
class Words:
    """Vectors of texts: of captions and labels by name, and the bank (M, D)."""

    of: Mapping[str, Embeddings]
    bank: Embeddings

    def stacked(self, texts: Sequence[str]) -> Embeddings:
        """(len(texts), D)."""
        return np.stack([self.of[text] for text in texts])


@dataclass(frozen=True, slots=True)
class Found:
    """What one way finds in one library, per question.

    Attributes:
        reciprocal: (C,) 1 / rank of the first track with the caption.
        hit: (C,) whether one is among the first ten.
        right: (P,) whether the best genre of a piece is right; of pieces with a genre.
        alike: (P,) nDCG@10 of the other tracks by shared genres; none where nothing is shared.
        skew: skewness of how often a track is among the ten best of a caption.
    """

    reciprocal: NDArray[np.float64]
    hit: NDArray[np.float64]
    right: NDArray[np.float64]
    alike: NDArray[np.float64]
    skew: float


def found(data: Labelled, words: Words, way: Way) -> Found:
    """Measure one way on one library."""
    captions, caption_of = unique_captions([track.caption for track in data.tracks])
    relevance = np.arange(len(captions))[:, None] == caption_of[None, :]
    scores = np.round(way(words.stacked(captions), data.vectors, words.bank), 7)
    return Found(
        metrics.reciprocal_rank(scores, relevance),
        metrics.hit_at(scores, relevance, k=DEPTH),
        _right(data, words, way),
        _alike(data, words, way),
        _skew(scores),
    )


def by_set(data: Labelled) -> dict[str, Labelled]:
    """Name → each set that is large enough, as a library of its own."""
    names = sorted({track.set for track in data.tracks})
    rows = {name: [n for n, track in enumerate(data.tracks) if track.set == name] for name in names}
    return {name: data.part(own) for name, own in rows.items() if len(own) >= SMALLEST}


def pooled_rows(data: Labelled, words: Words, ways: Mapping[str, Way]) -> list[tuple[str, ...]]:
    """One row per way: all tracks in one library; changes against the first way, per question."""
    base: Found | None = None
    rows: list[tuple[str, ...]] = []
    for name, way in ways.items():
        own = found(data, words, way)
        base = base or own
        rows.append(
            (
                name,
                f"{own.reciprocal.mean():.3f}",
                change(own.reciprocal - base.reciprocal),
                f"{own.hit.mean():.3f}",
                change(own.hit - base.hit),
                f"{own.right.mean():.3f}",
                f"{own.alike.mean():.3f}",
                change(own.alike - base.alike),
                f"{own.skew:.2f}",
            )
        )
    return rows


def set_rows(data: Labelled, words: Words, ways: Mapping[str, Way]) -> list[tuple[str, ...]]:
    """One row per way: each set a library of its own; MRR, and the zero-shot genre where there is one."""
    sets = by_set(data)
    rows: list[tuple[str, ...]] = []
    for name, way in ways.items():
        own = {title: found(part, words, way) for title, part in sets.items()}
        cells = [f"{one.reciprocal.mean():.3f}" for one in own.values()]
        cells += [f"{one.right.mean():.3f}" if len(one.right) else "—" for one in own.values()]
        rows.append((name, *cells))
    return rows


def small_rows(
    data: Labelled,
    words: Words,
    ways: Mapping[str, Way],
    *,
    sizes: Sequence[int],
    draws: int,
) -> list[tuple[str, ...]]:
    """One row per way: MRR in libraries of a few tracks, drawn at random, the same for all ways."""
    table: dict[str, list[str]] = {name: [] for name in ways}
    for size in sizes:
        base: NDArray[np.float64] | None = None
        for name, way in ways.items():
            means = np.array([_drawn(data, words, way, size, seed) for seed in range(draws)])
            base = means if base is None else base
            table[name] += [f"{means.mean():.3f}", change(means - base)]
    return [(name, *cells) for name, cells in table.items()]


def change(differences: NDArray[np.float64]) -> str:
    """Mean of paired differences with its interval; a dash where there is nothing to compare."""
    if not len(differences):
        return "—"
    if not differences.any():
        return "0"
    bounds = mean_interval(differences)
    return f"{differences.mean():+.3f} [{bounds.low:+.3f}, {bounds.high:+.3f}]"


def _drawn(data: Labelled, words: Words, way: Way, size: int, seed: int) -> float:
    rows = np.random.default_rng(seed).choice(len(data.tracks), size, replace=False)
    part = data.part(np.sort(rows))
    captions, caption_of = unique_captions([track.caption for track in part.tracks])
    relevance = np.arange(len(captions))[:, None] == caption_of[None, :]
    scores = np.round(way(words.stacked(captions), part.vectors, words.bank), 7)
    return float(metrics.reciprocal_rank(scores, relevance).mean())


def _right(data: Labelled, words: Words, way: Way) -> NDArray[np.float64]:
    labels = data.labels(facets=("genre",))
    if len(labels) < 2:
        return np.zeros(0)
    truth = np.array([data.having(label) for label in labels]).T
    known = np.flatnonzero(truth.any(axis=1))
    names = [f"genre:{label}" for _, label in labels]
    scores = way(words.stacked(names), data.vectors, words.bank).T[known]
    return metrics.hit_at(np.round(scores, 7), truth[known], k=1)


def _alike(data: Labelled, words: Words, way: Way) -> NDArray[np.float64]:
    overlap = genre_overlap([track.names("genre") for track in data.tracks])
    np.fill_diagonal(overlap, 0.0)
    known = np.flatnonzero((overlap > 0).any(axis=1))
    if len(known) < 2:
        return np.zeros(0)
    scores = np.round(way(data.vectors[known], data.vectors, words.bank, kind="sound"), 7)
    scores[np.arange(len(known)), known] = scores.min() - 1.0  # the question itself comes last
    return metrics.ndcg_at(scores, overlap[known], k=DEPTH)


def _skew(scores: Scores) -> float:
    depth = min(DEPTH, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
    counts = np.bincount(best.ravel(), minlength=scores.shape[1]).astype(np.float64)
    return float(skewness(counts[None])[0])
