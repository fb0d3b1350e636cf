"""The laws of embeddings, on the bundled mini and on real files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clap_musicgen.audio.files import load_audio
from clap_musicgen.embedding import Waveform, mean_direction
from clap_musicgen.errors import AudioError, InputError, InputTypeError
from clap_musicgen.model.clap import ClapMusicGen

RATE = 32_000
EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "music").glob("*.ogg"))


def music(seconds: float, seed: int = 0) -> Waveform:
    """A chord with a beat and a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    notes = rng.choice([110, 147, 165, 220, 262, 330, 440], 3, replace=False)
    tone = sum(np.sin(2 * np.pi * f * t + n) for n, f in enumerate(notes))
    beat = np.exp(-((t * (1.5 + rng.random())) % 1) * 8)
    mixed: NDArray[np.float64] = 0.1 * tone * (0.3 + beat) + 0.01 * rng.standard_normal(t.size)
    return np.asarray(mixed, dtype=np.float32)


def write_wav(path: Path, channels: NDArray[np.float32]) -> Path:
    """(C, T) in -1..1 as 16-bit."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((channels.T * 32767).round().astype("<i2").tobytes())
    return path


def test_same_vector_alone_or_in_any_batch_and_order(mini: ClapMusicGen) -> None:
    clips = [music(s, n) for n, s in enumerate([10, 3.3, 10, 0.5, 7, 10, 0.05, 9.99, 10, 2])]
    together = mini.embed_clips(clips)
    backwards = mini.embed_clips(clips[::-1])[::-1]
    alone = np.concatenate([mini.embed_clips([clip]) for clip in clips])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - backwards).max() < 1e-5
    assert np.array_equal(together, mini.embed_clips(clips))


def test_tracks_in_any_batch(mini: ClapMusicGen) -> None:
    tracks: list[str | Path | Waveform] = [music(23.4, 1), music(1, 2), music(31, 3)]
    together = mini.embed_audio(tracks)
    for row, track in enumerate(tracks):
        assert np.abs(mini.embed_audio([track])[0] - together[row]).max() < 1e-5


def test_texts_in_any_batch(mini: ClapMusicGen) -> None:
    texts = [
        "jazz",
        "slow sad piano with strings in a minor key",
        "a " * 300,
        "metal",
        "日本の音楽",
        "\udcff",
    ]
    together = mini.embed_text(texts)
    for row, text in enumerate(texts):
        assert np.abs(mini.embed_text([text])[0] - together[row]).max() < 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5


def test_unit_length_and_finite_for_any_length(mini: ClapMusicGen) -> None:
    for seconds in (1 / RATE, 0.001, 0.05, 0.1, 9.999, 10.0):
        vector = mini.embed_clips([music(max(seconds, 1 / RATE), 5)])
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5), seconds


def test_silence(mini: ClapMusicGen) -> None:
    for seconds in (0.05, 10):
        vector = mini.embed_clips([np.zeros(round(seconds * RATE), dtype=np.float32)])
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_stereo_twin(mini: ClapMusicGen, tmp_path: Path) -> None:
    mono = write_wav(tmp_path / "mono.wav", music(4)[None])
    stereo = write_wav(tmp_path / "stereo.wav", np.stack([music(4)] * 2))
    vectors = mini.embed_audio([mono, stereo])
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-5


def test_gain_changes_nothing(mini: ClapMusicGen) -> None:
    clip = music(10)
    loud, quiet = mini.embed_clips([clip, clip * 0.1])
    assert loud @ quiet > 0.999


def test_offset_moves_little(mini: ClapMusicGen) -> None:
    track = music(20.1)
    start, later = mini.embed_audio([track[: 20 * RATE], track[RATE // 10 :]])
    assert start @ later > 0.9


@pytest.mark.skipif(not EXAMPLES, reason="examples/music is not in this tree")
def test_robustness_on_real_music(mini: ClapMusicGen) -> None:
    """What the benchmark records, held to bounds: gain is undone, an offset moves little."""
    waves = [load_audio(path, sample_rate=RATE).waveform for path in EXAMPLES[:4]]
    original = mini.embed_audio(waves)
    gain = mini.embed_audio([w * 0.1 for w in waves])
    offset = mini.embed_audio([w[RATE // 10 :] for w in waves])
    assert (original * gain).sum(1).min() > 0.99
    assert (original * offset).sum(1).min() > 0.8


def test_a_track_is_the_weighted_mean_of_its_clips(mini: ClapMusicGen) -> None:
    track = music(25)
    clips = [track[: 10 * RATE], track[10 * RATE : 20 * RATE], track[20 * RATE :]]
    expected = mean_direction(mini.embed_clips(clips), np.array([10.0, 10.0, 5.0]))
    assert np.abs(mini.embed_audio([track])[0] - expected).max() < 1e-5


def test_file_and_waveform_agree(mini: ClapMusicGen, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", music(12)[None])
    waveform = load_audio(path, sample_rate=RATE).waveform
    by_path, by_text, by_array = mini.embed_audio([path, str(path), waveform])
    assert np.array_equal(by_path, by_text)
    assert np.abs(by_path - by_array).max() < 1e-5


def test_a_second_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tokenizer of its own"):
        ClapMusicGen.from_pretrained("mini", tokenizer=tmp_path)


def test_empty_lists(mini: ClapMusicGen) -> None:
    assert mini.embed_text([]).shape == mini.embed_audio([]).shape == (0, mini.dim)
    assert mini.embed_clips([]).shape == (0, mini.dim)


def test_a_bare_string_says_how_to_fix_it(mini: ClapMusicGen) -> None:
    with pytest.raises(TypeError, match=r"embed_text\(\['jazz'\]\)"):
        mini.embed_text("jazz")
    with pytest.raises(InputTypeError, match="list"):
        mini.embed_audio("song.mp3")
    with pytest.raises(InputTypeError, match="list"):
        mini.embed_audio(music(1))  # type: ignore[arg-type]


def test_bad_input(mini: ClapMusicGen, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="text 1 is empty"):
        mini.embed_text(["jazz", "  "])
    with pytest.raises(InputTypeError, match="text 0 is int"):
        mini.embed_text([3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="mono"):
        mini.embed_audio([np.zeros((2, 100), dtype=np.float32)])
    with pytest.raises(InputTypeError, match="int16"):
        mini.embed_audio([np.zeros(100, dtype=np.int16)])
    with pytest.raises(InputError, match="NaN"):
        mini.embed_clips([np.full(100, np.nan, dtype=np.float32)])
    with pytest.raises(InputError, match="samples"):
        mini.embed_clips([np.zeros(10 * RATE + 1, dtype=np.float32)])
    with pytest.raises(InputError, match="0 samples"):
        mini.embed_clips([np.zeros(0, dtype=np.float32)])
    (tmp_path / "no.mp3").write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"no\.mp3"):
        mini.embed_audio([tmp_path / "no.mp3"])
    with pytest.raises(InputError, match="without a single sample"):
        mini.embed_audio([np.zeros(0, dtype=np.float32)])
