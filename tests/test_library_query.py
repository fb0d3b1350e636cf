"""Words and sounds become one direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_factory import write_wav
from clap_musicgen.embedding import unit
from clap_musicgen.errors import InputError, InputTypeError, NotAudioError
from clap_musicgen.library.query import (
    WITHOUT_WEIGHT,
    Phrase,
    as_phrases,
    as_sounds,
    compose,
    embed_sound,
    embed_words,
)
from fake_embedder import FakeEmbedder
from library_music import RATE, write_tone

if TYPE_CHECKING:
    from pathlib import Path

weights = st.lists(st.floats(0.01, 100), min_size=1, max_size=4)


@given(st.integers(0, 1000), weights, st.lists(st.floats(0.01, 3), max_size=3))
def test_compose_ranks_by_wanted_minus_weighted_unwanted(
    seed: int, wanted_weights: list[float], unwanted_weights: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    wanted, unwanted, tracks = (
        unit(rng.normal(size=(count, 8)))
        for count in (len(wanted_weights), len(unwanted_weights), 20)
    )
    direction = compose(
        list(zip(wanted, wanted_weights, strict=True)),
        list(zip(unwanted, unwanted_weights, strict=True)),
    )
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-6)
    slow = []
    for track in tracks:
        score = 0.0
        for vector, weight in zip(wanted, wanted_weights, strict=True):
            score += float(track @ vector) * weight / sum(wanted_weights)
        for vector, weight in zip(unwanted, unwanted_weights, strict=True):
            score -= WITHOUT_WEIGHT * float(track @ vector) * weight / len(unwanted)
        slow.append(score)
    fast = tracks @ direction
    scale = np.linalg.norm(slow) / np.linalg.norm(fast)
    np.testing.assert_allclose(fast * scale, slow, atol=1e-5)


def test_a_weight_among_the_wanted_is_relative_and_of_the_unwanted_absolute() -> None:
    one, two, other = np.eye(3, dtype=np.float32)
    np.testing.assert_allclose(
        compose([(one, 3), (two, 1)]), compose([(one, 300), (two, 100)]), atol=1e-6
    )
    mild = compose([(one, 1)], [(other, 1)])
    harsh = compose([(one, 1)], [(other, 2)])
    assert harsh @ other < mild @ other < 0
    np.testing.assert_allclose(mild, unit(one - WITHOUT_WEIGHT * other), atol=1e-6)
    np.testing.assert_allclose(
        compose([(one, 1)], [(two, 1), (other, 1)]),
        unit(one - WITHOUT_WEIGHT * (two + other) / 2),
        atol=1e-6,
    )


def test_compose_needs_something_wanted_that_does_not_cancel_out() -> None:
    vector = unit(np.ones(4))
    with pytest.raises(InputError, match="nothing to search for: give words"):
        compose([])
    with pytest.raises(InputError, match="nothing to search for, only what is not wanted"):
        compose([], [(vector, 1)])
    with pytest.raises(InputError, match="cancel out"):
        compose([(vector, 1)], [(vector, 1)], weight=1)
    with pytest.raises(InputError, match="cancel out"):
        compose([(vector, 1), (-vector, 1)])
    np.testing.assert_allclose(compose([(vector, 1)], [(vector, 1)]), vector, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_compose_refuses_a_weight_that_is_none(weight: float) -> None:
    vector = unit(np.ones(4))
    with pytest.raises(InputError, match="finite number above 0"):
        compose([(vector, weight)])
    with pytest.raises(InputError, match="finite number above 0"):
        compose([(vector, 1)], [(vector, weight)])


class OneBatch(FakeEmbedder):
    """Counts how often it is asked for texts."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[list[str]] = []

    def embed_text(self, texts):  # type: ignore[no-untyped-def]
        self.texts.append(list(texts))
        return super().embed_text(texts)


def test_words_are_embedded_in_one_batch() -> None:
    model = OneBatch()
    vectors = embed_words(model, [Phrase("440"), Phrase("dark metal", 2), Phrase("880")])
    assert model.texts == [["440", "dark metal", "880"]]
    np.testing.assert_array_equal(vectors, FakeEmbedder().embed_text(["440", "dark metal", "880"]))
    assert embed_words(model, []).shape == (0, model.dim)
    assert len(model.texts) == 1


def test_words_in_python() -> None:
    assert as_phrases(None, name="query") == []
    assert as_phrases("rock -n- roll", name="query") == [Phrase("rock -n- roll")]
    assert as_phrases(Phrase("jazz", 2), name="query") == [Phrase("jazz", 2)]
    assert as_phrases(("jazz", Phrase("choir")), name="query") == [Phrase("jazz"), Phrase("choir")]
    with pytest.raises(InputError, match="without is empty"):
        as_phrases(" \n", name="without")
    with pytest.raises(InputError, match="without is empty"):
        as_phrases(["vocals", ""], name="without")
    with pytest.raises(InputTypeError, match="query must be a string or a Phrase, not int"):
        as_phrases([440], name="query")  # type: ignore[list-item]
    with pytest.raises(InputTypeError, match="query must be a string, a Phrase or a list"):
        as_phrases(440, name="query")  # type: ignore[arg-type]


def test_sounds_in_python(tmp_path: Path) -> None:
    samples = np.zeros(5, np.float32)
    assert as_sounds(None, name="like") == []
    assert as_sounds("a.wav", name="like") == ["a.wav"]
    assert as_sounds([tmp_path, "a.wav"], name="like") == [tmp_path, "a.wav"]
    assert as_sounds(samples, name="like")[0] is samples
    assert len(as_sounds([samples, "a.wav"], name="like")) == 2
    for wrong in (3, [3], b"a.wav", {"a.wav"}):
        with pytest.raises(InputTypeError, match="unlike must be a path"):
            as_sounds(wrong, name="unlike")  # type: ignore[arg-type]


def test_a_sound_is_a_file_or_its_samples(tmp_path: Path) -> None:
    model = FakeEmbedder()
    time = np.arange(round(20.3 * RATE)) / RATE
    samples = (0.25 * np.sin(2 * np.pi * (300 + 50 * time) * time)).astype(np.float32)
    path = write_wav(tmp_path / "sweep.wav", samples, sample_rate=RATE)
    vector = embed_sound(model, path)
    assert model.batches == [16, 5]
    seconds = [samples[start : start + RATE] for start in range(0, len(samples), RATE)]
    slow = np.average(model.embed_clips(seconds), axis=0, weights=[1.0] * 20 + [0.3])
    np.testing.assert_allclose(vector, slow / np.linalg.norm(slow), atol=1e-5)
    np.testing.assert_allclose(embed_sound(model, samples), vector, atol=1e-5)
    np.testing.assert_allclose(embed_sound(model, samples.astype(np.float64)), vector, atol=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("sound", "error"),
    [
        (np.zeros(0, np.float32), InputError),
        (np.zeros((2, 100), np.float32), InputError),
        (np.asarray([0.0, np.nan]), InputError),
        (np.zeros(100, np.int16), InputTypeError),
        ([0.0, 0.1], InputTypeError),
        (3, InputTypeError),
    ],
)
def test_a_waveform_that_cannot_be_used(sound: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        embed_sound(FakeEmbedder(), sound)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no music here")
    with pytest.raises(NotAudioError, match=r"text\.wav"):
        embed_sound(FakeEmbedder(), tmp_path / "text.wav")
    assert embed_sound(FakeEmbedder(), write_tone(tmp_path / "tone.wav", 440)).shape == (12,)
