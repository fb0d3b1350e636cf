"""Training runs over HTTP: what they wrote, whatever state it is in, and nothing that lies elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.service import runs
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.runs import curves, find_run, runs_of, summary
from clap_musicgen.service.settings import Settings
from run_folder import write_results
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
METRICS: list[dict[str, Any]] = [
    {"step": 0, "val_score": 0.2},
    {"step": 1, "loss": 2.0, "rate": 0.1},
    {"step": 2, "loss": 1.5, "rate": 0.2, "val_score": 0.4},
    {"step": 3, "loss": math.nan, "val_score": 0.3},
]


def write_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(row) + "\n" for row in METRICS)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 4, "lo', encoding="utf-8")
    report = {"start": "mini", "failed": [{"audio": "/m/\udcff.mp3"}], "best": math.inf, "big": 0}
    text = json.dumps(report).replace('"big": 0', '"big": 1e999')
    (folder / "report.json").write_text(text, encoding="utf-8")
    (folder / "curves.png").write_bytes(PNG)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    mine = write_run(folder / "mine")
    write_results(mine / "test", "f" * 32)
    (mine / "test" / "results.png").write_bytes(PNG)
    (mine / "secret.png").write_bytes(PNG)
    (mine / "plane.png").write_text("no picture", encoding="utf-8")
    write_results(folder / "measured", "f" * 32)
    (folder / "nothing").mkdir()
    (folder / "file.txt").write_text("?", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), Settings(runs=folder)) as served:
        yield served


class TestOverHttp:
    def test_the_list(self, served: Served) -> None:
        found = served.client.get("/api/runs")
        assert found.status_code == 200
        assert found.json() == {
            "runs": [
                {"name": "measured", "steps": 0, "best": None},
                {"name": "mine", "steps": 3, "best": 0.4},
            ]
        }

    def test_one_run(self, served: Served) -> None:
        found = served.client.get("/api/runs/mine").json()
        assert found["name"] == "mine"
        assert found["curves"]["val_score"] == [
            {"step": 0, "value": 0.2},
            {"step": 2, "value": 0.4},
            {"step": 3, "value": 0.3},
        ]
        assert [point["step"] for point in found["curves"]["loss"]] == [1, 2]
        assert "step" not in found["curves"]
        assert found["report"]["start"] == "mini"
        assert found["report"]["best"] is None
        assert found["report"]["big"] is None
        assert [one["name"] for one in found["evaluations"]] == ["test"]
        assert "drums" in found["evaluations"][0]["results"]["results"]

    def test_an_evaluation_alone(self, served: Served) -> None:
        found = served.client.get("/api/runs/measured").json()
        assert (found["curves"], found["report"], found["figures"]) == ({}, None, [])
        assert found["evaluations"][0]["name"] == ""

    def test_pictures(self, served: Served) -> None:
        names = served.client.get("/api/runs/mine").json()["figures"]
        assert names == ["curves.png", "plane.png", "test/results.png"]
        for name in ("curves.png", "test/results.png", "test%2Fresults.png"):
            answer = served.client.get(f"/api/runs/mine/figures/{name}")
            assert (answer.status_code, answer.content) == (200, PNG)
            assert answer.headers["content-type"] == "image/png"
            assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize(
        "address",
        [
            "nothing",
            "file.txt",
            "..",
            "%2e%2e",
            "mine%2ftest",
            "mine/figures/secret.png",
            "mine/figures/plane.png",
            "mine/figures/report.json",
            "mine/figures/..%2fmine%2fcurves.png",
            "mine/figures/%2e%2e/mine/curves.png",
            "mine/figures//etc/passwd",
        ],
    )
    def test_what_is_not_there(self, served: Served, address: str) -> None:
        answer = served.client.get(f"/api/runs/{address}")
        assert answer.status_code in {404, 422}
        assert answer.headers["content-type"] == "application/problem+json"


class TestFolders:
    def test_without_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ProblemError, match="--runs"):
            runs_of(Settings())
        with pytest.raises(ProblemError, match="not there"):
            runs_of(Settings(runs=tmp_path / "gone"))

    def test_the_folder_may_be_a_run_itself(self, tmp_path: Path) -> None:
        write_run(tmp_path / "mine")
        assert list(runs_of(Settings(runs=tmp_path / "mine"))) == ["mine"]

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        write_run(tmp_path / "elsewhere")
        mine = tmp_path / "runs" / "mine"
        mine.mkdir(parents=True)
        (mine / "metrics.jsonl").write_text("", encoding="utf-8")
        for name in ("report.json", "curves.png"):
            (mine / name).symlink_to(tmp_path / "elsewhere" / name)
        (mine / "below").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere")
        settings = Settings(runs=tmp_path / "runs")
        assert list(runs_of(settings)) == ["mine"]
        run = find_run(settings, "mine")
        assert (run.report(), run.figures, run.evaluations()) == (None, {}, [])

    def test_what_is_damaged_or_too_large_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mine = write_run(tmp_path / "mine")
        lines = b'{"step": "x"}\n[1]\nnonsense\n\xff\n{"step": 5, "loss": true, "val_score": 0}\n'
        (mine / "metrics.jsonl").write_bytes(lines)
        (mine / "report.json").write_bytes(b"[" * 100_000)
        run = find_run(Settings(runs=tmp_path), "mine")
        assert curves(run.metrics()) == {"val_score": [runs.Point(step=5, value=0)]}
        assert (summary(run).steps, summary(run).best) == (5, 0)
        assert run.report() is None
        monkeypatch.setattr(runs, "MOST_BYTES", 10)
        assert run.metrics() == []


class TestCurves:
    def test_a_long_one_is_thinned_to_its_ends(self) -> None:
        rows = [{"step": step, "loss": float(step)} for step in range(5 * runs.MOST_POINTS)]
        found = curves(rows[::-1])["loss"]
        assert len(found) == runs.MOST_POINTS
        steps = [point.step for point in found]
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, len(rows) - 1)

    def test_only_so_many_metrics(self) -> None:
        row = {"step": 1} | {f"metric {n}": n for n in range(2 * runs.MOST_METRICS)}
        assert len(curves([row])) == runs.MOST_METRICS
