"""Loading, streaming, hashing, tags and the search for files."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_factory import FORMATS, best_correlation, melody, write_audio, write_wav
from clap_musicgen.audio.files import (
    AUDIO_SUFFIXES,
    AudioStream,
    Tags,
    content_hash,
    find_audio,
    load_audio,
    one_line,
    read_tags,
    resample,
)
from clap_musicgen.errors import (
    EmptyAudioError,
    InputError,
    InputTypeError,
    NotAudioError,
    UnreadableAudioError,
)

if TYPE_CHECKING:
    from pathlib import Path

RATE = 32_000


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_arrives_at_the_wanted_rate(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    sound = np.stack([melody(3.0, sample_rate=kind.sample_rate)] * 2)
    path = tmp_path / f"a{kind.suffix}"
    write_audio(path, sound, sample_rate=kind.sample_rate, format=name)
    audio = load_audio(path, sample_rate=RATE)
    assert audio.sample_rate == RATE
    assert audio.problem == ""
    assert audio.waveform.dtype == np.float32
    assert len(audio.waveform) == pytest.approx(3.0 * RATE, abs=0.05 * RATE)
    reference = melody(3.0, sample_rate=RATE)
    assert best_correlation(audio.waveform, reference, max_shift=1600) > 0.99


@pytest.mark.parametrize("source", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("target", [16_000, 24_000, 32_000, 48_000])
def test_resampling_keeps_length_and_sound(tmp_path: Path, source: int, target: int) -> None:
    seconds = np.arange(source) / source
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", tone, sample_rate=source)
    heard = load_audio(path, sample_rate=target).waveform
    assert len(heard) == target
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(target) / target)
    inner = slice(target // 20, -target // 20)  # the tone begins and ends abruptly
    np.testing.assert_allclose(heard[inner], expected[inner], atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=8),
    source=st.sampled_from([8_000, 44_100, 48_000, 32_000]),
)
def test_streaming_equals_resampling_at_once(sizes: list[int], source: int) -> None:
    rng = np.random.default_rng(sum(sizes))
    waveform = rng.uniform(-1, 1, sum(sizes)).astype(np.float32)
    blocks = np.split(waveform, np.cumsum(sizes)[:-1])
    heard = np.concatenate(
        [np.zeros(0, np.float32), *resample([(source, part) for part in blocks], sample_rate=RATE)]
    )
    at_once = soxr.resample(waveform, source, RATE, quality="HQ")
    np.testing.assert_allclose(heard, at_once, atol=1e-6)


def test_nothing_resampled_is_nothing() -> None:
    assert list(resample([], sample_rate=RATE)) == []


def test_a_change_of_rate_starts_a_new_run() -> None:
    tone = melody(1.0, sample_rate=8_000)
    fast = melody(1.0, sample_rate=16_000)
    blocks = [(8_000, tone), (16_000, fast), (RATE, melody(1.0, sample_rate=RATE))]
    heard = np.concatenate(list(resample(blocks, sample_rate=RATE)))
    assert len(heard) == 3 * RATE
    for start in range(3):
        part = heard[start * RATE : (start + 1) * RATE]
        assert best_correlation(part, melody(1.0, sample_rate=RATE), max_shift=10) > 0.999


def test_a_stream_can_be_read_twice_and_gives_the_same(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.mp3", melody(2.0, sample_rate=44_100), sample_rate=44_100)
    path.write_bytes(path.read_bytes()[:10_000])
    stream = AudioStream(path, sample_rate=RATE)
    assert (stream.problem, stream.duration) == ("", 0.0)
    first = np.concatenate(list(stream))
    found = (stream.problem, stream.duration)
    assert found[0].startswith("truncated: 1.2 of 2.0 s")
    np.testing.assert_array_equal(np.concatenate(list(stream)), first)
    assert (stream.problem, stream.duration) == found
    assert load_audio(path, sample_rate=RATE).problem == found[0]
    assert stream.duration == pytest.approx(len(first) / RATE, abs=1e-3)


def test_a_stream_that_is_left_early_can_be_read_again(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.wav", melody(3.0, sample_rate=RATE), sample_rate=RATE)
    stream = AudioStream(path, sample_rate=RATE)
    for block in stream:
        assert len(block) < 3 * RATE
        break
    assert sum(len(block) for block in stream) == 3 * RATE


@pytest.mark.parametrize("rates", [(8_000, 8_000), (8_000, 5_000)])
def test_an_hour_streams_in_bounded_memory(tmp_path: Path, rates: tuple[int, int]) -> None:
    source, target = rates
    samples = np.full(3600 * source, 128, dtype=np.uint8)
    path = write_wav(tmp_path / "long.wav", samples, sample_rate=source)
    del samples
    stream = AudioStream(path, sample_rate=target)
    next(iter(stream))  # whatever is allocated once is allocated now
    tracemalloc.start()
    total = sum(len(block) for block in stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 3600 * target
    assert stream.duration == 3600
    assert peak < 2e6  # the samples alone are 58 MB and more


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_an_hour_streams_in_a_process_that_stays_small(tmp_path: Path) -> None:
    samples = np.full(3600 * 8_000, 128, dtype=np.uint8)
    path = write_wav(tmp_path / "long.wav", samples, sample_rate=8_000)
    script = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from clap_musicgen.audio.files import AudioStream\n"
        "stream = AudioStream(sys.argv[1], sample_rate=6000); blocks = iter(stream); next(blocks)\n"
        # not ru_maxrss, which begins at what the parent process had
        "status = Path('/proc/self/status')\n"
        "peak = lambda: int(re.search('VmHWM:\\\\s+([0-9]+) kB', status.read_text())[1])\n"
        "before = peak(); total = sum(len(block) for block in blocks)\n"
        "print(total, (peak() - before) * 1024)"
    )
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True)
    total, growth = map(int, run.stdout.split())
    assert total > 3590 * 6_000  # less the first block
    assert growth < 20e6


def test_errors_of_decoding_come_through(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_text("no music")
    with pytest.raises(NotAudioError, match=r"a\.mp3': the content is not audio"):
        load_audio(path, sample_rate=RATE)
    path.write_bytes(b"")
    with pytest.raises(EmptyAudioError):
        load_audio(str(path), sample_rate=RATE)
    with pytest.raises(UnreadableAudioError):
        load_audio(tmp_path, sample_rate=RATE)
    with pytest.raises(InputError, match="must be positive, not 0 Hz"):
        load_audio(path, sample_rate=0)


def test_the_hash_is_of_the_bytes_alone(tmp_path: Path) -> None:
    first, twin, other = (tmp_path / name for name in ("a.mp3", "b.wav", "c"))
    first.write_bytes(b"x" * 3_000_000)
    twin.write_bytes(b"x" * 3_000_000)
    other.write_bytes(b"x" * 2_999_999 + b"y")
    assert content_hash(first) == content_hash(str(twin)) != content_hash(other)
    assert len(content_hash(first)) == 32
    with pytest.raises(UnreadableAudioError, match="is a folder"):
        content_hash(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableAudioError, match="a pipe"):
        content_hash(tmp_path / "pipe")


@pytest.mark.parametrize(
    "name", ["mp3", "flac", "m4a", "opus", "ogg", "wma", "alac", "aiff", "wav"]
)
def test_tags_of_each_format(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    path = tmp_path / f"file{kind.suffix}"
    tags = {"title": "Ünïcode 音楽", "artist": "Nina", "album": "Live", "genre": "Jazz"}
    sound = melody(0.5, sample_rate=kind.sample_rate)
    write_audio(
        path, sound, sample_rate=kind.sample_rate, format=name, tags=tags | {"date": "1964-03-21"}
    )
    found = read_tags(path)
    if name in {"aiff", "wav"}:  # their tags have no room for more
        assert found.title in {"Ünïcode 音楽", "file"}
    else:
        year = None if name == "wma" else 1964  # FFmpeg writes no year into WMA
        assert found == Tags("Ünïcode 音楽", "Nina", "Live", "Jazz", year)


def test_without_tags_the_name_is_the_title(tmp_path: Path) -> None:
    path = write_audio(
        tmp_path / "01 My Song.v2.wav", melody(0.2, sample_rate=8_000), sample_rate=8_000
    )
    assert read_tags(path) == Tags("01 My Song.v2", "", "", "", None)


@given(st.text())
def test_one_line_can_always_be_stored_and_shown(text: str) -> None:
    clean = one_line(text)
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert clean == clean.strip()
    assert not any(ord(mark) < 32 or 127 <= ord(mark) < 160 for mark in clean)
    assert len(clean.splitlines()) <= 1
    assert one_line(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (None, ""),
        ("", ""),
        (0, "0"),
        (" a\r\n\tb\0 ", "a b"),
        ("x\x1b[31mred", "x [31mred"),
        ("caf\udce9", "caf\N{REPLACEMENT CHARACTER}"),
        ("a\u2028b", "a b"),
        ("y" * 5_000, "y" * 500),
    ],
)
def test_one_line(text: object, clean: str) -> None:
    assert one_line(text) == clean


def test_broken_tags_are_no_tags(tmp_path: Path) -> None:
    path = tmp_path / "odd\nname.mp3"
    for content in (b"", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + b"\xff" * 99, b"OggS" + b"\xff" * 99):
        path.write_bytes(content)
        assert read_tags(path) == Tags("odd name")


@pytest.mark.parametrize(
    ("date", "year"), [("1999", 1999), ("31.12.2003", 2003), ("20", None), ("123456", None)]
)
def test_years(tmp_path: Path, date: str, year: int | None) -> None:
    sound = melody(0.2, sample_rate=44_100)
    path = write_audio(tmp_path / "a.flac", sound, sample_rate=44_100, tags={"date": date})
    assert read_tags(path).year == year


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_are_found_by_suffix_sorted_and_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "b/2.MP3", "b/1.flac", "a.wav", "notes.txt", ".hidden.mp3", ".git/x.mp3")
    touch(tmp_path, "line\nbreak.ogg", "b/.m4a", "c.mp3/inside.opus")
    expected = ["a.wav", "b/1.flac", "b/2.MP3", "c.mp3/inside.opus", "line\nbreak.ogg"]
    assert find_audio([tmp_path]) == [tmp_path / name for name in expected]
    monkeypatch.chdir(tmp_path)
    assert find_audio(["."]) == [tmp_path / name for name in expected]
    assert find_audio(["b", "b/../b", tmp_path / "b", "b/1.flac", "./b/1.flac"]) == [
        tmp_path / "b/1.flac",
        tmp_path / "b/2.MP3",
    ]
    assert find_audio([]) == []


def test_what_is_named_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt", ".hidden.mp3", ".folder/a.mp3")
    assert find_audio([tmp_path]) == []
    named = [tmp_path / ".hidden.mp3", tmp_path / "notes.txt"]
    assert find_audio(named) == named
    assert find_audio([tmp_path / ".folder"]) == [tmp_path / ".folder/a.mp3"]


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="no such file or folder"):
        find_audio([tmp_path / "none"])
    with pytest.raises(UnreadableAudioError, match="null"):
        find_audio([tmp_path / "a\0b"])
    (tmp_path / "link.mp3").symlink_to(tmp_path / "gone.mp3")
    assert find_audio([tmp_path]) == []
    with pytest.raises(UnreadableAudioError):
        find_audio([tmp_path / "link.mp3"])
    for bare in (str(tmp_path), tmp_path):
        with pytest.raises(InputTypeError, match="paths must be a list"):
            find_audio(bare)  # type: ignore[arg-type]


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    music, elsewhere = tmp_path / "music", tmp_path / "elsewhere"
    touch(music, "z/song.mp3")
    touch(elsewhere, "other.mp3")
    (music / "a-link-to-z").symlink_to(music / "z")
    (music / "a-copy.mp3").symlink_to(music / "z/song.mp3")
    (music / "z/up").symlink_to(music)
    (music / "z/self.mp3").symlink_to(music / "z/self.mp3")
    (music / "more").symlink_to(elsewhere)
    assert find_audio([music]) == [music / "more/other.mp3", music / "z/song.mp3"]
    assert find_audio([music, elsewhere]) == [elsewhere / "other.mp3", music / "z/song.mp3"]
    assert find_audio([elsewhere, music]) == [elsewhere / "other.mp3", music / "z/song.mp3"]


def test_pipes_in_folders_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp3")
    assert find_audio([tmp_path]) == []
    assert find_audio([tmp_path / "pipe.mp3"]) == [tmp_path / "pipe.mp3"]


def test_a_locked_folder_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    touch(tmp_path, "open/a.mp3", "locked/b.mp3")
    (tmp_path / "locked").chmod(0)
    try:
        assert find_audio([tmp_path]) == [tmp_path / "open/a.mp3"]
        assert "locked' is skipped" in caplog.text
        with pytest.raises(UnreadableAudioError, match="permission denied"):
            find_audio([tmp_path / "locked"])
        with pytest.raises(UnreadableAudioError, match="permission denied"):
            find_audio([tmp_path / "locked/b.mp3"])
    finally:
        (tmp_path / "locked").chmod(0o700)


def test_the_formats_of_the_tests_are_all_found_by_suffix() -> None:
    assert {kind.suffix for kind in FORMATS.values()} <= AUDIO_SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in AUDIO_SUFFIXES)


EIGHT_CHANNELS = """
import sys
import av
import numpy as np
from clap_musicgen.audio.files import load_audio

sound = np.arange(8 * 4410, dtype=np.int16).reshape(1, -1) % 8 * 1000  # channel n holds n x 1000
with av.open(sys.argv[1], "w") as container:
    stream = container.add_stream("pcm_s16be", rate=44_100, layout="7.1")
    frame = av.AudioFrame.from_ndarray(sound, format="s16", layout="7.1")
    frame.sample_rate = 44_100
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        container.mux(packet)
del frame, stream, container
for _ in range(5):
    audio = load_audio(sys.argv[1], sample_rate=44_100)
    print(len(audio.waveform), round(float(audio.waveform.mean()) * 32768))
"""


@pytest.mark.parametrize("name", ["eight.aiff", "eight.caf"])
def test_a_custom_channel_layout_does_not_end_the_process(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_CHANNELS, str(tmp_path / name)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:5] == ["4410 3500"] * 5
