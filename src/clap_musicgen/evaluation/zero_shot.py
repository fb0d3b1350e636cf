"""Zero-shot classification: which of a few labels fits a piece best, by its embedding alone.

A label becomes several sentences (`PROMPTS`), and their mean direction is the label's vector. Knows
an Embedder and vectors: no files, no training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.embedding import Embedder, Embeddings, mean_direction
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation import metrics
from clap_musicgen.evaluation.bootstrap import bootstrap_interval
from clap_musicgen.evaluation.retrieval import (
    Figure,
    Result,
    Vectors,
    cosines,
    mean_figure,
    normal_caption,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    from numpy.typing import NDArray

ZERO_SHOT = "zero-shot"

PROMPTS = ("{}", "{} music", "a {} track", "this is {} music")
"""The whole prompt set. It was written down before any score was seen; it is the same for all."""


def label_vectors(
    model: Embedder, labels: Sequence[str], *, prompts: Sequence[str] = PROMPTS
) -> Embeddings:
    """One unit vector per label: the mean direction of its prompts → (C, D).

    Raises:
        InputTypeError: labels or prompts is one string.
        InputError: no label, or a prompt without its place `{}`.
    """
    if isinstance(labels, str) or isinstance(prompts, str):
        raise InputTypeError(
            "labels and prompts are lists of strings: give [label, …], not a string"
        )
    if not labels or not prompts:
        raise InputError("at least one label and one prompt are needed")
    for prompt in prompts:
        if "{}" not in prompt:
            raise InputError(f"the prompt {prompt!r} has no place {{}} for the label")
    texts = [prompt.replace("{}", label) for label in labels for prompt in prompts]
    vectors = model.embed_text(texts).reshape(len(labels), len(prompts), -1)
    return np.stack([mean_direction(of_label) for of_label in vectors])


def zero_shot(
    music: Vectors,
    truth: Sequence[Collection[str]],
    labels: Sequence[str],
    vectors: Vectors,
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Result:
    """Accuracy and balanced accuracy of the best label of each piece.

    A piece may have several true labels: any of them is right. Pieces whose labels are all unknown
    take no part. Balanced: the mean over labels of the accuracy on the pieces that have the label.

    Args:
        music: (N, D) embeddings of the pieces.
        truth: the true labels of each piece; case and spaces are ignored.
        labels: C distinct labels.
        vectors: (C, D), from `label_vectors`.
        groups: one per piece, for the bootstrap.
        seed: of the bootstrap.
    """
    if len(truth) != len(music) or len(labels) != len(vectors):
        raise InputError(
            f"{len(truth)} truths for {len(music)} pieces and {len(vectors)} vectors for "
            f"{len(labels)} labels: one each is needed"
        )
    right = _membership(truth, labels)
    known = np.flatnonzero(right.any(axis=1)).tolist()
    if not known:
        return Result(ZERO_SHOT, 0, len(labels), ())
    right = right[known]
    hits = metrics.hit_at(cosines(music[known], vectors), right, k=1)
    chance = metrics.chance_hit_at(right, k=1)
    label = None if groups is None else [groups[row] for row in known]
    figures = (
        mean_figure("accuracy", hits, chance, groups=label, seed=seed),
        _balanced_figure(hits, chance, right, groups=label, seed=seed),
    )
    return Result(ZERO_SHOT, len(known), len(labels), figures)


def _membership(truth: Sequence[Collection[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    names = [normal_caption(label) for label in labels]
    if len(set(names)) < len(names):
        raise InputError(f"the labels {list(labels)} are not distinct")
    own = [{normal_caption(name) for name in collection} for collection in truth]
    table = [[name in collection for name in names] for collection in own]
    return np.array(table, dtype=bool).reshape(len(own), len(names))


def _balanced(
    hits: NDArray[np.float64], right: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over labels of the weighted accuracy on their pieces; (R, N) weights → (R,).

    A label that a resample leaves without pieces takes no part in that resample, so with labels
    of one or two pieces the interval is rough.
    """
    mass = weights @ right
    accuracy = (weights @ (hits[:, None] * right)) / np.where(mass > 0, mass, 1.0)
    return np.asarray(accuracy.sum(axis=1) / (mass > 0).sum(axis=1))


def _balanced_figure(
    hits: NDArray[np.float64],
    chance: NDArray[np.float64],
    right: NDArray[np.bool_],
    *,
    groups: Sequence[Hashable] | None,
    seed: int,
) -> Figure:
    even = np.full((1, len(hits)), 1.0 / len(hits))
    interval = bootstrap_interval(
        lambda weights: _balanced(hits, right, weights), len(hits), groups=groups, seed=seed
    )
    value = float(_balanced(hits, right, even)[0])
    expected = float(_balanced(chance, right, even)[0])
    return Figure("balanced accuracy", value, expected, interval.low, interval.high, len(hits))
