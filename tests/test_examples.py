"""The notebook and the scripts of examples/ run as they stand, and say what they should."""

from __future__ import annotations

import json
import runpy
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient
from pyarrow import parquet

from clap_musicgen.training.splits import SPLITS, split_of
from training_music import PITCHES, RATE, tone

if TYPE_CHECKING:
    from clap_musicgen.model.clap import ClapMusicGen

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
NOTEBOOK = EXAMPLES / "demo.ipynb"
MOST_LINES, MOST_BYTES = 39, 1_500_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scripts are started: they share a library, so that the music is read once."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture
def script(
    folder: Path,
    mini: ClapMusicGen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Any:
    """Run a script by name in that folder → the lines it prints."""
    from clap_musicgen.model.clap import ClapMusicGen

    load = ClapMusicGen.from_pretrained
    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        # A copy: a script may train it, and mini is shared by all tests.
        ClapMusicGen,
        "from_pretrained",
        lambda name: deepcopy(mini) if name == "mini" else load(name),
    )

    def run(name: str, *arguments: str | Path) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_the_readme_names_it(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert lines[0].startswith('"""')
    assert f"`{path.name}`" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_search_by_words_indexes_once(script: Any) -> None:
    count, best, *_ = script("search_by_words.py")
    assert count == "12 added, 0 known, 12 in all" or count == "0 added, 12 known, 12 in all"
    assert "Church hymn" in best
    count, best, *_ = script("search_by_words.py", EXAMPLES / "music", "hip hop")
    assert count == "0 added, 12 known, 12 in all"
    assert "Hip hop" in best


def test_search_by_sound_leaves_the_sound_itself_out_and_then_turns_the_question(
    script: Any,
) -> None:
    lines = script("search_by_sound.py")
    assert lines[0] == "sounds like tango:"
    assert not any("Tango" in line for line in lines[1:4])
    assert lines[4] == "the same with more violin and less drums:"
    assert len(lines) == 8


def test_find_moments_keeps_to_its_filters(script: Any) -> None:
    lines = script("find_moments.py")
    first, last = lines.index("in latin music and tango"), lines.index("not in metal")
    assert first == 5
    assert all("Merengue" in line or "Tango" in line for line in lines[first + 1 : last])
    assert not any("Heavy metal" in line for line in lines[last:])


def test_classify_ranks_the_labels(script: Any) -> None:
    lines = script("classify.py")
    assert len(lines) == 6
    assert lines[0].endswith("  heavy metal")
    tango, _ = script("classify.py", EXAMPLES / "music" / "tango.ogg", "rap", "tango")
    assert tango.endswith("  tango")


def test_embed_to_parquet_writes_unit_vectors_and_leaves_broken_files_out(
    script: Any, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(440, seconds=1, seed=0), RATE)
    (tmp_path / "broken.mp3").write_bytes(b"no audio")
    broken, said = script("embed_to_parquet.py", tmp_path, tmp_path / "out.parquet")
    assert "broken.mp3" in broken
    assert said.startswith("1 vectors of ")
    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert row["path"] == str(tmp_path / "tone.wav")
    assert np.linalg.norm(row["embedding"]) == pytest.approx(1, abs=1e-5)


def test_make_playlist_leads_from_the_first_to_the_last(script: Any, folder: Path) -> None:
    way, _, said = script("make_playlist.py")
    assert way.startswith("the way:  String ballad → ")
    assert way.endswith(" → Heavy metal")
    assert said == "written: evening.m3u8"
    assert (folder / "evening.m3u8").read_text(encoding="utf-8").count("#EXTINF") == 5


def test_find_duplicates_finds_another_format_of_a_piece(script: Any, tmp_path: Path) -> None:
    samples, rate = soundfile.read(EXAMPLES / "music" / "hip-hop.ogg")
    soundfile.write(tmp_path / "again.flac", samples, rate)
    script("search_by_words.py")
    count, keep, other = script("find_duplicates.py", tmp_path)
    assert count == "1 recordings are there more than once"
    assert {"again.flac", "hip-hop.ogg"} == {keep.split("/")[-1], other.split("/")[-1]}
    (tmp_path / "again.flac").unlink()


def test_own_model_hears_loudness(script: Any) -> None:
    lines = script("own_model.py")
    assert len(lines) == 3
    assert all("Heavy metal" not in line for line in lines)


@pytest.mark.slow
def test_train_on_folder_learns_what_the_folders_say(script: Any, tmp_path: Path) -> None:
    for caption, pitch in PITCHES.items():
        (tmp_path / "sounds" / caption).mkdir(parents=True)
        for n in _all_sides(caption):
            path = tmp_path / "sounds" / caption / f"{n}.wav"
            soundfile.write(path, tone(pitch, seconds=1.2, seed=n), RATE)
    lines = script("train_on_folder.py", tmp_path / "sounds", tmp_path / "run", "10")
    assert lines[0] == "16 tracks with captions, 0 without"
    assert lines[1].startswith("text→music MRR: ")
    assert lines[2].startswith("loads as ")
    manifest = (tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    assert {tuple(json.loads(line)["tags"]) for line in manifest} == {(name,) for name in PITCHES}


def _all_sides(caption: str) -> list[int]:
    """Numbers of four files of a folder: of them two train, one validates and one tests."""
    numbers: dict[str, list[int]] = {split: [] for split in SPLITS}
    for n in range(200):
        numbers[split_of(f"sounds/{caption}/{n}.wav")].append(n)
    return numbers["train"][:2] + numbers["val"][:1] + numbers["test"][:1]


@pytest.mark.slow
def test_the_notebook_runs_and_is_kept_with_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in conftest, for the kernel
    kept = nbformat.read(NOTEBOOK, as_version=4)
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    run = nbformat.from_dict({**kept, "cells": [{**cell} for cell in kept.cells]})
    NotebookClient(
        run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    ).execute()
    before, after = _shown(kept), _shown(run)
    assert before == after, "run the notebook and keep its outputs: a cell shows something else"
    kinds = [kind for cell in after for kind in cell]
    assert kinds.count("image/png") == 6
    assert kinds.count("audio") >= 8


def _shown(notebook: Any) -> list[list[str]]:
    """What each cell of code shows: pictures, players, and how many lines of text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[kind for output in cell.outputs for kind in _kinds(output)] for cell in cells]


def _kinds(output: Any) -> list[str]:
    if output.output_type == "stream":
        return [f"{output.name}: {len(output.text.splitlines())} lines"]
    players = output.data.get("text/html", "").count("<audio")
    return ["audio"] * players or [kind for kind in output.data if kind != "text/plain"]
