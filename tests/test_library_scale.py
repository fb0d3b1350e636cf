"""Indexing on Ray: the same library as on one machine, whatever dies; and libraries on S3."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from audio_factory import write_wav
from clap_musicgen.errors import (
    InputError,
    LibraryBusyError,
    LibraryError,
    LibraryModelError,
)
from clap_musicgen.library import Library, Progress, Report
from clap_musicgen.library.scale import RayEngine
from fake_embedder import FakeEmbedder
from library_music import RATE, everything, write_tone, write_tones
from ray_models import Findable, Fragile, Unsendable

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One cluster of two workers for all tests: starting one takes seconds."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    from clap_musicgen.library.cluster import connected, import_ray

    ray = import_ray()  # before anybody else, so that it is quiet
    with connected(ray, None, cpus=2):
        yield ray


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Tones, copies, and two files that are no audio."""
    folder = tmp_path / "music"
    write_tones(folder, 26, seconds=2.5)
    shutil.copy(folder / "03.wav", folder / "copy.wav")
    for name in ("bad.mp3", "bad too.mp3"):
        (folder / name).write_bytes(b"not audio")
    return folder


def add(folder: Path | str, music: Path, engine: RayEngine | None, **options: Any) -> Report:
    with Library.open(folder, FakeEmbedder()) as library:
        report = library.add(music, engine=engine, **options)
    return replace(report, seconds=pytest.approx(report.seconds))  # type: ignore[arg-type]


def loud(path: Path, *, peak: int) -> Path:
    samples = np.full(2 * RATE, peak, dtype=np.int16)
    samples[::2] *= -1
    return write_wav(path, samples, sample_rate=RATE)


# Ray


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(
    cluster: Any, tmp_path: Path, music: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "at work").mkdir()
    killed: list[int] = []

    def strike(progress: Progress) -> None:
        if progress.done >= 5 and not killed:
            killed.append(int(next((tmp_path / "at work").iterdir()).name))
            os.kill(killed[0], signal.SIGKILL)

    engine = RayEngine(workers=2, load=partial(Findable, tmp_path / "at work"))
    report = add(tmp_path / "ray", music, engine, on_progress=strike)
    assert killed
    assert caplog.text.count("a worker died and is replaced") == 1
    assert len(list((tmp_path / "at work").iterdir())) >= 2
    assert report == add(tmp_path / "plain", music, None)
    assert (len(report.added), len(report.failed)) == (27, 2)
    assert everything(tmp_path / "ray") == everything(tmp_path / "plain")


def test_the_model_itself_is_sent_and_what_is_known_costs_nothing(
    cluster: Any, tmp_path: Path, music: Path
) -> None:
    first = add(tmp_path / "ray", music, RayEngine(workers=1))
    assert first == add(tmp_path / "plain", music, None)
    assert everything(tmp_path / "ray") == everything(tmp_path / "plain")
    (music / "00.wav").unlink()
    unsendable = RayEngine(workers=1, load=Unsendable)  # never started: nothing is new
    again = add(tmp_path / "ray", [music / "01.wav", music / "02.wav"], unsendable)  # type: ignore[arg-type]
    assert len(again.unchanged) == 2
    gone = add(tmp_path / "ray", music, RayEngine(workers=1), prune=True)
    assert gone.removed == (str(music / "00.wav"),)


def test_a_file_that_kills_every_worker_is_given_up_and_the_others_are_not(
    cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = write_tones(tmp_path / "music", 6, seconds=0.5)
    bomb = loud(tmp_path / "music" / "03 bomb.wav", peak=32_000)
    shutil.copy(bomb, tmp_path / "music" / "bomb too.wav")
    report = add(tmp_path / "ray", tmp_path / "music", RayEngine(workers=2, load=Fragile))
    assert report.added == tuple(map(str, paths))
    assert sorted(dict(report.failed)) == [str(bomb), str(tmp_path / "music" / "bomb too.wav")]
    assert "the worker that read it died, 3 times" in report.failed[0][1]
    assert capfd.readouterr().out == ""  # Ray has nothing to say to the user


def test_what_the_model_raises_is_raised_and_what_is_finished_stays(
    cluster: Any, tmp_path: Path
) -> None:
    write_tones(tmp_path / "music", 8, seconds=0.5)
    loud(tmp_path / "music" / "99.wav", peak=100)
    with pytest.raises(FloatingPointError, match="too quiet for this model"):
        add(tmp_path / "ray", tmp_path / "music", RayEngine(workers=1, load=Fragile))
    assert len(everything(tmp_path / "ray")) == 8


@pytest.mark.parametrize(
    ("engine", "kind", "message"),
    [
        (RayEngine(load=partial(FakeEmbedder, "fake-2")), LibraryModelError, "fake-2.*not fake-1"),
        (RayEngine(load=partial(int, "x")), LibraryError, "cannot load the model: ValueError"),  # type: ignore[arg-type]
        (RayEngine(gpus=3), InputError, "shall have 3 GPUs, but the cluster has 0"),
    ],
)
def test_workers_that_cannot_work_end_the_run_with_the_reason(
    cluster: Any, tmp_path: Path, engine: RayEngine, kind: type[Exception], message: str
) -> None:
    write_tone(tmp_path / "music" / "a.wav", 440)
    with pytest.raises(kind, match=message):
        add(tmp_path / "ray", tmp_path / "music", engine)


def test_a_model_that_cannot_be_sent_says_how_else(cluster: Any, tmp_path: Path) -> None:
    write_tone(tmp_path / "music" / "a.wav", 440)
    with (
        Library.open(tmp_path / "ray", Unsendable()) as library,
        pytest.raises(InputError, match=r"cannot be sent to the workers.*load=\.\.\."),
    ):
        library.add(tmp_path / "music", engine=RayEngine(workers=1))


def test_the_engine_checks_its_numbers_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="workers must be at least 1"):
        RayEngine(workers=0)
    with pytest.raises(InputError, match="gpus must not be negative"):
        RayEngine(gpus=-1)
    monkeypatch.setitem(sys.modules, "ray", None)
    write_tone(tmp_path / "music" / "a.wav", 440)
    with pytest.raises(InputError, match=r"pip install 'clap-musicgen\[scale\]'"):
        add(tmp_path / "ray", tmp_path / "music", RayEngine())


OWN_CLUSTER = """
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from clap_musicgen.library import Library
from clap_musicgen.library.scale import RayEngine
from fake_embedder import FakeEmbedder
from ray_models import Findable

if __name__ == "__main__":
    engine = RayEngine(workers=2, load=partial(Findable, Path(sys.argv[3])))
    with Library.open(sys.argv[1], FakeEmbedder()) as library:
        print("ready", flush=True)
        library.add(
            sys.argv[2],
            engine=engine,
            on_progress=lambda progress: print("done", progress.done, flush=True),
        )
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_job_goes_on_with_what_is_left(
    tmp_path: Path, music: Path, how: signal.Signals
) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    script = tmp_path / "job.py"
    script.write_text(
        "from clap_musicgen.library import adding\nadding.GROUP_TRACKS = 1\n" + OWN_CLUSTER
    )
    (tmp_path / "at work").mkdir()
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "ray", music, tmp_path / "at work"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("done ") and int(line.split()[1]) >= 10:
                process.send_signal(how)
                break
        process.stdout.read()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == -how, errors
    if how == signal.SIGINT:  # no word of Ray's own
        assert errors.startswith("Traceback")
        assert errors.rstrip().endswith("KeyboardInterrupt")
    kept = everything(tmp_path / "ray")
    assert 1 <= len(kept) < 27
    report = add(tmp_path / "ray", music, None)
    assert report.unchanged == tuple(sorted(kept))
    add(tmp_path / "plain", music, None)
    assert everything(tmp_path / "ray") == everything(tmp_path / "plain")


# S3


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    pytest.importorskip("obstore")
    pytest.importorskip("moto.server")
    from s3_server import s3_server

    with s3_server(closed=True) as environment:
        yield environment


@pytest.fixture
def uri(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    return f"s3://music/{tmp_path.name}"


def test_a_library_on_s3_is_the_same_library(uri: str, tmp_path: Path, music: Path) -> None:
    report = add(uri, music, None)
    assert report == add(tmp_path / "plain", music, None)
    assert everything(uri) == everything(tmp_path / "plain")
    assert len(add(uri, music, None).unchanged) == 27
    with (
        Library.open(uri, FakeEmbedder()) as far,
        Library.open(tmp_path / "plain", FakeEmbedder()) as near,
    ):
        assert far.search("440", k=5) == near.search("440", k=5)
        info = far.info()
        assert (info.path, info.tracks, info.clips) == (uri, 27, near.info().clips)
        assert info.bytes > 1000
        far.remove(music / "01.wav")
        assert len(far) == 26


def test_one_writes_to_s3_at_a_time(uri: str, music: Path) -> None:
    told: list[str] = []
    with Library.open(uri, FakeEmbedder()) as first, Library.open(uri, FakeEmbedder()) as second:

        def meddle(_: Progress) -> None:
            if not told:
                with pytest.raises(LibraryBusyError, match=f"process {os.getpid()} on") as caught:
                    second.add(music)
                told.append(str(caught.value))

        first.add(music, on_progress=meddle)
        assert uri in told[0]
        assert len(second.add(music).unchanged) == 27


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key|access is denied"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "secret does not fit|access is denied"),
    ],
)
def test_wrong_credentials_are_told(
    uri: str, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], message: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LibraryError, match=message) as caught:
        Library.open(uri, FakeEmbedder())
    assert uri in str(caught.value)


def test_an_absent_bucket_is_told(uri: str) -> None:
    with pytest.raises(LibraryError, match=r"'s3://absent/library': there is no such bucket"):
        Library.open("s3://absent/library", FakeEmbedder())
