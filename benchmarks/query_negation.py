"""Does "A without X" keep X away, and what does that cost? Measured on pairs of labels.

For each pair the tracks are ranked by each way of saying "A without X", and compared with the
ranking by A alone. Pure arithmetic on vectors; knows neither a model nor files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embeddings, unit
from clap_musicgen.evaluation import metrics
from clap_musicgen.evaluation.bootstrap import mean_interval
from clap_musicgen.library.query import WITHOUT_WEIGHT, compose
from query_data import Labelled

Vector: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float64]
Label: TypeAlias = tuple[str, str]

DEPTH = 10
LEAST = 3
"""A pair needs so many tracks of A with X, and of A without X."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One pair in vectors as they are compared with tracks.

    Attributes:
        wanted: (D,) "A".
        unwanted: (D,) "X".
        spoken: (D,) the plain text "A without X".
        tracks: (N, D).
    """

    wanted: Vector
    unwanted: Vector
    spoken: Vector
    tracks: Embeddings


Way: TypeAlias = Callable[[Asked], Scores]


def wanted_alone(asked: Asked) -> Scores:
    """By "A", as if nothing were unwanted."""
    return _scores(asked.tracks, asked.wanted)


def spoken(asked: Asked) -> Scores:
    """By the plain text "A without X"."""
    return _scores(asked.tracks, asked.spoken)


def subtracted(asked: Asked, *, weight: float) -> Scores:
    """By A - weight · X."""
    return _scores(asked.tracks, asked.wanted - np.float32(weight) * asked.unwanted)


def composed(asked: Asked) -> Scores:
    """By what the library makes of it."""
    direction = compose([(asked.wanted, 1.0)], [(asked.unwanted, 1.0)])
    return _scores(asked.tracks, direction)


def projected(asked: Asked) -> Scores:
    """By A without its part along X."""
    along = float(asked.wanted @ asked.unwanted)
    return _scores(asked.tracks, asked.wanted - np.float32(along) * asked.unwanted)


def positive_part(asked: Asked, *, weight: float) -> Scores:
    """By A, less weight x the score of X where that is positive."""
    unwanted = _scores(asked.tracks, asked.unwanted)
    return np.asarray(_scores(asked.tracks, asked.wanted) - weight * np.maximum(unwanted, 0.0))


def penalised(asked: Asked, *, weight: float) -> Scores:
    """By A, less weight x the share of the tracks that X fits less, in deviations of A's scores."""
    wanted = _scores(asked.tracks, asked.wanted)
    place = _scores(asked.tracks, asked.unwanted).argsort().argsort() / max(len(wanted) - 1, 1)
    return np.asarray(wanted - weight * wanted.std() * place)


def left_out(asked: Asked, *, share: float) -> Scores:
    """By A, but the tracks that X fits best, a share of all, come last."""
    unwanted = _scores(asked.tracks, asked.unwanted)
    barred = unwanted > np.quantile(unwanted, 1.0 - share)
    return np.asarray(_scores(asked.tracks, asked.wanted) - 10.0 * barred)


WAYS: dict[str, Way] = {
    "A": wanted_alone,
    'text "A without X"': spoken,
    **{f"A - {w:g} X": partial(subtracted, weight=w) for w in (0.25, 0.5, 0.75, 1.0)},
    f"shipped: A - {WITHOUT_WEIGHT:g} X": composed,
    "projection": projected,
    "A - 0.5 positive part of X": partial(positive_part, weight=0.5),
    "A - 1 positive part of X": partial(positive_part, weight=1.0),
    "A - 1 share below X": partial(penalised, weight=1.0),
    "A - 2 share below X": partial(penalised, weight=2.0),
    "best fifth of X last": partial(left_out, share=0.2),
}


def pairs(data: Labelled, *, least: int = LEAST) -> list[tuple[Label, Label]]:
    """The pairs (A, X) with enough tracks of A with X and of A without X, sorted."""
    names = data.labels(least=2 * least)
    having = {name: data.having(name) for name in names}
    return [
        (a, x)
        for a in names
        for x in names
        if a != x
        and (having[a] & having[x]).sum() >= least
        and (having[a] & ~having[x]).sum() >= least
    ]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a ranking did for one pair.

    Attributes:
        unwanted: share of X among the first `DEPTH`.
        found: nDCG of A among the tracks without X.
        overlap: share of the first `DEPTH` tracks without X that "A" alone has there too.
        goal: nDCG of A without X among all tracks.
    """

    unwanted: float
    found: float
    overlap: float
    goal: float


def judged(
    scores: Scores, alone: Scores, *, has_a: NDArray[np.bool_], has_x: NDArray[np.bool_]
) -> Kept:
    """Judge a ranking (N,) of one pair beside the ranking by A `alone` (N,)."""
    rest = np.flatnonzero(~has_x)
    depth = min(DEPTH, len(rest))
    first = set(rest[_best(scores[rest], depth)].tolist())
    before = set(rest[_best(alone[rest], depth)].tolist())
    wanted = (has_a & ~has_x).astype(np.float64)
    return Kept(
        unwanted=float(has_x[_best(scores, min(DEPTH, len(scores)))].mean()),
        found=float(metrics.ndcg_at(scores[None, rest], wanted[None, rest], k=DEPTH)[0]),
        overlap=len(first & before) / depth,
        goal=float(metrics.ndcg_at(scores[None], wanted[None], k=DEPTH)[0]),
    )


def summary(
    found: Mapping[str, Sequence[Kept]], chosen: Sequence[tuple[Label, Label]], *, base: str
) -> list[tuple[str, ...]]:
    """One row per way: means over pairs, and X's share less that of `base`, with intervals.

    Pairs with the same unwanted X are drawn together: they lean on the same tracks.
    """
    groups = [x for _, x in chosen]
    rows = []
    for name, kept in found.items():
        cells = [name]
        for field in ("unwanted", "found", "goal"):
            values = [getattr(one, field) for one in kept]
            cells.append(_with_interval(values, groups))
        cells.insert(3, f"{np.mean([one.overlap for one in kept]):.2f}")
        change = [a.unwanted - b.unwanted for a, b in zip(kept, found[base], strict=True)]
        rows.append((*cells, _with_interval(change, groups, sign="+")))
    return rows


def measure(
    data: Labelled,
    chosen: Sequence[tuple[Label, Label]],
    *,
    vectors: Mapping[str, Vector],
    texts: Callable[[Label, Label], tuple[str, str, str]],
    tracks: Embeddings,
    ways: Mapping[str, Way],
) -> dict[str, list[Kept]]:
    """Judge each way on each pair.

    Args:
        data: the labelled tracks.
        chosen: pairs of labels.
        vectors: text → (D,) as it is compared with `tracks`.
        texts: of a pair: "A", "X", "A without X".
        tracks: (N, D).
        ways: name → way.
    """
    found: dict[str, list[Kept]] = {name: [] for name in ways}
    for a, x in chosen:
        wanted, unwanted, said = (vectors[text] for text in texts(a, x))
        asked = Asked(wanted, unwanted, said, tracks)
        alone = wanted_alone(asked)
        for name, way in ways.items():
            kept = judged(way(asked), alone, has_a=data.having(a), has_x=data.having(x))
            found[name].append(kept)
    return found


def _scores(tracks: Embeddings, direction: Vector) -> Scores:
    """Cosines with a direction of any length, so that all ways are on one scale."""
    return np.asarray(tracks.astype(np.float64) @ unit(direction).astype(np.float64))


def _best(scores: Scores, count: int) -> NDArray[np.int64]:
    return np.argsort(-scores, kind="stable")[:count]


def _with_interval(values: Sequence[float], groups: Sequence[Label], *, sign: str = "") -> str:
    bounds = mean_interval(values, groups=groups)
    low, high = (f"{bound:{sign}.2f}" for bound in (bounds.low, bounds.high))
    return f"{np.mean(values):{sign}.2f} [{low}, {high}]"
