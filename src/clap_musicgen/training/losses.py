"""Losses that teach two towers to rank alike: listwise ranking and soft contrastive.

Every loss takes scores (A, T), the cosine of each audio row with each text column, and a relevance
of the same shape, higher is more relevant; usually A = T = B, with the pairs on the diagonal. Each
ranks the texts for every audio and the audios for every text and averages both, so that swapping
the towers changes nothing. They are pure: no parameters, no state, no mask, no loop over rows.
Below float32 they compute in float32, and no gradient flows into the relevances.

- `list_net`: the scores should be distributed as the relevances are.
- `list_mle`: the scores should be in the order of the relevances; ties have no order.
- `info_nce`: the relevant should score above the rest; several positives, weighted.
- `proof_of_concept`: the loss of the published proof of concept, for comparison only.

Knows tensors only: `relevance` says where relevances come from, the caller what a step is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from clap_musicgen.errors import InputError

Temperature: TypeAlias = float | Tensor
"""Divides the cosines; a tensor of no dimensions may be learned. Must be positive."""
RowLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Logits (B, N) and relevance (B, N) → loss of each row (B,)."""

TIE = 1e-5
"""Relevances closer than this are equal: embeddings are the same to 1e-5, so is their cosine."""
SPAN = 600.0
"""exp(-SPAN) is still a normal float64. Cosines span less at any temperature above 1/300."""
Z_EPSILON = 1e-6
"""The proof of concept's, added to the deviation of a row."""


def list_net(
    scores: Tensor,
    relevance: Tensor,
    *,
    temperature: Temperature = 0.07,
    relevance_temperature: Temperature = 0.1,
) -> Tensor:
    """Cross-entropy of softmax(relevance) and softmax(scores), each at its own temperature.

    The top-one form of ListNet (Cao et al., ICML 2007). Equal relevances get equal shares. Its
    minimum is the entropy of the targets, not 0. A small `relevance_temperature` puts the mass on
    the most relevant alone; with relevances in [0, 1] and a batch of B, a pair keeps about half of
    its row's mass where relevance_temperature ≈ (1 - typical relevance) / ln B.

    Args:
        scores: (A, T) cosines.
        relevance: (A, T), any finite numbers.
        temperature: of the scores.
        relevance_temperature: of the relevances.

    Returns:
        Scalar: mean over rows, over both directions.
    """
    _check(scores, relevance, temperature, relevance_temperature)

    def of_rows(logits: Tensor, wanted: Tensor) -> Tensor:
        target = torch.softmax(wanted / relevance_temperature, dim=1)
        return -(target * log_softmax(logits, dim=1)).sum(dim=1)

    return _both_directions(of_rows, scores, relevance, temperature)


def list_mle(
    scores: Tensor,
    relevance: Tensor,
    *,
    temperature: Temperature = 0.07,
    k: int | None = None,
    tie: float = TIE,
) -> Tensor:
    """Likelihood of the order of the relevances under the Plackett-Luce model of the scores.

    ListMLE (Xia et al., ICML 2008): each item in turn is drawn by softmax among itself and those
    that rank below it. **Ties** have no order among themselves, so each tied item is drawn among
    the whole tied group and all below (Breslow's form of the partial likelihood); the result does
    not depend on how the ties happen to be stored, and equal scores are best for equal relevances.
    With relevances 0 and 1 and k = the number of ones, this is the contrastive loss with several
    positives.

    **Truncation**: only the first k places count, though against all items. A tied group across
    the border counts with the share of it that fits, the mean over its possible orders.

    Args:
        scores: (A, T) cosines.
        relevance: (A, T), any finite numbers; only their order and ties matter.
        temperature: of the scores.
        k: how many places count; None or more than there are: all.
        tie: sorted relevances closer than this are one tied group.

    Returns:
        Scalar: mean over places, rows and both directions.
    """
    _check(scores, relevance, temperature)
    if k is not None and k < 1:
        raise InputError(f"k is {k}: at least one place must count (None: all)")
    of_rows = partial(_list_mle_rows, k=k, tie=tie)
    return _both_directions(of_rows, scores, relevance, temperature)


def info_nce(
    scores: Tensor, relevance: Tensor, *, temperature: Temperature = 0.07, floor: float = 0.5
) -> Tensor:
    """InfoNCE with several positives, weighted by their relevance.

    Cross-entropy of softmax(scores / temperature) with the relevances of at least `floor`, scaled
    to sum to 1 in each row; everything below `floor` is a negative. With the identity as relevance
    it is CLIP's loss; identical captions (relevance 1 each) share the row.

    Args:
        scores: (A, T) cosines.
        relevance: (A, T).
        temperature: of the scores.
        floor: the least relevance of a positive, above 0. A row without positive counts nothing.

    Returns:
        Scalar: mean over the rows that have a positive, over both directions.
    """
    _check(scores, relevance, temperature)
    if not floor > 0.0:
        raise InputError(f"floor is {floor}: it must be above 0, or everything is a positive")

    def of_rows(logits: Tensor, wanted: Tensor) -> Tensor:
        weight = torch.where(wanted >= floor, wanted, 0.0)
        total = weight.sum(dim=1, keepdim=True)
        target = weight / torch.where(total > 0, total, 1.0)
        loss = -(target * log_softmax(logits, dim=1)).sum(dim=1)
        asking = (total > 0).sum().clamp(min=1)  # a mean over the rows that ask
        return loss * (len(loss) / asking)

    return _both_directions(of_rows, scores, relevance, temperature)


def proof_of_concept(scores: Tensor, relevance: Tensor) -> Tensor:
    """The loss of the published proof of concept, to compare against; not to train with.

    Every row of scores is shifted and scaled to mean 0 and deviation 1 (which cancels any
    temperature, so there is none), sorted by relevance, and scored by ListMLE over all places:
    summed over places, mean over rows, and the two directions added. Ties count in the order of
    their columns, which teaches an arbitrary order of identical captions; the original left that
    order to an unstable sort, this one keeps it.

    Args:
        scores: (A, T) cosines, A and T at least 2.
        relevance: (A, T); the original took the cosine of the captions' embeddings.
    """
    _check(scores, relevance)
    if min(scores.shape) < 2:
        raise InputError(f"scores have shape {tuple(scores.shape)}: a row of one has no deviation")

    def of_rows(logits: Tensor, wanted: Tensor) -> Tensor:
        centred = logits - logits.mean(dim=1, keepdim=True)
        standard = centred / (logits.std(dim=1, keepdim=True) + Z_EPSILON)
        order = wanted.argsort(dim=1, descending=True, stable=True)
        rising = standard.gather(1, order.flip(1))  # from the last place to the first
        return (_log_sum_to_here(rising) - rising).sum(dim=1)

    return 2.0 * _both_directions(of_rows, scores, relevance, 1.0)


def _both_directions(
    of_rows: RowLoss, scores: Tensor, relevance: Tensor, temperature: Temperature
) -> Tensor:
    """Mean over rows of audio→text and of text→audio, averaged."""
    wide = torch.promote_types(scores.dtype, torch.float32)
    logits, wanted = scores.to(wide) / temperature, relevance.detach().to(wide)
    to_text = of_rows(logits, wanted).mean()
    # Sorting the rows of a transposed view takes three times as long as copying it first.
    return (to_text + of_rows(logits.T, wanted.T.contiguous()).mean()) / 2.0


def _list_mle_rows(logits: Tensor, relevance: Tensor, *, k: int | None, tie: float) -> Tensor:
    items = logits.shape[1]
    rising, order = relevance.sort(dim=1)  # from the last place to the first
    ordered = logits.gather(1, order)
    end = _last_of_tied(rising, tie)
    surprise = _log_sum_to_here(ordered).gather(1, end) - ordered
    if k is None or k >= items:
        return surprise.sum(dim=1) / items
    size = end - _first_of_tied(rising, tie) + 1
    share = ((k - (items - 1 - end)).to(logits.dtype) / size).clamp(0.0, 1.0)
    return (surprise * share).sum(dim=1) / k


def _log_sum_to_here(ordered: Tensor) -> Tensor:
    """log Σ exp over each place and all before it, (B, N) → (B, N).

    Sums in float64 under the row's maximum: as exact as torch's logcumsumexp, and faster with its
    gradient, as long as a row spans less than SPAN. Beyond, the lowest count as SPAN below the
    highest: finite, and never too small.
    """
    # Apple's GPUs have no float64.
    home = "cpu" if ordered.device.type == "mps" else ordered.device
    top = ordered.detach().amax(dim=1, keepdim=True)
    terms = (ordered - top).clamp(min=-SPAN).to(home, torch.float64).exp()
    return terms.cumsum(1).log().to(ordered) + top


def _first_of_tied(rising: Tensor, tie: float) -> Tensor:
    """First place of the tied group at each place of rising rows (B, N)."""
    place = torch.arange(rising.shape[1], device=rising.device)
    opens = torch.ones_like(rising, dtype=torch.bool)
    torch.ge(rising[:, 1:] - rising[:, :-1], tie, out=opens[:, 1:])
    return torch.where(opens, place, 0).cummax(1).values


def _last_of_tied(rising: Tensor, tie: float) -> Tensor:
    """Last place of the tied group at each place of rising rows (B, N)."""
    last = rising.shape[1] - 1
    mirrored = _first_of_tied(-rising.flip(1), tie)
    return last - mirrored.flip(1)


def _check(scores: Tensor, relevance: Tensor, *temperatures: Temperature) -> None:
    if scores.ndim != 2 or scores.shape != relevance.shape or 0 in scores.shape:
        raise InputError(
            f"scores have shape {tuple(scores.shape)} and relevance {tuple(relevance.shape)}: "
            "both must be (audios, texts), neither 0"
        )
    for temperature in temperatures:
        # A learned temperature is not read here: that would wait for the device at every step.
        if isinstance(temperature, int | float) and not temperature > 0.0:
            raise InputError(f"temperature is {temperature}: it must be above 0")
