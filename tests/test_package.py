"""The public face: names, lazy imports, the bundled model, the README."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import clap_musicgen
from clap_musicgen.model.checkpoint import find_checkpoint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples" / "music"


def test_public_names() -> None:
    assert clap_musicgen.__all__ == [
        "ClapMusicGen",
        "ClapMusicGenError",
        "Embedder",
        "Library",
        "Match",
        "ModelConfig",
        "Report",
        "Track",
        "__version__",
    ]
    for name in clap_musicgen.__all__:
        assert getattr(clap_musicgen, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        clap_musicgen.nonsense  # noqa: B018


def test_importing_the_package_costs_nothing() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'av', 'lancedb', 'rich'}"
    code = f"import sys, clap_musicgen; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mini_is_small_and_has_a_card() -> None:
    folder = find_checkpoint("mini")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    assert size <= 25_000_000
    assert "What it was trained on" in (folder / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The README's code block that holds a text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)
    return next(text for text in blocks if containing in text)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that stands for a checkout and for somebody's home."""
    (tmp_path / "examples").mkdir()
    shutil.copytree(EXAMPLES, tmp_path / "examples" / "music")
    (tmp_path / "Music").mkdir()
    for name, given in (("bossa-nova", "calm"), ("heavy-metal", "wild"), ("tango", "song")):
        shutil.copy(EXAMPLES / f"{name}.ogg", tmp_path / "Music" / f"{given}.mp3")  # names may lie
    return tmp_path


def run(command: list[str], home: Path) -> str:
    bin_folder = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "PATH": bin_folder + os.pathsep + os.environ["PATH"],
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("CLAP_MUSICGEN_LIBRARY", None)
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


RUN_ALL = """
import sys
from pathlib import Path
from clap_musicgen.cli import run
for line in Path(sys.argv[1]).read_bytes().decode().split("\\0\\0"):
    if line and run(line.split("\\0")[1:]):
        sys.exit(f"failed: {line!r}")
"""


def words(line: str, home: Path) -> bytes:
    """What the shell makes of a line: each word ends with a zero byte, the line with another."""
    shell = ["bash", "-ec", f"printf '%s\\0' {line}; printf '\\0'"]
    environment = {**os.environ, "HOME": str(home)}
    return subprocess.run(shell, cwd=home, env=environment, capture_output=True, check=True).stdout


def test_readme_python(home: Path) -> None:
    printed = run([sys.executable, "-W", "error", "-c", block("python", "from_pretrained")], home)
    assert "(2, 256)" in printed
    assert "12 added 0 failed" in printed
    assert len(re.findall(r"^-?\d\.\d{3}  ", printed, flags=re.M)) == 6


def test_readme_shell(home: Path) -> None:
    lines = block("sh", "clap-musicgen search").splitlines()
    commands = [line.split("  #")[0].strip() for line in lines if line.startswith("clap-musicgen")]
    assert len(commands) == 11
    # The shell reads each line, and one process runs them all: eleven would import torch anew.
    (home / "commands.txt").write_bytes(b"".join(words(line, home) for line in commands))
    printed = run([sys.executable, "-c", RUN_ALL, "commands.txt"], home)
    assert "3 added" in printed
    assert (home / "vectors.parquet").exists()
    playlist = (home / "evening.m3u8").read_text(encoding="utf-8").splitlines()
    assert [line for line in playlist if not line.startswith("#")][::2] == [
        "Music/calm.mp3", "Music/wild.mp3"
    ]  # fmt: skip
    assert (home / "tags.csv").read_text(encoding="utf-8-sig").count("\n") >= 3


def test_readme_commands_are_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make (\w+)", README, flags=re.M):
        assert re.search(rf"^{command}:", makefile, flags=re.M), command
