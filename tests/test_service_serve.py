"""`clap-musicgen serve`: what it refuses before a model is loaded, and a real service."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from bare_service import TOKEN
from clap_musicgen.cli import run, serving
from library_music import write_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAP_MUSICGEN_TOKEN", "CLAP_MUSICGEN_LIBRARY", "CLAP_MUSICGEN_PRECISION"):
        monkeypatch.delenv(name, raising=False)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must end with one line of error → that line."""
    assert run(["serve", *map(str, arguments)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


def test_beyond_loopback_a_token_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, "--host", "0.0.0.0", "--library", tmp_path)
    assert "--token-file" in told
    assert "--no-token" in told


def test_a_bad_token_is_told_but_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("too-short\n")
    told = refused(capsys, "--token-file", tmp_path / "token")
    assert "openssl rand" in told
    assert "too-short" not in told
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    assert "no text" in refused(capsys, "--token-file", tmp_path / "token")
    assert "absent" in refused(capsys, "--token-file", tmp_path / "absent")
    monkeypatch.setenv("CLAP_MUSICGEN_TOKEN", TOKEN)
    assert "not from both" in refused(capsys, "--token-file", tmp_path / "token")
    assert "--no-token" in refused(capsys, "--no-token")


def test_without_a_library_there_must_be_music(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, "--library", tmp_path / "absent")
    assert "clap-musicgen index" in told
    assert "--music" in told
    told = refused(capsys, "--library", tmp_path / "absent", "--music", tmp_path / "nowhere")
    assert "nowhere" in told
    assert not (tmp_path / "absent").exists()


def test_a_port_that_is_taken_is_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = refused(capsys, "--library", tmp_path, "--port", port)
    assert str(port) in told
    assert "--port 0" in told


def test_an_address_of_others_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, "--library", tmp_path, "--host", "192.0.2.1", "--no-token")
    assert "192.0.2.1" in told
    assert "--host 127.0.0.1" in told


def test_what_is_not_installed_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_NEEDED", ("json", "no_such_package"))
    told = refused(capsys, "--library", tmp_path)
    assert "no_such_package" in told
    assert 'pip install "clap-musicgen[serve]"' in told


@contextmanager
def started(*arguments: object, token: str = "") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command as a process of its own → its address, and the process."""
    command = [sys.executable, "-m", "clap_musicgen", "serve", "--port", "0"]
    environment = os.environ | ({"CLAP_MUSICGEN_TOKEN": token} if token else {})
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"served at (http://\S+)", line)
            if found is None:
                process.kill()
                pytest.fail(f"{line}\n{process.communicate()[1]}")
            yield found[1], process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_real_service_from_an_empty_library_to_a_search(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    write_sweep(tmp_path / "music" / "sweep.wav", seconds=2.0)
    options = ("--library", tmp_path / "library", "--music", tmp_path / "music")
    with started(*options, token=TOKEN) as (address, process):
        with httpx.Client(base_url=address, timeout=60) as client:
            assert client.get("/api/info").status_code == 401
            assert client.post("/api/session", json={"token": TOKEN}).status_code == 204
            assert client.get("/api/info").json()["tracks"] == 0
            job = client.post("/api/add", json={"paths": None, "prune": False}).json()["job"]
            with client.stream("GET", f"/api/add/{job}/events") as events:
                told = events.read().decode()
            assert "event: report" in told
            matches = client.get("/api/search", params={"query": "a rising tone"}).json()["matches"]
            assert [match["track"]["title"] for match in matches] == ["sweep"]
            key = matches[0]["track"]["id"]
            part = client.get(f"/api/tracks/{key}/audio", headers={"Range": "bytes=0-3"})
            assert (part.status_code, part.content) == (206, b"RIFF")
        process.send_signal(signal.SIGTERM)
        rest, errors = process.communicate(timeout=60)
        assert (process.returncode, rest) == (0, "")
        assert "Traceback" not in errors
        assert TOKEN not in errors
