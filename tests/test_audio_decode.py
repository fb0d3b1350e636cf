"""Every format, rate and channel count decodes; what is broken is used, named or refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_factory import (
    FORMATS,
    best_correlation,
    melody,
    write_audio,
    write_streams,
    write_wav,
)
from clap_musicgen.audio.decode import LOUDEST, Tally, decode, mono
from clap_musicgen.errors import AudioError, EmptyAudioError, NotAudioError, UnreadableAudioError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Waveform

LOSSLESS = [name for name, kind in FORMATS.items() if kind.exact]


def decoded(path: Path) -> tuple[Waveform, Tally]:
    tally = Tally()
    blocks = [waveform for _, waveform in decode(path, tally)]
    return np.concatenate(blocks), tally


def write(folder: Path, name: str, *, seconds: float = 3.0, channels: int = 2) -> Path:
    kind = FORMATS[name]
    sound = np.stack([melody(seconds, sample_rate=kind.sample_rate)] * channels)
    path = folder / f"{name}{kind.suffix}"
    return write_audio(path, sound, sample_rate=kind.sample_rate, format=name)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_sound_that_was_written(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    reference = melody(3.0, sample_rate=kind.sample_rate)
    heard, tally = decoded(write(tmp_path, name))
    assert tally.problem() == ""
    assert tally.seconds == pytest.approx(3.0, abs=0.0 if kind.exact else 0.05)
    if kind.exact:
        np.testing.assert_allclose(heard, reference, atol=kind.tolerance)
    else:
        assert best_correlation(heard, reference, max_shift=2100) > 0.99


@pytest.mark.parametrize("sample_rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_any_sample_rate(tmp_path: Path, sample_rate: int, name: str) -> None:
    reference = melody(0.5, sample_rate=sample_rate)
    path = write_audio(tmp_path / f"a.{name}", reference, sample_rate=sample_rate, format=name)
    tally = Tally()
    blocks = list(decode(path, tally))
    assert {rate for rate, _ in blocks} == {sample_rate}
    heard = np.concatenate([waveform for _, waveform in blocks])
    np.testing.assert_allclose(heard, reference, atol=1 / 30_000)


@pytest.mark.parametrize("channels", range(1, 9))
@pytest.mark.parametrize("name", ["wav-float", "flac"])
def test_any_channel_count_is_mixed_to_the_plain_mean(
    tmp_path: Path, channels: int, name: str
) -> None:
    sounds = np.stack([melody(0.5, sample_rate=32_000, seed=seed) for seed in range(channels)])
    path = tmp_path / f"a{FORMATS[name].suffix}"
    heard, _ = decoded(write_audio(path, sounds, sample_rate=32_000, format=name))
    np.testing.assert_allclose(heard, sounds.mean(axis=0), atol=1 / 30_000)


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_stereo_twin_of_a_mono_file_is_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / "mono").mkdir()
    single, _ = decoded(write(tmp_path / "mono", name, seconds=1.0, channels=1))
    twin, _ = decoded(write(tmp_path, name, seconds=1.0, channels=2))
    np.testing.assert_array_equal(single, twin)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0, 128, 255], dtype=np.uint8), [-1.0, 0.0, 127 / 128]),
        (np.array([-(2**15), 0, 2**15 - 1], dtype=np.int16), [-1.0, 0.0, 1 - 2.0**-15]),
        (np.array([-(2**31), 0, 2**30], dtype=np.int32), [-1.0, 0.0, 0.5]),
        (np.array([-(2**63), 0, 2**62], dtype=np.int64), [-1.0, 0.0, 0.5]),
        (np.array([-1.5, 0, 1], dtype=np.float32), [-1.5, 0.0, 1.0]),
        (np.array([-1.5, 0, 1], dtype=np.float64), [-1.5, 0.0, 1.0]),
    ],
)
def test_sample_formats_are_scaled_to_one(
    tmp_path: Path, samples: NDArray[Any], expected: list[float]
) -> None:
    heard, _ = decoded(write_wav(tmp_path / "a.wav", samples, sample_rate=8_000))
    assert heard.tolist() == expected
    assert heard.dtype == np.float32


@given(
    rows=st.lists(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=3, max_size=3), min_size=1),
    packed=st.booleans(),
)
def test_mono_equals_a_plain_loop(rows: list[list[int]], packed: bool) -> None:
    channels = [np.array(row, dtype=np.int16) for row in rows]
    planes = [np.stack(channels).T.reshape(-1)] if packed else channels
    heard, broken = mono(planes, channels=len(rows))
    twin = [sum(row[place] for row in rows) / len(rows) / 2**15 for place in range(3)]
    np.testing.assert_allclose(heard, twin, atol=1e-7)
    assert broken == 0


@given(
    st.lists(
        st.sampled_from([0.0, 0.5, -1.0, np.nan, np.inf, -np.inf, 1e30, 2 * LOUDEST]), min_size=1
    )
)
def test_mono_never_lets_a_broken_number_through(values: list[float]) -> None:
    other = np.full(len(values), 0.5)
    heard, broken = mono([np.array(values), other], channels=2)
    assert np.isfinite(heard).all()
    sane = [value if abs(value) <= LOUDEST else 0.0 for value in values]
    np.testing.assert_allclose(heard, [(value + 0.5) / 2 for value in sane])
    assert broken == sum(not abs(value) <= LOUDEST for value in values)


def test_broken_numbers_are_reported(tmp_path: Path) -> None:
    sound = melody(1.0, sample_rate=8_000).copy()
    sound[[10, 20, 30]] = [np.nan, np.inf, -np.inf]
    heard, tally = decoded(write_wav(tmp_path / "a.wav", sound, sample_rate=8_000))
    assert heard[[10, 20, 30]].tolist() == [0, 0, 0]
    assert tally.problem() == "3 samples were not finite numbers and were taken as silence"


def test_rate_and_channels_may_change_in_the_middle(tmp_path: Path) -> None:
    high = write_audio(tmp_path / "a.aac", melody(2.0, sample_rate=44_100), sample_rate=44_100)
    wide = np.stack([melody(1.0, sample_rate=32_000)] * 2)
    low = write_audio(tmp_path / "b.aac", wide, sample_rate=32_000)
    both = tmp_path / "both.aac"
    both.write_bytes(high.read_bytes() + low.read_bytes())
    tally = Tally()
    seconds: Counter[int] = Counter()
    for rate, waveform in decode(both, tally):
        seconds[rate] += len(waveform)
    assert seconds[44_100] / 44_100 == pytest.approx(2.0, abs=0.1)
    assert seconds[32_000] / 32_000 == pytest.approx(1.0, abs=0.15)
    assert tally.seconds == pytest.approx(3.0, abs=0.2)


@pytest.mark.parametrize("name", ["mp3", "m4a"])
def test_a_cover_picture_is_ignored(tmp_path: Path, name: str) -> None:
    reference = melody(1.0, sample_rate=44_100)
    plain = write_audio(tmp_path / f"plain.{name}", reference, sample_rate=44_100)
    covered = write_audio(
        tmp_path / f"cover.{name}", reference, sample_rate=44_100, cover=True, tags={"title": "x"}
    )
    np.testing.assert_array_equal(decoded(covered)[0], decoded(plain)[0])


def test_of_several_streams_one_is_taken_whole(tmp_path: Path) -> None:
    sounds = [melody(1.0, sample_rate=32_000, seed=seed) for seed in (1, 2)]
    heard, tally = decoded(write_streams(tmp_path / "a.mka", sounds, sample_rate=32_000))
    np.testing.assert_allclose(heard, sounds[0], atol=1 / 30_000)
    assert tally.problem() == ""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.9])
def test_a_truncated_file_is_used_and_reported_or_refused(
    tmp_path: Path, name: str, kept: float
) -> None:
    path = write(tmp_path, name, seconds=4.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    tally = Tally()
    try:
        heard = np.concatenate([waveform for _, waveform in decode(path, tally)])
    except (EmptyAudioError, NotAudioError) as error:
        assert "truncated" in error.reason or kept < 0.1  # noqa: PT017 - either may happen
        assert kept < 0.1 or FORMATS[name].suffix in {".m4a", ".ogg", ".opus"}
    else:
        rate = FORMATS[name].sample_rate
        assert 0 < len(heard) < 4.0 * rate
        assert tally.problem().startswith(f"truncated: {tally.seconds:.1f} ")
        assert np.isfinite(heard).all()


def test_a_truncated_file_gives_the_beginning_exactly(tmp_path: Path) -> None:
    path = write(tmp_path, "flac", seconds=4.0)
    whole, _ = decoded(path)
    path.write_bytes(path.read_bytes()[:-20_000])
    part, tally = decoded(path)
    np.testing.assert_array_equal(part, whole[: len(part)])
    assert tally.problem().startswith(f"truncated: {len(part) / 44_100:.1f} of 4.0 s")


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "m4a")
    path.write_bytes(path.read_bytes()[:-5_000])
    with pytest.raises(EmptyAudioError, match="begins like MP4, but no audio can be found"):
        decoded(path)


@pytest.mark.parametrize("name", ["mp3", "flac", "aac", "ogg", "opus", "wma", "m4a"])
@pytest.mark.parametrize("damage", ["zeros", "noise", "gap"])
def test_damage_in_the_middle_costs_only_the_middle(tmp_path: Path, name: str, damage: str) -> None:
    kind = FORMATS[name]
    path = tmp_path / f"a{kind.suffix}"
    options = {"movflags": "faststart"} if name == "m4a" else None
    sound = melody(10.0, sample_rate=kind.sample_rate)
    write_audio(path, sound, sample_rate=kind.sample_rate, format=name, container_options=options)
    if (name, damage) == ("aac", "gap"):
        pytest.skip("bare AAC frames do not number themselves: a gap cannot be noticed")
    data = bytearray(path.read_bytes())
    start, size = len(data) // 2, len(data) // 25
    noise = np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8).tobytes()
    data[start : start + size] = {"zeros": bytes(size), "noise": noise, "gap": b""}[damage]
    path.write_bytes(data)
    heard, tally = decoded(path)
    assert tally.problem().startswith(("damaged: ", "truncated: "))
    assert 4.0 < tally.seconds < 10.0
    assert np.isfinite(heard).all()


def test_concatenated_mp3s_are_not_called_truncated(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3")
    path.write_bytes(path.read_bytes() * 2)
    _, tally = decoded(path)
    assert tally.seconds == pytest.approx(6.0, abs=0.2)
    assert tally.problem() == ""


@pytest.mark.parametrize("suffix", sorted({kind.suffix for kind in FORMATS.values()}))
@pytest.mark.parametrize("size", [1, 200, 100_000])
def test_garbage_with_an_audio_suffix_is_not_audio(tmp_path: Path, suffix: str, size: int) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes())
    with pytest.raises(NotAudioError, match="the content is not audio"):
        decoded(path)


@pytest.mark.parametrize(
    "content",
    [
        b"just a text\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(1000),
        b"%PDF-1.4\n" + b"x" * 1000,
        b"PK\x03\x04" + bytes(1000),
        b"1\n00:00:01,000 --> 00:00:02,000\nsubtitle\n",
    ],
)
def test_other_content_is_not_audio(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    with pytest.raises(NotAudioError):
        decoded(path)


def test_a_playlist_does_not_open_other_files(tmp_path: Path) -> None:
    song = write(tmp_path, "aac")
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{song}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {song.name}\n",
    ):
        for suffix in (".mp3", ".m3u8", ".aac"):
            path = tmp_path / f"list{suffix}"
            path.write_text(text)
            with pytest.raises(NotAudioError):
                decoded(path)


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    path = write(tmp_path, "flac").rename(tmp_path / "a.mp3")
    assert decoded(path)[1].seconds == 3.0


def test_an_empty_file_and_one_without_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.touch()
    with pytest.raises(EmptyAudioError, match="0 bytes"):
        decoded(path)
    silent = write_wav(tmp_path / "b.wav", np.zeros(0, dtype=np.int16), sample_rate=8_000)
    with pytest.raises(EmptyAudioError):
        decoded(silent)


def test_one_sample_is_enough(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.array([2**14], dtype=np.int16), sample_rate=8_000)
    assert decoded(path)[0].tolist() == [0.5]


@pytest.mark.parametrize("sample_rate", [1, 999, 4_000_000])
def test_a_senseless_sample_rate_is_refused(tmp_path: Path, sample_rate: int) -> None:
    path = write_wav(tmp_path / "a.wav", np.ones(99, dtype=np.int16), sample_rate=sample_rate)
    with pytest.raises(NotAudioError, match=f"a sample rate of {sample_rate} Hz"):
        decoded(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="is a folder"):
        decoded(tmp_path)
    pipe = tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    with pytest.raises(UnreadableAudioError, match="a pipe, socket or device"):
        decoded(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        place = tmp_path / "s.mp3"
        server.bind(os.path.relpath(place))
        with pytest.raises(UnreadableAudioError, match="a pipe, socket or device"):
            decoded(place)


def test_a_missing_or_locked_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match=r"none\.mp3.*no such file"):
        decoded(tmp_path / "none.mp3")
    with pytest.raises(UnreadableAudioError, match="null"):
        decoded(tmp_path / "a\0b.mp3")
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = write(tmp_path, "wav", seconds=0.1)
    path.chmod(0)
    with pytest.raises(UnreadableAudioError, match="permission denied"):
        decoded(path)


@pytest.mark.parametrize(
    "name", ["ü 音楽 🎵.wav", "line\nbreak.wav", "-dash.wav", "a:b|c.wav", "100%.wav", "[red]x.wav"]
)
def test_any_file_name(tmp_path: Path, name: str) -> None:
    path = write_audio(
        tmp_path / "plain.wav", melody(0.2, sample_rate=8_000), sample_rate=8_000
    ).rename(tmp_path / name)
    assert decoded(path)[1].seconds == pytest.approx(0.2)


def test_a_file_name_that_is_not_unicode(tmp_path: Path) -> None:
    plain = write_audio(tmp_path / "a.wav", melody(0.2, sample_rate=8_000), sample_rate=8_000)
    path = plain.rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    assert decoded(path)[1].seconds == pytest.approx(0.2)


def test_ffmpeg_is_quiet(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3")
    data = bytearray(path.read_bytes())
    data[9_000:12_000] = bytes(3_000)
    path.write_bytes(data)
    script = (
        "import sys; from pathlib import Path\n"
        "from clap_musicgen.audio.decode import Tally, decode\n"
        "tally = Tally(); list(decode(Path(sys.argv[1]), tally)); assert tally.problem()"
    )
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True)
    assert run.stdout + run.stderr == b""


def test_every_failure_is_an_audio_error_that_names_the_file(tmp_path: Path) -> None:
    """Any prefix of any format, cut at odd places, gives sound or an `AudioError`."""
    for name in FORMATS:
        path = write(tmp_path, name, seconds=0.5)
        whole = path.read_bytes()
        for size in (1, 3, 4, 12, 45, 100, 201, 555, 1500, len(whole) // 2):
            path.write_bytes(whole[:size])
            try:
                heard, _ = decoded(path)
            except AudioError as error:
                assert str(path) in str(error) or repr(str(path)) in str(error)  # noqa: PT017
            else:
                assert len(heard) > 0
