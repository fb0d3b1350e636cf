"""Zero-shot classification: which of a few labels fits a piece best, by its embedding alone.

A label becomes several sentences (`PROMPTS`), and their mean direction is the label's vector. What
each sentence achieves alone is measured too, so that nobody need trust the choice. Knows an Embedder
and vectors: no files, no training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.embedding import Embedder, Embeddings, mean_direction
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation import metrics, per_label
from clap_musicgen.evaluation.figures import (
    Figure,
    Result,
    even_weights,
    mean_figure,
    weighted_figure,
)
from clap_musicgen.evaluation.metrics import Floats
from clap_musicgen.evaluation.retrieval import Vectors, cosines, normal_caption

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence

    from numpy.typing import NDArray

ZERO_SHOT = "zero-shot"
BY_PROMPT = "zero-shot, {} of single prompts"
"""Name of the task of `by_prompt`, with the place of its metric."""
RESAMPLES = 500
"""Of ROC-AUC and mAP, which cost a sort of all pieces for each label."""

PROMPTS = ("{}", "{} music", "a {} track", "this is {} music")
"""The whole prompt set. It was written down before any score was seen; it is the same for all."""


SHARE_TEMPERATURE = 0.1
"""Cosines are divided by it before the softmax, or all shares would look alike."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One of a few labels, for one piece.

    Attributes:
        label: the label.
        share: softmax of cosine / SHARE_TEMPERATURE over the labels; it ranks them and is no
            probability.
        cosine: of the piece with the label's vector.
    """

    label: str
    share: float
    cosine: float


def as_choice(labels: Sequence[str]) -> list[str]:
    """Return labels without spaces around them; InputError unless there are two different ones."""
    stripped = [label.strip() for label in labels]
    if not all(stripped) or len(set(stripped)) < max(2, len(stripped)):
        raise InputError(
            f"the labels {list(labels)} are no choice: give two or more different ones"
        )
    return stripped


def rank_labels(
    music: Embeddings, labels: Sequence[str], vectors: Embeddings
) -> list[list[Ranked]]:
    """For each of N pieces the C labels, best first; of equal ones the earlier.

    Args:
        music: (N, D) embeddings of the pieces.
        labels: C labels.
        vectors: (C, D), from `label_vectors`.
    """
    found = []
    for piece in music:  # one by one, so that a piece scores the same in any company
        own = vectors @ piece
        weights = np.exp((own - own.max()) / SHARE_TEMPERATURE)
        shares = weights / weights.sum()
        order = np.argsort(-own, kind="stable").tolist()
        found.append([Ranked(labels[at], float(shares[at]), float(own[at])) for at in order])
    return found


def label_vectors(
    model: Embedder, labels: Sequence[str], *, prompts: Sequence[str] = PROMPTS
) -> Embeddings:
    """One unit vector per label: the mean direction of its prompts → (C, D).

    Raises what `prompt_vectors` raises.
    """
    return ensemble(prompt_vectors(model, labels, prompts=prompts))


def ensemble(vectors: Embeddings) -> Embeddings:
    """From the vectors of single prompts (P, C, D) their mean directions → (C, D)."""
    return np.stack([mean_direction(of_label) for of_label in vectors.swapaxes(0, 1)])


def prompt_vectors(
    model: Embedder, labels: Sequence[str], *, prompts: Sequence[str] = PROMPTS
) -> Embeddings:
    """One unit vector per prompt and label → (P, C, D).

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
    return np.asarray(vectors.swapaxes(0, 1))


def zero_shot(
    music: Vectors,
    truth: Sequence[Collection[str]],
    labels: Sequence[str],
    vectors: Vectors,
    *,
    multi_label: bool | None = None,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Result:
    """Accuracy, balanced accuracy and macro F1 of the best label; ROC-AUC and mAP of all labels.

    A piece may have several true labels: any of them is right. Pieces whose labels are all unknown
    take no part, and a single label is no choice. Balanced: the mean over labels of the accuracy on the pieces that have the label.
    F1 counts the best label of a piece as its only guess. ROC-AUC and mAP rank the pieces by each
    label and are means over labels; they are added where pieces may have several labels.

    Chance is a label at random: exact for all but F1, where it is the F1 of the expected counts.

    Args:
        music: (N, D) embeddings of the pieces.
        truth: the true labels of each piece; case and spaces are ignored.
        labels: C distinct labels.
        vectors: (C, D), from `label_vectors`.
        multi_label: whether to rank the pieces too. Default: if a piece has several true labels.
        groups: one per piece, for the bootstrap.
        seed: of the bootstrap.
    """
    known, right = _known(music, truth, labels, vectors)
    if not known or len(labels) < 2:
        return Result(ZERO_SHOT, 0, len(labels), ())
    scores = cosines(music[known], vectors)
    drawn = None if groups is None else [groups[row] for row in known]
    several = bool((right.sum(axis=1) > 1).any()) if multi_label is None else multi_label
    figures = _best_label_figures(scores, right, groups=drawn, seed=seed)
    if several:
        figures += _ranking_figures(scores, right, groups=drawn, seed=seed)
    return Result(ZERO_SHOT, len(known), len(labels), tuple(figures))


def by_prompt(
    music: Vectors,
    truth: Sequence[Collection[str]],
    labels: Sequence[str],
    vectors: Embeddings,
    *,
    prompts: Sequence[str] = PROMPTS,
    multi_label: bool = False,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Result:
    """What each prompt achieves alone, their mean, and the best: accuracy, or mAP if multi-label.

    The best is chosen on the very pieces that it is measured on, so it is optimistic; the note of
    the result names it and says so.

    Args:
        music: (N, D) embeddings of the pieces.
        truth: the true labels of each piece.
        labels: C distinct labels.
        vectors: (P, C, D), from `prompt_vectors`.
        prompts: P prompts.
        multi_label: whether the metric is the macro mAP.
        groups: one per piece, for the bootstrap.
        seed: of the bootstrap.
    """
    if len(prompts) != len(vectors):
        raise InputError(f"{len(prompts)} prompts for vectors of {len(vectors)}: one each")
    known, right = _known(music, truth, labels, vectors[0])
    task = BY_PROMPT.format("mAP" if multi_label else "accuracy")
    if not known or len(labels) < 2:
        return Result(task, 0, len(labels), ())
    drawn = None if groups is None else [groups[row] for row in known]
    scores = [cosines(music[known], of_prompt) for of_prompt in vectors]
    measure = _average_precisions if multi_label else _accuracies
    singles = [
        measure(name, [own], right, groups=drawn, seed=seed)
        for name, own in zip(prompts, scores, strict=True)
    ]
    mean = measure("mean of prompts", scores, right, groups=drawn, seed=seed)
    best = max(singles, key=lambda figure: figure.value)
    spread = float(np.std([figure.value for figure in singles]))
    note = (
        f"mean of prompts {mean.value:.3f} ± {spread:.3f} (standard deviation over prompts); the "
        f"best prompt, {best.name!r}, was chosen on these very pieces: its figure is optimistic"
    )
    figures = (mean, replace(best, name="best prompt"), *singles)
    return Result(task, len(known), len(labels), figures, note)


def _known(
    music: Vectors, truth: Sequence[Collection[str]], labels: Sequence[str], vectors: Vectors
) -> tuple[list[int], NDArray[np.bool_]]:
    """The pieces that have one of the labels, and which labels are true of those."""
    if len(truth) != len(music) or len(labels) != len(vectors):
        raise InputError(
            f"{len(truth)} truths for {len(music)} pieces and {len(vectors)} vectors for "
            f"{len(labels)} labels: one each is needed"
        )
    right = _membership(truth, labels)
    known = np.flatnonzero(right.any(axis=1)).tolist()
    return known, right[known]


def _membership(truth: Sequence[Collection[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    names = [normal_caption(label) for label in labels]
    if len(set(names)) < len(names):
        raise InputError(f"the labels {list(labels)} are not distinct")
    own = [{normal_caption(name) for name in collection} for collection in truth]
    table = [[name in collection for name in names] for collection in own]
    return np.array(table, dtype=bool).reshape(len(own), len(names))


def _best_label_figures(
    scores: Floats, right: NDArray[np.bool_], *, groups: Sequence[Hashable] | None, seed: int
) -> list[Figure]:
    hits, chance = metrics.hit_at(scores, right, k=1), metrics.chance_hit_at(right, k=1)
    best = scores == scores.max(axis=1, keepdims=True)
    guess = best / best.sum(axis=1, keepdims=True)
    blind = np.full_like(guess, 1.0 / guess.shape[1])

    def figure(name: str, of: Callable[[Floats, Floats], Floats], found: Floats) -> Figure:
        expected = chance if found is hits else blind
        return weighted_figure(
            name,
            lambda weights: of(found, weights),
            count=len(hits),
            chance=float(of(expected, even_weights(len(hits)))[0]),
            groups=groups,
            seed=seed,
        )

    return [
        mean_figure("accuracy", hits, chance, groups=groups, seed=seed),
        figure("balanced accuracy", lambda h, w: per_label.macro_recall(h, right, w), hits),
        figure("macro F1", lambda g, w: per_label.macro_f1(g, right, w), guess),
    ]


def _ranking_figures(
    scores: Floats, right: NDArray[np.bool_], *, groups: Sequence[Hashable] | None, seed: int
) -> list[Figure]:
    precision = _average_precisions("macro mAP", [scores], right, groups=groups, seed=seed)
    if (right.all(axis=0) | ~right.any(axis=0)).all():  # no label tells anything apart
        return [precision]
    auc = weighted_figure(
        "macro ROC-AUC",
        # A resample may leave nothing to be told apart: that is no skill.
        lambda weights: np.nan_to_num(per_label.macro_roc_auc(scores, right, weights), nan=0.5),
        count=len(right),
        chance=0.5,
        groups=groups,
        seed=seed,
        resamples=RESAMPLES,
    )
    return [auc, precision]


def _accuracies(
    name: str,
    scores: Sequence[Floats],
    right: NDArray[np.bool_],
    *,
    groups: Sequence[Hashable] | None,
    seed: int,
) -> Figure:
    """Accuracy, the mean over several (N, C) scores of the same pieces."""
    hits = np.mean([metrics.hit_at(own, right, k=1) for own in scores], axis=0)
    return mean_figure(name, hits, metrics.chance_hit_at(right, k=1), groups=groups, seed=seed)


def _average_precisions(
    name: str,
    scores: Sequence[Floats],
    right: NDArray[np.bool_],
    *,
    groups: Sequence[Hashable] | None,
    seed: int,
) -> Figure:
    """Macro average precision, the mean over several (N, C) scores of the same pieces."""
    wanted = right[:, right.any(axis=0)]
    ranked = [own[:, right.any(axis=0)] for own in scores]

    def statistic(weights: Floats) -> Floats:
        values = [per_label.macro_average_precision(own, wanted, weights) for own in ranked]
        return np.asarray(np.mean(values, axis=0))

    chance = float(metrics.chance_average_precision(wanted.T).mean())
    figure = weighted_figure(
        name,
        statistic,
        count=len(right),
        chance=chance,
        groups=groups,
        seed=seed,
        resamples=RESAMPLES,
    )
    exact = np.mean([metrics.average_precision(own.T, wanted.T).mean() for own in ranked])
    return replace(figure, value=float(exact))
