"""Several processes and one library: locks, Ctrl-C, sudden death, full and read-only folders."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.errors import LibraryBusyError
from clap_musicgen.library import Library
from clap_musicgen.library.folder import writing
from fake_embedder import FakeEmbedder
from library_music import everything, write_tone, write_tones

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent


def environment() -> dict[str, str]:
    search = os.pathsep.join([str(TESTS), *(path for path in sys.path if path)])
    return os.environ | {"PYTHONPATH": search}


def start_adding(library: Path, music: Path, *, group: int) -> subprocess.Popen[str]:
    """Start `library_process.py` and wait until it has settled its first file."""
    return start("add", library, music, group)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start `library_process.py` and wait until it says so."""
    process = subprocess.Popen(
        [sys.executable, TESTS / "library_process.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    wait_for(process, 1)
    return process


def wait_for(process: subprocess.Popen[str], done: int) -> None:
    """Read until at least `done` files are settled."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        found = re.fullmatch(r"done (\d+)", line.strip())
        if found and int(found.group(1)) >= done:
            return
    pytest.fail(f"it ended early: {process.stderr.read()}")


@pytest.fixture
def music(tmp_path: Path) -> Path:
    write_tones(tmp_path / "music", 30, seconds=3.5)
    shutil.copy(tmp_path / "music" / "03.wav", tmp_path / "music" / "30.wav")
    return tmp_path / "music"


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """End whatever a failing test has left running."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_ctrl_c_keeps_what_is_finished_and_readers_are_never_blocked(
    tmp_path: Path, music: Path, ended: list[subprocess.Popen[str]]
) -> None:
    ready = tmp_path / "library"
    with Library.open(ready, FakeEmbedder()) as before:
        write_tone(tmp_path / "first" / "first.wav", 3000)
        before.add(tmp_path / "first")
    process = start_adding(ready, music, group=1000)  # no group is ever full
    ended.append(process)

    library = Library.open(ready, FakeEmbedder())
    assert [match.track.title for match in library.search("3000")] == ["first"]
    with pytest.raises(LibraryBusyError, match=rf"process {process.pid} is writing"):
        library.add(music)
    with pytest.raises(LibraryBusyError, match="searching goes on"):
        library.remove(music)

    wait_for(process, 9)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert 1 + 9 <= len(library) < 1 + 31
    assert library.info().clips == 2 + 4 * (len(library) - 1)

    library.add(music)
    Library.open(tmp_path / "calm", FakeEmbedder()).add([music, tmp_path / "first"])
    assert everything(ready) == everything(tmp_path / "calm")


@pytest.mark.slow
def test_two_readers_see_only_whole_tracks_while_one_writes(
    tmp_path: Path, music: Path, ended: list[subprocess.Popen[str]]
) -> None:
    Library.open(tmp_path / "library", FakeEmbedder()).close()
    ended += [start("read", tmp_path / "library", 31) for _ in range(2)]
    ended.append(start_adding(tmp_path / "library", music, group=3))
    for process in ended:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        assert out.split()[-1] == "31"


def test_a_second_writer_waits_if_it_is_told_to(
    tmp_path: Path, music: Path, ended: list[subprocess.Popen[str]]
) -> None:
    process = start_adding(tmp_path / "library", music, group=5)
    ended.append(process)
    second = write_tone(tmp_path / "second.wav", 3000)
    library = Library.open(tmp_path / "library", FakeEmbedder())
    with pytest.raises(LibraryBusyError, match="wait until it is done"):
        library.add(second, wait=0.05)
    assert library.add(second, wait=120).added == (str(second),)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(library) == 32


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_at_most_the_group_in_flight(
    tmp_path: Path, music: Path, ended: list[subprocess.Popen[str]]
) -> None:
    calm = Library.open(tmp_path / "calm", FakeEmbedder())
    calm.add(music)
    whole = everything(tmp_path / "calm")
    moments = random.Random(7)
    present: set[str] = set()
    for done in (4, 11, 19):
        process = start_adding(tmp_path / "library", music, group=2)
        ended.append(process)
        wait_for(process, done)
        threading.Event().wait(moments.uniform(0, 0.1))
        process.kill()
        process.wait()
        found = everything(tmp_path / "library")
        assert found.items() <= whole.items()  # whole tracks, none of them wrong
        assert present <= set(found)
        assert len(found) >= done - 1 - 2  # one more may be settled and its group not yet full
        present = set(found)
    report = Library.open(tmp_path / "library", FakeEmbedder()).add(music)
    assert report.unchanged == tuple(sorted(present))
    assert everything(tmp_path / "library") == whole
    assert Library.inspect(tmp_path / "library").clips == calm.info().clips


def test_the_lock_is_free_after_the_block_and_counts_within_one_process(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", FakeEmbedder())
    path = write_tone(tmp_path / "a.wav", 440)
    with writing(tmp_path / "library"), pytest.raises(LibraryBusyError, match=str(os.getpid())):
        library.add(path)

    def meddle(_: object) -> None:
        with pytest.raises(LibraryBusyError):
            library.remove(path)

    library.add(path, on_progress=meddle)
    assert library.remove(path) == [str(path)]
    assert not (tmp_path / "library" / "write.pid").exists()


def test_two_processes_make_one_library(
    tmp_path: Path, music: Path, ended: list[subprocess.Popen[str]]
) -> None:
    code = (
        "import sys; from fake_embedder import FakeEmbedder; "
        "from clap_musicgen.library import Library; "
        "print(len(Library.open(sys.argv[1], FakeEmbedder())))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "library")]
    ended += [
        subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=60) for process in ended] == [("0\n", "")] * 2


NO_ROOM = """
import resource, sys
from fake_embedder import FakeEmbedder
from clap_musicgen.errors import LibraryError
from clap_musicgen.library import Library

library = Library.open(sys.argv[1], FakeEmbedder())
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    library.add(sys.argv[2])
except LibraryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(library), len(library.add(sys.argv[2]).added), len(library.search("440", fold=False)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk_is_an_error_with_the_path_and_the_library_lives_on(tmp_path: Path) -> None:
    write_tones(tmp_path / "music", 2)
    result = subprocess.run(
        [sys.executable, "-c", NO_ROOM, tmp_path / "library", tmp_path / "music"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    message, counts = result.stdout.splitlines()
    assert message.startswith(f"cannot write to the library '{tmp_path / 'library'}'")
    assert "File too large" in message
    assert "What had been committed before is safe" in message
    assert ".rs" not in message
    assert counts == "0 2 2"


READ_ONLY = """
import os, sys
from fake_embedder import FakeEmbedder
from clap_musicgen.errors import LibraryError
from clap_musicgen.library import Library, store
import lancedb

if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
library = Library.open(sys.argv[1], FakeEmbedder())
print(library.search("440")[0].track.title, Library.inspect(sys.argv[1]).tracks)
try:
    library.add(sys.argv[1])
except LibraryError as error:
    print(error)
try:
    Library.open(os.path.join(sys.argv[1], "inner"), FakeEmbedder())
except LibraryError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_read_only_library_can_be_searched(tmp_path: Path) -> None:
    private = any(parent.stat().st_mode & 0o005 != 0o005 for parent in Path(__file__).parents)
    if os.getuid() == 0 and private:
        pytest.skip("root steps down to another user, who may not read this checkout")
    folder = Path(tempfile.mkdtemp())  # tmp_path may be closed to other users
    try:
        Library.open(folder / "library", FakeEmbedder()).add(write_tone(tmp_path / "a.wav", 440))
        for parent, _, names in os.walk(folder):
            Path(parent).chmod(0o555)
            for name in names:
                (Path(parent) / name).chmod(0o444)
        result = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder / "library"],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
        first, second, third = result.stdout.splitlines()
        assert first == "a 1"
        assert re.fullmatch(r"cannot write to the library '.*library': Permission denied", second)
        assert re.fullmatch(r"cannot make a library in '.*inner': Permission denied", third)
    finally:
        for parent, _, _ in os.walk(folder):
            Path(parent).chmod(0o755)
        shutil.rmtree(folder)
