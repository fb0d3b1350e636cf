"""A library from outside: adding, removing, and what the report says."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.embedding import mean_direction
from clap_musicgen.errors import (
    InputError,
    InputTypeError,
    LibraryError,
    TrackNotFoundError,
    UnreadableAudioError,
)
from clap_musicgen.library import Library
from clap_musicgen.library.query import embed_sound
from fake_embedder import FakeEmbedder
from library_music import everything, strings, touch, write_sweep, write_tone, write_tones

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


def test_add_reports_and_a_second_time_does_nothing(
    library: Library, music: Path, model: FakeEmbedder
) -> None:
    paths = strings(sorted(music.iterdir()))
    first = library.add(music)
    assert first.added == paths
    assert (first.updated, first.unchanged, first.removed, first.failed) == ((), (), (), ())
    assert (first.problems, first.seconds) == ((), 4.5)
    assert model.clips == 6

    second = library.add(str(music))
    assert (second.added, second.unchanged, second.seconds) == ((), paths, 0.0)
    assert model.clips == 6

    info = library.info()
    assert (info.tracks, info.clips, info.dim, info.fingerprint) == (3, 6, 12, "fake-1")
    assert info.hours == pytest.approx(4.5 / 3600)
    assert info.bytes > 1_000
    assert Library.inspect(library.path) == info


def test_vectors_are_those_of_each_file_alone(
    tmp_path: Path, library: Library, music: Path, model: FakeEmbedder
) -> None:
    write_sweep(music / "long.wav", seconds=40.1)
    write_tone(music / "short.wav", 600, seconds=0.05)
    library.add(music)
    assert model.clips == 6 + 41 + 1
    assert max(model.batches) == 16
    for path, held in everything(tmp_path / "library").items():
        np.testing.assert_allclose(held.mean, embed_sound(FakeEmbedder(), path), atol=5e-4)
        starts, ends, vectors = (np.array(column) for column in zip(*held.clips, strict=True))
        mean = mean_direction(vectors, ends - starts)
        np.testing.assert_allclose(held.mean, mean, atol=5e-4)
        assert starts[0] == 0
        assert ends[-1] == held.track.duration
        np.testing.assert_array_equal(starts[1:], ends[:-1])


def test_add_takes_one_path_or_several(tmp_path: Path, library: Library) -> None:
    paths = write_tones(tmp_path / "deep" / "er", 3)
    assert library.add(paths[0]).added == strings(paths[:1])
    assert library.add([str(paths[1]), paths[0]]).added == strings(paths[1:2])
    assert library.add([tmp_path / "deep", paths[2]]).added == strings(paths[2:])


@pytest.mark.parametrize("paths", [None, 3, [3], b"music"])
def test_add_refuses_what_is_no_path(library: Library, paths: object) -> None:
    with pytest.raises(InputTypeError, match="paths must be"):
        library.add(paths)  # type: ignore[arg-type]


def test_add_refuses_a_missing_path_and_no_workers(library: Library, music: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="absent"):
        library.add([music, music / "absent"])
    with pytest.raises(InputError, match="workers"):
        library.add(music, workers=0)
    assert len(library) == 0


def test_a_changed_file_is_embedded_anew_and_its_old_vectors_go(
    library: Library, music: Path, model: FakeEmbedder
) -> None:
    library.add(music)
    write_tone(music / "200.wav", 1500, seconds=2.5)
    report = library.add(music)
    assert report.updated == (str(music / "200.wav"),)
    assert len(report.unchanged) == 2
    assert report.seconds == 2.5
    assert model.clips == 6 + 3
    assert library.info().clips == 4 + 3
    assert library.search("1500", k=1)[0].track.title == "200"
    assert library.tracks()[0].duration == 2.5


def test_a_touched_file_is_recognised_by_its_content(
    library: Library, music: Path, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(music)
    before = library.tracks()
    touch(music / "200.wav")
    report = library.add(music)
    assert len(report.unchanged) == 3
    assert report.updated == ()
    assert (model.clips, library.info().clips, library.tracks()) == (6, 6, before)
    monkeypatch.setattr("clap_musicgen.library.adding.content_hash", None)  # not even read again
    assert len(library.add(music).unchanged) == 3


def test_copies_share_vectors_and_moved_files_keep_them(
    library: Library, music: Path, model: FakeEmbedder
) -> None:
    shutil.copy(music / "200.wav", music / "copy of 200.wav")  # met in the same run
    library.add(music)
    assert model.clips == library.info().clips == 6

    shutil.copy(music / "800.wav", music / "copy of 800.wav")  # met later
    (music / "moved").mkdir()
    (music / "3000.wav").rename(music / "moved" / "3 kHz.wav")
    report = library.add(music, prune=True)
    assert report.added == strings([music / "copy of 800.wav", music / "moved" / "3 kHz.wav"])
    assert report.removed == (str(music / "3000.wav"),)
    assert report.seconds == 0
    assert model.clips == library.info().clips == 6
    assert library.search("3000", k=1)[0].track.title == "3 kHz"


def test_a_file_moved_and_replaced_keeps_its_vectors(
    library: Library, music: Path, model: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clap_musicgen.library.adding.CHUNK_FILES", 1)  # replaced long before met
    library.add(music)
    (music / "200.wav").rename(music / "9.wav")
    write_tone(music / "200.wav", 1500)
    report = library.add(music)
    assert (report.added, report.updated) == (
        (str(music / "9.wav"),),
        (str(music / "200.wav"),),
    )
    assert model.clips == 6 + 2
    assert library.info().clips == 8
    assert library.search("200", k=1)[0].track.title == "9"
    assert library.search("1500", k=1)[0].track.title == "200"


def test_deleted_files_stay_until_pruned_and_only_under_the_given_paths(
    tmp_path: Path, library: Library
) -> None:
    rock, jazz = write_tones(tmp_path / "rock", 3), write_tones(tmp_path / "rock more", 3)
    library.add([tmp_path / "rock", tmp_path / "rock more"])
    rock[0].unlink()
    jazz[0].unlink()
    assert library.add(tmp_path / "rock").removed == ()
    assert len(library) == 6
    assert library.add(tmp_path / "rock", prune=True).removed == (str(rock[0]),)
    assert [track.path for track in library.tracks()] == sorted(strings(rock[1:] + jazz))


def test_prune_spares_a_folder_that_is_empty_like_an_unplugged_drive(
    library: Library, music: Path
) -> None:
    library.add(music)
    for path in music.iterdir():
        path.unlink()
    with pytest.raises(LibraryError, match=r"3 of its tracks.*drive.*Library\.remove"):
        library.add(music, prune=True)
    assert len(library) == 3
    assert len(library.remove(music)) == 3


def test_remove_takes_files_and_folders(library: Library, music: Path) -> None:
    shutil.copy(music / "200.wav", music / "twin.wav")
    library.add(music)
    with pytest.raises(TrackNotFoundError, match="absent"):
        library.remove([music / "800.wav", music / "absent.wav"])
    assert len(library) == 4
    assert library.remove(music / "200.wav") == [str(music / "200.wav")]
    assert library.info().clips == 6  # the twin has the same content
    assert library.remove([music, music / "twin.wav"]) == list(
        strings([music / name for name in ("3000.wav", "800.wav", "twin.wav")])
    )
    assert (len(library), library.info().clips) == (0, 0)
    assert (music / "twin.wav").exists()
