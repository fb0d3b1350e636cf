"""The whole way a person goes, by the commands alone: folder, manifest, text, train, evaluate, use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clap_musicgen.cli import run
from conftest import build_tiny
from training_music import write_music

SHORT = ["--steps", "10", "--batch", "16"]


@pytest.fixture
def start(tmp_path: Path) -> str:
    build_tiny().save_pretrained(tmp_path / "start")
    return str(tmp_path / "start")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.slow
def test_from_a_manifest_to_a_searchable_library(
    start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write_music(tmp_path / "music")
    mine = tmp_path / "mine"

    assert run(["manifest", "check", str(manifest)]) == 0
    assert "48" in capsys.readouterr().out

    text = ["tune-text", str(manifest), "--model", start, "--out", str(tmp_path / "text")]
    assert run([*text, "--steps", "4"]) == 0
    assert "perplexity" in capsys.readouterr().out

    train = ["train", str(manifest), "--from", start, "--out", str(mine), *SHORT]
    assert run(train) == 0
    said = capsys.readouterr().out
    assert "on 8 test tracks" in said
    assert str(mine / "report.md") in said
    report = json.loads((mine / "report.json").read_text())
    assert report["test"]["verdict"] in ("better", "worse", "not distinguishable")

    assert run([*train, "--json"]) == 0  # once more: nothing left to do
    again = json.loads(capsys.readouterr().out)
    assert again["after"] == report["test"]["after"]

    evaluate = ["evaluate", str(mine), "--manifest", str(manifest), "--out", str(mine / "test")]
    assert run(evaluate) == 0
    capsys.readouterr()
    results = json.loads((mine / "test" / "results.json").read_text())
    found = results["results"]["overall" if "overall" in results["results"] else "unnamed"]
    mrr = found["text→music"]["metrics"]["MRR"]["value"]
    assert mrr == pytest.approx(report["test"]["after"], abs=1e-3)

    library = ["--library", str(tmp_path / "library"), "--model", str(mine)]
    assert run(["index", str(tmp_path / "music"), *library]) == 0
    capsys.readouterr()
    assert run(["search", "high whistle", *library, "--no-fold", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 10


@pytest.mark.slow
def test_a_folder_of_tagged_files_becomes_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_music(tmp_path / "music")
    out = tmp_path / "mine.jsonl"
    assert run(["manifest", "from-folder", str(tmp_path / "music"), "--out", str(out)]) == 1
    assert "tags" in capsys.readouterr().err  # bare tones say nothing of themselves
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["train", "nowhere.jsonl", "--out", "runs"], "nowhere.jsonl"),
        (["train"], "MANIFEST"),
    ],
)
def test_mistakes_are_one_line(
    command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(lines(error)) == 1
    assert "Traceback" not in error
