"""The benchmark scripts run on small generated data and tell what they measured."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audio_factory import melody, write_audio
from conftest import build_tiny

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PIECES = [
    ("drums", "slow jazz", ["jazz"]),
    ("drums", "Slow  jazz", ["jazz", "piano"]),
    ("drums", "dark metal", ["metal"]),
    ("voices", "a choir", []),
    ("voices", "dark metal", ["metal"]),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short pieces, one broken file, one missing, one of another split."""
    folder = tmp_path_factory.mktemp("music")
    rows: list[dict[str, Any]] = []
    for number, (name, caption, genre) in enumerate(PIECES):
        path = folder / f"{number}.wav"
        write_audio(path, melody(0.7, sample_rate=8000, seed=number), sample_rate=8000)
        rows.append({"audio": path.name, "caption": caption, "set": name, "genre": genre})
    (folder / "broken.ogg").write_bytes(b"not audio at all" * 50)
    rows += [{"audio": name, "caption": "x", "set": "drums"} for name in ("broken.ogg", "gone.wav")]
    for row in rows:
        row["split"] = "test"
    rows.append({"audio": "unheard.wav", "caption": "y", "split": "train"})
    lines = "\n\n".join(json.dumps(row) for row in rows)
    (folder / "manifest.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder


def load(name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def quality(arguments: Sequence[object]) -> int:
    code: int = load("mini_quality").main([str(argument) for argument in arguments])
    return code


def test_quality_measures_each_set_and_all_together(
    music: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, markdown = tmp_path / "results.json", tmp_path / "results.md"
    arguments = ["--manifest", music / "manifest.jsonl", "--model", model]
    assert quality([*arguments, "--out", out, "--markdown", markdown]) == 0
    whole = json.loads(out.read_text(encoding="utf-8"))
    assert list(whole["results"]) == ["overall", "drums", "voices"]
    assert whole["about"]["pieces"] == 5
    broken = [Path(failure["audio"]).name for failure in whole["about"]["failed"]]
    assert broken == ["broken.ogg", "gone.wav"]
    tasks = whole["results"]["overall"]
    assert (tasks["text→music"]["queries"], tasks["text→music"]["items"]) == (3, 5)
    assert (tasks["music→text"]["queries"], tasks["music→text"]["items"]) == (5, 3)
    assert (tasks["music→music"]["queries"], tasks["music→music"]["items"]) == (4, 3)
    assert list(tasks["text→music"]["metrics"]) == [
        *("R@1", "R@5", "R@10"),
        *("median rank", "mAP", "MRR"),
    ]
    for figure in (f for task in tasks.values() for f in task["metrics"].values()):
        assert set(figure) == {"value", "chance", "low", "high", "n", "beats_chance"}
        assert figure["low"] <= figure["high"]
    printed = capsys.readouterr()
    assert "text→music" in printed.out
    assert "nDCG@10" in printed.out
    assert "skipped" in printed.err
    assert "broken.ogg" in printed.err
    assert "| overall | 3 | 5 |" in markdown.read_text(encoding="utf-8")


def test_quality_of_one_set_as_json(
    music: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--manifest", music / "manifest.jsonl", "--model", model]
    assert quality([*arguments, "--sets", "voices", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert list(whole["results"]) == ["voices"]
    assert whole["about"]["pieces"] == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not an object"),
        ('{"audio": "a.wav", "split": "test"}', "caption is None"),
        ('{"audio": 7, "caption": "x", "split": "test"}', "audio is 7"),
        ('{"audio": "a", "caption": "x", "split": "test", "genre": "jazz"}', "genre is 'jazz'"),
        ('{"audio": "a", "caption": "x", "split": "val"}', "its splits are ['val']"),
        ('{"audio": "a", "caption": "x", "split": "test"}', "none of the 1 pieces"),
    ],
)
def test_quality_names_what_is_wrong_with_a_manifest(
    line: str, words: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(line, encoding="utf-8")
    assert quality(["--manifest", manifest, "--model", model]) == 1
    assert words in capsys.readouterr().err


def test_quality_without_a_manifest_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality(["--manifest", tmp_path / "no.jsonl"]) == 1
    assert "no.jsonl" in capsys.readouterr().err


def speed(*arguments: object) -> dict[str, Any]:
    """Run the script as a person does: it sets threads for its whole process."""
    command = [sys.executable, str(BENCHMARKS / "embed_speed.py"), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_speed_puts_both_towers_side_by_side(model: Path) -> None:
    found = speed("--model", model, "--batch", 1, "--rounds", 2)
    assert found["threads"] == 1
    ours, with_mel, without = found["rows"]
    assert "mini" in ours["name"]
    assert (ours["ratio_min"], ours["ratio_median"], ours["ratio_max"]) == (1.0, 1.0, 1.0)
    for row in (with_mel, without):
        assert "HTSAT" in row["name"]
        assert 0 < row["ratio_min"] <= row["ratio_median"] <= row["ratio_max"]
        assert row["times_real_time"] == pytest.approx(1 / row["seconds_per_second"])


@pytest.mark.slow
def test_speed_of_indexing_counts_the_audio(music: Path, model: Path) -> None:
    found = speed("--model", model, "--index", music)
    assert (found["tracks"], found["failed"]) == (5, 1)
    assert found["audio_seconds"] == pytest.approx(5 * 0.7, abs=0.01)


def test_speed_measures_in_alternating_order() -> None:
    script = load("embed_speed")
    calls: list[str] = []
    works = {name: (lambda name=name: calls.append(name)) for name in (script.MINI, "peer")}
    costs = script.measure(works, rounds=3, seconds=10.0)
    names = [script.MINI, "peer"]
    assert calls == [*names, *names, *names[::-1], *names]  # a warm-up, then three rounds
    assert [len(cost) for cost in costs.values()] == [3, 3]


def test_speed_takes_ratios_within_a_round() -> None:
    script = load("embed_speed")
    ours, peer = script.summary({script.MINI: [1.0, 2.0, 4.0], "peer": [2.0, 6.0, 4.0]})
    assert (peer["ratio_min"], peer["ratio_median"], peer["ratio_max"]) == (1.0, 2.0, 3.0)
    assert ours["seconds_per_second"] == 2.0
    assert ours["times_real_time"] == 0.5


def test_speed_compares_with_the_htsat_tiny_of_the_unfused_checkpoint() -> None:
    from transformers import ClapConfig, ClapFeatureExtractor

    audio = ClapConfig().audio_config
    assert (audio.patch_embeds_hidden_size, tuple(audio.depths)) == (96, (2, 2, 6, 2))
    assert (audio.num_mel_bins, audio.spec_size, audio.hidden_size) == (64, 256, 768)
    assert (audio.enable_fusion, tuple(audio.num_attention_heads)) == (False, (4, 8, 16, 32))
    extractor = ClapFeatureExtractor(**load("embed_speed").CLAP_EXTRACTOR)
    assert (extractor.sampling_rate, extractor.hop_length, extractor.feature_size) == (
        48000,
        480,
        64,
    )
