"""Seconds of compute per second of audio: mini beside CLAP's audio tower, in one run.

    python benchmarks/embed_speed.py                    # one thread each, side by side
    python benchmarks/embed_speed.py --index ~/Music    # a whole folder: decoding and embedding

The peer is transformers' `ClapAudioModelWithProjection` with the configuration of
`laion/clap-htsat-unfused` (HTSAT-tiny; ClapConfig's defaults) and random weights: speed does not
depend on them. It is shown with its own mel front end, `ClapFeatureExtractor`, and without. Both
sides get 10-second clips of the same seconds in the same batches, in one process with one thread
and one allocator setting. The order alternates from round to round, and ratios are taken within a
round, so that what else the machine does hits both.

The numbers say nothing about quality, and seconds on one machine nothing about another: compare
the ratios.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clap_musicgen import ClapMusicGen

Work: TypeAlias = Callable[[], object]
Found: TypeAlias = dict[str, Any]

MINI = "mini (waveform to embedding)"
CLAP = "CLAP HTSAT-tiny with its mel front end"
TOWER = "CLAP HTSAT-tiny, mel given"
CLIP_SECONDS = 10.0
CLAP_RATE = 48_000
CLAP_EXTRACTOR = {"frequency_min": 50, "truncation": "rand_trunc", "padding": "repeatpad"}
"""Where laion/clap-htsat-unfused departs from ClapFeatureExtractor's defaults."""


def limit_threads(count: int) -> None:
    """One thread per side: must run before numpy and torch are loaded."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(count)
    import torch

    torch.set_num_threads(count)


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed instead of faulting the same pages in again; True if it did.

    Large activations are otherwise returned to the system and zeroed at every layer, which costs
    either side more than some of its layers. Both sides run in this process, so both get it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold, enough = -1, -3, 2**31 - 1
    return bool(mallopt(trim_threshold, enough)) and bool(mallopt(mmap_threshold, enough))


def noise(seconds: float, *, rate: int, count: int) -> list[NDArray[np.float32]]:
    """Clips of decaying noise bursts: something loud enough not to be skipped as silence."""
    import numpy as np

    generator = np.random.default_rng(0)
    samples = round(seconds * rate)
    envelope = 0.3 * np.exp(-(np.arange(samples) % rate) / rate)
    clips = generator.normal(size=(count, samples)) * envelope
    return list(clips.astype(np.float32))


def mini_work(model: ClapMusicGen, batch: int) -> Work:
    """Embed `batch` clips of CLIP_SECONDS, cut further if the model takes only shorter ones."""
    longest = round(model.clip_seconds * model.sample_rate)
    pieces = [
        clip[start : start + longest]
        for clip in noise(CLIP_SECONDS, rate=model.sample_rate, count=batch)
        for start in range(0, len(clip), longest)
    ]
    return lambda: model.embed_clips(pieces)


def clap_works(batch: int) -> tuple[Work, Work]:
    """The peer on the same seconds: with its front end, and with the spectrograms given."""
    import torch
    from transformers import ClapAudioModelWithProjection, ClapConfig, ClapFeatureExtractor

    torch.manual_seed(0)
    extractor = ClapFeatureExtractor(**CLAP_EXTRACTOR)
    tower = ClapAudioModelWithProjection(ClapConfig().audio_config).eval()
    clips = noise(CLIP_SECONDS, rate=CLAP_RATE, count=batch)

    def features() -> torch.Tensor:
        taken = extractor(clips, sampling_rate=CLAP_RATE, return_tensors="pt")
        spectrograms: torch.Tensor = taken["input_features"]
        return spectrograms

    given = features()

    def embed(spectrograms: torch.Tensor) -> object:
        with torch.inference_mode():
            return tower(input_features=spectrograms).audio_embeds

    return (lambda: embed(features())), (lambda: embed(given))


def measure(works: dict[str, Work], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Compute seconds per second of audio, one figure per round; the order alternates."""
    for work in works.values():
        work()  # first calls build caches
    costs: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        names = list(works) if number % 2 == 0 else list(works)[::-1]
        for name in names:
            started = time.perf_counter()
            works[name]()
            costs[name].append((time.perf_counter() - started) / seconds)
    return costs


def summary(costs: dict[str, list[float]]) -> list[Found]:
    """Per side: cost, and its ratio to mini's in the same round, as min, median and max."""
    rows: list[Found] = []
    for name, own in costs.items():
        ratios = [theirs / mini for theirs, mini in zip(own, costs[MINI], strict=True)]
        rows.append(
            {
                "name": name,
                "seconds_per_second": median(own),
                "times_real_time": 1.0 / median(own),
                "ratio_min": min(ratios),
                "ratio_median": median(ratios),
                "ratio_max": max(ratios),
            }
        )
    return rows


def compare(options: argparse.Namespace) -> Found:
    """Both towers side by side."""
    limit_threads(options.threads)
    kept = options.allocator == "keep" and keep_freed_memory()
    from clap_musicgen import ClapMusicGen

    with_front_end, tower_only = clap_works(options.batch)
    works = {
        MINI: mini_work(ClapMusicGen.from_pretrained(options.model), options.batch),
        CLAP: with_front_end,
        TOWER: tower_only,
    }
    seconds = CLIP_SECONDS * options.batch
    rows = summary(measure(works, rounds=options.rounds, seconds=seconds))
    return {
        "threads": options.threads,
        "batch": options.batch,
        "rounds": options.rounds,
        "freed_memory_kept": kept,
        "rows": rows,
    }


def index(options: argparse.Namespace) -> Found:
    """Index a folder into a new library, with the package's own threads and settings."""
    from clap_musicgen import ClapMusicGen, Library

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


def show_comparison(found: Found) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Embedding speed; the ratio is the cost beside mini's in the same round")
    for heading in ("", "ms per s of audio", "× real time", "ratio min", "median", "max"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in found["rows"]:
        ratios = (f"{row[key]:.2f}" for key in ("ratio_min", "ratio_median", "ratio_max"))
        cost = 1e3 * row["seconds_per_second"]
        table.add_row(row["name"], f"{cost:.2f}", f"{row['times_real_time']:.0f}", *ratios)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(
        f"{found['threads']} thread(s), batches of {found['batch']} × {CLIP_SECONDS:g} s, "
        f"{found['rounds']} rounds, freed memory kept: {found['freed_memory_kept']}"
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Embedding speed of mini beside CLAP HTSAT-tiny.")
    parser.add_argument("--model", default="mini", help="mini, a folder or a Hub id")
    parser.add_argument("--batch", type=positive, default=8, help="clips at once (default: 8)")
    parser.add_argument("--rounds", type=positive, default=5, help="rounds (default: 5)")
    parser.add_argument("--threads", type=positive, default=1, help="per side (default: 1)")
    parser.add_argument(
        "--allocator",
        choices=("keep", "default"),
        default="keep",
        help="keep: both sides keep freed memory (glibc only); default: neither is told to",
    )
    parser.add_argument("--index", type=Path, metavar="FOLDER", help="measure indexing a folder")
    parser.add_argument("--workers", type=positive, default=1, help="decoders with --index")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    from clap_musicgen.errors import ClapMusicGenError

    try:
        found = index(options) if options.index else compare(options)
    except ClapMusicGenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif options.index:
        sys.stdout.write(
            f"{found['tracks']} tracks ({found['failed']} failed), "
            f"{found['audio_seconds']:.0f} s of audio in {found['wall_seconds']:.1f} s: "
            f"{found['times_real_time']:.1f} × real time with {found['workers']} decoder(s) on "
            f"{found['cores']} cores\n"
        )
    else:
        show_comparison(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
