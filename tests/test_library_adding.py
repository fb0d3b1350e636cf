"""What goes wrong while adding, groups, progress and odd names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from audio_factory import write_wav
from clap_musicgen.library import Library, Progress
from clap_musicgen.library.paths import path_key
from clap_musicgen.library.store import Store
from fake_embedder import FakeEmbedder
from library_music import RATE, everything, strings, touch, write_tone, write_tones

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.embedding import Embeddings, Waveform


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


def test_broken_files_are_reported_and_the_rest_goes_on(
    library: Library, music: Path, model: FakeEmbedder
) -> None:
    (music / "noise.mp3").write_bytes(b"this is not audio")
    (music / "noise again.mp3").write_bytes(b"this is not audio")
    write_wav(music / "empty.wav", np.zeros((0, 1), np.int16), sample_rate=RATE)
    (music / "locked.wav").symlink_to(music / "nowhere")
    report = library.add(music)
    assert len(report.added) == len(library) == 3
    failed = dict(report.failed)
    assert sorted(failed) == sorted(
        strings([music / name for name in ("noise.mp3", "noise again.mp3", "empty.wav")])
    )
    assert failed[str(music / "noise.mp3")] == failed[str(music / "noise again.mp3")]
    assert all(failed.values())
    assert len(library.add(music).failed) == 3  # and tried again the next time
    assert model.clips == 6


def test_a_file_that_breaks_keeps_its_old_row(library: Library, music: Path) -> None:
    library.add(music)
    before = library.tracks()
    (music / "200.wav").write_bytes(b"this is not audio any more")
    report = library.add(music)
    assert [path for path, _ in report.failed] == [str(music / "200.wav")]
    assert library.tracks() == before


def test_what_a_killed_writer_left_behind_goes_before_anything_is_added(
    library: Library, music: Path
) -> None:
    library.add(music)
    store = Store(library.path, dim=12)
    store.delete([path_key(str(music / "200.wav"))])  # clips written, track not: killed in between
    assert library.info().clips == 6
    assert library.add(music).added == (str(music / "200.wav"),)
    assert library.info().clips == 6


def test_a_truncated_file_is_used_and_its_problem_told(library: Library, music: Path) -> None:
    samples = (8_000 * np.sin(np.arange(3 * RATE))).astype(np.int16)
    path = write_wav(music / "cut.wav", samples, sample_rate=RATE, stated_bytes=20 * RATE)
    report = library.add(music)
    assert [track for track, _ in report.problems] == [str(path)]
    assert "truncated" in report.problems[0][1]
    track = next(track for track in library.tracks() if track.path == str(path))
    assert (track.problem, track.duration) == (report.problems[0][1], 3.0)
    shutil.copy(path, music / "cut too.wav")
    assert dict(library.add(music).problems)[str(music / "cut too.wav")] == track.problem


class Disturbing(FakeEmbedder):
    """Changes a file while it is being embedded."""

    path: Path

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        touch(self.path)
        return super().embed_clips(waveforms)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, music: Path) -> None:
    model = Disturbing()
    model.path = music / "800.wav"
    shutil.copy(music / "800.wav", music / "copy.wav")  # waits for the other, then goes alone
    library = Library.open(tmp_path / "library", model)
    report = library.add(music)
    assert [path for path, _ in report.failed] == [str(music / "800.wav")]
    assert "changed while it was being read" in report.failed[0][1]
    assert [Path(path).name for path in report.added] == ["200.wav", "3000.wav", "copy.wav"]
    assert library.info().clips == 6
    model.path = music / "3000.wav"  # known already, so it is only touched
    assert library.add(music).added == (str(music / "800.wav"),)


class Failing(FakeEmbedder):
    """Runs out of memory, or gives NaN, for a loud clip."""

    kind = "raise"

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        vectors = super().embed_clips(waveforms)
        for row, waveform in enumerate(waveforms):
            if np.abs(waveform).max() > 0.5:
                if self.kind == "raise":
                    raise RuntimeError("out of memory")
                vectors[row] = np.nan
        return vectors


@pytest.mark.parametrize("kind", ["raise", "nan"])
def test_a_failing_model_costs_only_what_it_failed_on(tmp_path: Path, kind: str) -> None:
    paths = write_tones(tmp_path / "music", 10, seconds=2)  # 20 clips: the second batch has four
    loud = (30_000 * np.sin(np.arange(20 * RATE))).astype(np.int16)
    loud[: 15 * RATE] //= 8  # loud at its end only
    write_wav(tmp_path / "music" / "99.wav", loud, sample_rate=RATE)
    model = Failing()
    model.kind = kind
    library = Library.open(tmp_path / "library", model)
    if kind == "raise":
        with pytest.raises(RuntimeError, match="out of memory"):
            library.add(tmp_path / "music")
        assert library.info().clips == 2 * len(library)
        assert 8 <= len(library) <= 10
    else:
        report = library.add(tmp_path / "music")
        assert report.added == strings(paths)
        assert "no finite vector" in dict(report.failed)[str(tmp_path / "music" / "99.wav")]
        assert library.info().clips == 20


# Groups and progress


def test_tracks_appear_in_whole_groups(tmp_path: Path, library: Library) -> None:
    write_tones(tmp_path / "music", 40, seconds=0.2)
    reader = Library.open(tmp_path / "library", FakeEmbedder())
    seen: list[tuple[int, int]] = []
    told: list[Progress] = []

    def look(progress: Progress) -> None:
        told.append(progress)
        seen.append((len(reader), reader.info().clips))

    library.add(tmp_path / "music", on_progress=look)
    assert {tracks for tracks, _ in seen} == {0, 16, 32}
    assert all(tracks == clips for tracks, clips in seen)
    assert len(reader) == 40
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert told[-1].done == told[-1].total == 40
    assert told[-1].failed == 0
    assert told[-1].seconds == pytest.approx(8)
    assert told[-1].path.startswith(str(tmp_path / "music"))


def test_a_slow_track_does_not_hold_back_the_others(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clap_musicgen.library.adding.GROUP_SECONDS", 0.0)
    write_tone(tmp_path / "music" / "1.wav", 300)
    write_tone(tmp_path / "music" / "2.wav", 400, seconds=60)
    seen: list[int] = []
    library.add(tmp_path / "music", on_progress=lambda _: seen.append(len(library)))
    assert 1 in seen[:-1]


def test_many_small_commits_are_merged(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clap_musicgen.library.adding.GROUP_TRACKS", 1)
    monkeypatch.setattr("clap_musicgen.library.store.MAX_FRAGMENTS", 4)
    write_tones(tmp_path / "music", 12, seconds=0.2)
    report = library.add(tmp_path / "music")
    assert len(report.added) == len(library) == 12
    assert len(everything(tmp_path / "library")) == 12


@pytest.mark.parametrize(
    "name",
    ["Ænima – 愛.wav", "line\nbreak.wav", 'it\'s "quoted" %20 #1?.wav', b"caf\xe9 \xff.wav"],
)
def test_any_file_name_survives(
    tmp_path: Path, library: Library, name: str | bytes, model: FakeEmbedder
) -> None:
    path = tmp_path / "music" / os.fsdecode(name)
    try:
        write_tone(path, 440)
    except OSError:
        pytest.skip("this file system does not take such a name")
    assert library.add(tmp_path / "music").added == (str(path),)
    assert library.add(path).unchanged == (str(path),)
    assert [track.path for track in library.tracks()] == [str(path)]
    assert library.search("440")[0].track.path == str(path)
    assert Path(library.search("440", where="path LIKE '%.wav'")[0].track.path).exists()
    assert library.similar(path) == []
    path.rename(tmp_path / "music" / "plain.wav")
    assert library.add(tmp_path / "music", prune=True).removed == (str(path),)
    assert model.clips == 2
