"""Which captions count as similar: the (B, B) relevances that the losses rank by.

`caption_cosine` and `tag_overlap` each give one view, `rank_scaled` spreads a view that is too
crowded, `blend` mixes views, and `tie_identical` comes last: identical and near-identical captions
are ties with relevance 1.

Knows tensors, tags and captions: not where the embeddings come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation.retrieval import normal_caption

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from torch import Tensor


def caption_cosine(embeddings: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """Cosine of every two captions, from their frozen embeddings (B, D) → (B, B) in [-1, 1].

    A masked language model puts all captions within a narrow cone (cosines of 0.9 and more):
    subtracting the mean of a corpus opens it. Take that mean from the corpus, not from the batch,
    or the relevance of two captions depends on who else is there.

    Args:
        embeddings: (B, D), of any length.
        centre: (D,), subtracted first; None: nothing.
    """
    if embeddings.ndim != 2 or (centre is not None and centre.shape != embeddings.shape[1:]):
        shape = None if centre is None else tuple(centre.shape)
        raise InputError(
            f"embeddings have shape {tuple(embeddings.shape)} and centre {shape}: "
            "they must be (B, D) and (D,)"
        )
    directions = normalize(embeddings if centre is None else embeddings - centre, dim=1)
    return (directions @ directions.T).clamp(-1.0, 1.0)


def rank_scaled(similarity: Tensor) -> Tensor:
    """Replace each similarity by the share of all B² that are no greater, (B, B) → in (0, 1].

    Keeps the order and the ties of the whole matrix and its symmetry, and spreads it evenly over
    (0, 1], however crowded it was. The largest similarity becomes 1.
    """
    flat = similarity.reshape(-1)
    if not len(flat):
        raise InputError("similarity is empty: there is nothing to rank")
    population = flat.sort().values
    ranks = torch.searchsorted(population, flat, right=True)
    return (ranks / len(flat)).to(similarity.dtype).reshape(similarity.shape)


def tag_overlap(tags: Sequence[Collection[str]]) -> Tensor:
    """Jaccard overlap |A ∩ B| / |A ∪ B| of the tags of every two pieces → (B, B) in [0, 1].

    Case and spaces are ignored. A piece without tags overlaps with itself (1) and nothing else.
    """
    if isinstance(tags, str) or any(isinstance(own, str) for own in tags):
        raise InputTypeError("tags holds a string where a list belongs: give [[tag, …], …]")
    sets = [{normal_caption(tag) for tag in own} for own in tags]
    columns = {tag: column for column, tag in enumerate(sorted(set().union(*sets)))}
    member = torch.zeros(len(sets), max(len(columns), 1))
    places = [(row, columns[tag]) for row, own in enumerate(sets) for tag in own]
    if places:
        rows, where = torch.tensor(places).T
        member[rows, where] = 1.0
    shared = member @ member.T
    sizes = member.sum(dim=1)
    overlap = shared / (sizes[:, None] + sizes[None, :] - shared).clamp(min=1.0)
    return overlap.fill_diagonal_(1.0)


def blend(parts: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Weighted mean of several relevances, [(weight, (B, B)), …] → (B, B)."""
    weights = [weight for weight, _ in parts]
    if not parts or min(weights) < 0.0 or sum(weights) <= 0.0:
        raise InputError(
            f"the weights are {weights}: none may be negative, and one must be above 0"
        )
    shapes = {tuple(part.shape) for _, part in parts}
    if len(shapes) > 1:
        raise InputError(f"relevances of shapes {sorted(shapes)} cannot be blended")
    mixed = torch.stack([part * (weight / sum(weights)) for weight, part in parts])
    return mixed.sum(dim=0)


def tie_identical(
    relevance: Tensor,
    captions: Sequence[str],
    *,
    similarity: Tensor | None = None,
    threshold: float = 0.95,
) -> Tensor:
    """Make identical captions ties: relevance 1 with each other, and the same with all others.

    Captions are identical if they hold the same comma-separated phrases, whatever the order, case
    and spaces ("Jazz, piano" and "piano,  jazz"). Each takes the row and column of the first of
    its kind, so its ties are exact to the last bit.

    Args:
        relevance: (B, B).
        captions: B of them.
        similarity: (B, B) cosine of the captions; where it reaches `threshold`, two captions are
            near-identical and get relevance 1 as well. None: only identical ones.
        threshold: what counts as near-identical.
    """
    if isinstance(captions, str):
        raise InputTypeError(f"captions is the string {captions!r}: give a list, [caption, …]")
    square = (len(captions), len(captions))
    for name, matrix in (("relevance", relevance), ("similarity", similarity)):
        if matrix is not None and tuple(matrix.shape) != square:
            raise InputError(f"{name} has shape {tuple(matrix.shape)} for {square[0]} captions")
    first: dict[tuple[str, ...], int] = {}
    kinds = [first.setdefault(_phrases(text), row) for row, text in enumerate(captions)]
    kind = torch.tensor(kinds, dtype=torch.long, device=relevance.device)
    same = kind[:, None] == kind[None, :]
    if similarity is not None:
        same = same | (similarity[kind][:, kind] >= threshold)
    return torch.where(same, 1.0, relevance[kind][:, kind])


def _phrases(caption: str) -> tuple[str, ...]:
    phrases = {normal_caption(phrase) for phrase in caption.split(",")}
    return tuple(sorted(phrases - {""}))
