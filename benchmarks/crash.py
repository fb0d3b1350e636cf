"""Kill an `index` run with SIGKILL, again and again: is anything lost, is anything wrong?

    python benchmarks/crash.py                                   # 200 kills, tones, a quick embedder
    python benchmarks/crash.py --model mini --music examples/music --kills 50
    python benchmarks/crash.py --kills 20 --seed 7 --markdown crash.md

A child process runs the real `Library.add`, in groups of two tracks so that committing takes a large
share of its time, and with few files to a table so that it compacts often. The parent kills it: half
of the time at a moment drawn evenly from what the run would still take, else at a moment drawn from
within a step (making the library, a commit, a compaction), which the child announces in shared
memory. After each kill the parent opens the library and compares every row, bit for bit as stored,
with an undisturbed run; the next child goes on. A library that is complete must equal the undisturbed
one, and is made anew.

Lost: a track that was there after an earlier kill and is not now, or is missing at the end. Wrong: a
track of which anything differs from the undisturbed run, or that a check finds fault with. The quick
embedder computes band energies: what is tested is the library, not the model. Exit code 1 unless all
libraries opened and nothing is lost or wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from crash_child import PHASES, Stage
from tables import Table, add_output_options, deliver, positive

AIMS = ("creating", "committing", "compacting")
AIMED = 0.5
"""Share of the kills that are aimed at one of AIMS."""
TRACKS, COPIES = 40, 4
_POLL = 0.0003  # seconds
_PATIENCE = 120.0

Contents: TypeAlias = dict[str, bytes]
"""Path → hash of everything that is stored for it, but when it was added."""


def write_music(folder: Path, *, tracks: int = TRACKS, copies: int = COPIES) -> Path:
    """Write tones of 1 to 6 seconds, all different, then copies of the first ones."""
    folder.mkdir(parents=True)
    for number in range(tracks):
        generator = np.random.default_rng(number)
        moments = np.arange(round(8_000 * generator.uniform(1, 6))) / 8_000
        tone = np.sin(2 * np.pi * generator.uniform(80, 3_000) * moments)
        samples = 8_000 * (tone + 0.1 * generator.normal(size=len(moments)))
        with wave.open(str(folder / f"{number:03}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8_000)
            file.writeframes(samples.astype("<i2").tobytes())
    for number in range(copies):
        shutil.copy(folder / f"{number:03}.wav", folder / f"copy of {number:03}.wav")
    return folder


@dataclass(slots=True)
class Child:
    """One run of `work` in a process of its own."""

    process: subprocess.Popen[str]
    stage: Stage
    started: float

    @classmethod
    def start(cls, library: Path, music: Path, *, stage: Path, model: str) -> Self:
        """Start it; its library need not exist."""
        shared = Stage(stage)
        shared.reset()
        program = Path(__file__).with_name("crash_child.py")
        process = subprocess.Popen(
            [sys.executable, program, library, music, stage, model],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return cls(process, shared, time.monotonic())

    def wait_until(self, aim: str, number: int) -> bool:
        """Wait for the `number`-th time it begins a phase; False if it ended before."""
        while self.stage.begun(aim) < number:
            if self.process.poll() is not None:
                return False
            if time.monotonic() - self.started > _PATIENCE:
                raise RuntimeError(f"a child did not come to {aim} in {_PATIENCE:g} s")
            time.sleep(_POLL)
        return True

    def finish(self) -> dict[str, list[float]]:
        """Let it end by itself; return the seconds of each of its steps, by phase.

        Raises:
            RuntimeError: it failed.
        """
        told, errors = self.process.communicate(timeout=_PATIENCE * 10)
        if self.process.returncode != 0:
            raise RuntimeError(f"a child ended with {self.process.returncode}: {errors}")
        steps: dict[str, list[float]] = {}
        for line in told.splitlines():
            phase, _, seconds = line.partition(" ")
            steps.setdefault(phase, []).append(float(seconds))
        return steps

    def kill(self) -> bool:
        """Kill it as `kill -9` does; False if it was done before.

        Raises:
            RuntimeError: it had failed before.
        """
        self.process.kill()
        _, errors = self.process.communicate()
        if self.process.returncode > 0:
            raise RuntimeError(f"a child ended with {self.process.returncode}: {errors}")
        return self.process.returncode != 0


def contents_of(library: Path) -> Contents:
    """Everything that a library holds, by path, bit for bit; clips that no track has count not.

    Raises:
        ClapMusicGenError: it does not open.
    """
    import pyarrow as pa

    from clap_musicgen.library.folder import read_description
    from clap_musicgen.library.rows import track_schema
    from clap_musicgen.library.runs import runs
    from clap_musicgen.library.store import CLIPS, Store
    from clap_musicgen.library.store import TRACKS as ROWS

    store = Store(library, dim=read_description(library).dim)
    clips: dict[str, list[str]] = {}
    for run in runs(store.batches(CLIPS)):
        clips.setdefault(run.content, []).extend(map(repr, run.by_time().table.to_pylist()))
    tracks = pa.Table.from_batches(store.batches(ROWS), schema=track_schema(store.dim))
    found: Contents = {}
    for row in tracks.drop_columns(["added"]).to_pylist():
        # Clips or rows that are there twice make it another content.
        stored = sorted(clips.get(row["content"], []))
        whole = repr((sorted(row.items()), stored, row["path"] in found))
        found[row["path"]] = blake2b(whole.encode()).digest()
    return found


@dataclass(slots=True)
class Tally:
    """What came of it.

    Attributes:
        kills: by the phase they fell into.
        opened: libraries that opened after a kill, by the same; one that was not made yet counts.
        lost: (path, number of the kill).
        wrong: the same.
        faults: what else went wrong, in words.
        runs: libraries that became complete and equal to the undisturbed one.
        tracks: of the undisturbed library.
    """

    kills: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[str, int]] = field(default_factory=list)
    wrong: list[tuple[str, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    runs: int = 0
    tracks: int = 0

    @property
    def well(self) -> bool:
        """Nothing is lost or wrong."""
        return self.kills == self.opened and not (self.lost or self.wrong or self.faults)


class Campaign:
    """A number of kills on one folder of music."""

    def __init__(self, scratch: Path, music: Path, *, seed: int, model: str = "quick") -> None:
        """Make the undisturbed library and learn how long its steps take."""
        self.library, self._music, self._model = scratch / "library", music, model
        self._stage, self._random = scratch / "stage", np.random.default_rng(seed)
        calm = Child.start(scratch / "calm", music, stage=self._stage, model=model)
        self._steps = calm.finish()
        self._whole = time.monotonic() - calm.started
        self.reference = contents_of(scratch / "calm")
        self._present: set[str] = set()
        self._last_phase = PHASES[0]
        self.tally = Tally(tracks=len(self.reference))

    def run(self, kills: int) -> Tally:
        """Kill so many times."""
        while sum(self.tally.kills.values()) < kills:
            try:
                if self._strike():
                    self._judge(self._last_phase)
                else:
                    self._complete()
            except RuntimeError as error:
                self._give_up(error)
        try:
            self._child().finish()
            self._complete()
        except RuntimeError as error:
            self._give_up(error)
        return self.tally

    def _give_up(self, error: RuntimeError) -> None:
        """A child could not go on with what a kill had left: say so, and begin anew."""
        number = sum(self.tally.kills.values())
        self.tally.faults.append(f"after kill {number}, {self._last_phase}: {error}")
        self.tally.lost += [(path, number) for path in sorted(self._present)]
        shutil.rmtree(self.library)
        self._present = set()

    def _child(self) -> Child:
        return Child.start(self.library, self._music, stage=self._stage, model=self._model)

    def _strike(self) -> bool:
        """Start a child and kill it somewhere; False if it was done before."""
        aim = self._aim()
        rest = 1 - len(self._present) / max(1, len(self.reference))
        child = self._child()
        if aim:
            steps = self._steps.get(aim, [0.0])
            number = 1 + int(self._random.integers(max(1, round(len(steps) * rest))))
            if child.wait_until(aim, number):
                time.sleep(self._random.uniform(0, 1.2 * float(np.median(steps))))
        else:
            busy = sum(self._steps.get("decoding", [0.0]))
            time.sleep(self._random.uniform(0, self._whole - busy * (1 - rest)))
        killed = child.kill()
        self._last_phase = child.stage.phase
        return killed

    def _aim(self) -> str:
        if self._random.random() >= AIMED:
            return ""
        if not (self.library / "library.json").exists():
            return "creating"
        return str(self._random.choice(AIMS[1:]))

    def _judge(self, phase: str) -> None:
        """Look at what the kill has left."""
        from clap_musicgen.errors import ClapMusicGenError

        self.tally.kills[phase] += 1
        number = sum(self.tally.kills.values())
        sys.stderr.write(f"kill {number}: {phase}\n")
        if not (self.library / "library.json").exists():
            self.tally.opened[phase] += 1  # nothing was there yet; the next child makes it
            self.tally.lost += [(path, number) for path in sorted(self._present)]
            self._present = set()
            return
        try:
            found = contents_of(self.library)
            self.tally.opened[phase] += 1
        except ClapMusicGenError as error:
            self.tally.faults.append(f"kill {number}, {phase}: {error}")
            return
        self._compare(found, number)
        self._check(number)

    def _compare(self, found: Contents, number: int) -> None:
        wrong = [path for path in found if found[path] != self.reference.get(path)]
        self.tally.wrong += [(path, number) for path in sorted(wrong)]
        self.tally.lost += [(path, number) for path in sorted(self._present - set(found))]
        self._present = set(found)

    def _check(self, number: int) -> None:
        """Let the package's own check look at it too."""
        from clap_musicgen.library.checking import check_library

        report = check_library(self.library)
        faults = [finding for finding in report.findings if finding.kind != "orphans"]
        self.tally.faults += [f"kill {number}: {fault.subject}: {fault.detail}" for fault in faults]

    def _complete(self) -> None:
        """A child was done: the library must be that of an undisturbed run. Then begin anew."""
        number = sum(self.tally.kills.values())
        found = contents_of(self.library)
        self._compare(found, number)
        missing = sorted(set(self.reference) - set(found))
        self.tally.lost += [(path, number) for path in missing]
        self._check(number)
        self.tally.runs += found == self.reference
        shutil.rmtree(self.library)
        self._present = set()


def tables_of(tally: Tally, options: argparse.Namespace) -> list[Table]:
    """Where the kills fell, and what came of them."""
    phases = [phase for phase in PHASES if tally.kills[phase]]
    rows = [(phase, str(tally.kills[phase]), str(tally.opened[phase])) for phase in phases]
    total = sum(tally.kills.values())
    rows.append(("all", str(total), str(sum(tally.opened.values()))))
    title = f"{total} kills of an index run, seed {options.seed}, model {options.model}"
    notes = [
        f"{len(tally.lost)} lost, {len(tally.wrong)} wrong, {len(tally.faults)} other faults; "
        f"{tally.runs} libraries of {tally.tracks} tracks became complete in between, each equal "
        "to that of an undisturbed run, bit for bit."
    ]
    notes += [f"lost after kill {number}: {path}" for path, number in tally.lost]
    notes += [f"wrong after kill {number}: {path}" for path, number in tally.wrong]
    return [Table(title, ("killed while", "kills", "opened"), rows, [*notes, *tally.faults])]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill index runs; is anything lost or wrong?")
    parser.add_argument("--kills", type=positive, default=200, help="how many (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model", default="quick", help="quick (the default), mini, or a checkpoint's folder"
    )
    parser.add_argument("--music", type=Path, help="a folder; by default tones are made")
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        music = options.music or write_music(Path(scratch) / "music")
        campaign = Campaign(Path(scratch), music, seed=options.seed, model=options.model)
        tally = campaign.run(options.kills)
    found: dict[str, Any] = {"kills": tally.kills, "opened": tally.opened, "lost": tally.lost}
    found |= {"wrong": tally.wrong, "faults": tally.faults, "runs": tally.runs}
    deliver(options, json.loads(json.dumps(found)), tables_of(tally, options))
    return 0 if tally.well else 1


if __name__ == "__main__":
    sys.exit(main())
