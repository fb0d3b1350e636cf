"""What headers state of a file's length, on real files and on ones with a false header."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_factory import FORMATS, melody, write_audio, write_wav
from clap_musicgen.audio.headers import ogg_end_missing, stated_seconds

if TYPE_CHECKING:
    from pathlib import Path

READ_HERE = {"wav": "wav", "wav-u8": "wav", "wav-24": "wav", "wav-double": "wav"} | {
    "mp3": "mp3",
    "wma": "asf",
}


@pytest.mark.parametrize("name", READ_HERE)
@pytest.mark.parametrize("kept", [1.0, 0.4])
def test_the_stated_length_does_not_depend_on_the_size(
    tmp_path: Path, name: str, kept: float
) -> None:
    kind = FORMATS[name]
    path = tmp_path / f"a{kind.suffix}"
    sound = melody(5.0, sample_rate=kind.sample_rate)
    write_audio(path, sound, sample_rate=kind.sample_rate, format=name, tags={"title": "x"})
    data = path.read_bytes()
    file = io.BytesIO(data[: int(len(data) * kept)])
    assert stated_seconds(file, container=READ_HERE[name]) == pytest.approx(5.0, abs=0.06)


def test_an_mp3_without_a_count_of_frames_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    options = {"write_xing": "0"}
    sound = melody(1.0, sample_rate=44_100)
    write_audio(path, sound, sample_rate=44_100, container_options=options)
    with path.open("rb") as file:
        assert stated_seconds(file, container="mp3") is None


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 24_000, 32_000, 48_000])
def test_mp3s_of_every_rate_are_counted_right(tmp_path: Path, sample_rate: int) -> None:
    sound = melody(3.0, sample_rate=sample_rate)
    path = write_audio(tmp_path / "a.mp3", sound, sample_rate=sample_rate)
    with path.open("rb") as file:
        assert stated_seconds(file, container="mp3") == pytest.approx(3.0, abs=1e-3)


@pytest.mark.parametrize("stated", [0, 0x7FFF_F000, 0xFFFF_FFFF])
def test_a_wav_written_into_a_pipe_states_nothing(tmp_path: Path, stated: int) -> None:
    samples = np.zeros(8_000, dtype=np.int16)
    path = write_wav(tmp_path / "a.wav", samples, sample_rate=8_000, stated_bytes=stated)
    with path.open("rb") as file:
        assert stated_seconds(file, container="wav") is None


def test_a_long_wav_keeps_its_size_in_another_chunk() -> None:
    fmt = struct.pack("<HHIIHH", 1, 1, 8_000, 16_000, 2, 16)
    file = io.BytesIO(
        b"RF64" + b"\xff" * 4 + b"WAVE"
        + b"ds64" + struct.pack("<IQQQI", 28, 0, 16_000 * 400_000, 0, 0)
        + b"LIST" + struct.pack("<I", 3) + b"odd\0"
        + b"fmt " + struct.pack("<I", len(fmt)) + fmt
        + b"data" + b"\xff" * 4
    )  # fmt: skip
    assert stated_seconds(file, container="wav") == 400_000


def test_the_last_page_of_an_ogg_is_looked_for(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.ogg", melody(3.0, sample_rate=44_100), sample_rate=44_100)
    data = path.read_bytes()
    pages = [place for place in range(len(data)) if data.startswith(b"OggS\0", place)]
    assert not ogg_end_missing(io.BytesIO(data))
    assert not ogg_end_missing(io.BytesIO(data + data))  # chained
    assert ogg_end_missing(io.BytesIO(data[: pages[-1]]))
    for size in (len(data) - 1, pages[-1] + 5, pages[-1] + 26, pages[-1] + 28, 10, 0):
        assert ogg_end_missing(io.BytesIO(data[:size]))


@given(st.binary(max_size=300), st.sampled_from(["wav", "mp3", "asf", "flac"]), st.booleans())
def test_no_header_makes_it_fail(data: bytes, container: str, plausible: bool) -> None:
    start = {"wav": b"RIFF\0\0\0\0WAVE", "mp3": b"\xff\xfb\x90Xing", "asf": b"", "flac": b""}
    file = io.BytesIO((start[container] if plausible else b"") + data)
    stated = stated_seconds(file, container=container)
    assert stated is None or stated >= 0
    assert ogg_end_missing(file) in {True, False}
