"""File names of every kind, all the way: index, search, check, export and import."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.cli.show import safe
from clap_musicgen.library import Library
from clap_musicgen.library.checking import check_library
from clap_musicgen.library.exchange import export_library
from clap_musicgen.library.importing import import_library
from fake_embedder import FakeEmbedder
from library_music import strings, write_tone

SUFFIX = b".wav"
ODD = [
    unicodedata.normalize("NFC", "Ænima é 가.wav").encode(),
    unicodedata.normalize("NFD", "Ænima é 가.wav").encode(),
    b"line\nbreak\r\ttab.wav",
    b"not utf-8 \xff\xfe\xed\xa0\x80.wav",
    b"looks like \\xff and %ff and &amp;.wav",
    b"it's \"quoted\" `$(rm)` ; -- ' OR 1=1.wav",
    b"-option.wav",
    b" leading and trailing .wav",
    b"\x01\x1b[31mred\x7f.wav",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp \N{ZERO WIDTH JOINER}\N{PILE OF POO}.wav".encode(),
    b"x" * 251 + SUFFIX,
    "한".encode() * 83 + b"ab" + SUFFIX,
    b"*?[a-z]{1,2}|<>:.WAV",
]


def put(folder: Path, sound: Path, names: list[bytes]) -> list[Path]:
    """Link one sound under many names; those that the file system refuses are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name in names:
        path = folder / os.fsdecode(name)
        try:
            os.link(sound, path)
        except OSError:
            continue
        made.append(path)
    return made


def go_all_the_way(folder: Path, paths: list[Path]) -> None:
    """Index, ask, check, export, import: everywhere the same paths, to the byte."""
    with Library.open(folder / "library", FakeEmbedder()) as library:
        report = library.add(folder / "music")
        assert report.failed == ()
        assert set(report.added) == set(strings(paths))
        assert {track.path for track in library.tracks()} == set(strings(paths))
        found = library.search("440", k=len(paths), fold=False)
        assert {match.track.path for match in found} == set(strings(paths))
        for match in found:
            shown = safe(match.track.path) + safe(match.track.title)
            assert not set(shown.encode()) & {*range(32), 127}
        assert library.add(folder / "music").unchanged == report.added
        assert library.similar(paths[0]) == []
    assert check_library(folder / "library").findings == ()
    export_library(folder / "library", folder / "a.parquet")
    brought = import_library(folder / "brought", folder / "a.parquet")
    assert (brought.added, brought.failed) == (report.added, ())
    with Library.open(folder / "brought", FakeEmbedder()) as library:
        assert library.add(folder / "music").unchanged == report.added
        assert library.remove(folder / "music") == list(report.added)
    assert check_library(folder / "brought").findings == ()


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_odd_names_go_all_the_way(tmp_path: Path) -> None:
    sound = write_tone(tmp_path / "sound.wav", 440, seconds=0.5)
    paths = put(tmp_path / "music", sound, ODD)
    assert len(paths) >= len(ODD) - 3
    # A hard link is one file under several names: all of them are tracks.
    go_all_the_way(tmp_path, paths)


NAMES = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=251),
        st.text(min_size=1, max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(["'", '"', "\\", "\n", "%", "_", "\u202e", "\u0301"]).map(str.encode),
    )
    .filter(lambda name: b"/" not in name and b"\0" not in name and not name.startswith(b"."))
    .map(lambda name: name[:251] + SUFFIX),
    min_size=1,
    max_size=12,
    unique=True,
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
@settings(max_examples=6)
@given(NAMES)
def test_any_names_go_all_the_way(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    sound = write_tone(folder / "sound.wav", 440, seconds=0.5)
    paths = put(folder / "music", sound, names)
    if paths:
        go_all_the_way(folder, paths)


@pytest.mark.skipif(sys.platform != "linux", reason="needs folders deeper than a path may be long")
def test_a_file_too_deep_for_any_path_costs_only_itself(tmp_path: Path) -> None:
    near = write_tone(tmp_path / "music" / "near.wav", 440)
    here, level = Path.cwd(), "d" * 200
    os.chdir(tmp_path / "music")
    try:
        for _ in range(25):  # 5,000 bytes: more than PATH_MAX
            Path(level).mkdir()
            os.chdir(level)
        write_tone(Path("deep.wav"), 880)
    finally:
        os.chdir(here)
    with Library.open(tmp_path / "library", FakeEmbedder()) as library:
        report = library.add(tmp_path / "music")
        assert report.added == (str(near),)
        assert all("too long" in reason for _, reason in report.failed)
        assert len(library) == 1
