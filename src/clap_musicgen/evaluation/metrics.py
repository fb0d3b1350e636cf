"""Ranking metrics of score matrices, and the value each would have by chance.

Every metric takes scores (Q, N), higher is better, and a relevance (Q, N) of the same shape, binary
or graded (> 0 is relevant), and returns one value per query, (Q,).

**Ties** are resolved by expectation: the value is the exact mean over all orders of the items with
equal scores (McSherry and Najork, "Computing information retrieval performance measures efficiently
in the presence of tied scores", ECIR 2008). A model that gives every item the same score therefore
gets exactly chance. **Chance** is the exact expectation over a uniformly random order of the N
items; the `chance_*` functions give it in closed form from the relevance alone.

Knows numpy only: no model, no files, no captions. A query without a relevant item has no value in
any of these metrics and is refused: leave it out beforehand.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clap_musicgen.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

HALF_TOLERANCE = 1e-9
"""Rounding of a probability of one half, so that an exact half counts as one."""


def hit_curve(scores: ArrayLike, relevance: ArrayLike) -> Floats:
    """Probability that at least one relevant item is among the first m, for m = 1…N → (Q, N).

    Column k - 1 is hit@k (recall@k where a query has one relevant item). Without ties among the
    best relevant items each row is a step from 0 to 1 at the rank of the first of them.
    """
    s, r = _checked(scores, relevance)
    before, tied, wanted = _first_group(s, r > 0)
    return _hypergeometric_curve(before, tied, wanted, s.shape[1])


def hit_at(scores: ArrayLike, relevance: ArrayLike, *, k: int) -> Floats:
    """1 where a relevant item is among the first k, else 0 (expectation under ties) → (Q,)."""
    curve = hit_curve(scores, relevance)
    return curve[:, _clamped(k, curve.shape[1]) - 1]


def first_rank(scores: ArrayLike, relevance: ArrayLike) -> Floats:
    """Rank, from 1, of the first relevant item (expectation under ties) → (Q,)."""
    s, r = _checked(scores, relevance)
    before, tied, wanted = _first_group(s, r > 0)
    return np.asarray(before + (tied + 1.0) / (wanted + 1.0))


def reciprocal_rank(scores: ArrayLike, relevance: ArrayLike) -> Floats:
    """1 / rank of the first relevant item (expectation under ties) → (Q,). Its mean is MRR."""
    return _reciprocal(hit_curve(scores, relevance))


def median_rank(curve: Floats, weights: ArrayLike | None = None) -> Floats:
    """Median over queries of the rank of the first relevant item, from `hit_curve` (Q, N) → (R,).

    The median of the ranks pooled over queries and, where scores tie, over the orders of the ties:
    the midpoint between the smallest rank m that at least half reach and the smallest that more
    than half reach. Without ties that is `np.median` of the ranks.

    Args:
        curve: (Q, N), as returned by `hit_curve` or `chance_hit_curve`.
        weights: (R, Q) weights of the queries, R medians at once; default: all equal, R = 1.
    """
    w = np.ones((1, len(curve))) if weights is None else np.atleast_2d(np.asarray(weights, float))
    reached = (w @ curve) / w.sum(axis=1, keepdims=True)  # (R, N), never decreasing along a row
    lower = (reached < 0.5 - HALF_TOLERANCE).sum(axis=1)
    upper = (reached <= 0.5 + HALF_TOLERANCE).sum(axis=1)
    return np.asarray((lower + upper) / 2.0 + 1.0)


def recall_at(scores: ArrayLike, relevance: ArrayLike, *, k: int) -> Floats:
    """Share of the relevant items that are among the first k (expectation under ties) → (Q,)."""
    s, r = _checked(scores, relevance)
    wanted = (r > 0).astype(np.float64)
    expected = _expected_by_position(s, wanted)[:, : _clamped(k, s.shape[1])]
    return np.asarray(expected.sum(axis=1) / wanted.sum(axis=1))


def average_precision(scores: ArrayLike, relevance: ArrayLike) -> Floats:
    """Mean, over the relevant items, of the precision at their ranks → (Q,). Its mean is mAP.

    An item of a tied group of g items, r of them relevant, sits at the j-th place of its group with
    equal probability; given that it is relevant, (j - 1)(r - 1)/(g - 1) of those before it in the
    group are relevant on average.
    """
    s, r = _checked(scores, relevance)
    order = np.argsort(-s, axis=1, kind="stable")
    wanted = np.take_along_axis(r > 0, order, axis=1).astype(np.float64)
    start, size = _tied_groups(np.take_along_axis(s, order, axis=1))
    seen = np.concatenate([np.zeros((len(s), 1)), np.cumsum(wanted, axis=1)], axis=1)
    before = np.take_along_axis(seen, start, axis=1)
    inside = np.take_along_axis(seen, start + size, axis=1) - before
    place = np.arange(s.shape[1]) - start  # j - 1
    company = place * (inside - 1.0) / np.maximum(size - 1, 1)
    precision = (before + 1.0 + company) / (start + place + 1.0)
    return np.asarray((inside / size * precision).sum(axis=1) / wanted.sum(axis=1))


def ndcg_at(scores: ArrayLike, relevance: ArrayLike, *, k: int) -> Floats:
    """Discounted cumulative gain of the first k over that of the ideal order → (Q,).

    The gain is the relevance itself, the discount 1 / log2(rank + 1), and the ideal is taken over
    all N items, not over the retrieved ones. k above N means N.
    """
    s, r = _checked(scores, relevance)
    depth = _clamped(k, s.shape[1])
    gain = _expected_by_position(s, r)[:, :depth] @ _discounts(depth)
    return np.asarray(gain / _ideal_gain(r, depth))


def chance_hit_curve(relevance: ArrayLike) -> Floats:
    """`hit_curve` of a random order: 1 - C(N - r, m) / C(N, m) for r relevant of N → (Q, N)."""
    r = _checked_relevance(relevance)
    wanted = (r > 0).sum(axis=1)
    everything = np.full_like(wanted, r.shape[1])
    return _hypergeometric_curve(np.zeros_like(wanted), everything, wanted, r.shape[1])


def chance_hit_at(relevance: ArrayLike, *, k: int) -> Floats:
    """`hit_at` of a random order → (Q,)."""
    curve = chance_hit_curve(relevance)
    return curve[:, _clamped(k, curve.shape[1]) - 1]


def chance_first_rank(relevance: ArrayLike) -> Floats:
    """`first_rank` of a random order: (N + 1) / (r + 1) → (Q,)."""
    r = _checked_relevance(relevance)
    return np.asarray((r.shape[1] + 1.0) / ((r > 0).sum(axis=1) + 1.0))


def chance_reciprocal_rank(relevance: ArrayLike) -> Floats:
    """`reciprocal_rank` of a random order: Σ over m of P(first relevant at m) / m → (Q,)."""
    return _reciprocal(chance_hit_curve(relevance))


def chance_recall_at(relevance: ArrayLike, *, k: int) -> Floats:
    """`recall_at` of a random order: k / N → (Q,)."""
    queries, items = _checked_relevance(relevance).shape
    return np.full(queries, _clamped(k, items) / items)


def chance_average_precision(relevance: ArrayLike) -> Floats:
    """`average_precision` of a random order → (Q,).

    (H + (r - 1)(N - H) / (N - 1)) / N for r relevant of N, where H = 1 + 1/2 + … + 1/N.
    """
    r = _checked_relevance(relevance)
    items, wanted = r.shape[1], (r > 0).sum(axis=1)
    harmonic = (1.0 / np.arange(1, items + 1)).sum()
    others = (wanted - 1.0) * (items - harmonic) / max(items - 1, 1)
    return np.asarray((harmonic + others) / items)


def chance_ndcg_at(relevance: ArrayLike, *, k: int) -> Floats:
    """`ndcg_at` of a random order: every place holds the mean relevance on average → (Q,)."""
    r = _checked_relevance(relevance)
    depth = _clamped(k, r.shape[1])
    return np.asarray(r.mean(axis=1) * _discounts(depth).sum() / _ideal_gain(r, depth))


def _checked(scores: ArrayLike, relevance: ArrayLike) -> tuple[Floats, Floats]:
    r = _checked_relevance(relevance)
    s = np.asarray(scores, dtype=np.float64)
    if s.shape != r.shape:
        raise InputError(
            f"scores have shape {s.shape} and relevance {r.shape}: both must be (queries, items)"
        )
    if not np.isfinite(s).all():
        row = int(np.argmin(np.isfinite(s).all(axis=1)))
        raise InputError(f"the scores of query {row} hold NaN or infinity, which have no rank")
    return s, r


def _checked_relevance(relevance: ArrayLike) -> Floats:
    r = np.asarray(relevance, dtype=np.float64)
    if r.ndim != 2 or 0 in r.shape:
        raise InputError(f"relevance has shape {r.shape}: it must be (queries, items), neither 0")
    if not np.isfinite(r).all() or (r < 0).any():
        raise InputError("relevance must be finite and not negative")
    empty = ~(r > 0).any(axis=1)
    if empty.any():
        raise InputError(
            f"{int(empty.sum())} queries have no relevant item, the first is number "
            f"{int(np.argmax(empty))}: leave them out, no ranking metric is defined for them"
        )
    return r


def _clamped(k: int, items: int) -> int:
    if k < 1:
        raise InputError(f"k is {k}: it must be at least 1")
    return min(k, items)


def _first_group(scores: Floats, wanted: NDArray[np.bool_]) -> tuple[Integers, Integers, Integers]:
    """Of the tied group of the best relevant item: items before it, its size, its relevant ones."""
    best = np.where(wanted, scores, -np.inf).max(axis=1, keepdims=True)
    tied = scores == best
    before, size = (scores > best).sum(axis=1), tied.sum(axis=1)
    return before, size, (tied & wanted).sum(axis=1)


def _hypergeometric_curve(before: Integers, tied: Integers, wanted: Integers, items: int) -> Floats:
    """P(one of `wanted` of `tied` items is drawn within the first m - `before`) → (Q, items)."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, items + 1)))])
    g, r = tied[:, None], wanted[:, None]
    drawn = np.clip(np.arange(1, items + 1) - before[:, None], 0, g)
    left = np.maximum(g - r - drawn, 0)
    missed = np.exp(
        log_factorial[g - r] - log_factorial[left] + log_factorial[g - drawn] - log_factorial[g]
    )
    return np.asarray(np.where(drawn > g - r, 1.0, 1.0 - missed))


def _reciprocal(curve: Floats) -> Floats:
    """Σ over m of P(first relevant at m) / m, from a hit curve (Q, N) → (Q,)."""
    here = np.diff(curve, axis=1, prepend=0.0)
    return np.asarray(here @ (1.0 / np.arange(1, curve.shape[1] + 1)))


def _tied_groups(ordered: Floats) -> tuple[Integers, Integers]:
    """First position and size of the tied group at each position of sorted rows (Q, N)."""
    items = ordered.shape[1]
    position = np.arange(items)
    changes = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(ordered), 1), dtype=bool)
    start = np.maximum.accumulate(np.where(np.hstack([edge, changes]), position, 0), axis=1)
    ends = np.where(np.hstack([changes, edge]), position, items)
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return start, end - start + 1


def _expected_by_position(scores: Floats, gains: Floats) -> Floats:
    """Expected gain at each rank: the mean gain of the tied group that holds it → (Q, N)."""
    order = np.argsort(-scores, axis=1, kind="stable")
    start, size = _tied_groups(np.take_along_axis(scores, order, axis=1))
    total = np.cumsum(np.take_along_axis(gains, order, axis=1), axis=1)
    total = np.concatenate([np.zeros((len(scores), 1)), total], axis=1)
    inside = np.take_along_axis(total, start + size, axis=1)
    return np.asarray((inside - np.take_along_axis(total, start, axis=1)) / size)


def _discounts(depth: int) -> Floats:
    return np.asarray(1.0 / np.log2(np.arange(2, depth + 2)))


def _ideal_gain(relevance: Floats, depth: int) -> Floats:
    best = -np.sort(-relevance, axis=1)[:, :depth]
    return np.asarray(best @ _discounts(depth))
