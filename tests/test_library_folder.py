"""Opening and making libraries; who may write; folders that do not take it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.errors import (
    LibraryError,
    LibraryModelError,
)
from clap_musicgen.library import Library
from fake_embedder import FakeEmbedder
from library_music import RATE, write_tone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three tones of 1.5 s: two clips each."""
    for hertz in (200, 800, 3000):
        write_tone(tmp_path / "music" / f"{hertz}.wav", hertz)
    return tmp_path / "music"


@pytest.fixture
def model() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def library(tmp_path: Path, model: FakeEmbedder) -> Library:
    return Library.open(tmp_path / "library", model)


def test_open_makes_an_empty_library_and_finds_it_again(tmp_path: Path) -> None:
    with Library.open(tmp_path / "new" / "folder", FakeEmbedder()) as library:
        assert len(library) == 0
        assert library.tracks() == []
        assert library.search("440") == []
        assert library.info().hours == 0
    assert len(Library.open(tmp_path / "new" / "folder", FakeEmbedder(), create=False)) == 0


def test_open_without_create_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="clap-musicgen index"):
        Library.open(tmp_path / "absent", FakeEmbedder(), create=False)
    with pytest.raises(LibraryError, match="no library in"):
        Library.inspect(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_open_leaves_a_folder_with_other_things_alone(music: Path) -> None:
    before = sorted(music.iterdir())
    with pytest.raises(LibraryError, match=r"neither empty nor a library.*200\.wav"):
        Library.open(music, FakeEmbedder())
    assert sorted(music.iterdir()) == before
    with pytest.raises(LibraryError, match=r"200\.wav"):
        Library.open(music / "200.wav", FakeEmbedder())


def test_open_goes_on_where_an_interrupted_creation_left_tables(tmp_path: Path) -> None:
    Library.open(tmp_path / "library", FakeEmbedder()).close()
    (tmp_path / "library" / "library.json").unlink()
    with Library.open(tmp_path / "library", FakeEmbedder("other", dim=5)) as library:
        assert library.info().dim == 5


def test_open_never_overwrites_tracks_whose_description_is_lost(
    tmp_path: Path, library: Library, music: Path
) -> None:
    library.add(music)
    description = (tmp_path / "library" / "library.json").read_bytes()
    (tmp_path / "library" / "library.json").unlink()
    with pytest.raises(LibraryError, match=r"lost its library\.json"):
        Library.open(tmp_path / "library", FakeEmbedder())
    (tmp_path / "library" / "library.json").write_bytes(description)
    assert len(Library.open(tmp_path / "library", FakeEmbedder())) == 3


@pytest.mark.parametrize("other", [FakeEmbedder("fake-2"), FakeEmbedder(dim=7)])
def test_another_model_is_refused(tmp_path: Path, library: Library, other: FakeEmbedder) -> None:
    with pytest.raises(LibraryModelError, match="fake-1") as caught:
        Library.open(tmp_path / "library", other)
    assert other.fingerprint in str(caught.value)
    assert "in another folder" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"format": 1}', "damaged"),
        ('{"format": "new"}', "damaged"),
        ('{"format": 99}', "newer clap-musicgen.*upgrade"),
    ],
)
def test_a_description_that_cannot_be_used(
    tmp_path: Path, library: Library, text: str, message: str
) -> None:
    (tmp_path / "library" / "library.json").write_text(text)
    with pytest.raises(LibraryError, match=message):
        Library.open(tmp_path / "library", FakeEmbedder())
    with pytest.raises(LibraryError, match=message):
        library.info()


def test_missing_tables_are_an_error_with_the_path(tmp_path: Path, library: Library) -> None:
    shutil.rmtree(tmp_path / "library" / "tracks.lance")
    with pytest.raises(LibraryError, match="library"):
        len(library)
    with pytest.raises(LibraryError, match="cannot open the library"):
        Library.open(tmp_path / "library", FakeEmbedder())


def test_description_names_the_model(tmp_path: Path, library: Library) -> None:
    description = json.loads((tmp_path / "library" / "library.json").read_text())
    assert description == {
        "format": 2, "fingerprint": "fake-1", "dim": 12, "sample_rate": RATE, "clip_seconds": 1.0
    }  # fmt: skip


def test_a_closed_library_says_so(library: Library) -> None:
    library.close()
    library.close()
    with pytest.raises(LibraryError, match="closed"):
        library.search("440")
