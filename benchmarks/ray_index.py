"""Indexing on Ray beside indexing in one process: throughput per worker, and what a kill changes.

    python benchmarks/ray_index.py --kill --markdown results/ray.md

The same files, made here, go into a new library on each side, in one run: by this process, by one
worker, by two. Each worker has one thread and one process that decodes, as this process has. With
`--kill` there is one side more, of which a worker is killed in the middle. Afterwards the vectors
of all sides are compared with those of the first, bit by bit. Also how many tracks a second the one
writer can commit, which bounds how many workers it can serve, and what follows from all that for
large libraries.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray_needs import TRACK_CLIPS, TRACK_SECONDS, need, need_table
from tables import Table, add_output_options, deliver, machine_note, positive
from timing import limit_threads, machine

if TYPE_CHECKING:
    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library import Progress
    from clap_musicgen.library.rows import NewTrack

MODEL = "mini"
SIZES = (1_000_000, 100_000_000)
_RATE = 44_100


@dataclass(frozen=True, slots=True)
class Result:
    """One side.

    Attributes:
        side: its name.
        workers: how many models worked.
        seconds: from the call to the end, start of the workers included.
        speed: seconds of audio per second, between the first vectors and the last.
        files: tracks in its library.
        killed: workers.
        again: files that were tried again for it.
        equal: clip vectors that are those of the first side, bit by bit.
        clips: of how many.
    """

    side: str
    workers: int
    seconds: float
    speed: float
    files: int
    killed: int = 0
    again: int = 0
    equal: int = 0
    clips: int = 0


class Watch:
    """Notes how far an `add` has come and when; strikes once when half is done."""

    def __init__(self, at_work: Path | None) -> None:
        self._at_work, self.killed = at_work, 0
        self._moments: list[tuple[float, float]] = []  # seconds of the clock, of audio

    def __call__(self, progress: Progress) -> None:
        """Take note; kill whoever is the first of those at work."""
        self._moments.append((time.perf_counter(), progress.seconds))
        if self._at_work and not self.killed and 2 * progress.done >= progress.total:
            os.kill(int(min(self._at_work.iterdir()).name), signal.SIGKILL)
            self.killed = 1

    @property
    def speed(self) -> float:
        """Seconds of audio per second, after the first vectors."""
        moments = [moment for moment in self._moments if moment[1]]
        (first, before), (last, after) = moments[0], moments[-1]
        return (after - before) / max(1e-9, last - first)


class Retries(logging.Handler):
    """Counts what the engine says of files that are tried again."""

    files = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Add the number that the message has."""
        self.files += int(str(record.args[0])) if isinstance(record.args, tuple) else 0


def load(at_work: Path) -> Embedder:
    """What a worker does first: load the model, and leave its number where it can be found."""
    from clap_musicgen.model.loading import load_embedder
    from clap_musicgen.model.runtime import keep_large_buffers

    keep_large_buffers()
    model = load_embedder(MODEL)
    (at_work / str(os.getpid())).touch()
    return model


def make_music(folder: Path, *, count: int, seconds: float) -> None:
    """Write stereo mp3 files."""
    import sounds

    folder.mkdir()
    for number in range(count):
        blocks = sounds.music(seconds, rate=_RATE, channels=2, seed=number)
        path = folder / f"{number:04}.mp3"
        sounds.write_file(path, blocks, kind=sounds.KINDS["mp3"], rate=_RATE, channels=2)


def side(folder: Path, music: Path, model: Embedder, *, workers: int, kill: bool) -> Result:
    """Index into a new library; 0 workers: in this process."""
    from clap_musicgen.library import Library
    from clap_musicgen.library.scale import RayEngine

    name = f"Ray, {workers} worker{'s' * (workers > 1)}" if workers else "this process"
    name += ", one killed" if kill else ""
    at_work = folder / f"at work, {name}"
    at_work.mkdir()
    engine = RayEngine(workers=workers, load=partial(load, at_work)) if workers else None
    watch, retries = Watch(at_work if kill else None), Retries()
    log = logging.getLogger("clap_musicgen.library.scale")
    log.addHandler(retries)
    started = time.perf_counter()
    with Library.open(folder / name, model) as library:
        report = library.add(music, engine=engine, on_progress=watch)
    elapsed = time.perf_counter() - started
    log.removeHandler(retries)
    return Result(
        name,
        workers=max(1, workers),
        seconds=elapsed,
        speed=watch.speed,
        files=len(report.added),
        killed=watch.killed,
        again=retries.files,
    )


def clips(library: Path, dim: int) -> dict[tuple[str, float], bytes]:
    """Content and start → the bytes of the clip's vector."""
    from clap_musicgen.library.store import Store

    found: dict[tuple[str, float], bytes] = {}
    for batch in Store(library, dim=dim).batches("clips", ["content", "start", "vector"]):
        contents, starts = batch["content"].to_pylist(), batch["start"].to_pylist()
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        for content, start, vector in zip(contents, starts, vectors, strict=True):
            found[content, start] = vector.tobytes()
    return found


def compare(folder: Path, found: Sequence[Result], dim: int) -> list[Result]:
    """Add how many vectors equal those of the first side."""
    held = [clips(folder / result.side, dim) for result in found]
    return [
        replace(
            result,
            clips=len(held[0].keys() | own.keys()),
            equal=sum(own.get(key) == vector for key, vector in held[0].items()),
        )
        for result, own in zip(found, held, strict=True)
    ]


def writer(folder: Path, *, tracks: int, group: int, dim: int) -> tuple[float, float]:
    """Commit tracks of four minutes, in groups → tracks a second, bytes a track."""
    from clap_musicgen.library.folder import size_on_disk
    from clap_musicgen.library.store import Store

    new = _tracks(tracks, dim)
    store = Store.create(folder, dim=dim)
    empty = size_on_disk(folder)
    started = time.perf_counter()
    for first in range(0, tracks, group):
        store.commit(new[first : first + group])
    elapsed = time.perf_counter() - started
    return tracks / elapsed, (size_on_disk(folder) - empty) / tracks


def _tracks(count: int, dim: int) -> list[NewTrack]:
    import numpy as np

    from clap_musicgen.audio.files import Tags
    from clap_musicgen.embedding import unit
    from clap_musicgen.library.rows import Clips, NewTrack, Summary

    rng = np.random.default_rng(0)
    starts = np.arange(0.0, 10.0 * TRACK_CLIPS, 10.0, dtype=np.float64)
    made = []
    for number in range(count):
        vectors = unit(rng.standard_normal((TRACK_CLIPS, dim), dtype=np.float32))
        new = NewTrack(
            f"/music/Some Artist {number % 999}/Some Album/{number:08}.mp3",
            tags=Tags(title=f"Track {number}", artist=f"Some Artist {number % 999}"),
            size=number,
            mtime_ns=number,
            content=rng.bytes(16).hex(),
            summary=Summary(TRACK_SECONDS, "", datetime.now(UTC), vectors[0]),
            clips=Clips(starts, starts + 10, vectors),
            replaces=False,
        )
        made.append(new)
    return made


def side_table(found: Sequence[Result], note: str) -> Table:
    base = found[0].speed
    rows = [
        (
            result.side,
            f"{result.seconds:.1f}",
            f"{result.speed:.1f}",
            f"{result.speed / result.workers:.1f}",
            f"{result.speed / result.workers / base:.2f}",
            str(result.files),
            str(result.killed),
            str(result.again),
            f"{result.equal} of {result.clips}",
        )
        for result in found
    ]
    headings = ("", "s", "× real time", "per worker", "÷ this process", "files", "killed")
    return Table(
        "Indexing on Ray",
        (*headings, "tried again", "equal vectors"),
        rows,
        [
            "s: from the call to the end, start of Ray and of the models included. × real "
            f"time: between the first vectors and the last. {note}"
        ],
    )


def writer_table(writers: dict[int, tuple[float, float]]) -> Table:
    return Table(
        "The writer alone",
        ("tracks in one transaction", "tracks per second", "bytes per track"),
        [(str(group), f"{speed:,.0f}", f"{size:,.0f}") for group, (speed, size) in writers.items()],
        [f"Tracks of four minutes, {TRACK_CLIPS} vectors each, on a local disk."],
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure indexing on Ray.")
    parser.add_argument("--tracks", type=positive, default=48, help="files (default: 48)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each (default: 60)")
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--kill", action="store_true", help="also a side with a killed worker")
    parser.add_argument("--writer-tracks", type=positive, default=2048, metavar="N")
    parser.add_argument("--euros", type=float, default=0.04, help="a core hour (default: 0.04)")
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    limit_threads(1)
    from clap_musicgen.model.loading import load_embedder
    from clap_musicgen.model.runtime import keep_large_buffers

    keep_large_buffers()
    model = load_embedder(MODEL)
    wanted = [(workers, False) for workers in (0, *options.workers)]
    wanted += [(max(options.workers), True)] if options.kill else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_music(folder / "music", count=options.tracks, seconds=options.seconds)
        work = partial(side, folder, folder / "music", model)
        found = [work(workers=workers, kill=kill) for workers, kill in wanted]
        found = compare(folder, found, model.dim)
        commit = partial(writer, tracks=options.writer_tracks, dim=model.dim)
        writers = {group: commit(folder / f"{group}", group=group) for group in (16, 64, 256)}
    widest = max((one for one in found if not one.killed), key=lambda one: one.workers)
    # More workers than cores would count a core twice.
    speed = widest.speed / min(widest.workers, os.cpu_count() or 1)
    needed = partial(need, speed=speed, dim=model.dim, stored=writers[64][1], euros=options.euros)
    needs = [needed(size) for size in SIZES]
    about = machine(1)
    note = f"{options.tracks} mp3 files of {options.seconds:g} s, {MODEL}. {machine_note(about)}"
    made = [
        side_table(found, note),
        writer_table(writers),
        need_table(needs, speed=speed, euros=options.euros),
    ]
    figures: dict[str, Any] = {
        "machine": about,
        "sides": [asdict(result) for result in found],
        "writer": writers,
        "needs": [asdict(each) for each in needs],
    }
    deliver(options, figures, made)
    return 0 if all(result.equal == result.clips for result in found) else 1


if __name__ == "__main__":
    sys.exit(main())
