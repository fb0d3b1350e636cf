"""Random files of every kind, embedded one after the other: does anything crash, does memory grow?

    python benchmarks/soak.py --count 1000
    python benchmarks/soak.py --count 1 --first 417      # the file of one number again

Each file follows from `--seed` and its number: its kind (every one that PyAV can write and the
package reads), its length (log-uniform, 0.05 to 600 seconds), its rate (8 to 192 kHz) and its
channels (1 to 8), as far as the encoder of that kind takes them. A file has at most CAP samples over
all channels, because 600 seconds of 8 channels at 192 kHz are 3.7 GB: what exceeds it loses
channels first, then rate, and seconds last. The first files are the extremes. One file in twenty is
damaged: cut off, overwritten in places, or emptied.

A child process embeds, so that a crash is seen, counted and named. Exit code 1 where something
crashed or raised anything but AudioError, or where memory grew. Memory counts as grown if its floor
over the last hundred files lies more than `--tolerance` MiB above that over the second hundred; the
first hundred fills caches. One file lies on the disk at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sounds
from memory import peak_bytes
from tables import Table, add_output_options, deliver, positive

CAP = 2**26
"""Samples of a file over all channels: 600 s of 44.1 kHz stereo fit, and so do 600 s at 96 kHz mono."""
SHORTEST, LONGEST = 0.05, 600.0
DAMAGED = 0.05
EXTREMES = (
    ("wav, floats", LONGEST, 8_000, 1),
    ("flac", LONGEST, 44_100, 2),
    ("wav", SHORTEST, 192_000, 8),
    ("mp3", LONGEST, 48_000, 2),
    ("wav, 24 bits", 40.0, 192_000, 8),
    ("aiff", SHORTEST, 8_000, 8),
)
"""Kind, seconds, rate and channels of the first files."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file is made of; `damage` is "", "cut", "overwritten" or "emptied"."""

    number: int
    kind: str
    seconds: float
    rate: int
    channels: int
    damage: str = ""
    capped: bool = False


def recipe(number: int, *, seed: int, longest: float = LONGEST) -> Recipe:
    """What the file of a number is, always the same for a seed; none is longer than `longest`."""
    generator = np.random.default_rng([seed, number])
    if number < len(EXTREMES):
        kind, seconds, rate, channels = EXTREMES[number]
        return Recipe(number, kind, min(seconds, longest), rate, channels)
    name = str(generator.choice(list(sounds.KINDS)))
    kind_ = sounds.KINDS[name]
    seconds = float(np.exp(generator.uniform(math.log(SHORTEST), math.log(longest))))
    rate, channels = int(generator.choice(kind_.rates)), int(generator.choice(kind_.channels))
    damage = ""
    if generator.random() < DAMAGED:
        damage = str(generator.choice(["cut", "overwritten", "emptied"]))
    drawn = (seconds, rate, channels)
    seconds, rate, channels = capped(*drawn, kind=kind_)
    return Recipe(number, name, seconds, rate, channels, damage, (seconds, rate, channels) != drawn)


def capped(
    seconds: float, rate: int, channels: int, *, kind: sounds.Kind
) -> tuple[float, int, int]:
    """Bring a file below CAP samples: with fewer channels, then a lower rate, then fewer seconds."""
    for fewer in sorted((c for c in kind.channels if c <= channels), reverse=True):
        channels = fewer
        if seconds * rate * channels <= CAP:
            return seconds, rate, channels
    for lower in sorted((r for r in kind.rates if r <= rate), reverse=True):
        rate = lower
        if seconds * rate * channels <= CAP:
            return seconds, rate, channels
    return CAP / (rate * channels), rate, channels


def make(made: Recipe, folder: Path, *, seed: int) -> Path:
    """Write the file of a recipe."""
    kind = sounds.KINDS[made.kind]
    path = folder / f"{made.number}{kind.suffix}"
    blocks = sounds.music(
        made.seconds, rate=made.rate, channels=made.channels, seed=seed + made.number
    )
    sounds.write_file(path, blocks, kind=kind, rate=made.rate, channels=made.channels)
    damage(path, made, seed=seed)
    return path


def damage(path: Path, made: Recipe, *, seed: int) -> None:
    """Harm a file as its recipe says."""
    generator = np.random.default_rng([seed, made.number, 1])
    size = path.stat().st_size
    if made.damage == "cut":
        os.truncate(path, int(size * generator.uniform(0.0, 1.0)))
    elif made.damage == "emptied":
        os.truncate(path, 0)
    elif made.damage == "overwritten":
        with path.open("r+b") as file:
            for place in generator.integers(0, max(size, 1), size=20):
                file.seek(int(place))
                file.write(generator.bytes(64))


# The child ----------------------------------------------------------------------------------------


def work(options: argparse.Namespace) -> None:
    """Embed the files of the numbers asked for; tell the outcome of each in a line of JSON."""
    import torch

    from clap_musicgen import ClapMusicGen
    from clap_musicgen.errors import AudioError
    from timing import keep_memory

    torch.set_num_threads(options.threads)
    keep_memory(options.allocator)
    model = ClapMusicGen.from_pretrained(options.model)
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.first, options.first + options.count):
            made = recipe(number, seed=options.seed, longest=options.longest)
            say({"begun": asdict(made)})
            path = make(made, Path(scratch), seed=options.seed)
            size, started = path.stat().st_size, time.perf_counter()
            outcome, reason = "embedded", ""
            try:
                vectors = model.embed_audio([path])
                if not np.isfinite(vectors).all():
                    outcome, reason = "wrong", "the vector is not finite"
            except AudioError as error:
                outcome, reason = "refused", error.reason
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
                outcome, reason = "raised", f"{type(error).__name__}: {error}"
            path.unlink()
            seconds = time.perf_counter() - started
            done = {"number": number, "outcome": outcome, "reason": reason, "bytes": size}
            say({**done, "seconds": seconds, "resident": resident_bytes()})


def say(line: dict[str, Any]) -> None:
    """Tell the parent."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not tell, its peak so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_bytes()
    return pages * os.sysconf("SC_PAGE_SIZE")


# The parent ---------------------------------------------------------------------------------------


def listen(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Outcomes of all files; a child that dies is an outcome, and ends the soak."""
    given = ["--count", options.count, "--first", options.first, "--seed", options.seed]
    given += ["--longest", options.longest, "--model", options.model, "--threads", options.threads]
    given += ["--allocator", options.allocator, "--child"]
    command = [sys.executable, __file__, *map(str, given)]
    begun: dict[str, Any] = {"number": options.first}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for text in child.stdout or ():
            line = json.loads(text)
            if "begun" in line:
                begun = line["begun"]
            else:
                yield {**begun, **line}
        code = child.wait()
    if code != 0:
        yield {**begun, "outcome": "crashed", "reason": f"the process ended with code {code}"}


def blocks_of(resident: Sequence[int], every: int) -> list[dict[str, float]]:
    """Floor, mean and peak of resident memory in each full block of `every` files, in MiB."""
    blocks = [np.array(resident[n : n + every]) / 2**20 for n in range(0, len(resident), every)]
    return [
        {"floor": float(b.min()), "mean": float(b.mean()), "peak": float(b.max())}
        for b in blocks
        if len(b) == every
    ]


def growth(blocks: Sequence[dict[str, float]]) -> float | None:
    """By how many MiB the floor of the last block lies above the second's; None below 3 blocks."""
    return blocks[-1]["floor"] - blocks[1]["floor"] if len(blocks) >= 3 else None


def verdicts(
    outcomes: Counter[str], grown: float | None, *, tolerance: float
) -> tuple[bool, list[str]]:
    """Whether all is well, and what is to be said."""
    bad = {name: outcomes[name] for name in ("crashed", "raised", "wrong") if outcomes[name]}
    said = [f"NOT WELL: {bad}" if bad else "no crash; every refusal was an AudioError"]
    if grown is None:
        said.append("memory: too few files to judge")
    else:
        word = "GROWS" if grown > tolerance else "is flat"
        said.append(f"memory {word}: the floor moved by {grown:+.0f} MiB of {tolerance:g} allowed")
    return not bad and (grown is None or grown <= tolerance), said


def soak(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Run all files; tell of each block as it ends."""
    outcomes: Counter[str] = Counter()
    resident: list[int] = []
    notable: list[dict[str, Any]] = []
    seconds, capped_files = 0.0, 0
    for done in listen(options):
        outcomes[done["outcome"]] += 1
        seconds += done.get("seconds", 0.0)
        capped_files += done.get("capped", False)
        if done["outcome"] not in ("embedded", "refused") or (
            done["outcome"] == "refused" and not done["damage"]
        ):
            notable.append(done)
        if "resident" in done:
            resident.append(done["resident"])
        if len(resident) % options.every == 0 and resident:
            last = blocks_of(resident, options.every)[-1]
            sys.stderr.write(f"{len(resident)} files, {last['floor']:.0f} MiB resident\n")
    blocks = blocks_of(resident, options.every)
    grown = growth(blocks)
    well, said = verdicts(outcomes, grown, tolerance=options.tolerance)
    found = {"outcomes": dict(outcomes), "capped": capped_files, "compute_seconds": seconds}
    found |= {"blocks": blocks, "growth": grown, "notable": notable, "well": well, "said": said}
    return found, tables_of(found, options)


def tables_of(found: dict[str, Any], options: argparse.Namespace) -> list[Table]:
    """Outcomes, and memory by blocks."""
    rows = [(name, str(count)) for name, count in found["outcomes"].items()]
    notes = [f"{found['capped']} files were brought below {CAP} samples.", *found["said"]]
    notes += [f"{n['number']}: {n['outcome']}, {n['reason']} ({n})" for n in found["notable"]]
    title = f"{options.count} random files, seed {options.seed}"
    outcomes = Table(title, ("outcome", "files"), rows, notes)
    cells = [
        (
            f"{n * options.every + 1}–{(n + 1) * options.every}",
            *(f"{block[name]:.0f}" for name in ("floor", "mean", "peak")),
        )
        for n, block in enumerate(found["blocks"])
    ]
    headings = ("files", "floor", "mean", "highest")
    return [outcomes, Table("Resident memory after a file, MiB", headings, cells)]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Random audio files: no crash, no leak.")
    parser.add_argument("--count", type=positive, default=1000, help="files (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds (default: 600)")
    parser.add_argument("--every", type=positive, default=100, help="files of a memory block")
    parser.add_argument("--tolerance", type=float, default=64.0, help="MiB (default: 64)")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--allocator", choices=("default", "keep"), default="default")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.child:
        work(options)
        return 0
    found, made = soak(options)
    deliver(options, found, made)
    return 0 if found["well"] else 1


if __name__ == "__main__":
    sys.exit(main())
