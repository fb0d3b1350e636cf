"""`check`, `export` and `import` on the command line, without any model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from clap_musicgen.cli import maintaining
from clap_musicgen.errors import LibraryError
from made_library import content_of, make_some, rows_in, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

app = typer.Typer()
app.command()(maintaining.check)
app.command()(maintaining.export)
app.command("import")(maintaining.import_)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def library(tmp_path: Path) -> Path:
    make_some(tmp_path / "library")
    return tmp_path / "library"


def test_a_sound_library(library: Path) -> None:
    result = call("check", "--library", library)
    assert (result.exit_code, result.stdout) == (
        0,
        f"library: {library} (7 tracks, 18 clips): sound\n",
    )
    stated = json.loads(call("check", "--library", library, "--json").stdout)
    assert stated == {"library": str(library), "tracks": 7, "clips": 18, "sound": True} | {
        "lost": [],
        "findings": [],
    }


def test_damage_is_told_and_repaired(library: Path) -> None:
    table_of(library, "clips").delete(f"content = '{content_of('3')}'")
    found = call("check", "--library", library)
    assert found.exit_code == 1
    assert "/music/3.wav: it has no clips" in found.stdout
    assert "check --repair" in found.stdout
    stated = json.loads(call("check", "--library", library, "--json").stdout)
    assert stated["findings"][0]["kind"] == "clips"
    assert stated["lost"] == ["/music/3.wav"]
    repaired = call("check", "--repair", "--library", library)
    assert repaired.exit_code == 0
    assert "index their folders again" in repaired.stdout
    assert "(6 tracks, 15 clips): sound" in repaired.stdout


def test_out_and_in_again(library: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    assert call("export", file, "--library", library).stdout.startswith("7 tracks, 21 clips")
    stated = json.loads(call("export", file, "--library", library, "--json").stdout)
    assert stated["tracks"] == 7
    brought = call("import", file, "--library", tmp_path / "new")
    assert brought.exit_code == 0, brought.output
    assert brought.stdout.splitlines()[0] == "7 added, 0 unchanged, 0 failed"
    assert rows_in(tmp_path / "new") == rows_in(library)
    again = json.loads(call("import", file, "--library", tmp_path / "new", "--json").stdout)
    assert (again["added"], len(again["unchanged"]), again["failed"]) == ([], 7, [])


def test_what_is_no_export_or_no_library_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"x")
    for arguments in (
        ("import", tmp_path / "a.parquet", "--library", tmp_path / "new"),
        ("export", tmp_path / "b.parquet", "--library", tmp_path / "absent"),
        ("check", "--library", tmp_path / "absent"),
    ):
        assert isinstance(call(*arguments).exception, LibraryError)
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "b.parquet").exists()
