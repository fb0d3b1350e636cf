"""Decoding in other processes: many files at once, beside the model, safe from crashing decoders.

Each worker is a program of its own (see `worker.py`) with two pipes, driven by a thread here.
Memory is bounded: a worker waits while nobody takes its clips. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any, TypeAlias

from clap_musicgen.audio.clips import Clip, clip_length
from clap_musicgen.audio.worker import read_message
from clap_musicgen.errors import ClapMusicGenError, InputError, InputTypeError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from types import TracebackType

_PROGRAM = "from clap_musicgen.audio.worker import main; main()"
_PATIENCE = 300.0  # seconds without a single clip before a decoder counts as hung
_POLL = 0.2  # seconds
_STARTS = 2  # attempts before a worker that does not start ends everything


@dataclass(frozen=True, slots=True)
class Decoded:
    """One clip of one file; the clips of a file come in order."""

    path: Path
    clip: Clip


@dataclass(frozen=True, slots=True)
class Finished:
    """A file's last clip has been given; `duration` in seconds, `problem` "" or what was wrong."""

    path: Path
    duration: float
    problem: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Instead of `Finished`: the file cannot be used; drop the clips it already gave.

    `kind` is the name of the AudioError that the decoder raised, "" after a crash.
    """

    path: Path
    reason: str
    kind: str = ""


Event: TypeAlias = Decoded | Finished | Failed


class DecodePool:
    """Decodes files in `workers` processes, which live until the pool is closed.

    ::

        with DecodePool(sample_rate=32_000, clip_seconds=10.0, workers=2) as pool:
            for event in pool.decode(paths):
                ...

    A crashed or hung worker turns its file into `Failed` and is replaced. Closing, an exception or
    Ctrl-C in the loop, and even the sudden death of this process leave no worker behind.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        clip_seconds: float,
        workers: int = 1,
        patience: float | None = None,
        memory: int | None = None,
    ) -> None:
        """Prepare a pool; the processes start with the first `decode`.

        Args:
            sample_rate: of the clips, in Hz.
            clip_seconds: length of a full clip.
            workers: how many processes.
            patience: seconds without a single clip before a decoder counts as hung; 300 if None.
            memory: bytes of address space that a process may take; None is no bound.

        Raises:
            InputError: a number that is not positive.
        """
        clip_length(sample_rate=sample_rate, clip_seconds=clip_seconds)
        if workers < 1:
            raise InputError(f"workers must be at least 1, not {workers!r}")
        if patience is not None and not patience > 0:
            raise InputError(f"patience must be positive, not {patience!r} s")
        self._patience = patience
        self._arguments = [str(sample_rate), str(clip_seconds)]
        if memory is not None:
            self._arguments.append(str(memory))
        self._workers: list[_Worker | None] = [None] * workers
        self._run: _Run | None = None

    def __enter__(self) -> DecodePool:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def decode(self, paths: Iterable[str | Path]) -> Generator[Event, None, None]:
        """Decode files; the events of different files may interleave.

        Every path ends in exactly one `Finished` or `Failed`.

        Raises:
            InputTypeError: a bare string instead of a list of paths.
            InputError: this pool is still busy with another `decode`.
            ClapMusicGenError: the worker processes do not start at all.
        """
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise InputTypeError(f"paths must be a list: write [{paths!r}] instead of {paths!r}")
        if self._run is not None:
            raise InputError("this pool is already decoding: finish or close that first")
        return self._events([Path(path) for path in paths])

    def _events(self, paths: list[Path]) -> Generator[Event, None, None]:
        run = self._run = _Run(self._workers, self._arguments, paths, self._patience)
        try:
            yield from run.events()
        finally:
            run.stop()
            self._run = None

    def close(self) -> None:
        """End all workers, at once; closing twice does nothing."""
        if self._run is not None:
            self._run.stop()
        for place, worker in enumerate(self._workers):
            if worker is not None:
                worker.close()
            self._workers[place] = None


class _Run:
    """One `decode`: a thread per worker takes paths from a common list and queues the events."""

    def __init__(
        self,
        workers: list[_Worker | None],
        arguments: list[str],
        paths: list[Path],
        patience: float | None,
    ) -> None:
        self._patience = patience
        self._workers, self._arguments = workers, arguments
        self._paths = deque(paths)  # its popleft is atomic
        self._queue: Queue[Event | BaseException | None] = Queue(maxsize=2 * len(workers))
        self._stopped = threading.Event()
        count = min(len(workers), len(paths))
        self._threads = [
            threading.Thread(target=self._drive, args=(place,), daemon=True, name=f"decode-{place}")
            for place in range(count)
        ]

    def events(self) -> Iterator[Event]:
        """Start, and hand out what comes until all threads are done."""
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            self._end_hung_workers()
            try:
                event = self._queue.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(event, BaseException):
                raise event
            if event is None:
                running -= 1
            else:
                yield event

    def stop(self) -> None:
        """Stop the threads; a worker in the middle of a file is ended, the others are kept."""
        self._stopped.set()
        for worker in self._workers:
            if worker is not None and worker.busy:
                worker.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _drive(self, place: int) -> None:
        last: BaseException | None = None
        try:
            while not self._stopped.is_set():
                try:
                    path = self._paths.popleft()
                except IndexError:
                    break
                self._decode(path, self._worker(place))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the events
            last = error
        self._put(last)

    def _decode(self, path: Path, worker: _Worker) -> None:
        for event in worker.decode(path):
            self._put(event)
            if self._stopped.is_set():
                worker.kill()

    def _worker(self, place: int) -> _Worker:
        """Return the worker of this thread, a fresh one where it is missing or dead."""
        worker, reason = self._workers[place], ""
        for _ in range(1 + _STARTS):
            if worker is not None:
                if worker.start():
                    return worker
                reason = worker.death()
                worker.close()
            worker = self._workers[place] = _Worker(self._arguments)
        raise ClapMusicGenError(f"the decoding process does not start: {reason}")

    def _put(self, event: Event | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(event, timeout=_POLL)
                break
            except Full:
                continue

    def _end_hung_workers(self) -> None:
        patience = self._patience or _PATIENCE
        for worker in self._workers:
            if worker is not None and worker.silent_seconds > patience:
                worker.kill(f"gave nothing for {patience:g} s")


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, arguments: list[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._killed_for = ""
        self._waiting_since: float | None = None
        self.busy = False
        # -P: no module of the current folder, which may hold anything, is imported by accident.
        self._process: Any = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone
        )
        self._ready = False

    def start(self) -> bool:
        """Wait until the process answers; False where it is dead or dies on the way."""
        if self._killed_for or self._process.poll() is not None:
            return False
        self._ready = self._ready or self._next() is not None
        return self._ready

    @property
    def silent_seconds(self) -> float:
        """For how long a clip has been waited for; 0 while nobody waits."""
        since = self._waiting_since
        return 0.0 if since is None else time.monotonic() - since

    def decode(self, path: Path) -> Iterator[Event]:
        """Have one file decoded; the last event is `Finished` or `Failed`."""
        self.busy = True
        self._request(path)
        while (answer := self._next()) is not None:
            message, waveform = answer
            if message["event"] == "clip":
                yield Decoded(path, Clip(message["start"], message["end"], waveform))
                continue
            self.busy = False
            if message["event"] == "finished":
                yield Finished(path, message["duration"], message["problem"])
            else:
                yield Failed(path, message["reason"], message["kind"])
            return
        self.busy = False
        yield Failed(path, f"the decoder crashed: {self.death()}")

    def _request(self, path: Path) -> None:
        with suppress(BrokenPipeError):  # it is dead, which the next read notices and explains
            self._process.stdin.write(json.dumps(str(path)).encode() + b"\n")
            self._process.stdin.flush()

    def _next(self) -> Any:
        self._waiting_since = time.monotonic()
        try:
            return read_message(self._process.stdout)
        finally:
            self._waiting_since = None

    def death(self) -> str:
        """Say how the process ended, with the last line it wrote."""
        self._process.kill()  # it may have closed its pipe and yet go on
        code = self._process.wait()
        if self._killed_for:
            return self._killed_for
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{how}, {lines[-1].strip()}" if lines else how

    def kill(self, reason: str = "ended") -> None:
        """End the process; whoever waits for it learns `reason`."""
        self._killed_for = self._killed_for or reason
        self._process.kill()

    def close(self) -> None:
        """End the process and give back its pipes."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with suppress(BrokenPipeError):  # something may still wait to be written
            self._process.stdin.close()
        self._log.close()


def environment() -> dict[str, str]:
    """What lets a child process find the same modules, and compute with one thread."""
    search = os.pathsep.join(path for path in sys.path if path)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return os.environ | single | {"PYTHONPATH": search}
