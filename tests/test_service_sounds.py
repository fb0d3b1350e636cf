"""Uploads: heard once, in another process that may crash; the file is forgotten."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audio_factory import write_audio, write_wav
from clap_musicgen.errors import ClapMusicGenError
from clap_musicgen.library.query import embed_sound
from clap_musicgen.service import hearing
from clap_musicgen.service.settings import Settings
from service_client import Served, serving, tone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(max_upload_bytes=300_000, wait_seconds=0.2)
    with serving(tmp_path_factory.mktemp("served"), settings) as served:
        yield served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


def upload(served: Served, content: bytes, name: str = "tone.wav", *, field: str = "file") -> Any:
    return served.client.post("/api/sounds", files={field: (name, content)})


def test_an_uploaded_sound_asks_as_the_file_would(served: Served, folder: Path) -> None:
    file = write_audio(folder / "near mid.ogg", tone(410, rate=44_100), sample_rate=44_100)
    answer = upload(served, file.read_bytes(), name="C:\\music\\near mid.ogg")
    assert answer.status_code == 201, answer.text
    sound = answer.json()
    assert sound["title"] == "near mid"
    assert sound["duration"] == pytest.approx(2.5, abs=0.1)
    assert sound["problem"] == ""
    vector = served.service.sounds.get(sound["id"]).heard.vector
    np.testing.assert_allclose(vector, embed_sound(served.model, file), atol=1e-6)

    found = served.client.get("/api/search", params={"like": sound["id"], "k": 3}).json()
    expected = served.library.search(like=str(file), k=3)
    assert [one["track"]["title"] for one in found["matches"]] == [
        match.track.title for match in expected
    ]
    assert found["matches"][0]["track"]["title"] == "Mid"


def test_the_file_is_not_kept(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    file = write_audio(folder / "kept.wav", tone(300), sample_rate=8_000)
    assert upload(served, file.read_bytes()).status_code == 201
    assert upload(served, b"no music").status_code == 415
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_early_says_so(served: Served, folder: Path) -> None:
    file = write_audio(folder / "cut.flac", tone(300), sample_rate=8_000)
    sound = upload(served, file.read_bytes()[: file.stat().st_size * 2 // 3]).json()
    assert sound["duration"] < 2.5
    assert "truncated" in sound["problem"]


def test_only_the_beginning_of_a_long_file_is_heard(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "LONGEST", 2.0)
    file = write_audio(folder / "long.flac", tone(300, seconds=4), sample_rate=8_000)
    sound = upload(served, file.read_bytes()).json()
    assert (sound["duration"], "were heard" in sound["problem"]) == (2.0, True)


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"no music at all" * 100, 415, "not audio"),
        (b"", 422, "is empty"),
        (None, 422, "sample"),
    ],
)
def test_what_is_no_music(
    served: Served, folder: Path, content: bytes | None, status: int, told: str
) -> None:
    silent = write_wav(folder / "none.wav", np.zeros(0, dtype=np.int16), sample_rate=8_000)
    answer = upload(served, silent.read_bytes() if content is None else content, "../../a\x00b.wav")
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert told in answer.json()["detail"]
    assert ".." not in answer.json()["detail"]


def test_too_large(served: Served) -> None:
    answer = upload(served, b"0" * 500_000)
    assert answer.status_code == 413
    chunks = (b"0" * 50_000 for _ in range(20))  # of a length that nobody has told
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert served.client.post("/api/sounds", content=chunks, headers=kind).status_code == 413


def test_what_is_no_form(served: Served) -> None:
    assert upload(served, b"x", field="sound").status_code == 422
    assert served.client.post("/api/sounds", json={}).status_code == 422
    assert served.client.post("/api/sounds", data={"file": "text"}).status_code == 422
    several = [("file", ("a.wav", b"a")), ("file", ("b.wav", b"b"))]
    assert served.client.post("/api/sounds", files=several).status_code == 400


def test_a_file_that_takes_too_long_is_given_up(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_audio(folder / "slow.wav", tone(300), sample_rate=8_000)
    with monkeypatch.context() as patch:
        patch.setattr(hearing, "SECONDS", -1.0)
        answer = upload(served, file.read_bytes(), "slow.wav")
    assert (answer.status_code, "send an excerpt" in answer.json()["detail"]) == (422, True)
    assert upload(served, file.read_bytes()).status_code == 201


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_decoder_that_dies_harms_nobody(served: Served, folder: Path) -> None:
    file = write_audio(folder / "good.wav", tone(300), sample_rate=8_000)
    assert upload(served, file.read_bytes()).status_code == 201
    worker = served.service.ears._idle.queue[-1]._workers[0]  # the next one to be asked
    assert worker is not None
    os.kill(worker._process.pid, signal.SIGSTOP)  # so that it dies in the middle of the file
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(upload, served, file.read_bytes(), "odd.wav")
        while not worker.busy:
            time.sleep(0.01)
        os.kill(worker._process.pid, signal.SIGKILL)
    problem = answer.result()
    assert problem.status_code == 422
    assert problem.json()["detail"] == "'odd.wav': the decoder crashed: signal 9"
    assert upload(served, file.read_bytes()).status_code == 201


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a bound of memory")
def test_a_decoder_takes_no_more_memory_than_it_may(
    served: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "MEMORY", 64 << 20)  # too little to load a decoder
    file = write_audio(folder / "good.wav", tone(300), sample_rate=8_000)
    with (
        closing(hearing.Ears(served.model)) as ears,
        pytest.raises(ClapMusicGenError, match=r"crashed|does not start"),
    ):
        ears.hear(file, name="good")
    assert upload(served, file.read_bytes()).status_code == 201


def test_when_all_decoders_are_busy_one_is_told_to_come_again(served: Served, folder: Path) -> None:
    file = write_audio(folder / "other.wav", tone(300), sample_rate=8_000)
    ears = served.service.ears
    release, taken = threading.Event(), threading.Barrier(hearing.DECODERS + 1)

    def hold() -> None:
        with ears._decoder():
            taken.wait()
            release.wait()

    threads = [threading.Thread(target=hold) for _ in range(hearing.DECODERS)]
    for thread in threads:
        thread.start()
    taken.wait()
    busy = upload(served, file.read_bytes())
    release.set()
    for thread in threads:
        thread.join()
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert upload(served, file.read_bytes()).status_code == 201
