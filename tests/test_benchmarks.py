"""benchmarks/speed.py runs whole on small stand-ins and tells what it measured; never how fast."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import performance
import sides
import speed
import speed_tasks
import tables
import timing
from audio_factory import melody, write_audio
from conftest import build_tiny

SMALL = ("--tiny", "--rounds", 2, "--batch", 1, "--seconds", 0.5, "--json")
SOME = ("published-12", "mini", "proof", "clap-tiny", "muq", "published-text", "clap-text")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short pieces and one broken file."""
    folder = tmp_path_factory.mktemp("music")
    for number in range(5):
        path = folder / f"{number}.wav"
        write_audio(path, melody(0.7, sample_rate=8000, seed=number), sample_rate=8000)
    (folder / "broken.ogg").write_bytes(b"not audio at all" * 50)
    return folder


@pytest.mark.slow
def test_all_tasks_put_the_sides_beside_each_other(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    markdown = tmp_path / "speed.md"
    given = [*speed.TASKS, "--model", model, "--only", *SOME, "--allocator", "default", *SMALL]
    given += ["--lengths", 0.3, 0.5, "--track-seconds", 1, "--texts", 3, "--markdown", markdown]
    assert speed.main([str(g) for g in given]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["machine"]["threads"], found["large_buffers_kept"]) == (1, False)
    rows = {row["key"]: row for row in found["clips"]["rows"]}
    assert list(rows) == ["published-12", "proof", "mini", "clap-tiny", "muq"]
    for row in rows.values():
        assert row["units_per_second"] == pytest.approx(1 / row["seconds_per_unit"])
        for ratio in row["ratios"].values():
            assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    assert set(rows["muq"]["ratios"]) == {"published-12", "mini"}
    assert rows["mini"]["ratios"]["mini"] == {"min": 1.0, "median": 1.0, "max": 1.0}
    assert list(found["lengths"]["lengths"]) == ["0.3", "0.5"]
    tracks = [row["key"] for row in found["track"]["rows"]]
    files = ["decode mp3", "decode flac", "decode wav"]
    assert tracks == ["published-12", "proof", "mini", "muq", *files]  # mels are no files
    assert [row["key"] for row in found["text"]["rows"]] == ["published-text", "clap-text"]
    assert markdown.read_text(encoding="utf-8").count("### ") == 4


@pytest.mark.slow
def test_indexing_counts_the_audio(
    music: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speed.main(["--model", str(model), "--index", str(music), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tracks"], found["failed"]) == (5, 1)
    assert found["audio_seconds"] == pytest.approx(5 * 0.7, abs=0.01)


@pytest.mark.slow
def test_the_proof_of_concept_also_runs_as_its_users_would_run_it() -> None:
    setting = sides.Setting(tiny=True, longest=0.3)
    job = speed_tasks.Job(setting, ("proof",), rounds=2, batch=1, kept_memory=True)
    found, table = speed_tasks.clips(job, seconds=0.3)
    assert [row["key"] for row in found["rows"]] == ["proof", speed_tasks.ALONE]
    assert all(row["seconds_per_unit"] > 0 for row in found["rows"])
    assert [row[0] for row in table.rows][1].endswith("default allocator")


def test_an_unknown_side_is_named_and_so_are_the_known() -> None:
    options = speed.parse(["--only", "htsat"])
    options.kept_memory = False
    with pytest.raises(SystemExit, match=r"htsat.*choose from published-12"):
        speed.job_of(options, longest=1.0)


def test_rounds_alternate_after_a_warm_up() -> None:
    calls: list[str] = []
    costs = timing.measure({name: partial(calls.append, name) for name in "ab"}, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert [len(cost) for cost in costs.values()] == [3, 3]


def test_ratios_are_taken_within_a_round() -> None:
    found = timing.ratios({"ours": [1.0, 2.0, 4.0], "peer": [2.0, 6.0, 4.0]}, ["ours", "absent"])
    assert found["peer"] == {"ours": {"min": 1.0, "median": 2.0, "max": 3.0}}
    assert found["ours"] == {"ours": {"min": 1.0, "median": 1.0, "max": 1.0}}


def test_a_child_that_ends_is_an_error() -> None:
    with (
        timing.Child(["proof", "--no-such-option"]) as child,
        pytest.raises(RuntimeError, match="ended with code 2"),
    ):
        child.run()


def test_costs_become_cells() -> None:
    rows = speed_tasks.summary(
        {"mini": [2.0, 2.0], "mert": [3.0, 5.0]},
        {"mini": "mini", "mert": "MERT"},
        per=100.0,
        bases=speed_tasks.BASES,
    )
    table = speed_tasks.cost_table("t", "ms per s", "speed", rows)
    assert table.headings == ("", "ms per s", "speed", "÷ mini")
    assert table.rows[1] == ("MERT", "40.00", "25.0", "2.00 (1.50–2.50)")
    assert tables.markdown(table).splitlines()[3:5] == [
        "|---|---:|---:|---:|",
        "| mini | 20.00 | 50.0 | 1.00 (1.00–1.00) |",
    ]


def test_a_cell_cannot_break_its_table() -> None:
    table = tables.Table("t", ("a|b",), [("c|d",)])
    assert "a\\|b" in tables.markdown(table)
    assert "c\\|d" in tables.markdown(table)


def test_every_side_has_a_name_and_a_key_of_its_own() -> None:
    names = [sides.name_of(key) for key in sides.AUDIO_KEYS]
    assert len(set(names)) == len(names)
    assert set(speed_tasks.BASES) < set(sides.OURS) < set(sides.AUDIO_KEYS)


def test_tables_go_to_their_places_and_the_prose_stays(tmp_path: Path) -> None:
    text = "prose\n<!-- a -->\nold\n<!-- /a -->\nmore\n<!-- b -->\nkept\n<!-- /b -->\n"
    document, tables_ = tmp_path / "page.md", tmp_path / "a.md"
    document.write_text(text, encoding="utf-8")
    tables_.write_text("| new \\1 |\n", encoding="utf-8")
    for _ in range(2):  # a second time changes nothing
        assert performance.main([str(document), str(tables_)]) == 0
        found = document.read_text(encoding="utf-8")
        assert found == text.replace("old\n", "\n| new \\1 |\n\n")
    with pytest.raises(ValueError, match="'c' stand 0 times"):
        performance.placed(text, "c", "")


def test_the_page_has_a_place_for_each_script() -> None:
    root = Path(__file__).parents[1]
    page = (root / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in ("speed", "memory", "roofline", "precision", "gpu", "soak"):
        assert (root / "benchmarks" / f"{name}.py").exists()
        assert "found" in performance.placed(page, name, "found")
