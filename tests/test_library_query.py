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
from clap_musicgen.library.query import WITHOUT_WEIGHT, compose, embed_sound, embed_words
from fake_embedder import FakeEmbedder
from library_music import RATE, write_tone

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(0, 3))
def test_compose_ranks_by_wanted_minus_weighted_unwanted(
    seed: int, wanted_count: int, unwanted_count: int
) -> None:
    rng = np.random.default_rng(seed)
    wanted, unwanted, tracks = (
        unit(rng.normal(size=(count, 8))) for count in (wanted_count, unwanted_count, 20)
    )
    direction = compose(list(wanted), list(unwanted))
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-6)
    slow = [
        sum(float(track @ vector) for vector in wanted) / wanted_count
        - sum(WITHOUT_WEIGHT * float(track @ vector) / unwanted_count for vector in unwanted)
        for track in tracks
    ]
    fast = tracks @ direction
    np.testing.assert_allclose(fast * (slow[0] / fast[0]), slow, atol=1e-4)


def test_compose_needs_something_wanted_that_does_not_cancel_out() -> None:
    vector = unit(np.ones(4))
    with pytest.raises(InputError, match="nothing to search for"):
        compose([], [vector])
    with pytest.raises(InputError, match="cancel out"):
        compose([vector], [vector], weight=1)
    with pytest.raises(InputError, match="cancel out"):
        compose([vector, -vector])
    np.testing.assert_allclose(compose([vector], [vector]), vector, atol=1e-6)


def test_words() -> None:
    model = FakeEmbedder()
    vector = embed_words(model, "440", name="query")
    np.testing.assert_array_equal(vector, model.embed_text(["440"])[0])
    with pytest.raises(InputError, match="without is empty"):
        embed_words(model, " \n", name="without")
    with pytest.raises(InputTypeError, match="query must be a string, not list"):
        embed_words(model, ["440"], name="query")  # type: ignore[arg-type]


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
