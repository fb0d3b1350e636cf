"""What docs/questions.md shows can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from clap_musicgen.cli import run

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ clap-musicgen ((?:search|similar) .*)$", GUIDE, flags=re.M)
OPTIONS = ("--like", "--unlike", "--artist", "--genre", "--length", "--per", "--min-score", "--in")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood_and_only_the_library_is_missing(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([*shlex.split(command), "--library", str(tmp_path / "none")]) == 1
    assert "there is no library in" in capfd.readouterr().err


def test_the_guide_shows_the_options() -> None:
    assert len(COMMANDS) > 10
    for option in OPTIONS:
        assert any(option in command for command in COMMANDS)


@pytest.mark.slow
def test_every_line_of_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.S)
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    titles = [match.track.title for match in names["library"].search("heavy metal", k=1)]  # type: ignore[attr-defined]
    assert titles == ["Heavy metal"]
