"""The losses against slow twins, their laws, their gradients, and their appetite for memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import permutations
from math import exp, log, sqrt
from typing import TypeAlias

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clap_musicgen.errors import InputError
from clap_musicgen.training.losses import info_nce, list_mle, list_net, proof_of_concept

LAW = settings(deadline=None, derandomize=True)
"""How the laws are tried: the same examples on every run, however busy the machine."""

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Row: TypeAlias = list[float]

LOSSES: dict[str, Loss] = {
    "list_net": list_net,
    "list_mle": list_mle,
    "list_mle@3": partial(list_mle, k=3),
    "info_nce": info_nce,
    "proof_of_concept": proof_of_concept,
}
EVERY = pytest.mark.parametrize("name", LOSSES)
TIE_AWARE = pytest.mark.parametrize("name", [name for name in LOSSES if name[0] != "p"])


def batch(rows: int = 6, columns: int | None = None, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and relevances in float64, relevance 1 on the diagonal and ties elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, columns or rows)
    scores = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    levels = torch.randint(0, 5, shape, generator=generator)
    return scores, (levels / 5).double().fill_diagonal_(1.0)


# Slow twins: one row of logits and relevances, plain Python.


def slow_list_net(logits: Row, wanted: Row, *, relevance_temperature: float = 0.1) -> float:
    target = [exp(r / relevance_temperature) for r in wanted]
    total = log(sum(exp(s) for s in logits))
    return sum(t / sum(target) * (total - s) for t, s in zip(target, logits, strict=True))


def slow_list_mle(logits: Row, wanted: Row, *, k: int | None = None) -> float:
    """Mean over every order that sorts the relevances; ties drawn among the whole tied group."""
    places = len(logits) if k is None else min(k, len(logits))
    orders = [
        order
        for order in permutations(range(len(logits)))
        if [wanted[n] for n in order] == sorted(wanted, reverse=True)
    ]
    total = 0.0
    for order in orders:
        for n in order[:places]:
            among = [s for s, r in zip(logits, wanted, strict=True) if r <= wanted[n]]
            total += log(sum(exp(s) for s in among)) - logits[n]
    return total / len(orders) / places


def slow_info_nce(logits: Row, wanted: Row, *, floor: float = 0.5) -> float:
    weight = [r if r >= floor else 0.0 for r in wanted]
    total = log(sum(exp(s) for s in logits))
    each = zip(weight, logits, strict=True)
    return sum(w * (total - s) for w, s in each) / sum(weight)


def slow_proof_of_concept(logits: Row, wanted: Row) -> float:
    mean = sum(logits) / len(logits)
    deviation = sqrt(sum((s - mean) ** 2 for s in logits) / (len(logits) - 1))
    order = sorted(range(len(logits)), key=lambda n: -wanted[n])
    left = [(logits[n] - mean) / (deviation + 1e-6) for n in order]
    return sum(log(sum(exp(s) for s in left[i:])) - left[i] for i in range(len(left)))


def both(slow: Callable[[Row, Row], float], scores: Tensor, relevance: Tensor, t: float) -> float:
    forward = zip((scores / t).tolist(), relevance.tolist(), strict=True)
    backward = zip((scores.T / t).tolist(), relevance.T.tolist(), strict=True)
    a, b = [slow(*row) for row in forward], [slow(*row) for row in backward]
    return (sum(a) / len(a) + sum(b) / len(b)) / 2


@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_listwise_equal_their_slow_twins(shape: tuple[int, int], seed: int) -> None:
    scores, relevance = batch(*shape, seed=seed)
    pairs = [
        (list_net(scores, relevance), both(slow_list_net, scores, relevance, 0.07)),
        (list_mle(scores, relevance), both(slow_list_mle, scores, relevance, 0.07)),
    ]
    for k in (1, 2, 4):
        slow = both(partial(slow_list_mle, k=k), scores, relevance, 0.5)
        pairs.append((list_mle(scores, relevance, k=k, temperature=0.5), slow))
    for fast, slow_value in pairs:
        assert fast.item() == pytest.approx(slow_value, rel=1e-9)


def test_list_mle_is_exact_far_beyond_single_precisions_exponents() -> None:
    scores, relevance = batch(4)
    for temperature in (0.01, 1 / 250):  # rows span up to 500: exp(-500) underflows a float32
        slow = both(slow_list_mle, scores, relevance, temperature)
        fast = list_mle(scores.float(), relevance, temperature=temperature)
        assert fast.item() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_info_nce_equals_its_slow_twin(seed: int) -> None:
    scores, relevance = batch(5, seed=seed)  # the diagonal gives each row and column a positive
    for floor in (0.2, 0.5, 0.9):
        slow = both(partial(slow_info_nce, floor=floor), scores, relevance, 0.07)
        assert info_nce(scores, relevance, floor=floor).item() == pytest.approx(slow, rel=1e-9)


@pytest.mark.parametrize("shape", [(2, 2), (5, 5), (5, 3)])
def test_the_proof_of_concepts_equals_its_slow_twin(shape: tuple[int, int]) -> None:
    scores, relevance = batch(*shape)
    slow = 2 * both(slow_proof_of_concept, scores, relevance, 1.0)
    assert proof_of_concept(scores, relevance).item() == pytest.approx(slow, rel=1e-9)


def test_the_proof_of_concepts_does_not_feel_a_temperature() -> None:
    scores, relevance = batch()
    warm = proof_of_concept(scores * 7.3, relevance)
    torch.testing.assert_close(warm, proof_of_concept(scores, relevance), rtol=1e-4, atol=0)


def test_info_nce_with_the_identity_is_clips_loss() -> None:
    scores, _ = batch()
    labels = torch.arange(6)
    ways = [torch.nn.functional.cross_entropy(s / 0.07, labels) for s in (scores, scores.T)]
    ours = info_nce(scores, torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(ours, (ways[0] + ways[1]) / 2)


def test_list_mle_at_its_positives_is_info_nce_with_several_positives() -> None:
    scores, _ = batch()
    same = torch.tensor([0, 0, 1, 1, 2, 2])  # two of each caption
    relevance = (same[:, None] == same[None, :]).double()
    torch.testing.assert_close(list_mle(scores, relevance, k=2), info_nce(scores, relevance))


@EVERY
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    scores, relevance = batch(4, 5)
    assert torch.autograd.gradcheck(
        lambda s: LOSSES[name](s, relevance), scores.requires_grad_(), atol=1e-4
    )


def test_a_learned_temperature_gets_its_gradient() -> None:
    scores, relevance = batch(4)
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for loss in (list_net, list_mle, info_nce):
        assert torch.autograd.gradcheck(
            lambda t, loss=loss: loss(scores, relevance, temperature=t), temperature
        )


@TIE_AWARE
@settings(LAW, max_examples=30)
@given(rows=st.integers(1, 7), columns=st.integers(1, 7), seed=st.integers(0, 10_000))
def test_the_order_of_the_batch_does_not_matter(
    name: str, rows: int, columns: int, seed: int
) -> None:
    scores, relevance = batch(rows, columns, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    down = torch.randperm(rows, generator=generator)
    across = torch.randperm(columns, generator=generator)
    moved = LOSSES[name](scores[down][:, across], relevance[down][:, across])
    torch.testing.assert_close(moved, LOSSES[name](scores, relevance))


@EVERY
def test_swapping_the_towers_changes_nothing(name: str) -> None:
    scores, relevance = batch(5, 7)
    swapped = LOSSES[name](scores.T, relevance.T)
    torch.testing.assert_close(swapped, LOSSES[name](scores, relevance))


@EVERY
def test_a_common_shift_changes_nothing(name: str) -> None:
    scores, relevance = batch()
    torch.testing.assert_close(
        LOSSES[name](scores + 0.3, relevance), LOSSES[name](scores, relevance)
    )


@EVERY
def test_steps_down_the_gradient_agree_ever_better_with_the_relevances(name: str) -> None:
    scores, relevance = batch(8)

    def agreement(of: Tensor) -> float:
        both_flat = torch.stack([of.flatten(), relevance.flatten()])
        return float(torch.corrcoef(both_flat)[0, 1])

    moving = scores
    for _ in range(60):
        moving = moving.detach().requires_grad_()
        (slope,) = torch.autograd.grad(LOSSES[name](moving, relevance), moving)
        moving = moving - 0.02 * slope.sign()
    assert agreement(moving.detach()) > agreement(scores) + 0.2


@TIE_AWARE
@pytest.mark.parametrize("seed", range(5))
def test_equal_relevances_ask_for_equal_scores(name: str, seed: int) -> None:
    """Giving tied items the mean of their scores makes the loss smaller."""
    relevance = torch.tensor([[1.0, 1.0, 0.4, 0.4, 0.0]], dtype=torch.float64)
    scores, _ = batch(1, 5, seed=seed)
    level = scores.clone()
    level[0, :2], level[0, 2:4] = scores[0, :2].mean(), scores[0, 2:4].mean()
    assert LOSSES[name](level, relevance) < LOSSES[name](scores, relevance)


def test_the_proof_of_concepts_depends_on_how_ties_are_stored_and_ours_do_not() -> None:
    scores, _ = batch()
    relevance = torch.ones_like(scores)
    turned = torch.arange(6).flip(0)
    theirs = [proof_of_concept(s, relevance) for s in (scores, scores[turned][:, turned])]
    assert abs(theirs[0] - theirs[1]) > 1e-3
    ours = [list_mle(s, relevance) for s in (scores, scores[turned][:, turned])]
    torch.testing.assert_close(ours[0], ours[1])


def test_relevances_equal_up_to_rounding_are_ties() -> None:
    scores, relevance = batch()
    noise = 1e-7 * torch.rand(relevance.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(list_mle(scores, relevance + noise), list_mle(scores, relevance))
    strict = list_mle(scores, relevance + noise, tie=1e-12)
    assert abs(strict - list_mle(scores, relevance)) > 1e-4


def test_a_row_without_positive_counts_nothing() -> None:
    scores, _ = batch(3)
    relevance = torch.eye(3, dtype=torch.float64)
    relevance[2, 2] = 0.0
    rows = [-(s / 0.07).log_softmax(1).diagonal()[:2].mean() for s in (scores, scores.T)]
    torch.testing.assert_close(info_nce(scores, relevance), (rows[0] + rows[1]) / 2)
    assert info_nce(scores, torch.zeros_like(scores)).item() == 0.0


EXTREMES = {
    "equal": torch.zeros(4, 4),
    "huge": torch.tensor([1e4, -1e4, 0.0, 1e4]).repeat(4, 1),
    "opposite": 1e4 * (1 - 2 * torch.eye(4)),
    "saturated": 1e4 * torch.eye(4),
    "one": torch.ones(1, 1),
}


@EVERY
@pytest.mark.parametrize("case", EXTREMES)
@pytest.mark.parametrize("kind", ["pairs", "all tied", "graded"])
def test_extreme_scores_give_finite_values_and_gradients(name: str, case: str, kind: str) -> None:
    scores = EXTREMES[case].clone().requires_grad_()
    size = len(scores)
    if name == "proof_of_concept" and size == 1:
        pytest.skip("refused: a row of one has no deviation")
    graded = torch.linspace(0, 1, size * size).reshape(size, size).fill_diagonal_(1.0)
    kinds = {"pairs": torch.eye(size), "all tied": torch.ones(size, size), "graded": graded}
    loss = LOSSES[name](scores, kinds[kind])
    (slope,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite()
    assert slope.isfinite().all()


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name: str, dtype: torch.dtype) -> None:
    scores, relevance = batch()
    half = scores.to(dtype)
    loss = LOSSES[name](half, relevance.to(dtype))
    assert loss.dtype == torch.float32
    same = LOSSES[name](half.float(), relevance.to(dtype).float())
    torch.testing.assert_close(loss, same)


@EVERY
def test_the_inputs_are_left_alone(name: str) -> None:
    scores, relevance = batch()
    copies = scores.clone(), relevance.clone()
    LOSSES[name](scores, relevance)
    assert torch.equal(scores, copies[0])
    assert torch.equal(relevance, copies[1])


def test_mistakes_are_named() -> None:
    scores, relevance = batch()
    with pytest.raises(InputError, match="audios, texts"):
        list_net(scores, relevance[:, :3])
    with pytest.raises(InputError, match="temperature is 0"):
        list_net(scores, relevance, temperature=0.0)
    with pytest.raises(InputError, match="temperature is -1"):
        list_net(scores, relevance, relevance_temperature=-1.0)
    with pytest.raises(InputError, match="k is 0"):
        list_mle(scores, relevance, k=0)
    with pytest.raises(InputError, match="floor is 0"):
        info_nce(scores, relevance, floor=0.0)
    with pytest.raises(InputError, match="deviation"):
        proof_of_concept(scores[:1, :1], relevance[:1, :1])


MEMORY = """
import re, torch
from pathlib import Path
from clap_musicgen.training import losses

def peak():  # not ru_maxrss, which begins at what the parent process had
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**20

every = [losses.list_net, losses.list_mle, losses.info_nce, losses.proof_of_concept]
every.append(lambda scores, relevance: losses.list_mle(scores, relevance, k=64))
scores, relevance = torch.rand(2048, 2048, requires_grad=True), torch.rand(2048, 2048)
losses.list_net(torch.rand(8, 8, requires_grad=True), torch.rand(8, 8)).backward()
before = peak()
for loss in every:
    torch.autograd.grad(loss(scores, relevance), scores)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_batch_of_2048_stays_within_a_gibibyte() -> None:
    command = [sys.executable, "-c", MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.01 < float(done.stdout) < 1.0  # GiB
