"""The pool against decoding in this process, and against crashes, hangs and sudden ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from audio_factory import melody, write_audio, write_wav
from clap_musicgen.audio import pool as pool_module
from clap_musicgen.audio.clips import Clip, split_clips
from clap_musicgen.audio.files import AudioStream
from clap_musicgen.audio.pool import Decoded, DecodePool, Failed, Finished
from clap_musicgen.audio.worker import read_message, write_message
from clap_musicgen.errors import ClapMusicGenError, InputError, InputTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clap_musicgen.audio.pool import Event

RATE = 16_000
SOURCES = Path(pool_module.__file__).parents[2]


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    formats = ["wav", "mp3", "flac", "m4a"]
    return [
        write_audio(
            tmp_path / f"{place}.{name}",
            melody(0.7 + place, sample_rate=44_100),
            sample_rate=44_100,
        )
        for place, name in enumerate(formats)
    ]


def workers_of(pool: DecodePool) -> list[int]:
    return [worker._process.pid for worker in pool._workers if worker is not None]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def eventually_gone(pids: Iterable[int]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not any(is_alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def by_path(events: Iterable[Event]) -> dict[Path, list[Event]]:
    sorted_out: dict[Path, list[Event]] = defaultdict(list)
    for event in events:
        sorted_out[event.path].append(event)
    return sorted_out


@pytest.mark.parametrize("workers", [1, 3])
def test_the_pool_gives_what_this_process_would(songs: list[Path], workers: int) -> None:
    with DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=workers) as pool:
        events = by_path(pool.decode(songs))
    assert sorted(events) == songs
    for path, (*clips, last) in events.items():
        stream = AudioStream(path, sample_rate=RATE)
        twin = list(split_clips(stream, sample_rate=RATE, clip_seconds=1.0))
        assert last == Finished(path, stream.duration, "")
        for event, expected in zip(clips, twin, strict=True):
            assert isinstance(event, Decoded)
            assert (event.clip.start, event.clip.end) == (expected.start, expected.end)
            np.testing.assert_array_equal(event.clip.waveform, expected.waveform)
            assert event.clip.waveform.dtype == np.float32
            assert event.clip.waveform.flags.writeable


def test_bad_files_fail_with_a_reason_and_the_rest_goes_on(
    songs: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(songs[1].read_bytes()[:7_000])
    odd = songs[0].rename(tmp_path / "ü\n[red]'\".wav")
    missing = tmp_path / "none.wav"
    with DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=2) as pool:
        last = {
            path: events[-1]
            for path, events in by_path(
                pool.decode([str(text), missing, cut, tmp_path, odd, songs[2]])
            ).items()
        }
    assert last[text] == Failed(text, "the content is not audio", "NotAudioError")
    assert last[missing] == Failed(missing, "no such file or directory", "UnreadableAudioError")
    assert last[tmp_path] == Failed(tmp_path, "is a folder, not a file", "UnreadableAudioError")
    assert isinstance(finished := last[cut], Finished)
    assert finished.problem.startswith("truncated: 0.8 of 1.7 s")
    assert isinstance(last[odd], Finished)
    assert isinstance(last[songs[2]], Finished)


def test_no_paths_give_no_events_and_start_nothing() -> None:
    with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
        assert list(pool.decode([])) == []
        assert workers_of(pool) == []


def test_workers_are_used_again(songs: list[Path]) -> None:
    with DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=1) as pool:
        first = by_path(pool.decode(songs[:2]))
        pids = workers_of(pool)
        assert len(by_path(pool.decode(songs))) == 4
        assert workers_of(pool) == pids
    assert len(first) == 2
    assert eventually_gone(pids)


def long_song(folder: Path, name: str = "long.wav") -> Path:
    samples = np.zeros(600 * 8_000, dtype=np.uint8)
    return write_wav(folder / name, samples, sample_rate=8_000)


def test_a_killed_worker_fails_its_file_and_is_replaced(songs: list[Path], tmp_path: Path) -> None:
    long = long_song(tmp_path)
    with DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=1) as pool:
        events = pool.decode([long, *songs])
        assert isinstance(next(events), Decoded)
        first = workers_of(pool)
        os.kill(first[0], signal.SIGKILL)
        rest = by_path(events)
        second = workers_of(pool)
    assert rest[long][-1] == Failed(long, "the decoder crashed: signal 9")
    assert all(isinstance(rest[song][-1], Finished) for song in songs)
    assert second != first
    assert eventually_gone(first + second)


def test_a_worker_killed_between_files_fails_none(songs: list[Path]) -> None:
    with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
        list(pool.decode(songs[:1]))
        os.kill(workers_of(pool)[0], signal.SIGKILL)
        pool._workers[0]._process.wait()  # type: ignore[union-attr]
        assert isinstance(list(pool.decode(songs))[-1], Finished)


def test_a_hung_worker_fails_its_file(
    songs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = long_song(tmp_path)
    with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
        list(pool.decode(songs[:1]))  # a worker that is up
        events = pool.decode([long, *songs])
        next(events)
        monkeypatch.setattr(pool_module, "_PATIENCE", 1.0)
        os.kill(workers_of(pool)[0], signal.SIGSTOP)
        rest = by_path(events)
        assert rest[long][-1] == Failed(long, "the decoder crashed: gave nothing for 1 s")
        assert all(isinstance(rest[song][-1], Finished) for song in songs)


def test_leaving_early_ends_the_workers_in_the_middle(tmp_path: Path) -> None:
    paths = [long_song(tmp_path, f"{place}.wav") for place in range(3)]
    with DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=2) as pool:
        events = pool.decode(paths)
        next(events)
        pids = workers_of(pool)
        events.close()
        assert eventually_gone(pids)
        again = pool.decode(paths[:1])
        assert next(again) is not None
        with pytest.raises(InputError, match="already decoding"):
            pool.decode(paths)
        pids = workers_of(pool)
    assert eventually_gone(pids)
    pool.close()  # twice does nothing


def test_an_exception_in_the_loop_leaves_no_worker(tmp_path: Path) -> None:
    long = long_song(tmp_path)
    pids = []

    def interrupted() -> None:
        with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
            for _ in pool.decode([long]):
                pids.extend(workers_of(pool))
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pids
    assert eventually_gone(pids)


LOOP = """
import sys
import time
from clap_musicgen.audio.pool import DecodePool
assert "torch" not in sys.modules
raised = "the main module of the caller is not imported again"
assert __name__ == "__main__", raised
with DecodePool(sample_rate=16000, clip_seconds=1.0, workers=2) as pool:
    for event in pool.decode(sys.argv[1:]):
        pids = [worker._process.pid for worker in pool._workers if worker]
        if len(pids) == 2:
            print(*pids, flush=True)
            time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_parent_is_the_end_of_the_workers(tmp_path: Path, how: int) -> None:
    """Also that a script without a main guard works, which multiprocessing would import again."""
    script = tmp_path / "script.py"
    script.write_text(LOOP)
    songs = [str(long_song(tmp_path, f"{place}.wav")) for place in range(2)]
    with subprocess.Popen(
        [sys.executable, script, *songs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCES)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(how)
        complaint = parent.stderr.read()
    assert eventually_gone(pids)
    assert complaint == "" or "KeyboardInterrupt" in complaint.splitlines()[-1]


def test_workers_that_do_not_start_are_an_error_and_no_fault_of_the_files(
    songs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_PROGRAM", "raise ImportError('no decoder here')")
    complaint = r"does not start: exit code 1.*no decoder here"
    with (
        DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=2) as pool,
        pytest.raises(ClapMusicGenError, match=complaint),
    ):
        list(pool.decode(songs))


def test_workers_import_no_framework() -> None:
    script = (
        "import sys; import clap_musicgen.audio.worker\n"
        "heavy = {'torch', 'transformers', 'lancedb', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_folder_with_modules_of_its_own_is_harmless(
    songs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "numpy", "av", "struct"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from a music folder')")
    monkeypatch.chdir(tmp_path)
    with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
        assert isinstance(list(pool.decode(songs[:1]))[-1], Finished)


def test_clips_wait_while_nobody_takes_them(tmp_path: Path) -> None:
    """Back-pressure: a worker far ahead would have finished 600 clips long before."""
    long = long_song(tmp_path)
    with DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool:
        events = pool.decode([long])
        next(events)
        time.sleep(1.0)
        assert pool._run is not None
        assert pool._run._queue.qsize() <= 2
        assert pool._workers[0] is not None
        assert pool._workers[0].busy
        assert sum(isinstance(event, Decoded) for event in events) == 599


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="workers must be at least 1"):
        DecodePool(sample_rate=RATE, clip_seconds=1.0, workers=0)
    with pytest.raises(InputError, match="must be positive"):
        DecodePool(sample_rate=RATE, clip_seconds=0)
    with (
        DecodePool(sample_rate=RATE, clip_seconds=1.0) as pool,
        pytest.raises(InputTypeError, match="paths must be a list"),
    ):
        pool.decode("song.mp3")


def test_a_clip_survives_the_pipe_exactly() -> None:
    read, write = os.pipe()
    waveform = np.array([0.1, -np.pi, 1e-30, 3.4e38], dtype=np.float32)
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as target:
        write_message(target, {"event": "clip", "text": "ü\udce9\n"}, waveform)
        target.write(b"\x05\0\0")  # and then the pipe breaks
        target.close()
        answer = read_message(source)
        assert answer is not None
        assert answer[0] == {"event": "clip", "text": "ü\udce9\n", "samples": 4}
        np.testing.assert_array_equal(answer[1], waveform)
        assert read_message(source) is None
        assert Clip(0.0, 1.0, answer[1]).waveform is answer[1]
