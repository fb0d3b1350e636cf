"""Zero-shot classification with an embedder whose vectors are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from clap_musicgen.embedding import Embeddings, Waveform, unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation.zero_shot import (
    PROMPTS,
    as_choice,
    by_prompt,
    ensemble,
    label_vectors,
    prompt_vectors,
    rank_labels,
    zero_shot,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ["jazz", "metal", "ambient"]


class LetterCounts:
    """An embedder whose text vector counts letters: enough to tell words apart."""

    dim = 26
    sample_rate = 8_000
    clip_seconds = 1.0
    clips_at_once = 8
    fingerprint = "letters"

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        return unit(np.ones((len(waveforms), self.dim)))

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        counts = [[text.lower().count(chr(97 + n)) for n in range(self.dim)] for text in texts]
        return unit(np.array(counts, dtype=np.float64))


def test_a_label_is_the_mean_direction_of_its_prompts() -> None:
    model = LetterCounts()
    vectors = label_vectors(model, LABELS)
    assert vectors.shape == (3, 26)
    for label, vector in zip(LABELS, vectors, strict=True):
        each = [model.embed_text([prompt.format(label)])[0] for prompt in PROMPTS]
        np.testing.assert_allclose(vector, unit(np.mean(each, axis=0)), atol=1e-6)


def test_labels_with_braces_are_taken_literally() -> None:
    assert label_vectors(LetterCounts(), ["{0}jazz"], prompts=["{}"]).shape == (1, 26)


def test_pieces_at_the_labels_are_classified_perfectly() -> None:
    vectors = label_vectors(LetterCounts(), LABELS)
    truth = [["jazz"], ["Metal"], ["ambient"], ["metal"], []]
    music = vectors[[0, 1, 2, 1, 0]]
    result = zero_shot(music, truth, LABELS, vectors)
    assert (result.queries, result.items) == (4, 3)
    assert result.figure("accuracy").value == 1.0
    assert result.figure("accuracy").chance == pytest.approx(1 / 3)
    assert result.figure("balanced accuracy").value == 1.0


def test_balanced_accuracy_weighs_labels_alike() -> None:
    vectors = np.eye(2, dtype=np.float32)
    music = vectors[[0, 0, 0, 0]]  # everything is called the first label
    result = zero_shot(music, [["a"], ["a"], ["a"], ["b"]], ["a", "b"], vectors)
    assert result.figure("accuracy").value == 0.75
    assert result.figure("balanced accuracy").value == 0.5
    assert result.figure("balanced accuracy").chance == 0.5


def test_any_of_several_true_labels_is_right_and_chance_knows_it() -> None:
    vectors = np.eye(4, dtype=np.float32)
    result = zero_shot(vectors[[1]], [["a", "b"]], list("abcd"), vectors)
    assert result.figure("accuracy").value == 1.0
    assert result.figure("accuracy").chance == pytest.approx(0.5)


def test_equal_vectors_give_exactly_chance() -> None:
    vectors = np.repeat(unit(np.ones((1, 5))), 3, axis=0)
    truth = [["jazz"], ["metal"], ["jazz", "ambient"], ["jazz"]]
    result = zero_shot(vectors[[0, 1, 2, 0]], truth, LABELS, vectors)
    names = ["accuracy", "balanced accuracy", "macro F1", "macro ROC-AUC", "macro mAP"]
    assert [figure.name for figure in result.figures] == names
    for figure in result.figures:
        assert figure.value == pytest.approx(figure.chance)
        assert not figure.beats_chance


def test_pieces_without_a_known_label_leave_nothing_to_measure() -> None:
    result = zero_shot(np.eye(2), [["polka"], []], LABELS, np.eye(3, 2))
    assert (result.queries, result.figures) == (0, ())


def labelled(pieces: int = 60, *, several: bool) -> tuple[np.ndarray, list[list[str]], np.ndarray]:
    """Random pieces that lean towards their labels → vectors, truth, vectors of three labels."""
    generator = np.random.default_rng(0)
    labels = unit(generator.normal(size=(3, 12)))
    right = generator.random((pieces, 3)) < 0.4
    right[np.arange(pieces), generator.integers(0, 3, pieces)] = True
    if not several:
        right &= right.cumsum(axis=1) == 1
    music = unit(right @ labels + 1.5 * unit(generator.normal(size=(pieces, 12))))
    truth = [[LABELS[n] for n in np.flatnonzero(row)] for row in right]
    return music, truth, labels


def test_every_figure_equals_scikit_learn() -> None:
    music, truth, labels = labelled(several=True)
    result = zero_shot(music, truth, LABELS, labels)
    right = np.array([[label in names for label in LABELS] for names in truth])
    scores = music @ labels.T
    best = np.eye(3, dtype=int)[scores.argmax(axis=1)]
    assert result.figure("accuracy").value == pytest.approx((best * right).sum() / len(music))
    assert result.figure("macro F1").value == pytest.approx(f1_score(right, best, average="macro"))
    auc = result.figure("macro ROC-AUC")
    assert auc.value == pytest.approx(roc_auc_score(right, scores))
    assert auc.chance == 0.5
    precision = result.figure("macro mAP")
    assert precision.value == pytest.approx(average_precision_score(right, scores))
    for figure in result.figures:
        assert figure.low < figure.value < figure.high
        assert figure.beats_chance


def test_pieces_of_one_label_are_not_ranked_unless_asked() -> None:
    music, truth, labels = labelled(several=False)
    single = [figure.name for figure in zero_shot(music, truth, LABELS, labels).figures]
    assert single == ["accuracy", "balanced accuracy", "macro F1"]
    asked = zero_shot(music, truth, LABELS, labels, multi_label=True)
    assert [figure.name for figure in asked.figures[3:]] == ["macro ROC-AUC", "macro mAP"]


def test_chance_of_f1_is_that_of_guessing_the_expected_counts() -> None:
    """Two labels, three pieces to one, half of each called so: F1 of .6 and .333."""
    result = zero_shot(np.eye(2)[[0, 0, 0, 1]], [["a"], ["a"], ["a"], ["b"]], ["a", "b"], np.eye(2))
    assert result.figure("macro F1").chance == pytest.approx((2 * 1.5 / 5 + 2 * 0.5 / 3) / 2)


def test_one_label_is_no_choice() -> None:
    assert zero_shot(np.eye(2), [["a"], ["a"]], ["a"], np.eye(1, 2)).figures == ()


def test_each_prompt_is_measured_alone_and_the_best_is_called_optimistic() -> None:
    music, truth, labels = labelled(several=False)
    blurred = unit(labels + 0.5 * unit(np.random.default_rng(1).normal(size=labels.shape)))
    prompts = ["bad {}", "good {}", "fair {}"]
    vectors = np.stack([labels[[1, 2, 0]], labels, blurred])
    result = by_prompt(music, truth, LABELS, vectors, prompts=prompts)
    alone = [zero_shot(music, truth, LABELS, own).figure("accuracy") for own in vectors]
    for prompt, own in zip(prompts, alone, strict=True):
        assert result.figure(prompt).value == own.value
        assert (result.figure(prompt).low, result.figure(prompt).chance) == (own.low, own.chance)
    values = [own.value for own in alone]
    assert result.figure("mean of prompts").value == pytest.approx(np.mean(values))
    assert result.figure("best prompt").value == max(values)
    assert f"{np.mean(values):.3f} ± {np.std(values):.3f}" in result.note
    assert "'good {}'" in result.note
    assert "optimistic" in result.note


def test_prompts_of_several_labels_are_judged_by_average_precision() -> None:
    music, truth, labels = labelled(several=True)
    vectors = np.stack([labels, labels])
    result = by_prompt(music, truth, LABELS, vectors, prompts=["a {}", "b {}"], multi_label=True)
    alone = zero_shot(music, truth, LABELS, labels).figure("macro mAP")
    assert result.task == "zero-shot, mAP of single prompts"
    assert result.figure("mean of prompts").value == pytest.approx(alone.value)
    assert result.figure("b {}").chance == alone.chance


def test_prompt_vectors_are_in_the_order_of_prompts_and_labels() -> None:
    model = LetterCounts()
    vectors = prompt_vectors(model, LABELS)
    assert vectors.shape == (4, 3, 26)
    np.testing.assert_allclose(vectors[2, 1], model.embed_text([PROMPTS[2].format("metal")])[0])
    np.testing.assert_allclose(ensemble(vectors), label_vectors(model, LABELS))


def test_prompts_and_vectors_must_fit() -> None:
    with pytest.raises(InputError, match="one each"):
        by_prompt(
            np.eye(2),
            [["a"], ["b"]],
            ["a", "b"],
            np.eye(2, dtype=np.float32)[None],
            prompts=["{}", "a {}"],
        )


def test_mistakes_are_named() -> None:
    model = LetterCounts()
    with pytest.raises(InputTypeError, match="lists"):
        label_vectors(model, "jazz")
    with pytest.raises(InputError, match="no place"):
        label_vectors(model, LABELS, prompts=["music"])
    with pytest.raises(InputError, match="at least one"):
        label_vectors(model, [])
    with pytest.raises(InputError, match="distinct"):
        zero_shot(np.eye(2), [["a"], ["a"]], ["a", "A "], np.eye(2))
    with pytest.raises(InputError, match="one each"):
        zero_shot(np.eye(2), [["a"]], ["a", "b"], np.eye(2))


def test_labels_are_ranked_for_each_piece() -> None:
    vectors = unit(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    music = unit(np.array([[0.0, 2.0], [3.0, 4.0]]))
    first, second = rank_labels(music, LABELS, vectors)
    assert [one.label for one in first] == ["metal", "jazz", "ambient"]  # of equal ones the earlier
    assert [one.cosine for one in second] == pytest.approx([0.8, 0.6, 0.6])
    weights = np.exp(np.array([0.8, 0.6, 0.6]) / 0.1)
    assert [one.share for one in second] == pytest.approx(list(weights / weights.sum()), rel=1e-5)


def test_what_is_a_choice() -> None:
    assert as_choice([" jazz", "metal "]) == ["jazz", "metal"]
    for labels in ([], ["jazz"], ["jazz", "jazz "], ["jazz", " "]):
        with pytest.raises(InputError, match="two or more different"):
            as_choice(labels)
