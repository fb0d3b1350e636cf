"""benchmarks/duplicates.py, tag_quality.py and playlists.py run whole on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import duplicates
import playlists
import tag_quality
from audio_factory import melody, write_audio
from clap_musicgen.errors import InputError
from clap_musicgen.library.rows import Clips
from conftest import lively

RATE = 8_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    lively().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pieces, a broken one, and a manifest of them."""
    folder = tmp_path_factory.mktemp("music")
    rows = []
    for number in range(6):
        name = f"{number}.wav"
        sound = melody(1.2, sample_rate=RATE, seed=number)
        write_audio(folder / name, sound, sample_rate=RATE)
        genre, split = ["jazz", "rock"][number % 2], "test" if number else "val"
        rows.append({"audio": name, "genre": [genre], "mood": ["calm"], "split": split})
    (folder / "broken.ogg").write_bytes(b"not audio at all" * 50)
    rows.append({"audio": "broken.ogg", "genre": ["jazz"], "split": "test"})
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_duplicates(
    model: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "found.md"
    given = [str(music), "--model", str(model), "--limit", "2", "--markdown", str(markdown)]
    assert duplicates.main([*given, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "broken.ogg" in said.err
    kinds = found["kinds"]
    assert set(kinds) == {*duplicates.COPIES, *duplicates.OTHERS, "different files"}
    changed = kinds["16 bits (WAV, FLAC)"]["pairs"]
    assert changed in {1, 2}  # the broken file may be among the two
    assert kinds["different files"]["pairs"] == 15
    assert kinds["16 bits (WAV, FLAC)"]["found"] == changed
    copies = len(duplicates.COPIES) + 1
    assert found["library"]["true"] == changed * copies * (copies - 1) // 2
    assert 0 < found["library"]["right"] <= found["library"]["found"]
    assert markdown.read_text(encoding="utf-8").count("### ") == 4


def test_duplicates_counts_are_right() -> None:
    """Two files, of one of which there is a copy that is found and one that is not."""

    def version(file: str, variant: str, vectors: list[list[float]]) -> duplicates.Version:
        rows = np.array(vectors, dtype=np.float32)
        times = np.linspace(0, 10.0 * len(rows), len(rows) + 1)
        return duplicates.Version(file, variant, Clips(times[:-1], times[1:], rows))

    names = list(duplicates.COPIES)
    one, other = [[1.0, 0.0]] * 3, [[0.0, 1.0]] * 3
    pool = [version("a", "", one), version("a", names[0], one), version("a", names[1], other)]
    pool += [version("b", "", other)]
    compared = duplicates.measure(pool)
    assert compared[names[0]].found().tolist() == [True]
    assert compared[names[1]].found().tolist() == [False]
    assert compared["different files"].found().tolist() == [False]
    # Found: both of a, and the changed a with b. True: three pairs of a.
    assert duplicates.whole_library(pool) == {"true": 3, "found": 2, "right": 1}


def test_tag_quality(
    model: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "found.md"
    given = [str(music / "manifest.jsonl"), "--model", str(model), "--split", "test"]
    given += ["--least", "2", "--markdown", str(markdown)]
    assert tag_quality.main([*given, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert list(found) == ["genre"]  # one mood is no choice
    assert "broken.ogg" in said.err
    assert found["genre"]["labels"] == ["jazz", "rock"]
    everything = found["genre"]["bars"]["0.0"]
    assert everything["tags"] == 10
    assert (everything["right"], everything["expected"]) == (5, 5)
    assert "0.500" in markdown.read_text(encoding="utf-8")


def test_tag_quality_counts_are_right() -> None:
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.95, 0.0], [0.1, 0.1, 0.1]])
    truth = np.array([[True, False, False], [False, True, False], [True, True, False]])
    found = tag_quality.quality(scores, truth, bar=0.5, per_facet=1)
    assert found == {
        "tags": 2,
        "right": 2,
        "expected": pytest.approx(4 / 3),
        "covered": 2,
        "pieces": 3,
        "recalled": 0.5,
    }
    both = tag_quality.quality(scores, truth, bar=0.5, per_facet=3)
    assert (both["tags"], both["right"]) == (3, 2)


def test_tag_quality_of_nothing(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    with pytest.raises(InputError, match="manifest"):
        tag_quality.read(manifest, None)
    manifest.write_text('{"audio": "a.wav", "split": "val"}\n', encoding="utf-8")
    with pytest.raises(InputError, match="'test'"):
        tag_quality.read(manifest, "test")


def test_playlists(
    model: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "found.md"
    given = [str(music), "--model", str(model), "--tracks", "4", "--pairs", "3"]
    assert playlists.main([*given, "--markdown", str(markdown), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 4
    ways = found["Paths, vectors as stored"]
    assert set(ways) == set(playlists.WAYS)
    for own in ways.values():
        assert own["uneven"] >= 1
        assert own["length"] >= own["largest"] > 0
    assert ways["least sum of angles"]["length"] <= ways["tracks at random"]["length"]
    assert markdown.read_text(encoding="utf-8").count("### ") == 4
