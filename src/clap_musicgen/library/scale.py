"""Adding on many machines: with `cluster` the only door to Ray.

Workers are Ray actors that hash, decode and embed. This process alone commits, in the same way and
under the same lock as on one machine, so the library is the same. Vectors are small, some 25 of
them for a track, so that one writer keeps up with many workers. What has been committed is the only
state: a run that is started again goes on from there. A worker that dies is replaced, and its files
are tried again, each alone, so that the one that kills its worker is found.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clap_musicgen.audio.pool import Failed
from clap_musicgen.errors import InputError, LibraryError, LibraryModelError
from clap_musicgen.library import adding
from clap_musicgen.library.cluster import (
    check_gpus,
    connected,
    gist,
    import_ray,
    last_line,
    original,
    shared,
)
from clap_musicgen.library.settling import Settling
from clap_musicgen.library.spreading import Answer, Job, Spreading
from clap_musicgen.library.working import Hello, Worker

if TYPE_CHECKING:
    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library.records import Progress
    from clap_musicgen.library.store import Store

MAX_DEATHS = 3
"""A file whose worker has died so often is not tried again."""
START_SECONDS = 600.0
"""How long a cluster may take until the first worker is ready; it may have to start machines."""
_DEPTH = 2  # tasks of one worker: one in work, one waiting, so that it never idles
_STARTS = 3  # failed starts of each worker, none in between successful, before all is given up

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Where to run, and how wide.

    ::

        library.add("/music", engine=RayEngine(address="auto", workers=32))

    Attributes:
        address: of a running cluster, `"auto"` for the one this machine belongs to, None for one
            of this machine's own that ends with the run. The music must have the same paths on
            every machine, as on a network share.
        workers: how many; each has a CPU core and a copy of the model.
        gpus: for each worker; may be a fraction.
        load: loads the model on a worker, and must give the same vectors as the model that the
            library was opened with. None: that model itself is sent to them.
    """

    address: str | None = None
    workers: int = 2
    gpus: float = 0.0
    load: Callable[[], Embedder] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.workers < 1:
            raise InputError(f"workers must be at least 1, not {self.workers!r}")
        if self.gpus < 0:
            raise InputError(f"gpus must not be negative, but is {self.gpus!r}")

    @contextmanager
    def adding(
        self,
        store: Store,
        model: Embedder,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> Iterator[Spreading]:
        """Begin a run; its workers start with the first new file and end with the block.

        Raises:
            InputError: Ray is not installed, or the cluster lacks what is asked for.
            LibraryError: the cluster cannot be reached, or its workers do not start.
        """
        settling = Settling(
            store,
            # A crash costs each worker as much as it costs a run on one machine.
            group_tracks=adding.GROUP_TRACKS * self.workers,
            group_seconds=adding.GROUP_SECONDS,
            on_progress=on_progress,
            guard=guard,
        )
        crew = _Crew(self, model)
        try:
            yield Spreading(settling, crew, workers=self.workers)
        finally:
            crew.close()


@dataclass(slots=True, eq=False)
class _Task:
    job: Job
    files: list[Path]
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Hand:
    """One worker: its tasks in the order in which it does them."""

    actor: Any
    greeting: Any  # what `hello` will give; None once it has
    tasks: deque[tuple[Any, _Task]] = field(default_factory=deque)

    @property
    def next(self) -> Any:
        """What it will answer next; None if nothing."""
        if self.greeting is not None:
            return self.greeting
        return self.tasks[0][0] if self.tasks else None


class _Crew:
    """The workers of one run; see `spreading.Crew`."""

    def __init__(self, engine: RayEngine, model: Embedder) -> None:
        self._engine, self._model = engine, model
        self._ray = import_ray()
        self._connection: Any = None
        self._hire: Callable[[], Any] | None = None
        self._hands: list[_Hand] = []
        self._waiting: deque[_Task] = deque()
        self._stillborn, self._greeted, self._began = 0, False, 0.0

    @property
    def busy(self) -> bool:
        """Some answers are still to come."""
        return bool(self._waiting) or any(hand.tasks for hand in self._hands)

    def has_room(self) -> bool:
        """Somebody could take another task."""
        ready = sum(hand.greeting is None for hand in self._hands)
        tasks = len(self._waiting) + sum(len(hand.tasks) for hand in self._hands)
        return tasks < _DEPTH * max(1, ready)

    def hand_out(self, job: Job, files: Sequence[Path]) -> None:
        """Have files looked at, or embedded."""
        if self._hire is None:
            self._start()
        self._waiting.append(_Task(job, list(files)))

    def answers(self, *, timeout: float) -> list[Answer]:
        """Return what has come, after at most `timeout` seconds."""
        self._assign()
        expected = {hand.next: hand for hand in self._hands if hand.next is not None}
        done, _ = self._ray.wait(list(expected), num_returns=1, timeout=timeout)
        found = [answer for ref in done for answer in self._collect(expected[ref], ref)]
        if not self._greeted and time.monotonic() - self._began > START_SECONDS:
            raise LibraryError(
                f"no worker has started in {START_SECONDS:g} s: the cluster has no room for one "
                f"(1 CPU core and {self._engine.gpus:g} GPUs each)"
            )
        return found

    def close(self) -> None:
        """End the workers, and the cluster if it is our own."""
        for hand in self._hands:
            self._end(hand)
        self._hands.clear()
        if self._connection is not None:
            self._connection.__exit__(None, None, None)
            self._connection = None

    def _start(self) -> None:
        connection = connected(self._ray, self._engine.address, cpus=self._engine.workers)
        connection.__enter__()
        self._connection = connection
        check_gpus(self._ray, self._engine.gpus)
        load, model = self._engine.load, None
        if load is None:
            model = shared(self._ray, self._model)
        kind = self._ray.remote(num_cpus=1, num_gpus=self._engine.gpus, max_restarts=0)(Worker)
        self._hire = lambda: kind.remote(load, model)
        self._began = time.monotonic()
        for _ in range(self._engine.workers):
            self._add_hand()

    def _add_hand(self) -> None:
        assert self._hire is not None
        actor = self._hire()
        self._hands.append(_Hand(actor, actor.hello.remote()))

    def _assign(self) -> None:
        """Give waiting tasks to those who have the least to do."""
        while self._waiting:
            ready = [hand for hand in self._hands if hand.greeting is None]
            hand = min(ready, key=lambda hand: len(hand.tasks), default=None)
            if hand is None or len(hand.tasks) >= _DEPTH:
                return
            task = self._waiting.popleft()
            work = getattr(hand.actor, task.job)
            hand.tasks.append((work.remote(task.files), task))

    def _collect(self, hand: _Hand, ref: Any) -> list[Answer]:
        errors = self._ray.exceptions
        try:
            value = self._ray.get(ref)
        except errors.RayTaskError as error:
            if hand.greeting is not None:
                raise LibraryError(f"a worker cannot load the model: {gist(error)}") from error
            raise original(error) from None
        except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            if "creation task" in str(error):  # it could not even be given the model
                raise LibraryError(f"a worker cannot load the model: {last_line(error)}") from None
            blamed = not isinstance(error, errors.ObjectLostError)
            return self._bury(hand, cause=gist(error), blamed=blamed)
        if hand.greeting is not None:
            hand.greeting = None
            self._greet(value)
            return []
        hand.tasks.popleft()
        return list(value)

    def _greet(self, hello: Hello) -> None:
        self._greeted, self._stillborn = True, 0
        if (hello.fingerprint, hello.dim) != (self._model.fingerprint, self._model.dim):
            raise LibraryModelError(
                f"the worker on {hello.host} has loaded the model {hello.fingerprint} (length "
                f"{hello.dim}), not {self._model.fingerprint} (length {self._model.dim}): `load` "
                "must load the model that the library was opened with"
            )

    def _bury(self, hand: _Hand, *, cause: str, blamed: bool) -> list[Answer]:
        """Replace a dead worker; its files are tried again, the ones in work each alone."""
        tasks = [task for _, task in hand.tasks]
        if hand.greeting is not None:
            self._stillborn += 1
            if self._stillborn >= _STARTS * self._engine.workers:
                raise LibraryError(f"the workers do not start: {cause}")
        failed: list[Answer] = []
        again: list[_Task] = []
        if tasks and blamed:
            in_work = tasks.pop(0)
            deaths = in_work.deaths + 1
            if len(in_work.files) == 1 and deaths >= MAX_DEATHS:
                why = f"the worker that read it died, {deaths} times: {cause}"
                failed.append(Failed(in_work.files[0], why))
            else:
                again = [_Task(in_work.job, [file], deaths) for file in in_work.files]
        self._waiting.extendleft(reversed(again + tasks))
        files = sum(len(task.files) for task in again + tasks)
        logger.warning("a worker died and is replaced; %d files are tried again (%s)", files, cause)
        self._hands.remove(hand)
        self._end(hand)
        self._add_hand()
        return failed

    def _end(self, hand: _Hand) -> None:
        with suppress(Exception):
            self._ray.kill(hand.actor)
