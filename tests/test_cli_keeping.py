"""`playlists`: listed, shown, written and deleted, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clap_musicgen.cli import run
from clap_musicgen.library import saved
from made_library import make_some


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of six made tracks, with two playlists; one names a track that it does not have."""
    folder = tmp_path / "library"
    tracks = list(make_some(folder).tracks())
    saved.save(folder, "Sunday: off", [tracks[2], tracks[0]])
    saved.save(folder, "all", tracks)
    with (folder / "playlists" / "all.m3u8").open("a", encoding="utf-8") as file:
        file.write("/music/gone.wav\n")
    return folder


@pytest.fixture
def cli(folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CLAP_MUSICGEN_LIBRARY", str(folder))

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(["playlists", *map(str, arguments)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_list(cli: Any) -> None:
    code, out, _ = cli()
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["tracks", "length", "saved", "name"]
    assert [line.split()[-1] for line in lines[1:]] == ["all", "off"]
    told = json.loads(cli("--json")[1])
    assert [(one["name"], one["tracks"]) for one in told] == [("all", 8), ("Sunday: off", 2)]


def test_one(cli: Any) -> None:
    code, out, _ = cli("Sunday: off")
    assert code == 0
    paths = [line.split()[-1] for line in out.splitlines()[1:]]
    assert paths == ["/music/2.wav", "/music/0.wav"]
    assert "/music/gone.wav: index it again" in cli("all")[1]
    told = json.loads(cli("all", "--json")[1])
    assert told["missing"] == ["/music/gone.wav"]
    assert len(told["tracks"]) == 7


def test_as_a_file(cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "x.m3u8"
    code, told, _ = cli("Sunday: off", "--out", out, "--absolute")
    assert code == 0
    assert str(out) in told
    assert out.read_text().splitlines()[2::2] == ["/music/2.wav", "/music/0.wav"]
    assert cli("Sunday: off", "--out", out)[0] == 1
    assert cli("Sunday: off", "--out", out, "--force")[0] == 0


def test_deleted(cli: Any, folder: Path) -> None:
    assert cli("all", "--delete")[0] == 0
    assert [one.name for one in saved.listed(folder)] == ["Sunday: off"]
    code, _, err = cli("all", "--delete")
    assert code == 1
    assert "no playlist 'all'" in err


def test_what_cannot_be(cli: Any, tmp_path: Path) -> None:
    assert "which playlist?" in cli("--delete")[2]
    assert "give --out or --delete" in cli("all", "--delete", "--out", tmp_path / "x")[2]
    assert "no library in" in cli("--library", tmp_path / "no")[2]
    assert "no saved playlists" not in cli("--json")[2]
