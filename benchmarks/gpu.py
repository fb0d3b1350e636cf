"""Clips per second on a CUDA GPU, and how near that is to the GPU's own matrix products.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --only published-12-fast mert --batches 32 128 --markdown gpu.md

First the bf16 rate of plain matrix products on this GPU, its practical peak; then for each side and
batch size the clips per second from waveforms in memory to vectors in memory, the operations that
this takes (counted in full, whatever their precision), and the percent of the peak. `fast` is bf16
there; the peers run in bf16 too, the proof of concept as its own code runs it, in fp32. A batch that
does not fit in memory says so. Without a CUDA GPU it says so, and all is well.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tables import Table, add_output_options, deliver, positive

if TYPE_CHECKING:
    from sides import Side

SIDES = (
    *("published-12-fast", "published-12", "published-24-fast", "proof", "mini-fast"),
    *("clap-base", "clap-tiny", "mert", "muq", "conformer"),
)
FP32 = ("proof",)
"""Sides that no one runs in bf16."""
BATCHES = (1, 8, 32, 128)
PEAK_SIZES = (2048, 4096, 8192)


def wait(device: str) -> None:
    """Until the device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], *, device: str, rounds: int) -> float:
    """Median seconds of a call after two that warm up."""
    for _ in range(2):
        work()
    found = []
    for _ in range(rounds):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - started)
    return median(found)


def peak_rate(device: str, *, sizes: Sequence[int], rounds: int) -> float:
    """Operations per second of the best of several square products in bf16."""
    best = 0.0
    for size in sizes:
        left = torch.randn(size, size, device=device, dtype=torch.bfloat16)
        spent = seconds_of(partial(torch.matmul, left, left), device=device, rounds=rounds)
        best = max(best, 2 * size**3 / spent)
    return best


def operations(side: Side, *, seconds: float, tiny: bool) -> float:
    """Operations of one clip: those of MusicGen's towers by `flops.py`, a peer's by PyTorch's counter.

    The counter stumbles over weight normalisation, which is therefore folded: measure before.
    """
    from clap_musicgen import ClapMusicGen
    from clap_musicgen.model.audio_encoder import fold_weight_norm
    from flops import clip_flops, samples_of
    from peers import ProofOfConcept
    from sizes import published_config

    config = published_config(whole=True, clip_seconds=seconds, tiny=tiny)
    if isinstance(side.module, ClapMusicGen | ProofOfConcept):  # the counter knows no LSTM
        config = side.module.config if isinstance(side.module, ClapMusicGen) else config
        return float(sum(clip_flops(config, samples_of(config, seconds)).values()))
    fold_weight_norm(side.module)
    given = side.prepare(side.clips(seconds, 1))
    with FlopCounterMode(display=False) as counter:
        side.run(given)
    return float(counter.get_total_flops())


def rate_of(side: Side, *, batch: int, seconds: float, device: str, rounds: int) -> float | None:
    """Clips per second; None where the batch does not fit."""
    given = side.prepare(side.clips(seconds, batch))
    try:
        return batch / seconds_of(lambda: side.run(given), device=device, rounds=rounds)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """All sides at all batch sizes."""
    from sides import Setting, build

    device: str = options.device
    peak = peak_rate(device, sizes=options.peak_sizes, rounds=options.rounds)
    rows: list[dict[str, Any]] = []
    for key in options.only:
        setting = Setting(
            tiny=options.tiny,
            longest=options.seconds,
            device=device,
            half=key not in FP32,
            mini=options.model,
        )
        rows += side_rows(build(key, setting), peak, options)
    found = {"device": name_of(device), "peak_flops_per_second": peak, "rows": rows}
    return found, [table_of(found, options)]


def side_rows(side: Side, peak: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One side at each batch size."""
    given = {"seconds": options.seconds, "rounds": options.rounds}
    rates = {
        batch: rate_of(side, batch=batch, device=options.device, **given)
        for batch in options.batches
    }
    each = operations(side, seconds=options.seconds, tiny=options.tiny)
    return [
        {
            "key": side.key,
            "name": side.name,
            "batch": batch,
            "clips_per_second": rate,
            "gflop_per_clip": each / 1e9,
            "percent_of_peak": None if rate is None else 100 * rate * each / peak,
        }
        for batch, rate in rates.items()
    ]


def name_of(device: str) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def table_of(found: dict[str, Any], options: argparse.Namespace) -> Table:
    """One row per side and batch size."""
    cells = [
        (
            row["name"],
            str(row["batch"]),
            "does not fit" if row["clips_per_second"] is None else f"{row['clips_per_second']:.1f}",
            f"{row['gflop_per_clip']:.1f}",
            "" if row["percent_of_peak"] is None else f"{row['percent_of_peak']:.1f} %",
        )
        for row in found["rows"]
    ]
    note = (
        f"{found['device']}, {found['peak_flops_per_second'] / 1e12:.2f} TFLOP/s in bf16 products "
        f"(the peak of 100 %); PyTorch {torch.__version__}; clips of {options.seconds:g} s."
    )
    headings = ("", "batch", "clips per s", "GFLOP per clip", "of the peak")
    return Table("On a GPU", headings, cells, [note])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Clips per second on a CUDA GPU.")
    parser.add_argument("--only", nargs="+", metavar="SIDE", default=list(SIDES))
    parser.add_argument("--batches", type=positive, nargs="+", default=list(BATCHES))
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip (default: 10)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peak-sizes", type=positive, nargs="+", default=list(PEAK_SIZES))
    parser.add_argument("--model", default="mini", help="what mini is: a folder or a Hub id")
    parser.add_argument("--tiny", action="store_true", help="stand-ins of no size, for tests")
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.stdout.write("no CUDA GPU here: nothing to measure\n")
        return 0
    deliver(options, *compare(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
