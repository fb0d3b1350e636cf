"""Saved playlists: names and files, what comes back, what others wrote, and what is missing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.errors import InputError, LibraryError, PlaylistNotFoundError, TrackNotFoundError
from clap_musicgen.library import Library, saved
from clap_musicgen.library.place import Folder
from clap_musicgen.library.records import Track
from fake_embedder import FakeEmbedder
from library_music import write_tones

if TYPE_CHECKING:
    from collections.abc import Iterator


def track(path: str, **known: Any) -> Track:
    return Track(path, known.get("title", "t"), "Ada", "", "", None, 90.0, "00", "")


def nothing(path: str) -> Track | None:
    return None


@given(st.text(min_size=1, max_size=30))
def test_a_name_and_its_file_follow_from_each_other(name: str) -> None:
    try:
        kept = saved.checked_name(name)
    except InputError:
        return
    file = saved._file_of(kept)
    assert not set(file) & set('/\\:*?"<>|\0\n')
    assert not file.startswith(".")
    assert saved._name_of(file) == kept
    assert saved.checked_name(kept) == kept


@pytest.mark.parametrize(
    "name", ["", " x", "x ", "a/b", "a\\b", "..", ".x", "a\nb", "a\0b", "x" * 101, "水" * 90]
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        saved.save(tmp_path, name, [track("/a.mp3")])
    with pytest.raises(PlaylistNotFoundError):
        saved.load(tmp_path, name, nothing)
    with pytest.raises(PlaylistNotFoundError):
        saved.delete(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["Sunday", "AC*DC: 100% best?", "日曜日", "a.b", "CON|x"])
def test_what_is_saved_comes_back(tmp_path: Path, name: str) -> None:
    tracks = [track("/m/b.mp3"), track("/m/a.mp3"), track("/m/odd \udcff\n.mp3"), track("/m/b.mp3")]
    before = datetime.now(UTC).replace(microsecond=0)
    saved.save(tmp_path, name, tracks)
    known = {one.path: one for one in tracks}
    found = saved.load(tmp_path, name, known.get)
    assert found.name == name
    assert list(found.tracks) == tracks
    assert found.missing == ()
    assert found.minutes == 6.0
    assert found.saved is not None
    assert before <= found.saved <= datetime.now(UTC)
    (line,) = saved.listed(tmp_path)
    assert (line.name, line.tracks, line.minutes, line.saved) == (name, 4, 6.0, found.saved)
    assert [file.suffix for file in (tmp_path / "playlists").iterdir()] == [".m3u8"]
    saved.delete(tmp_path, name)
    assert saved.listed(tmp_path) == []
    with pytest.raises(PlaylistNotFoundError, match="has no playlist"):
        saved.load(tmp_path, name, nothing)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    saved.save(tmp_path, "x", [track("/a.mp3")])
    with pytest.raises(InputError, match="already"):
        saved.save(tmp_path, "x", [track("/b.mp3")])
    assert saved.load(tmp_path, "x", nothing).missing == ("/a.mp3",)
    saved.save(tmp_path, "x", [track("/b.mp3")], replace=True)
    assert saved.load(tmp_path, "x", nothing).missing == ("/b.mp3",)


def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        saved.save(tmp_path, "x", [])


def test_a_file_of_another_program_is_a_playlist_too(tmp_path: Path) -> None:
    folder = tmp_path / "playlists"
    folder.mkdir()
    lines = [
        b"\xef\xbb\xbf#EXTM3U",
        b"#EXTINF:61.5,Ada - a",
        b"../music/a.mp3",
        b"",
        b"/abs/\xff.mp3",
        b"#EXTINF:x,",
        b"file:///uri/a%20b%FF.mp3",
    ]
    (folder / "mine.m3u8").write_bytes(b"\r\n".join(lines))
    (folder / "notes.txt").write_text("no playlist")
    (folder / "100%.m3u8").write_text("a file whose name is no name of ours")
    (line,) = saved.listed(tmp_path)
    assert (line.name, line.tracks, line.saved) == ("mine", 3, None)
    assert line.minutes == pytest.approx(61.5 / 60)
    assert saved.load(tmp_path, "mine", nothing).missing == (
        str(tmp_path / "music" / "a.mp3"),
        os.fsdecode(b"/abs/\xff.mp3"),
        os.fsdecode(b"/uri/a b\xff.mp3"),
    )


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    (folder / "playlists").mkdir(parents=True, exist_ok=True)
    (folder / "playlists" / "x.m3u8").write_bytes(content)
    (line,) = saved.listed(folder)
    assert line.tracks == len(saved.load(folder, "x", nothing).missing)


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "playlists").write_text("in the way")
    with pytest.raises(LibraryError, match="cannot write"):
        saved.save(tmp_path, "x", [track("/a.mp3")])


def test_a_place_lists_and_deletes(tmp_path: Path) -> None:
    place = Folder(tmp_path)
    assert place.names("playlists") == []
    place.write("playlists/a", b"1")
    assert place.names("playlists") == ["a"]
    assert place.names() == ["playlists"]
    place.delete("playlists/a")
    place.delete("playlists/a")
    assert place.names("playlists") == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def library(folder: Path) -> Iterator[Library]:
    files = write_tones(folder / "music", 3)
    with Library.open(folder / "library", FakeEmbedder()) as library:
        library.add(files)
        yield library


class TestLibrary:
    def test_it_keeps_playlists(self, library: Library, folder: Path) -> None:
        paths = [str(folder / "music" / name) for name in ("02.wav", "00.wav")]
        library.save_playlist("x", paths)
        assert [one.path for one in library.saved_playlist("x").tracks] == paths
        assert [one.name for one in library.playlists()] == ["x"]
        library.remove(paths[0])
        found = library.saved_playlist("x")
        assert [one.path for one in found.tracks] == paths[1:]
        assert list(found.missing) == paths[:1]
        library.delete_playlist("x")
        assert library.playlists() == []

    def test_a_track_it_does_not_have_is_refused(self, library: Library, folder: Path) -> None:
        with pytest.raises(TrackNotFoundError):
            library.save_playlist("y", [folder / "music" / "00.wav", folder / "no.wav"])
        with pytest.raises(PlaylistNotFoundError):
            library.saved_playlist("y")

    def test_the_library_stays_sound(self, library: Library, folder: Path) -> None:
        library.save_playlist("z", folder / "music" / "00.wav")
        assert library.check().sound
        with Library.open(folder / "library", FakeEmbedder()) as again:
            assert "z" in [one.name for one in again.playlists()]
