"""The ranking metrics against enumeration of every order, scikit-learn, and their laws."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, permutations
from math import log2
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, ndcg_score

from clap_musicgen.errors import InputError
from clap_musicgen.evaluation import metrics

LAW = settings(deadline=None, derandomize=True)
"""How the laws are tried: the same examples on every run, however busy the machine."""

Floats: TypeAlias = NDArray[np.float64]
Order: TypeAlias = tuple[int, ...]
OfOrder: TypeAlias = Callable[[Floats, Order], float]
Metric: TypeAlias = Callable[[Floats, Floats], Floats]
Chance: TypeAlias = Callable[[Floats], Floats]

K = 3


# The obvious definitions, for one given order of the items.


def first_of(relevance: Floats, order: Order) -> int:
    return next(rank for rank, item in enumerate(order, start=1) if relevance[item] > 0)


def hit_of(relevance: Floats, order: Order) -> float:
    return float(any(relevance[item] > 0 for item in order[:K]))


def reciprocal_of(relevance: Floats, order: Order) -> float:
    return 1.0 / first_of(relevance, order)


def recall_of(relevance: Floats, order: Order) -> float:
    return sum(bool(relevance[item] > 0) for item in order[:K]) / int((relevance > 0).sum())


def precision_of(relevance: Floats, order: Order) -> float:
    found, total = 0, 0.0
    for rank, item in enumerate(order, start=1):
        if relevance[item] > 0:
            found += 1
            total += found / rank
    return total / found


def ndcg_of(relevance: Floats, order: Order) -> float:
    def gain(items: Order) -> float:
        best = enumerate(items[:K], start=1)
        return float(sum(relevance[item] / log2(rank + 1) for rank, item in best))

    ideal = tuple(sorted(range(len(relevance)), key=lambda item: -relevance[item]))
    return gain(order) / gain(ideal)


def hit(scores: Floats, relevance: Floats) -> Floats:
    return metrics.hit_at(scores, relevance, k=K)


def recall(scores: Floats, relevance: Floats) -> Floats:
    return metrics.recall_at(scores, relevance, k=K)


def ndcg(scores: Floats, relevance: Floats) -> Floats:
    return metrics.ndcg_at(scores, relevance, k=K)


def chance_hit(relevance: Floats) -> Floats:
    return metrics.chance_hit_at(relevance, k=K)


def chance_recall(relevance: Floats) -> Floats:
    return metrics.chance_recall_at(relevance, k=K)


def chance_ndcg(relevance: Floats) -> Floats:
    return metrics.chance_ndcg_at(relevance, k=K)


TRIPLES: dict[str, tuple[Metric, Chance, OfOrder]] = {
    "hit": (hit, chance_hit, hit_of),
    "first rank": (metrics.first_rank, metrics.chance_first_rank, first_of),
    "reciprocal": (metrics.reciprocal_rank, metrics.chance_reciprocal_rank, reciprocal_of),
    "recall": (recall, chance_recall, recall_of),
    "precision": (metrics.average_precision, metrics.chance_average_precision, precision_of),
    "ndcg": (ndcg, chance_ndcg, ndcg_of),
}
EVERY = pytest.mark.parametrize("name", TRIPLES)


def over_all_orders(scores: Floats, relevance: Floats, of_order: OfOrder) -> float:
    """The mean over every order of the items that sorts the scores."""
    fitting = [
        order
        for order in permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    return sum(of_order(relevance, order) for order in fitting) / len(fitting)


@st.composite
def rankings(draw: st.DrawFn, most: int = 5) -> tuple[Floats, Floats]:
    """Scores and graded relevance (Q, N), with many ties and at least one relevant item each."""
    queries, items = draw(st.integers(1, 3)), draw(st.integers(1, most))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    scores = generator.integers(-2, draw(st.integers(-1, 30)), size=(queries, items)).astype(float)
    relevance = generator.integers(0, 4, size=(queries, items)) / 3
    relevance[np.arange(queries), generator.integers(0, items, size=queries)] = 1.0
    return scores, relevance


@EVERY
@settings(LAW, max_examples=60)
@given(case=rankings())
def test_equals_the_mean_over_every_order(name: str, case: tuple[Floats, Floats]) -> None:
    metric, _, of_order = TRIPLES[name]
    scores, relevance = case
    slow = [over_all_orders(s, r, of_order) for s, r in zip(scores, relevance, strict=True)]
    np.testing.assert_allclose(metric(scores, relevance), slow, rtol=1e-9, atol=1e-12)


@EVERY
@settings(LAW, max_examples=60)
@given(case=rankings())
def test_chance_is_the_mean_over_every_order(name: str, case: tuple[Floats, Floats]) -> None:
    _, chance, of_order = TRIPLES[name]
    _, relevance = case
    flat = np.zeros(relevance.shape[1])
    slow = [over_all_orders(flat, r, of_order) for r in relevance]
    np.testing.assert_allclose(chance(relevance), slow, rtol=1e-9, atol=1e-12)


@EVERY
@LAW
@given(case=rankings(most=60), level=st.floats(-1e6, 1e6))
def test_constant_scores_give_exactly_chance(
    name: str, case: tuple[Floats, Floats], level: float
) -> None:
    metric, chance, _ = TRIPLES[name]
    _, relevance = case
    flat = np.full_like(relevance, level)
    np.testing.assert_allclose(metric(flat, relevance), chance(relevance), rtol=1e-9)


@EVERY
@LAW
@given(case=rankings(most=40))
def test_a_perfect_ranking_gives_one(name: str, case: tuple[Floats, Floats]) -> None:
    _, relevance = case
    expected = 1.0
    if name == "recall":  # more relevant items than places: the best possible is below 1
        wanted = (relevance > 0).sum(axis=1)
        expected = np.minimum(K, wanted) / wanted
    np.testing.assert_allclose(TRIPLES[name][0](relevance, relevance), expected, rtol=1e-9)


@EVERY
@LAW
@given(case=rankings(most=40), seed=st.integers(0, 1000))
def test_the_order_of_items_and_queries_does_not_matter(
    name: str, case: tuple[Floats, Floats], seed: int
) -> None:
    metric, (scores, relevance) = TRIPLES[name][0], case
    generator = np.random.default_rng(seed)
    columns = generator.permutation(scores.shape[1])
    rows = generator.permutation(len(scores))
    moved = metric(scores[rows][:, columns], relevance[rows][:, columns])
    np.testing.assert_allclose(moved, metric(scores, relevance)[rows], rtol=1e-9, atol=1e-12)


@EVERY
@LAW
@given(case=rankings(most=40), scale=st.floats(0.01, 50), shift=st.floats(-50, 50))
def test_only_the_order_of_the_scores_counts(
    name: str, case: tuple[Floats, Floats], scale: float, shift: float
) -> None:
    metric, (scores, relevance) = TRIPLES[name][0], case
    moved = metric(np.exp(scores * 0.1) * scale + shift, relevance)
    np.testing.assert_allclose(moved, metric(scores, relevance), rtol=1e-9, atol=1e-12)


@EVERY
@LAW
@given(case=rankings(most=40), lift=st.floats(0.1, 20))
def test_lifting_the_best_item_never_hurts(
    name: str, case: tuple[Floats, Floats], lift: float
) -> None:
    metric, (scores, relevance) = TRIPLES[name][0], case
    better = scores.copy()
    better[np.arange(len(scores)), relevance.argmax(axis=1)] += lift
    gain = metric(better, relevance) - metric(scores, relevance)
    assert ((-gain if name == "first rank" else gain) >= -1e-9).all()


@LAW
@given(case=rankings(most=60))
def test_the_hit_curve_never_falls_and_ends_at_one(case: tuple[Floats, Floats]) -> None:
    curve = metrics.hit_curve(*case)
    assert (np.diff(curve, axis=1) >= -1e-12).all()
    np.testing.assert_array_equal(curve[:, -1], 1.0)
    assert (curve >= 0).all()


@LAW
@given(case=rankings(most=60))
def test_the_hit_curve_tells_the_expected_rank(case: tuple[Floats, Floats]) -> None:
    beyond = 1.0 - metrics.hit_curve(*case)[:, :-1]
    np.testing.assert_allclose(1.0 + beyond.sum(axis=1), metrics.first_rank(*case), rtol=1e-9)


def test_the_median_rank_without_ties_is_numpys() -> None:
    generator = np.random.default_rng(3)
    for queries in range(1, 12):
        scores = generator.permuted(np.tile(np.arange(17.0), (queries, 1)), axis=1)
        relevance = generator.random((queries, 17)) < 0.2
        relevance[:, 0] = True
        ranks = [
            first_of(r.astype(float), tuple(np.argsort(-s)))
            for s, r in zip(scores, relevance, strict=True)
        ]
        value = metrics.median_rank(metrics.hit_curve(scores, relevance))
        assert value.tolist() == [np.median(ranks)]


def test_the_median_rank_of_a_random_order_is_the_median_of_random_ranks() -> None:
    one = np.eye(1, 9)
    assert metrics.median_rank(metrics.chance_hit_curve(one)).tolist() == [5.0]
    assert metrics.median_rank(metrics.chance_hit_curve(np.eye(1, 10))).tolist() == [5.5]
    several = (np.arange(40) < 10).astype(float)[None, :]  # the first of 10 comes early
    generator = np.random.default_rng(0)
    drawn = np.argmax(generator.permuted(np.tile(several, (4001, 1)), axis=1), axis=1) + 1
    assert metrics.median_rank(metrics.chance_hit_curve(several))[0] == np.median(drawn)
    assert metrics.chance_first_rank(several)[0] == pytest.approx(41 / 11)


@LAW
@given(case=rankings(most=30))
def test_constant_scores_give_the_chance_median(case: tuple[Floats, Floats]) -> None:
    _, relevance = case
    flat = metrics.median_rank(metrics.hit_curve(np.ones_like(relevance), relevance))
    assert flat == metrics.median_rank(metrics.chance_hit_curve(relevance))


def test_weights_of_the_median_rank_count_like_copies() -> None:
    curve = metrics.hit_curve(np.array([[3.0, 2, 1], [1, 2, 3], [1, 3, 2]]), np.eye(3))
    weights = np.array([[1, 4, 2], [1, 0, 0], [1, 1, 1], [0, 3, 3]])
    copies = [np.repeat(curve, w, axis=0) for w in weights]
    expected = [metrics.median_rank(copy)[0] for copy in copies]
    np.testing.assert_array_equal(metrics.median_rank(curve, weights), expected)


def test_average_precision_is_scikit_learns_without_ties() -> None:
    generator = np.random.default_rng(5)
    scores = generator.permuted(np.tile(np.arange(50.0), (20, 1)), axis=1)
    relevance = generator.random((20, 50)) < 0.2
    relevance[:, 7] = True
    theirs = [average_precision_score(r, s) for r, s in zip(relevance, scores, strict=True)]
    np.testing.assert_allclose(metrics.average_precision(scores, relevance), theirs, rtol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 10, 50, 80])
def test_ndcg_is_scikit_learns_with_and_without_ties(k: int) -> None:
    generator = np.random.default_rng(6)
    relevance = generator.random((20, 50)) * (generator.random((20, 50)) < 0.3)
    relevance[:, 7] = 0.5
    for scores in (generator.random((20, 50)), generator.integers(0, 6, (20, 50)).astype(float)):
        theirs = [ndcg_score(r[None], s[None], k=k) for r, s in zip(relevance, scores, strict=True)]
        np.testing.assert_allclose(metrics.ndcg_at(scores, relevance, k=k), theirs, rtol=1e-9)


def test_the_ideal_of_ndcg_is_taken_over_all_items() -> None:
    relevance = np.array([[0.2, 0.1, 0.0, 1.0]])
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])  # well sorted among the first two, but 1.0 is missed
    ideal = 1.0 + 0.2 / log2(3)
    assert metrics.ndcg_at(scores, relevance, k=2)[0] == pytest.approx(
        (0.2 + 0.1 / log2(3)) / ideal
    )


def test_large_matrices_stay_exact_and_finite() -> None:
    relevance = np.zeros((2, 20_000))
    relevance[0, :3], relevance[1, :19_999] = 1.0, 1.0
    curve = metrics.chance_hit_curve(relevance)
    assert curve[0, 9_999] == pytest.approx(1 - 0.5**3, rel=1e-3)
    assert curve[1].tolist()[:2] == pytest.approx([0.99995, 1.0], rel=1e-9)
    flat = metrics.average_precision(np.zeros_like(relevance), relevance)
    np.testing.assert_allclose(flat, metrics.chance_average_precision(relevance), rtol=1e-9)


@pytest.mark.parametrize(
    ("scores", "relevance", "words"),
    [
        ([[1.0, 2.0]], [[1.0]], "shape"),
        ([[1.0, np.nan]], [[1.0, 0.0]], "query 0"),
        ([[1.0, 2.0], [0.0, np.inf]], [[1.0, 0.0]] * 2, "query 1"),
        ([[1.0, 2.0]], [[0.0, 0.0]], "no relevant item"),
        ([[1.0, 2.0]], [[1.0, -1.0]], "not negative"),
        ([1.0, 2.0], [1.0, 0.0], "shape"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "shape"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores: object, relevance: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        metrics.reciprocal_rank(np.asarray(scores), np.asarray(relevance))


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="k is 0"):
        metrics.ndcg_at([[1.0]], [[1.0]], k=0)


def test_the_evaluation_package_loads_no_deep_learning_framework() -> None:
    code = (
        "import sys; import clap_musicgen.evaluation.report, clap_musicgen.evaluation.zero_shot;"
        "sys.exit(bool({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
