"""Peak resident memory of each side, each task in a process of its own.

    python benchmarks/memory.py
    python benchmarks/memory.py --only published-12 proof mert --markdown memory.md

Tasks: the loaded model alone, one clip, eight clips at once, a track of four minutes. Ours takes the
track by `embed_audio`, which decodes as it goes; the others, as is usual, decode all of it and go
through it in batches of eight clips. Checkpoints of ours are written beforehand by another process.
A peak contains Python and PyTorch, which the first row tells apart.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tables import Table, add_output_options, deliver, positive
from timing import keep_memory, limit_threads

NOTHING = "libraries alone"
TASKS = {
    "loaded": "model loaded",
    "one": "1 clip",
    "eight": "8 clips",
    "track": "a track",
}
BATCH = 8


def peak_bytes() -> int:
    """The highest resident memory of this process so far.

    Linux' own mark first: `ru_maxrss` of a child can hold what its parent had when it was forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        mark = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if mark is not None:
            return int(mark[1]) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def work(options: argparse.Namespace) -> dict[str, int]:
    """Do one task of one side in this process; its peak in bytes, before the model and at the end."""
    limit_threads(options.threads)
    keep_memory(options.allocator)
    import sides
    from speed_tasks import file_work

    libraries = peak_bytes()
    side = sides.build(options.work, setting_of(options, options.folder / "checkpoints"))
    if options.task == "one":
        side.run(side.prepare(side.clips(options.seconds, 1)))
    elif options.task == "eight":
        side.run(side.prepare(side.clips(options.seconds, BATCH)))
    elif options.task == "track":
        file_work(side, options.folder / "track.mp3", batch=BATCH)()
    return {"libraries": libraries, "peak": peak_bytes()}


def setting_of(options: argparse.Namespace, checkpoints: Path) -> Any:
    """How sides are built; typed loosely because nothing heavy may be loaded yet."""
    from sides import Setting

    return Setting(
        tiny=options.tiny, longest=options.seconds, mini=options.model, checkpoints=checkpoints
    )


def write(options: argparse.Namespace) -> None:
    """Write the track and the checkpoints that the measured processes read."""
    import sides
    from speed_tasks import write_tracks

    write_tracks(options.folder, seconds=options.track_seconds)
    setting = setting_of(options, options.folder)
    for whole in (False, True):
        folder = options.folder / "checkpoints" / sides.published_folder(whole=whole)
        sides.write_published(folder, whole=whole, setting=setting)


def ask(options: argparse.Namespace, folder: Path, arguments: Sequence[str]) -> str:
    """Run this script in a child process; return what it printed.

    Raises:
        subprocess.CalledProcessError: it failed; its own words are on standard error.
    """
    given = ["--threads", options.threads, "--allocator", options.allocator]
    given += ["--seconds", options.seconds, "--track-seconds", options.track_seconds]
    given += ["--model", options.model, "--folder", folder]
    command = [sys.executable, __file__, *map(str, given), *arguments]
    if options.tiny:
        command.append("--tiny")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """All tasks of all sides, one process after the other."""
    peaks: dict[str, dict[str, int]] = {}
    base = sys.maxsize
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names: dict[str, str] = json.loads(ask(options, folder, ["--write"]))
        keys = list(options.only or names)
        if unknown := sorted(set(keys) - set(names)):
            raise SystemExit(f"error: --only {unknown}: choose from {', '.join(names)}")
        for key in keys:
            peaks[key] = {}
            for task in options.tasks:
                found = json.loads(ask(options, folder, ["--work", key, "--task", task]))
                peaks[key][task], base = found["peak"], min(base, found["libraries"])
    headings = ("peak, MiB", *(TASKS[task] for task in options.tasks))
    rows: list[tuple[str, ...]] = [(NOTHING, mebibytes(base), *("" for _ in options.tasks[1:]))]
    rows += [(names[key], *map(mebibytes, peaks[key].values())) for key in keys]
    note = (
        f"Each figure from a process of its own; clips of {options.seconds:g} s, a track of "
        f"{options.track_seconds:g} s, {options.threads} thread(s), allocator: {options.allocator}."
    )
    lengths = {"seconds": options.seconds, "track_seconds": options.track_seconds}
    return {"libraries": base, "peaks": peaks, **lengths}, [
        Table("Peak resident memory", headings, rows, [note])
    ]


def mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Peak resident memory, side by side.")
    parser.add_argument("--only", nargs="+", metavar="SIDE", help="these sides (default: all)")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip (default: 10)")
    parser.add_argument("--track-seconds", type=float, default=240.0, metavar="SECONDS")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--model", default="mini", help="what mini is: a folder or a Hub id")
    parser.add_argument(
        "--allocator", choices=("default", "keep"), default="default", help="see speed.py"
    )
    parser.add_argument("--tiny", action="store_true", help="stand-ins of no size, for tests")
    add_output_options(parser)
    for hidden in ("--work", "--task"):  # what the children are told
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.write:
        import sides

        write(options)
        measurable = [key for key in sides.AUDIO_KEYS if key not in sides.MEL_GIVEN]
        sys.stdout.write(json.dumps({key: sides.name_of(key) for key in measurable}))
    elif options.work is not None:
        sys.stdout.write(json.dumps(work(options)))
    else:
        deliver(options, *compare(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
