"""How far from what this machine's matrix products reach: percent of the roofline, part by part.

    python benchmarks/roofline.py
    python benchmarks/roofline.py --sides published-12 published-12-fast mini --threads 2

First the machine's own rate: fp32 products of several sizes by torch's default library and by
oneDNN's packed kernel, and int8 products by the kernel that `fast` uses, with the quantising around
it. The best fp32 rate is the roof of all parts, and for the linear maps of `fast` the int8 rate is.
Then what a clip costs: operations from the sizes (`flops.py`), seconds measured.

The codec, the decoder and the projection are timed as the model runs them. The LSTM, the linear maps
and the attention are timed alone, on random states of their shapes, with the kernels that the model
uses; what the codec takes beyond the LSTM goes to the convolutions, and what the decoder takes
beyond its two parts is listed as the rest of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from tables import Table, add_output_options, deliver, machine_note, positive
from timing import keep_memory, limit_threads, machine

if TYPE_CHECKING:
    from torch import Tensor

    from clap_musicgen import ClapMusicGen

SIZES = (256, 512, 1024, 2048, 4096)
SIDES = ("published-12", "published-12-fast", "mini", "mini-fast")


def seconds_of(work: Callable[[], object], *, least: float = 0.2, most: float = 5.0) -> float:
    """Median seconds of a call, over at least three calls and `least` seconds, or `most` seconds."""
    work()
    found: list[float] = []
    while sum(found) < most and (len(found) < 3 or sum(found) < least):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return median(found)


def machine_rates(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Operations per second of square products, by size and library; those that this machine has."""
    import torch

    from clap_musicgen.model.kernels import Packed, Quantised, packed_kernels

    rows = []
    for size in sizes:
        left, right = torch.randn(size, size), torch.randn(size, size)
        kernels: dict[str, Callable[[Tensor], Tensor]] = {"fp32, torch's": right.t().__rmatmul__}
        if packed_kernels():
            kernels["fp32, packed"] = Packed(right)
            kernels["int8, quantising included"] = Quantised(right)
        for name, kernel in kernels.items():
            rate = 2 * size**3 / seconds_of(partial(kernel, left))
            rows.append({"size": size, "kind": name, "flops_per_second": rate})
    return rows


def roof(rates: Sequence[dict[str, Any]], kind: str) -> float:
    """The best rate of a kind, "fp32" or "int8"; that of fp32 where there is no int8."""
    own = [r["flops_per_second"] for r in rates if r["kind"].startswith(kind)]
    return max(own) if own else roof(rates, "fp32")


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the parts of a model work on for one batch; the decoder takes one clip after the other."""

    clips: int
    frames: int
    steps: int


def part_seconds(model: ClapMusicGen, *, seconds: float, batch: int) -> dict[str, float]:
    """Seconds of each part for a batch of clips, by name; "rest" is the decoder's rest."""
    import torch

    from clap_musicgen.model.audio_encoder import frame_count
    from flops import samples_of
    from sounds import noise

    encoder = model.audio_encoder
    seconds = samples_of(model.config, seconds) / model.sample_rate
    clips = noise(seconds, rate=model.sample_rate, count=batch)
    sounds = [torch.from_numpy(clip) for clip in clips]
    frames = int(frame_count(torch.tensor(len(clips[0])), encoder.hop))
    skipped = encoder.codebooks if model.config.delay else 0
    shapes = Shapes(batch, frames, frames + skipped)
    with torch.inference_mode():
        codec = seconds_of(codec_work(model, sounds))
        decoder = seconds_of(decoder_work(model, shapes))
        lstm = seconds_of(lstm_work(model, shapes))
        repeats = model.config.depth * batch
        linear = seconds_of(linear_work(model, shapes)) * repeats
        attention = seconds_of(attention_work(model, shapes)) * repeats
        pooled = torch.randn(1, encoder.pooled_size)
        return {
            "whole": seconds_of(lambda: model.embed_clips(clips)),
            "convolutions": max(codec - lstm, 0.0),
            "LSTM": lstm,
            "linear maps": linear,
            "attention": attention,
            "rest": max(decoder - linear - attention, 0.0),
            "projection": seconds_of(lambda: model.audio_projection(pooled)) * batch,
        }


def codec_work(model: ClapMusicGen, sounds: list[Tensor]) -> Callable[[], object]:
    """Waveforms to codes, as the model's runtime does it on this processor."""
    import torch

    from clap_musicgen.model.kernels import packed_kernels
    from clap_musicgen.model.packed_codec import PackedCodec

    encoder = model.audio_encoder
    if packed_kernels():
        packed = PackedCodec(encoder.codec)
        return lambda: packed.encode(sounds, encoder.codebooks)
    lengths = torch.tensor([len(sound) for sound in sounds])
    together = torch.stack(sounds)
    return lambda: encoder.encode(together, lengths)


def decoder_work(model: ClapMusicGen, shapes: Shapes) -> Callable[[], object]:
    """Codes to hidden states of all clips, as the model's runtime does it on this processor."""
    import torch

    from clap_musicgen.model.kernels import Packed, Quantised, packed_kernels
    from clap_musicgen.model.packed_decoder import PackedDecoder

    encoder = model.audio_encoder
    codes = torch.randint(encoder.pad, (encoder.codebooks, shapes.steps))
    layers = model.config.layers
    if packed_kernels():
        linear = Quantised if model.precision == "fast" else Packed
        packed = PackedDecoder(encoder.decoder, linear=linear)
        return lambda: [packed.hidden_states(codes, layers) for _ in range(shapes.clips)]
    decoder: Any = encoder.decoder
    return lambda: [decoder(input_ids=codes, use_cache=False) for _ in range(shapes.clips)]


def lstm_work(model: ClapMusicGen, shapes: Shapes) -> Callable[[], object]:
    """The codec's LSTM over the frames of all clips; a lone clip goes twice, as in the runtime."""
    import torch

    codec: Any = model.audio_encoder.codec
    lstm = next(m for m in codec.encoder.modules() if isinstance(m, torch.nn.LSTM))
    states = torch.randn(shapes.frames, max(shapes.clips, 2), lstm.input_size)
    return lambda: lstm(states)


def linear_work(model: ClapMusicGen, shapes: Shapes) -> Callable[[], object]:
    """The linear maps of one decoder layer over the steps of one clip."""
    import torch
    from torch.nn.functional import linear

    from clap_musicgen.model.kernels import Packed, Quantised, packed_kernels

    decoder: Any = model.audio_encoder.decoder
    hidden, wide = decoder.config.hidden_size, decoder.config.ffn_dim
    outputs_inputs = ((3 * hidden, hidden), (hidden, hidden), (wide, hidden), (hidden, wide))
    weights = [torch.randn(shape) for shape in outputs_inputs]
    rows = [torch.randn(shapes.steps, weight.shape[1]) for weight in weights]
    maps: list[Callable[[Tensor], Tensor]] = [partial(linear, weight=w) for w in weights]
    if packed_kernels():
        kernel = Quantised if model.precision == "fast" else Packed
        maps = [kernel(weight) for weight in weights]
    return lambda: [one(given) for one, given in zip(maps, rows, strict=True)]


def attention_work(model: ClapMusicGen, shapes: Shapes) -> Callable[[], object]:
    """The attention of one decoder layer over the steps of one clip."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    decoder: Any = model.audio_encoder.decoder
    heads = decoder.config.num_attention_heads
    shape = (1, heads, shapes.steps, decoder.config.hidden_size // heads)
    queries, keys, values = (torch.randn(shape) for _ in range(3))
    return lambda: scaled_dot_product_attention(queries, keys, values, is_causal=True)


def part_rows(
    model: ClapMusicGen, found: dict[str, float], rates: Any, *, seconds: float, batch: int
) -> list[dict[str, Any]]:
    """Operations, seconds and percent of the roof of each part and of the whole."""
    from flops import clip_flops, samples_of

    counted = clip_flops(model.config, samples_of(model.config, seconds))
    counted["convolutions"] += counted.pop("quantiser")  # a hundredth of them, in the same seconds
    counted["whole"] = sum(counted.values())
    fast = model.precision == "fast"
    rows = []
    for part, spent in found.items():
        operations = counted.get(part, 0) * batch
        kind = "int8" if fast and part == "linear maps" else "fp32"
        rows.append(
            {
                "part": part,
                "gflop": operations / 1e9,
                "milliseconds": 1e3 * spent,
                "gflop_per_second": operations / spent / 1e9 if spent else 0.0,
                "percent": 100 * operations / spent / roof(rates, kind) if spent else 0.0,
                "roof": kind,
            }
        )
    return rows


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """The machine's rates, and a table for each side."""
    limit_threads(options.threads)
    keep_memory("keep")
    from sides import Setting, build, name_of

    rates = machine_rates(options.sizes)
    found: dict[str, Any] = {"machine": machine(options.threads), "rates": rates, "sides": {}}
    note = machine_note(found["machine"])
    made = [rate_table(rates, note)]
    setting = Setting(tiny=options.tiny, longest=options.seconds, mini=options.model)
    for key in options.sides:
        model: Any = build(key, setting).module
        spent = part_seconds(model, seconds=options.seconds, batch=options.batch)
        rows = part_rows(model, spent, rates, seconds=options.seconds, batch=options.batch)
        found["sides"][key] = rows
        title = f"{name_of(key)}: {options.batch} clips of {options.seconds:g} s"
        made.append(part_table(title, rows, note))
    return found, made


def rate_table(rates: Sequence[dict[str, Any]], note: str) -> Table:
    """GFLOP/s by size and kind."""
    sizes = sorted({rate["size"] for rate in rates})
    kinds = list(dict.fromkeys(rate["kind"] for rate in rates))
    by = {(r["kind"], r["size"]): f"{r['flops_per_second'] / 1e9:.1f}" for r in rates}
    cells = [(kind, *(by[kind, size] for size in sizes)) for kind in kinds]
    headings = ("square products, GFLOP/s", *map(str, sizes))
    return Table("What the machine's matrix products reach", headings, cells, [note])


def part_table(title: str, rows: Sequence[dict[str, Any]], note: str) -> Table:
    """Parts, with the whole first."""
    cells = [
        (
            row["part"],
            f"{row['gflop']:.1f}",
            f"{row['milliseconds']:.0f}",
            f"{row['gflop_per_second']:.1f}",
            f"{row['percent']:.0f} % of {row['roof']}",
        )
        for row in rows
    ]
    headings = ("part", "GFLOP", "ms", "GFLOP/s", "of the roof")
    return Table(title, headings, cells, [note])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Percent of the machine's matrix-product rate.")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--batch", type=positive, default=4, help="clips at once (default: 4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a clip (default: 10)")
    parser.add_argument("--sizes", type=positive, nargs="+", default=SIZES, help="of the products")
    parser.add_argument("--model", default="mini", help="what mini is: a folder or a Hub id")
    parser.add_argument("--tiny", action="store_true", help="stand-ins of no size, for tests")
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    deliver(options, *compare(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
