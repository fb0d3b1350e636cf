"""Zero-shot classification with an embedder whose vectors are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.embedding import Embeddings, Waveform, unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.evaluation.zero_shot import PROMPTS, label_vectors, zero_shot

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ["jazz", "metal", "ambient"]


class LetterCounts:
    """An embedder whose text vector counts letters: enough to tell words apart."""

    dim = 26
    sample_rate = 8_000
    clip_seconds = 1.0
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
    for figure in result.figures:
        assert figure.value == pytest.approx(figure.chance)


def test_pieces_without_a_known_label_leave_nothing_to_measure() -> None:
    result = zero_shot(np.eye(2), [["polka"], []], LABELS, np.eye(3, 2))
    assert (result.queries, result.figures) == (0, ())


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
