"""Full disks and vanishing drives: a clear error, nothing lost, and it goes on afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.errors import AudioError, LibraryError
from clap_musicgen.library import Library, adding
from clap_musicgen.library.checking import check_library
from clap_musicgen.library.exchange import export_library
from clap_musicgen.library.importing import import_library
from fake_embedder import FakeEmbedder
from library_music import everything, strings, write_tone, write_tones
from made_library import make, make_some, rows_in, track_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clap_musicgen.library import Progress


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "GROUP_TRACKS", 2)
    monkeypatch.setattr(adding, "CHUNK_FILES", 4)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk, on Linux")
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write until there is no room."""
    with file.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(4096))
            except OSError:
                return


def test_a_full_disk_is_said_and_the_library_goes_on_once_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    music = write_tones(tmp_path / "music", 6)
    first = write_tone(tmp_path / "first.wav", 3000)
    library = Library.open(small_disk / "library", FakeEmbedder())
    library.add(first)
    fill(small_disk / "ballast")
    with pytest.raises(LibraryError, match=r"disk/library.*No space left"):
        library.add(tmp_path / "music")
    assert [match.track.path for match in library.search("3000")] == [str(first)]
    assert check_library(small_disk / "library").sound
    with pytest.raises(LibraryError, match="No space left"):
        export_library(small_disk / "library", small_disk / "a.parquet")
    assert not (small_disk / "a.parquet").exists()
    (small_disk / "ballast").unlink()
    assert library.add(tmp_path / "music").added == strings(music)
    assert check_library(small_disk / "library").findings == ()


def test_an_import_into_a_full_disk_goes_on_once_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    make_some(tmp_path / "library", 20)
    export_library(tmp_path / "library", tmp_path / "a.parquet")
    make(small_disk / "new")
    fill(small_disk / "ballast")
    with pytest.raises(LibraryError, match="No space left"):
        import_library(small_disk / "new", tmp_path / "a.parquet")
    (small_disk / "ballast").unlink()
    import_library(small_disk / "new", tmp_path / "a.parquet")
    assert rows_in(small_disk / "new") == rows_in(tmp_path / "library")


def test_music_that_vanishes_in_the_middle_costs_only_what_was_not_read(tmp_path: Path) -> None:
    drive, away = tmp_path / "drive", tmp_path / "away"
    music = write_tones(drive / "music", 12)

    def unplug(progress: Progress) -> None:
        if progress.done >= 5 and drive.exists():
            drive.rename(away)

    library = Library.open(tmp_path / "library", FakeEmbedder())
    report = library.add(drive / "music", on_progress=unplug)
    assert 4 <= len(report.added) < 12
    assert len(report.added) + len(report.failed) == 12
    assert {reason.lower() for _, reason in report.failed} == {"no such file or directory"}
    assert len(library) == len(report.added)
    with pytest.raises(AudioError, match="drive"):
        library.add(drive / "music", prune=True)
    (drive / "music").mkdir(parents=True)  # the empty mount point
    with pytest.raises(LibraryError, match="is the drive connected"):
        library.add(drive / "music", prune=True)
    assert len(library) == len(report.added)
    shutil.rmtree(drive)
    away.rename(drive)
    again = library.add(drive / "music")
    assert again.unchanged == report.added
    assert {*again.added, *again.unchanged} == set(strings(music))
    Library.open(tmp_path / "calm", FakeEmbedder()).add(drive / "music")
    assert everything(tmp_path / "library") == everything(tmp_path / "calm")


def test_a_library_that_vanishes_in_the_middle_is_whole_when_it_is_back(tmp_path: Path) -> None:
    drive, away = tmp_path / "drive", tmp_path / "away"
    write_tones(tmp_path / "music", 12)
    library = Library.open(drive / "library", FakeEmbedder())

    def unplug(progress: Progress) -> None:
        if progress.done >= 5 and not away.exists():
            drive.rename(away)
            drive.mkdir()  # the empty mount point

    with pytest.raises(LibraryError, match=r"drive/library"):
        library.add(tmp_path / "music", on_progress=unplug)
    with pytest.raises(LibraryError):
        library.search("440")
    shutil.rmtree(drive)  # whatever was written there lies below the mount point
    away.rename(drive)
    assert check_library(drive / "library").sound
    before = len(library)
    assert before >= 2
    report = library.add(tmp_path / "music")
    assert (len(report.unchanged), len(report.added)) == (before, 12 - before)
    Library.open(tmp_path / "calm", FakeEmbedder()).add(tmp_path / "music")
    assert everything(drive / "library") == everything(tmp_path / "calm")


def test_renamed_and_moved_files_keep_their_vectors(tmp_path: Path) -> None:
    write_tones(tmp_path / "music", 6, seconds=1.2)
    model = FakeEmbedder()
    library = Library.open(tmp_path / "library", model)
    library.add(tmp_path / "music")
    before, embedded = everything(tmp_path / "library"), model.clips
    (tmp_path / "music" / "00.wav").rename(tmp_path / "music" / "renamed.wav")
    (tmp_path / "music" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "music" / "01.wav").rename(tmp_path / "music" / "deep" / "er" / "01.wav")
    (tmp_path / "music").rename(tmp_path / "elsewhere")
    library.add(tmp_path / "elsewhere")
    library.remove(tmp_path / "music")
    assert model.clips == embedded
    after = everything(tmp_path / "library")
    assert len(after) == 6
    assert sorted(held.clips for held in after.values()) == sorted(
        held.clips for held in before.values()
    )
    assert check_library(tmp_path / "library").findings == ()


@pytest.mark.parametrize("begun", ["clips", "texts", "tracks"])
def test_a_library_whose_making_was_interrupted_is_made(tmp_path: Path, begun: str) -> None:
    """A table gets its folder before its first state; a kill in between leaves the folder alone."""
    Library.open(tmp_path / "library", FakeEmbedder()).close()
    (tmp_path / "library" / "library.json").unlink()
    shutil.rmtree(tmp_path / "library" / f"{begun}.lance" / "_versions")
    with Library.open(tmp_path / "library", FakeEmbedder()) as library:
        library.add(write_tone(tmp_path / "a.wav", 440))
        assert len(library) == 1
    assert check_library(tmp_path / "library").findings == ()


def test_captions_whose_table_was_only_begun_are_embedded_anew(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", FakeEmbedder())
    shutil.rmtree(tmp_path / "library" / "texts.lance" / "_versions")
    library.add(write_tone(tmp_path / "a.wav", 440))
    assert check_library(tmp_path / "library").findings == ()


def test_an_export_to_a_drive_that_is_gone_says_so(tmp_path: Path) -> None:
    make(tmp_path / "library", [[track_of("/a.wav", "a")]])
    with pytest.raises(LibraryError, match=r"gone/a\.parquet.*No such file"):
        export_library(tmp_path / "library", tmp_path / "gone" / "a.parquet")
    assert rows_in(tmp_path / "library")[0].num_rows == 1
