"""Arrays of any rate and number of channels against the file they came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audio_factory import melody, write_audio
from clap_musicgen.audio.files import load_audio
from clap_musicgen.bridges.sounds import as_track

if TYPE_CHECKING:
    from clap_musicgen.embedding import Waveform


def samples_of(sound: object, *, sample_rate: int) -> Waveform:
    track = as_track(sound, sample_rate=sample_rate)
    assert isinstance(track, np.ndarray)
    assert track.dtype == np.float32
    return track


@pytest.mark.parametrize("rate", [8_000, 22_050, 32_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_an_array_with_its_rate_becomes_what_its_file_is_decoded_to(
    tmp_path: Path, rate: int, channels: int
) -> None:
    sounds = np.stack([melody(0.7, sample_rate=rate, seed=seed) for seed in range(channels)])
    file = write_audio(tmp_path / "a.wav", sounds, sample_rate=rate, format="wav-float")
    found = samples_of({"array": sounds, "sampling_rate": rate}, sample_rate=32_000)
    np.testing.assert_allclose(found, load_audio(file, sample_rate=32_000).waveform, atol=1e-6)


def test_a_path_stays_a_path() -> None:
    assert as_track("a.mp3", sample_rate=8_000) == Path("a.mp3")
    assert as_track(Path("a.mp3"), sample_rate=8_000) == Path("a.mp3")


def test_samples_at_the_right_rate_stay_as_they_are() -> None:
    sound = melody(0.3, sample_rate=8_000)
    for form in (sound, torch.from_numpy(sound.copy()), sound[None], sound.astype(np.float64)):
        np.testing.assert_array_equal(samples_of(form, sample_rate=8_000), sound)


@given(
    samples=st.integers(1, 200),
    channels=st.integers(1, 4),
    rate=st.sampled_from([8_000, 11_025, 16_000, 48_000]),
)
def test_equal_channels_are_the_mono_sound(samples: int, channels: int, rate: int) -> None:
    sound: Any = np.random.default_rng(samples).uniform(-1, 1, max(samples, channels))
    alone = samples_of({"array": sound, "sampling_rate": rate}, sample_rate=16_000)
    many = np.repeat(sound[None], channels, axis=0)
    found = samples_of({"array": many, "sampling_rate": rate}, sample_rate=16_000)
    np.testing.assert_allclose(found, alone, atol=1e-6)
    assert abs(len(found) - len(sound) * 16_000 / rate) <= 1
