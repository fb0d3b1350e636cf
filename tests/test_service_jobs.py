"""Adding over HTTP: from the music folders only, one job at a time, followed, stopped, reported."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.errors import InputError, LibraryBusyError
from clap_musicgen.library.records import Progress, Report
from clap_musicgen.service.adding import KEPT, Jobs, allowed
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.settings import Settings
from library_music import write_sweep
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from clap_musicgen.library.library import Library

REPORT = Report(("/m/a.wav",), (), (), (), (("/m/b.wav", "not audio"),), (), 2.5)
PROGRESS = Progress(done=1, total=2, failed=1, seconds=2.5, path="/m/b\udcff.wav")


class Stage:
    """Stands for a library whose `add` does what a test wants, and waits until it may go on."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.error, self.go, self.begun = error, threading.Event(), threading.Event()

    def add(self, _: list[str], *, on_progress: Callable[[Progress], None], **__: Any) -> Report:
        on_progress(PROGRESS)
        self.begun.set()
        assert self.go.wait(20)
        on_progress(PROGRESS)
        if self.error is not None:
            raise self.error
        return REPORT


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("more")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, music: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), Settings(music=(music,))) as served:
        yield served


def finished(served: Served, job: str) -> dict[str, Any]:
    """Follow a job to its end → what GET tells of it."""
    told = events(served, job)
    assert told[-1][0] in {"report", "error"}
    found: dict[str, Any] = served.client.get(f"/api/add/{job}").json()
    return found


def events(served: Served, job: str) -> list[tuple[str, Any]]:
    with served.client.stream("GET", f"/api/add/{job}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [
        (block[0].removeprefix("event: "), json.loads(block[1].removeprefix("data: ")))
        for block in blocks
        if not block[0].startswith(":")
    ]


class TestAdding:
    def test_nothing_has_been_added_yet(self, served: Served) -> None:
        served.app.state.jobs = Jobs()
        answer = served.client.get("/api/add")
        assert answer.status_code == 404
        assert "POST /api/add" in answer.json()["detail"]

    def test_new_music_is_found_at_once(self, served: Served, music: Path) -> None:
        write_sweep(music / "new.wav", seconds=1.5)
        (music / "broken.mp3").write_bytes(b"nothing")
        started = served.client.post("/api/add", json={})
        assert started.status_code == 202
        job = started.json()["job"]
        told = events(served, job)
        assert told[-1][0] == "report"
        assert {name for name, _ in told[:-1]} == {"progress"}
        assert told[-2][1]["done"] == told[-2][1]["total"] == 2
        found = served.client.get("/api/add").json()
        assert found == served.client.get(f"/api/add/{job}").json()
        assert (found["job"], found["state"], found["error"]) == (job, "done", None)
        report = found["report"]
        assert report == told[-1][1]
        assert report["added"] == [str(music / "new.wav")]
        assert [one["path"] for one in report["failed"]] == [str(music / "broken.mp3")]
        assert report["failed"][0]["reason"]
        assert str(music / "new.wav") in [track.path for track in served.library.tracks()]

    def test_files_that_are_gone_are_taken_out_if_asked(self, served: Served, music: Path) -> None:
        for name, seconds in (("gone.wav", 1.2), ("stays.wav", 1.8)):
            write_sweep(music / name, seconds=seconds)
        job = served.client.post("/api/add", json={"paths": [str(music)]}).json()["job"]
        finished(served, job)
        (music / "gone.wav").unlink()
        body = {"paths": [str(music)], "prune": True}
        job = served.client.post("/api/add", json=body).json()["job"]
        assert finished(served, job)["report"]["removed"] == [str(music / "gone.wav")]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"paths": []}, 422),
            ({"paths": ["x"] * 101}, 422),
            ({"paths": ["a\0b"]}, 422),
            ({"path": "/music"}, 422),
            ({"paths": ["/etc/passwd"]}, 403),
            ({"paths": ["relative/song.mp3"]}, 403),
        ],
    )
    def test_what_cannot_be_added(self, served: Served, body: dict[str, Any], status: int) -> None:
        answer = served.client.post("/api/add", json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"

    def test_unknown_jobs(self, served: Served) -> None:
        for method, address in (("GET", ""), ("DELETE", ""), ("GET", "/events")):
            answer = served.client.request(method, f"/api/add/{'0' * 32}{address}")
            assert answer.status_code == 404
            assert served.client.request(method, f"/api/add/x{address}").status_code == 422

    def test_without_music_folders_nothing_is_added(self) -> None:
        with pytest.raises(ProblemError, match="--music"):
            allowed(None, Settings())


class TestWhere:
    def test_all_folders_unless_some_are_named(self, tmp_path: Path) -> None:
        settings = Settings(music=(tmp_path / "a", tmp_path / "b"))
        (tmp_path / "a" / "deep").mkdir(parents=True)
        assert allowed(None, settings) == [str(tmp_path / "a"), str(tmp_path / "b")]
        inside = str(tmp_path / "a" / "deep")
        assert allowed([inside, f"{inside}/../deep"], settings) == [inside, inside]

    @pytest.mark.parametrize("trick", ["../c", "../a2", "link", "link/deep", ".."])
    def test_ways_out_are_refused(self, tmp_path: Path, trick: str) -> None:
        for name in ("a", "a2", "c/deep"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "a" / "link").symlink_to(tmp_path / "c")
        with pytest.raises(ProblemError) as caught:
            allowed([f"{tmp_path / 'a'}/{trick}"], Settings(music=(tmp_path / "a",)))
        assert caught.value.status_code == 403

    def test_a_music_folder_may_be_a_link_itself(self, tmp_path: Path) -> None:
        (tmp_path / "real" / "deep").mkdir(parents=True)
        (tmp_path / "music").symlink_to(tmp_path / "real")
        wanted = str(tmp_path / "music" / "deep")
        assert allowed([wanted], Settings(music=(tmp_path / "music",))) == [wanted]

    def test_what_is_not_there_is_told_only_of_the_inside(self, tmp_path: Path) -> None:
        settings = Settings(music=(tmp_path,))
        with pytest.raises(InputError, match="no file or folder"):
            allowed([str(tmp_path / "nothing")], settings)
        with pytest.raises(ProblemError):
            allowed([os.fspath(tmp_path.parent / "nothing")], settings)


def start(jobs: Jobs, stage: Stage) -> Any:
    library: Library = stage  # type: ignore[assignment]
    return jobs.start(library, ["/m"], prune=False)


class TestJobs:
    def test_one_at_a_time(self) -> None:
        jobs, stage = Jobs(), Stage()
        job = start(jobs, stage)
        assert stage.begun.wait(20)
        with pytest.raises(ProblemError, match="already") as caught:
            start(jobs, stage)
        assert caught.value.status_code == 409
        out = job.out()
        assert (out.state, out.report, out.error) == ("running", None, None)
        assert out.progress.path == r"/m/b\xff.wav"
        stage.go.set()
        assert job.finished.wait(20)
        out = job.out()
        assert out.state == "done"
        assert out.report.failed[0].reason == "not audio"
        assert start(jobs, stage).finished.wait(20)

    def test_stopping_keeps_what_is_done(self) -> None:
        jobs, stage = Jobs(), Stage()
        job = start(jobs, stage)
        job.stop.set()
        stage.go.set()
        assert job.finished.wait(20)
        out = job.out()
        assert (out.state, out.report, out.error.title) == ("stopped", None, "Stopped")
        assert "1 of 2 files were done" in out.error.detail

    def test_errors_are_the_jobs(self, caplog: pytest.LogCaptureFixture) -> None:
        for error, status, words in (
            (LibraryBusyError("process 7 is writing"), 503, "process 7"),
            (RuntimeError("a secret"), 500, "went wrong"),
        ):
            stage = Stage(error=error)
            stage.go.set()
            job = start(Jobs(), stage)
            assert job.finished.wait(20)
            out = job.out()
            assert (out.state, out.error.status) == ("failed", status)
            assert words in out.error.detail
            assert "secret" not in out.error.detail
        assert "a secret" in caplog.text

    def test_old_ones_are_forgotten(self) -> None:
        jobs, stage = Jobs(), Stage()
        stage.go.set()
        started = []
        for _ in range(KEPT + 2):
            started.append(start(jobs, stage))
            assert started[-1].finished.wait(20)
        assert jobs.last() is started[-1]
        assert jobs.get(started[2].id) is started[2]
        with pytest.raises(ProblemError):
            jobs.get(started[1].id)

    def test_closing_stops_and_starts_no_more(self) -> None:
        jobs, stage = Jobs(), Stage()
        job = start(jobs, stage)
        assert stage.begun.wait(20)
        stage.go.set()
        jobs.close()
        assert job.finished.is_set()
        with pytest.raises(ProblemError):
            start(jobs, stage)


def test_following_a_job_that_is_stopped(served: Served, music: Path) -> None:
    jobs, stage = Jobs(), Stage()
    served.app.state.jobs = jobs
    job = start(jobs, stage)
    assert served.client.delete(f"/api/add/{job.id}").status_code == 204
    stage.go.set()
    told = events(served, job.id)
    assert [name for name, _ in told] == ["progress", "error"]
    assert told[-1][1]["title"] == "Stopped"


def test_when_the_service_ends_so_do_its_jobs(tmp_path: Path, music: Path) -> None:
    stage = Stage()
    with serving(tmp_path, Settings(music=(music,))) as served:
        served.client.get("/api/add")
        job = start(served.app.state.jobs, stage)
        assert stage.begun.wait(20)
        stage.go.set()
    assert job.finished.is_set()
    assert served.app.state.jobs.closing
