"""What `speed.py` measures: clips, clip lengths, a whole track, texts; each gives figures and a table.

Knows sides, rounds and tables; not the command line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import sounds
from clap_musicgen import ClapMusicGen
from clap_musicgen.audio.files import AudioStream, load_audio
from sides import AUDIO_KEYS, MEL_GIVEN, TEXT_KEYS, Setting, Side, build, build_text, name_of
from tables import Table, spread
from timing import Child, Costs, Work, measure, ratios

BASES = ("published-12", "published-12-fast", "mini", "mini-fast")
"""The sides whose cost the others' is divided by."""
TEXT_BASES = ("clap-text",)
ALONE = "proof, default allocator"
TRACK_KINDS = ("mp3", "flac", "wav")


@dataclass(frozen=True, slots=True)
class Job:
    """What all tasks are told.

    Attributes:
        setting: how sides are built.
        keys: the sides, in the order of the table.
        rounds: how often each runs.
        batch: clips at once.
        threads: of each side.
        kept_memory: whether this process keeps large buffers.
    """

    setting: Setting
    keys: tuple[str, ...]
    rounds: int = 5
    batch: int = 8
    threads: int = 1
    kept_memory: bool = True

    @property
    def audio(self) -> list[str]:
        """Those of the keys that embed audio."""
        return [key for key in AUDIO_KEYS if key in self.keys]

    @property
    def text(self) -> list[str]:
        """Those of the keys that embed text."""
        return [key for key in TEXT_KEYS if key in self.keys]


def clips(job: Job, *, seconds: float) -> tuple[dict[str, Any], Table]:
    """Batches of clips of one length; the proof of concept also as its users would run it."""
    works: dict[str, Work] = {}
    names = {key: name_of(key) for key in job.audio}
    for key in job.audio:
        works[key] = clip_work(build(key, job.setting), seconds=seconds, batch=job.batch)
    with ExitStack() as stack:
        if "proof" in names and job.kept_memory:
            child = stack.enter_context(Child(child_arguments(job, seconds=seconds)))
            works[ALONE], names[ALONE] = child.run, f"{names['proof']}, default allocator"
        costs = measure(works, rounds=job.rounds)
    rows = summary(costs, names, per=seconds * job.batch, bases=BASES)
    found = {"seconds": seconds, "batch": job.batch, "rows": rows}
    title = f"{job.batch} × {seconds:g}-second clips"
    return found, cost_table(title, "ms per s of audio", "× real time", rows)


def child_arguments(job: Job, *, seconds: float) -> list[str]:
    """What tells `child.py` to do what this process does."""
    numbers = ["--threads", job.threads, "--batch", job.batch, "--seconds", seconds]
    return ["proof", *map(str, numbers), *(["--tiny"] if job.setting.tiny else [])]


def clip_work(side: Side, *, seconds: float, batch: int) -> Work:
    """One batch of a side, prepared."""
    given = side.prepare(side.clips(seconds, batch))
    return lambda: side.run(given)


def summary(
    costs: Costs, names: dict[str, str], *, per: float, bases: Sequence[str]
) -> list[dict[str, Any]]:
    """Per side: its cost per unit, and its ratio to each of `bases` within the rounds."""
    compared = ratios(costs, bases)
    return [
        {
            "key": key,
            "name": names[key],
            "seconds_per_unit": median(own) / per,
            "units_per_second": per / median(own),
            "ratios": compared[key],
        }
        for key, own in costs.items()
    ]


def cost_table(
    title: str, cost: str, speed: str, rows: list[dict[str, Any]], *, scale: float = 1e3
) -> Table:
    """Cost, speed, and the cost over that of each base: above 1 the row is dearer than the base."""
    bases = list(rows[0]["ratios"])
    cells = [
        (
            row["name"],
            f"{scale * row['seconds_per_unit']:.2f}",
            f"{row['units_per_second']:.1f}",
            *(spread(row["ratios"][base]) for base in bases),
        )
        for row in rows
    ]
    return Table(title, ("", cost, speed, *(f"÷ {base}" for base in bases)), cells)


def lengths(job: Job, *, each: Sequence[float]) -> tuple[dict[str, Any], Table]:
    """Cost per second of audio by the length of the clips, in seconds."""
    names = {key: name_of(key) for key in job.audio}
    built = {key: build(key, job.setting) for key in job.audio}
    found: dict[str, list[dict[str, Any]]] = {}
    for seconds in each:
        works = {k: clip_work(s, seconds=seconds, batch=job.batch) for k, s in built.items()}
        costs = measure(works, rounds=job.rounds)
        per = seconds * job.batch
        found[f"{seconds:g}"] = summary(costs, names, per=per, bases=BASES)
    cells = [
        (name, *(f"{1e3 * rows[n]['seconds_per_unit']:.2f}" for rows in found.values()))
        for n, name in enumerate(names.values())
    ]
    note = "CLAP and mini bring each clip to 10 seconds and cut longer ones; the others take any."
    headings = ("ms per s of audio, clips of", *(f"{name} s" for name in found))
    title = f"Cost by clip length, {job.batch} at once"
    return {"batch": job.batch, "lengths": found}, Table(title, headings, cells, [note])


def track(job: Job, *, seconds: float) -> tuple[dict[str, Any], Table]:
    """From a file to its vector: decoding and embedding all of it; and decoding alone."""
    keys = [key for key in job.audio if key not in MEL_GIVEN]
    names = {key: f"{name_of(key)}, mp3 to vector" for key in keys}
    built = {key: build(key, job.setting) for key in keys}
    with tempfile.TemporaryDirectory() as scratch:
        files = write_tracks(Path(scratch), seconds=seconds)
        works: dict[str, Work] = {}
        for key, side in built.items():
            works[key] = file_work(side, files["mp3"], batch=job.batch)
        for kind, path in files.items():
            works[f"decode {kind}"] = decode_work(path)
            names[f"decode {kind}"] = f"decoding {kind} to 32 kHz mono"
        costs = measure(works, rounds=job.rounds)
    rows = summary(costs, names, per=seconds, bases=BASES)
    title = f"One track of {seconds:g} seconds, 44.1 kHz stereo"
    table = cost_table(title, "seconds per track", "× real time", rows, scale=seconds)
    return {"track_seconds": seconds, "batch": job.batch, "rows": rows}, table


def write_tracks(folder: Path, *, seconds: float) -> dict[str, Path]:
    """The same music as mp3, FLAC and WAV."""
    files = {}
    for name in TRACK_KINDS:
        kind = sounds.KINDS[name]
        files[name] = folder / f"track{kind.suffix}"
        blocks = sounds.music(seconds, rate=44_100, channels=2)
        sounds.write_file(files[name], blocks, kind=kind, rate=44_100, channels=2)
    return files


def file_work(side: Side, path: Path, *, batch: int) -> Work:
    """Decode, cut and embed a file: ours by `embed_audio`, the others in batches of clips."""

    def work() -> None:
        if isinstance(side.module, ClapMusicGen):
            side.module.embed_audio([path])
            return
        pieces = side.pieces(load_audio(path, sample_rate=side.sample_rate).waveform)
        for start in range(0, len(pieces), batch):
            side.run(side.prepare(pieces[start : start + batch]))

    return work


def decode_work(path: Path) -> Work:
    """Decode a file to 32 kHz mono and drop it."""
    return lambda: [None for _ in AudioStream(path, sample_rate=32_000)]


def text(job: Job, *, count: int) -> tuple[dict[str, Any], Table]:
    """Captions: ours beside CLAP's text tower, on the same texts and equally many tokens."""
    texts = sounds.captions(count)
    built = {key: build_text(key, job.setting) for key in job.text}
    works = {key: text_work(side.run, texts) for key, side in built.items()}
    names = {key: side.name for key, side in built.items()}
    rows = summary(measure(works, rounds=job.rounds), names, per=count, bases=TEXT_BASES)
    table = cost_table(f"{count} captions, 64 at once", "ms per text", "texts per s", rows)
    return {"texts": count, "rows": rows}, table


def text_work(run: Any, texts: list[str]) -> Work:
    """All texts of a side."""
    return lambda: run(texts)
