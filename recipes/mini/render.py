"""Render the MIDI items of a corpus to 32 kHz mono windows, each varied at random.

    python recipes/mini/render.py --items corpus/items.jsonl --midi MIDI --out corpus/audio \\
        --variants 2 --workers 16 --soundfonts A.sf2 B.sf3

Every worker appends raw little-endian int16 samples to its own `shard_XX.i16`; this process writes
one line per window to `index.jsonl` {item, variant, shard, offset, samples, seconds, labels, split,
group, source, part, soundfont, seed}, offset and samples counted in samples. A rerun skips what
the index has, and new workers open new shards. A window depends on item, variant and seed alone,
not on the number of workers. The sound comes from the fluidsynth program.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from effects import random_chain, rms, trim_leading_silence
from midi_file import read_piece, write_piece
from variation import Variation, vary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SAMPLE_RATE = 32_000
MIN_SECONDS = 1.5
SILENT_RMS = 1e-3  # of a render before its level is set: nothing that one would call music
TIMEOUT_SECONDS = 120
DEFAULT_SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every worker needs to know."""

    midi: Path
    out: Path
    fluidsynth: str
    soundfonts: tuple[Path, ...]
    seconds: tuple[float, float]
    seed: int


@dataclass(frozen=True, slots=True)
class Job:
    """One window to make."""

    item: dict[str, Any]
    variant: int


@dataclass(slots=True)
class Worker:
    """The state of a worker process: its settings, its shard and the shard's length."""

    settings: Settings
    shard: str
    file: IO[bytes]
    samples: int = 0


class RenderError(Exception):
    """A window could not be made; the message says why."""


# --- one window -------------------------------------------------------------------------------


def synthesize(
    midi: Path, soundfont: Path, *, fluidsynth: str, options: list[str]
) -> NDArray[np.float32]:
    """Mono waveform (T,) of a MIDI file at 32 kHz: the mean of fluidsynth's two channels."""
    target = midi.with_suffix(".wav")
    command = [fluidsynth, "-ni", "-q", "-r", str(SAMPLE_RATE), "-O", "s16", "-T", "wav"]
    command += ["-o", "synth.dynamic-sample-loading=1", *options, "-F", str(target)]
    command += [str(soundfont), str(midi)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RenderError(f"fluidsynth took over {TIMEOUT_SECONDS} s") from error
    if done.returncode != 0 or not target.exists():
        raise RenderError(f"fluidsynth failed ({done.returncode}): {done.stderr[-300:]!r}")
    with wave.open(str(target), "rb") as sound:
        raw = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    target.unlink()
    return np.asarray(raw.reshape(-1, 2).mean(axis=1) / 32768.0, dtype=np.float32)


def random_options(rng: random.Random) -> list[str]:
    """Gain, reverb and chorus of the synthesizer."""
    options = ["-g", f"{rng.uniform(0.25, 0.5):.2f}", "-o", "synth.polyphony=192"]
    if rng.random() < 0.25:
        options += ["-R", "0"]
    else:
        room, level = rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.9)
        options += ["-R", "1", "-o", f"synth.reverb.room-size={room:.2f}"]
        options += ["-o", f"synth.reverb.level={level:.2f}"]
        options += ["-o", f"synth.reverb.damp={rng.uniform(0.0, 0.6):.2f}"]
    return options + (["-C", "0"] if rng.random() < 0.5 else ["-C", "1"])


def render_job(
    job: Job, settings: Settings, scratch: Path
) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """One varied window as int16 samples (T,) and its line of the index, less shard and offset.

    Raises:
        RenderError: nothing worth hearing came out.
        OSError, EOFError, ValueError: the MIDI file cannot be used.
    """
    seed = f"{settings.seed}:{job.item['id']}:{job.variant}"
    rng = random.Random(seed)
    variation = vary(
        read_piece(settings.midi / job.item["file"]),
        job.item["labels"],
        source=job.item["source"],
        seconds=settings.seconds,
        rng=rng,
    )
    soundfont = rng.choice(settings.soundfonts)
    midi = scratch / "window.mid"
    write_piece(variation.piece, midi)
    waveform = synthesize(
        midi, soundfont, fluidsynth=settings.fluidsynth, options=random_options(rng)
    )
    samples = finish(waveform, variation.piece.duration, seed=rng.getrandbits(32))
    return samples, _index_row(job, variation, soundfont, seed, samples.size)


def finish(waveform: NDArray[np.float32], seconds: float, *, seed: int) -> NDArray[np.int16]:
    """Cut to the window, trim silence, apply effects, quantise.

    Raises:
        RenderError: the sound is near silent or too short.
    """
    waveform = waveform[: round(seconds * SAMPLE_RATE)]
    waveform = trim_leading_silence(waveform, sample_rate=SAMPLE_RATE)
    if waveform.size < MIN_SECONDS * SAMPLE_RATE:
        raise RenderError(f"only {waveform.size / SAMPLE_RATE:.2f} s of sound")
    if rms(waveform) < SILENT_RMS:
        raise RenderError(f"near silent: rms {rms(waveform):.1e}")
    waveform = random_chain(waveform, sample_rate=SAMPLE_RATE, rng=np.random.default_rng(seed))
    fade = np.linspace(1.0, 0.0, SAMPLE_RATE // 100, dtype=np.float32)
    waveform[-fade.size :] *= fade  # the hard edge of the window would click
    return np.round(np.clip(waveform, -1.0, 1.0) * 32767.0).astype("<i2")


def _index_row(
    job: Job, variation: Variation, soundfont: Path, seed: str, samples: int
) -> dict[str, Any]:
    return {
        "item": job.item["id"],
        "variant": job.variant,
        "samples": samples,
        "seconds": round(samples / SAMPLE_RATE, 3),
        "labels": variation.labels,
        "split": job.item["split"],
        "group": job.item["group"],
        "source": job.item["source"],
        "part": variation.part,
        "tempo_factor": round(variation.tempo_factor, 4),
        "semitones": variation.semitones,
        "soundfont": soundfont.name,
        "seed": seed,
    }


# --- workers ----------------------------------------------------------------------------------

_worker: Worker | None = None


def _fast_folder() -> str | None:
    shm = Path("/dev/shm")  # noqa: S108  scratch files need not touch a disk
    return str(shm) if os.access(shm, os.W_OK) else None


def _start_worker(settings: Settings, numbers: multiprocessing.Queue[int]) -> None:
    """Give the process a shard of its own, kept open."""
    global _worker
    name = f"shard_{numbers.get():03d}.i16"
    _worker = Worker(settings, name, (settings.out / name).open("ab"))


def _work(job: Job) -> dict[str, Any]:
    """Render, append to the shard, answer with the index line or with {"error": ...}."""
    worker = _worker
    assert worker is not None
    try:
        with tempfile.TemporaryDirectory(dir=_fast_folder()) as scratch:
            samples, row = render_job(job, worker.settings, Path(scratch))
    except (RenderError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        return {"item": job.item["id"], "variant": job.variant, "error": reason}
    worker.file.write(samples.tobytes())
    worker.file.flush()
    row |= {"shard": worker.shard, "offset": worker.samples}
    worker.samples += samples.size
    return row


# --- the whole corpus -------------------------------------------------------------------------


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file; a last line cut off by a crash is removed from the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def jobs_left(
    items: list[dict[str, Any]], done: list[dict[str, Any]], *, variants: int
) -> list[Job]:
    """Windows still to make, first variants first, mixed so that a stop leaves a fair sample."""
    have = {(row["item"], row["variant"]) for row in done}
    midi = [item for item in items if item["kind"] == "midi"]
    random.Random(0).shuffle(midi)
    wanted = [Job(item, variant) for variant in range(variants) for item in midi]
    return [job for job in wanted if (job.item["id"], job.variant) not in have]


def _next_shard(out: Path) -> int:
    numbers = [int(p.stem.split("_")[1]) for p in out.glob("shard_[0-9]*.i16")]
    return max(numbers, default=-1) + 1


def render_all(jobs: list[Job], settings: Settings, *, workers: int) -> Iterator[dict[str, Any]]:
    """Index lines and errors as they come."""
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    first = _next_shard(settings.out)
    for number in range(first, first + workers):
        numbers.put(number)
    with context.Pool(workers, _start_worker, (settings, numbers)) as pool:
        yield from pool.imap_unordered(_work, jobs, chunksize=4)


def run(args: argparse.Namespace) -> int:
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        args.midi, out, args.fluidsynth, tuple(args.soundfonts), tuple(args.seconds), args.seed
    )
    index = out / "index.jsonl"
    done = read_rows(index)
    jobs = jobs_left(read_rows(args.items), done, variants=args.variants)[: args.limit]
    print(f"{len(done)} windows done, {len(jobs)} to make", flush=True)
    began, seconds, failed = time.monotonic(), 0.0, 0
    with index.open("a", encoding="utf-8") as lines, (out / "failed.jsonl").open("a") as errors:
        for count, row in enumerate(render_all(jobs, settings, workers=args.workers), 1):
            print(json.dumps(row), file=errors if "error" in row else lines, flush=True)
            failed += "error" in row
            seconds += row.get("seconds", 0.0)
            elapsed = time.monotonic() - began
            if count % 200 == 0 or count == len(jobs):
                rate = seconds / elapsed / args.workers
                print(
                    f"{count}/{len(jobs)} in {elapsed:.0f} s, {seconds / 3600:.2f} h of audio, "
                    f"{rate:.0f} x real time per worker, {failed} failed",
                    flush=True,
                )
            if args.minutes and elapsed > args.minutes * 60:
                print(f"stopped after {args.minutes} minutes; a rerun goes on", flush=True)
                break
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--items", type=Path, required=True, help="items.jsonl of corpus.py")
    parser.add_argument("--midi", type=Path, required=True, help="folder of the MIDI sources")
    parser.add_argument("--out", type=Path, default=Path("corpus/audio"))
    parser.add_argument("--variants", type=int, default=2, help="windows per MIDI file")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, nargs=2, default=(20.0, 20.0), metavar="S")
    parser.add_argument("--fluidsynth", default="fluidsynth", help="program")
    parser.add_argument("--soundfonts", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--limit", type=int, help="make at most so many windows in this run")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.soundfonts = args.soundfonts or [Path(p) for p in DEFAULT_SOUNDFONTS]
    for path in [args.items, args.midi, *args.soundfonts]:
        if not path.exists():
            parser.error(f"{path} does not exist")
    if shutil.which(args.fluidsynth) is None:
        parser.error(f"no program {args.fluidsynth}: apt-get install fluidsynth, or --fluidsynth")
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
