"""Places: folders and object stores alike; who may write, and for how long."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from clap_musicgen.errors import InputError, LibraryBusyError, LibraryError
from clap_musicgen.library import folder as folders
from clap_musicgen.library import objects
from clap_musicgen.library.place import LOCK, WRITER, Folder, Place, locate, storage_options
from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_locate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(locate("a/../b")) == str(tmp_path / "b")
    assert locate(tmp_path).target == tmp_path
    place = locate("s3://bucket/some/library/")
    assert (str(place), place.target) == ("s3://bucket/some/library",) * 2
    assert locate(place) is place
    assert place.file("library.json") == "s3://bucket/some/library/library.json"
    with pytest.raises(InputError, match="lost a slash"):
        locate(Path("s3://bucket/library"))
    with pytest.raises(InputError, match=r"'ftp://here' is no place.*s3://"):
        locate("ftp://here")


def test_storage_options_follow_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert not {"allow_http", "region"} & set(storage_options())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    monkeypatch.setenv("AWS_REGION", "mars-1")
    assert storage_options()["region"] == "mars-1"
    assert "allow_http" not in storage_options()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    assert storage_options()["allow_http"] == "true"


# What both kinds of place do


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    pytest.importorskip("obstore")
    pytest.importorskip("moto.server")
    from s3_server import s3_server

    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "folder":
        made = locate(tmp_path / "library")
    else:
        made = bucket(request, monkeypatch, tmp_path.name)
    made.make()
    return made


def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str) -> Place:
    environment: dict[str, str] = request.getfixturevalue("server")
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    return locate(f"s3://music/{name}")


def test_files_are_written_whole_and_read_back(place: Place) -> None:
    assert place.names() == []
    assert not place.exists("library.json")
    with pytest.raises(FileNotFoundError):
        place.read("library.json")
    place.write("library.json", b"one")
    place.write("library.json", b"two!")
    assert place.exists("library.json")
    assert place.read("library.json") == b"two!"
    assert place.names() == ["library.json"]
    assert place.size() == 4


def test_descriptions_come_back_and_a_newer_format_is_refused(place: Place) -> None:
    assert not folders.exists(place)
    description = folders.describe(FakeEmbedder(), made_with="--model mini")
    folders.write_description(place, description)
    assert folders.exists(place)
    assert folders.read_description(place) == description
    stated = json.loads(place.read("library.json"))
    place.write("library.json", json.dumps(stated | {"format": 1}).encode())
    assert folders.read_description(place).format == 1
    place.write("library.json", json.dumps(stated | {"format": folders.FORMAT + 1}).encode())
    with pytest.raises(LibraryError, match=r"newer clap-musicgen.*upgrade"):
        folders.read_description(place)
    place.write("library.json", b"{")
    with pytest.raises(LibraryError, match=r"library\.json' is damaged"):
        folders.read_description(place)


def test_a_place_is_vacant_with_our_own_leftovers_only(place: Place) -> None:
    with folders.writing(place):
        pass
    for name in ("library.json.new", f"{LOCK}.left", "tracks.lance/part"):
        if isinstance(place, Folder):
            (place.path / name).parent.mkdir(exist_ok=True)
        place.write(name, b"")
    folders.check_vacant(place)
    place.write("holiday.jpg", b"")
    with pytest.raises(LibraryError, match=r"neither empty nor a library.*holiday\.jpg"):
        folders.check_vacant(place)


def test_one_writes_at_a_time_and_the_second_is_told_who(place: Place) -> None:
    with folders.writing(place) as lease:
        lease.check()
        with (
            pytest.raises(LibraryBusyError, match=rf"process {os.getpid()}.*is writing"),
            folders.writing(place),
        ):
            pytest.fail("two writers")
    with folders.writing(place), pytest.raises(LibraryBusyError), folders.writing(place):
        pytest.fail("two writers")
    assert WRITER not in place.names()


def test_the_second_waits_as_long_as_it_may(place: Place) -> None:
    free, held = threading.Event(), threading.Event()

    def first() -> None:
        with folders.writing(place):
            held.set()
            free.wait(30)

    writer = threading.Thread(target=first)
    writer.start()
    held.wait(30)
    with pytest.raises(LibraryBusyError), folders.writing(place, timeout=0.2):
        pytest.fail("two writers")
    threading.Timer(0.2, free.set).start()
    with folders.writing(place, timeout=30):
        pass
    writer.join()


HOLD = """
import sys, time
from clap_musicgen.library.folder import writing
with writing(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_writers_lock_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.target)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(LibraryBusyError, match=f"process {process.pid}"),
            folders.writing(place),
        ):
            pytest.fail("two writers")
        process.kill()
    if not isinstance(place, Folder):
        with pytest.raises(LibraryBusyError, match=f"on {socket.gethostname()}.*by itself within"):
            folders.writing(place).__enter__()
        monkeypatch.setattr(objects, "DEAD_SECONDS", 0.5)
    with folders.writing(place, timeout=10):
        pass


# Only object stores


def test_files_of_a_folder_in_it(place: Place) -> None:
    assert place.names("lists") == []
    place.write("lists/b", b"one")
    place.write("lists/a: 100%", b"two")
    place.write("other", b"three")
    assert place.names("lists") == ["a: 100%", "b"]
    assert place.names() == ["lists", "other"]
    assert place.read("lists/a: 100%") == b"two"
    place.delete("lists/b")
    place.delete("lists/b")
    assert place.names("lists") == ["a: 100%"]


@pytest.fixture
def s3(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return bucket(request, monkeypatch, tmp_path.name)


def test_a_living_writer_keeps_its_lock(s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "BEAT_SECONDS", 0.1)
    with s3.writing() as lease:
        first = s3.read(LOCK)
        deadline = time.monotonic() + 30
        while s3.read(LOCK) == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert s3.read(LOCK) != first
        lease.check()
    assert "holder" not in json.loads(s3.read(LOCK))
    assert s3.names() == [LOCK]  # and nothing that asked for the time


def test_who_lost_the_lock_learns_it_before_the_next_commit(
    s3: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "BEAT_SECONDS", 0.05)
    with s3.writing() as lease:
        s3.write(LOCK, json.dumps({"holder": "process 1 on moon", "token": "other"}).encode())
        assert isinstance(lease, objects._Lock)
        lease._thread.join(30)  # it ends once it sees
        with pytest.raises(LibraryError, match=r"right to write.*is lost.*run it again"):
            lease.check()
    assert json.loads(s3.read(LOCK))["holder"] == "process 1 on moon"  # not ours to free


def test_a_beat_whose_answer_was_lost_does_not_cost_the_lock(
    s3: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "BEAT_SECONDS", 0.05)
    with s3.writing() as lease:
        assert isinstance(lease, objects._Lock)
        lease._version = {"e_tag": '"0123"'}
        before = lease._beats
        deadline = time.monotonic() + 30
        while lease._beats < before + 3 and time.monotonic() < deadline:
            lease.check()
            time.sleep(0.02)
        assert lease._beats >= before + 3
    assert "holder" not in json.loads(s3.read(LOCK))


def test_of_several_who_find_a_dead_lock_one_gets_it(
    s3: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.write(LOCK, json.dumps({"holder": "process 1 on moon", "token": "gone"}).encode())
    monkeypatch.setattr(objects, "DEAD_SECONDS", 0.0)
    start, got = threading.Barrier(6), []
    locks = [objects._Lock(s3) for _ in range(6)]  # type: ignore[arg-type]
    # Between the reading and the writing of each, all others have read.
    original = objects._Lock._age

    def together(self: objects._Lock, written: Any) -> float:
        start.wait(30)
        return original(self, written)

    monkeypatch.setattr(objects._Lock, "_age", together)
    threads = [threading.Thread(target=lambda lock=lock: got.append(lock.take())) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=str) == [None, *["another process"] * 5]


@pytest.mark.parametrize(
    ("uri", "changes", "message"),
    [
        ("s3://absent/library", {}, "'s3://absent/library': there is no such bucket"),
        ("s3://music/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_what_is_wrong_with_a_bucket_is_told(
    s3: Place, monkeypatch: pytest.MonkeyPatch, uri: str, changes: dict[str, str], message: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LibraryError, match=message):
        folders.exists(uri)
    with pytest.raises(LibraryError, match=message), folders.writing(uri):
        pytest.fail("a lock on nothing")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("PUT http://169.254.169.254/latest/api/token: 403 Forbidden", "no credentials: set AWS_"),
        ("GET http://s3/music: 403 Forbidden: SignatureDoesNotMatch", "secret does not fit"),
        ("GET http://s3/music: 403 Forbidden", "access is denied"),
        ("something  else\nentirely", "something else entirely"),
    ],
)
def test_what_a_store_says_is_told_with_a_way_out(said: str, told: str) -> None:
    pytest.importorskip("obstore")
    with (
        pytest.raises(LibraryError, match=f"cannot read the library 's3://music/x': .*{told}"),
        objects._explained("s3://music/x", "read"),
    ):
        raise ValueError(said)


def test_without_the_extra_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"pip install 'clap-musicgen\[scale\]'"):
        folders.exists("s3://music/library")
