"""`playlist`, `duplicates` and `tags` on real files and the bundled model."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from audio_factory import melody, write_audio
from clap_musicgen.cli import run
from clap_musicgen.library.saved import listed

RATE = 32_000
NAMES = ("a.wav", "b.mp3", "c.flac", "#d.wav", "e\n#f.wav", "g.ogg")


class Result(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pieces; the first is there three times: as it is, copied, and as FLAC."""
    folder = tmp_path_factory.mktemp("music")
    for seed, name in enumerate(NAMES):
        tags = {"title": f"=Song {seed}", "artist": "Nina"} if name in {"b.mp3", "c.flac"} else None
        sound = melody(2.0 + seed / 4, sample_rate=RATE, seed=seed)
        kind = name.rpartition(".")[2]
        write_audio(folder / name, sound, sample_rate=RATE, format=kind, tags=tags)
    shutil.copy(folder / "a.wav", folder / "copy.wav")
    write_audio(folder / "a.flac", melody(2.0, sample_rate=RATE, seed=0), sample_rate=RATE)
    return folder


@pytest.fixture(scope="module")
def library(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "library"
    assert run(["index", str(music), "--library", str(folder)]) == 0
    return folder


@pytest.fixture
def cli(library: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CLAP_MUSICGEN_LIBRARY", str(library))

    def call(*arguments: str | Path) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


class TestPlaylist:
    def test_of_words_as_a_file(self, cli: Any, music: Path, tmp_path: Path) -> None:
        (tmp_path / "lists").mkdir()
        (tmp_path / "music").symlink_to(music)
        out = tmp_path / "lists" / "calm.m3u8"
        result = cli("playlist", "calm piano", "-k", 6, "--out", out)
        assert (result.code, result.err) == (0, "")
        assert result.out.startswith("6 tracks, 0:")
        lines = out.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "#EXTM3U"
        assert len(lines) == 13
        assert all(line.startswith("#EXTINF:") for line in lines[1::2])
        odd = [line for line in lines[2::2] if line.startswith("file:")]
        assert odd == [(music / NAMES[4]).as_uri()]
        plain = {(out.parent / line).resolve() for line in lines[2::2] if line not in odd}
        assert plain < {path.resolve() for path in music.iterdir()}
        again = cli("playlist", "calm piano", "--out", out)
        assert (again.code, again.out) == (1, "")
        assert "--force" in again.err
        assert cli("playlist", "loud", "-k", 1, "--out", out, "--force", "--absolute").code == 0
        assert out.read_text(encoding="utf-8").splitlines()[2].startswith(("/", "file:///"))

    def test_of_a_track_begins_with_it(self, cli: Any, music: Path) -> None:
        found = cli("playlist", "--seed", music / "g.ogg", "-k", 3, "--json").json()
        assert found[0]["path"] == str(music / "g.ogg")
        assert len({track["path"] for track in found}) == 3

    def test_a_recording_is_in_it_once(self, cli: Any) -> None:
        found = cli("playlist", "calm piano", "--json").json()
        first = {"a.wav", "a.flac", "copy.wav"}
        assert len([track for track in found if Path(track["path"]).name in first]) == 1

    def test_between_two_tracks(self, cli: Any, music: Path) -> None:
        ends = [music / "b.mp3", music / "g.ogg"]
        found = cli("playlist", "--from", ends[0], "--to", ends[1], "-k", 4, "--json").json()
        paths = [track["path"] for track in found]
        assert (paths[0], paths[-1]) == tuple(map(str, ends))
        assert len(set(paths)) == 4

    def test_by_artist_and_by_minutes(self, cli: Any) -> None:
        found = cli("playlist", "calm", "--per-artist", 1, "--json").json()
        assert [track["artist"] for track in found].count("Nina") == 1
        short = cli("playlist", "calm", "--minutes", 0.1, "--json").json()
        assert 3 < sum(track["duration"] for track in short) < 6.4

    def test_as_a_table(self, cli: Any) -> None:
        result = cli("playlist", "calm piano", "-k", 2)
        head, *rows = result.out.splitlines()
        assert head.split() == ["title", "artist", "length", "path"]
        assert [row.split()[0] for row in rows] == ["1", "2"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "a playlist of what?"),
            (["calm", "--from", "x"], "two ends"),
            (["calm", "--from", "x", "--to", "y"], "neither words"),
            (["--from", "x", "--to", "y", "--per-artist", "1"], "--per-artist"),
            (["calm", "-k", "3", "--minutes", "5"], "not both"),
            (["calm", "--minutes", "-5"], "-5"),
            ([" "], "empty"),
            (["--from", "x", "--to", "y"], "no track"),
        ],
    )
    def test_what_is_no_playlist(self, cli: Any, arguments: list[str], words: str) -> None:
        result = cli("playlist", *arguments)
        assert (result.code, result.out) == (1, "")
        assert words in result.err
        assert len(result.err.splitlines()) == 1

    def test_saved_with_the_library(self, cli: Any, library: Path) -> None:
        result = cli("playlist", "calm piano", "-k", 3, "--save", "calm: one")
        assert (result.code, result.err) == (0, "")
        assert result.out.endswith("playlist 'calm: one'\n")
        assert [one.tracks for one in listed(library)] == [3]
        again = cli("playlist", "calm piano", "--save", "calm: one")
        assert again.code == 1
        assert "already" in again.err
        assert cli("playlist", "piano", "-k", 2, "--save", "calm: one", "--force").code == 0
        assert [one.tracks for one in listed(library)] == [2]
        assert "may not hold '/'" in cli("playlist", "piano", "--save", "a/b").err


class TestDuplicates:
    def test_the_best_copy_comes_first(self, cli: Any) -> None:
        (group,) = cli("duplicates", "--json").json()
        names = [Path(copy["path"]).name for copy in group]
        assert set(names) == {"a.flac", "a.wav", "copy.wav"}
        assert group[0]["size"] >= max(copy["size"] for copy in group)
        assert {copy["same_bytes"] for copy in group if copy["path"].endswith(".wav")} == {True}

    def test_as_a_table(self, cli: Any) -> None:
        result = cli("duplicates")
        assert result.code == 0
        assert len(result.out.splitlines()) == 4
        assert "more files than recordings: 2, together 0." in result.err


class TestTags:
    def test_a_table_for_spreadsheets(self, cli: Any, music: Path, tmp_path: Path) -> None:
        before = {path: path.read_bytes() for path in music.iterdir()}
        out = tmp_path / "tags.csv"
        result = cli("tags", "--out", out, "--min-score", 0)
        assert (result.code, result.err) == (0, "")
        text = io.StringIO(out.read_text(encoding="utf-8-sig"), newline="")
        head, *rows = list(csv.reader(text))
        assert head[:4] == ["path", "title", "artist", "genre"]
        assert len(rows) == len(before)
        assert all(len(row[3].split("; ")) == 3 for row in rows)
        assert "'=Song 1" in {row[1] for row in rows}
        assert {path: path.read_bytes() for path in music.iterdir()} == before
        assert cli("tags", "--out", out).code == 1

    def test_own_labels(self, cli: Any, tmp_path: Path) -> None:
        found = cli("tags", "--labels", "jazz", "metal", "--min-score", 0, "--json").json()
        assert {(tag["facet"], tag["label"]) for tag in found} == {
            ("tag", "jazz"),
            ("tag", "metal"),
        }
        assert all(0 <= tag["score"] <= 1 for tag in found)
        file = tmp_path / "labels.txt"
        file.write_text("use: for cooking\nuse: for running\n", encoding="utf-8")
        found = cli(
            "tags", "--labels-file", file, "--per-facet", 1, "--min-score", 0, "--json"
        ).json()
        assert {tag["facet"] for tag in found} == {"use"}
        assert len(found) == len(NAMES) + 2

    def test_nothing_fits(self, cli: Any) -> None:
        result = cli("tags", "--labels", "jazz", "--min-score", 1)
        assert (result.code, result.out) == (0, "")
        assert "--min-score" in result.err

    def test_what_are_no_labels(self, cli: Any, tmp_path: Path) -> None:
        for wrong in (
            ["--labels", "jazz", "Jazz"],
            ["--labels", "jazz", "--labels-file", tmp_path / "x"],
            ["--labels-file", tmp_path / "x"],
        ):
            result = cli("tags", *wrong)
            assert (result.code, result.out) == (1, "")
            assert len(result.err.splitlines()) == 1
