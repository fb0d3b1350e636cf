"""How fast is it, beside its peers in one run: clips, clip lengths, a whole track, texts.

    python benchmarks/speed.py                               # 10-second clips, one thread
    python benchmarks/speed.py clips lengths track text --markdown speed.md
    python benchmarks/speed.py --only published-12-fast mert muq --batch 1 --rounds 10
    python benchmarks/speed.py --index ~/Music               # a folder: decode, embed, store

All sides run in one process with the same threads, the same allocator setting and the same seconds
of audio. The order alternates from round to round, and ratios are taken within a round, so that
what else the machine does hits all of them. `sizes.py` says what each side is. All but mini have
random weights, which changes no speed; quality is no subject here. Seconds on one machine say little
about another: compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tables import Table, add_output_options, deliver, machine_note, positive
from timing import keep_memory, limit_threads, machine

if TYPE_CHECKING:
    from speed_tasks import Job

TASKS = ("clips", "lengths", "track", "text")
LENGTHS = (1.0, 5.0, 10.0, 15.0, 30.0)


def index(options: argparse.Namespace) -> dict[str, Any]:
    """Index a folder into a new library, with the package's own threads and settings."""
    from clap_musicgen import ClapMusicGen, Library
    from sounds import noise

    model = ClapMusicGen.from_pretrained(options.model)
    model.embed_clips(noise(model.clip_seconds, rate=model.sample_rate, count=1))  # builds caches
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with Library.open(Path(folder) / "library", model) as library:
            done = library.add(options.index, workers=options.workers)
        wall = time.perf_counter() - started
    return {
        "tracks": len(done.added),
        "failed": len(done.failed),
        "audio_seconds": done.seconds,
        "wall_seconds": wall,
        "times_real_time": done.seconds / wall,
        "workers": options.workers,
        "cores": os.cpu_count(),
    }


def tell_index(found: dict[str, Any]) -> str:
    """One sentence."""
    return (
        f"{found['tracks']} tracks ({found['failed']} failed), {found['audio_seconds']:.0f} s of "
        f"audio in {found['wall_seconds']:.1f} s: {found['times_real_time']:.1f} × real time with "
        f"{found['workers']} decoder(s) on {found['cores']} cores\n"
    )


def job_of(options: argparse.Namespace, *, longest: float) -> Job:
    """What the tasks are told; models are built with `longest` as their clip length, in seconds."""
    from sides import AUDIO_KEYS, TEXT_KEYS, Setting
    from speed_tasks import Job

    known = (*AUDIO_KEYS, *TEXT_KEYS)
    if unknown := sorted(set(options.only or ()) - set(known)):
        raise SystemExit(f"error: --only {unknown}: choose from {', '.join(known)}")
    return Job(
        setting=Setting(tiny=options.tiny, longest=longest, mini=options.model),
        keys=tuple(options.only or known),
        rounds=options.rounds,
        batch=options.batch,
        threads=options.threads,
        kept_memory=options.kept_memory,
    )


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Run the tasks, one after the other; models are freed in between."""
    limit_threads(options.threads)
    options.kept_memory = keep_memory(options.allocator)
    import speed_tasks

    found: dict[str, Any] = {"machine": machine(options.threads), "rounds": options.rounds}
    found["large_buffers_kept"] = options.kept_memory
    made: list[Table] = []
    for task in options.tasks:
        if task == "clips":
            job = job_of(options, longest=options.seconds)
            found[task], table = speed_tasks.clips(job, seconds=options.seconds)
        elif task == "lengths":
            job = job_of(options, longest=max(options.lengths))
            found[task], table = speed_tasks.lengths(job, each=options.lengths)
        elif task == "track":
            job = job_of(options, longest=options.seconds)
            found[task], table = speed_tasks.track(job, seconds=options.track_seconds)
        else:
            job = job_of(options, longest=options.seconds)
            found[task], table = speed_tasks.text(job, count=options.texts)
        table.notes.append(caption(found, options.rounds))
        made.append(table)
    return found, made


def caption(found: dict[str, Any], rounds: int) -> str:
    """How the figures below a table were got."""
    kept = "kept" if found["large_buffers_kept"] else "not kept"
    return (
        f"{machine_note(found['machine'])} {rounds} rounds in alternating order; costs are medians, "
        f"ratios medians (least–most) within a round; large buffers {kept} by the allocator."
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed beside peers, in one run.")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {TASKS} (default: clips)")
    parser.add_argument("--only", nargs="+", metavar="SIDE", help="these sides (default: all)")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds (default: 5)")
    parser.add_argument("--threads", type=positive, default=1, help="of each side (default: 1)")
    parser.add_argument("--batch", type=positive, default=8, help="clips at once (default: 8)")
    parser.add_argument(
        "--allocator",
        choices=("keep", "default"),
        default="keep",
        help="keep: the process keeps large buffers (glibc only); default: it is left as it is",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip (default: 10)")
    parser.add_argument("--lengths", type=float, nargs="+", default=LENGTHS, metavar="SECONDS")
    parser.add_argument("--track-seconds", type=float, default=240.0, metavar="SECONDS")
    parser.add_argument("--texts", type=positive, default=256, help="captions (default: 256)")
    parser.add_argument("--model", default="mini", help="what mini is: a folder or a Hub id")
    parser.add_argument("--index", type=Path, metavar="FOLDER", help="measure indexing a folder")
    parser.add_argument("--workers", type=positive, default=1, help="decoders with --index")
    parser.add_argument("--tiny", action="store_true", help="stand-ins of no size, for tests")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    options.tasks = options.tasks or ["clips"]
    if unknown := sorted(set(options.tasks) - set(TASKS)):
        parser.error(f"{unknown}: a task is one of {', '.join(TASKS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    from clap_musicgen.errors import ClapMusicGenError

    try:
        if options.index is not None:
            found = index(options)
            text = json.dumps(found, indent=2) + "\n" if options.json else tell_index(found)
            sys.stdout.write(text)
        else:
            deliver(options, *compare(options))
    except ClapMusicGenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
