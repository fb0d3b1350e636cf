"""How far `fast` departs from `exact` on real music, in what a person would notice: the rankings.

    python benchmarks/precision.py mini ~/Music
    python benchmarks/precision.py runs/mine music/manifest.jsonl --split test --json

Each track is embedded in both precisions. Reported are

- the centred cosine of a track's two vectors: the mean vector of the exact ones is taken out of
  both before. Vectors of one model share a large common direction, so the plain cosine stays near 1
  even where every ranking is scrambled; it is shown last, for that lesson only;
- the top-10 overlap: how many of the ten tracks nearest to a track, and to a text, are the same
  within `exact` as within `fast`, whatever their order;
- the share of codes, of the first clip of each track, that the runtime's codec and transformers'
  own modules agree on.

Texts are the captions of a manifest, those of `--queries`, or a list of its own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clap_musicgen import ClapMusicGen
from clap_musicgen.audio.files import find_audio, load_audio
from clap_musicgen.embedding import Embeddings, Waveform, unit
from clap_musicgen.errors import AudioError, ClapMusicGenError, InputError
from clap_musicgen.model.audio_encoder import normalise_loudness
from clap_musicgen.model.kernels import packed_kernels
from clap_musicgen.model.packed_codec import PackedCodec
from clap_musicgen.model.runtime import padded
from clap_musicgen.training.manifest import read_manifest
from sides import load
from sounds import captions
from tables import Table, add_output_options, deliver, positive
from timing import limit_threads

PERCENTILES = (0, 1, 5, 50)
TOP = 10


def centred(vectors: Embeddings, mean: NDArray[np.floating]) -> Embeddings:
    """Take `mean` (D,) out of (N, D) vectors; unit length again."""
    return unit(vectors.astype(np.float64) - mean)


def centred_cosines(exact: Embeddings, fast: Embeddings) -> NDArray[np.float64]:
    """Cosine of each row of both, the mean of the exact rows taken out of both: (N, D)² → (N,)."""
    mean = exact.astype(np.float64).mean(axis=0)
    one, other = centred(exact, mean), centred(fast, mean)
    return np.asarray(np.einsum("nd,nd->n", one, other, dtype=np.float64))


def top(scores: NDArray[np.floating], k: int) -> NDArray[np.intp]:
    """The k best columns of each row, (N, M) → (N, k); equal scores in the order of the columns."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def overlap(one: NDArray[np.floating], other: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """What share of the k best columns two scorings (N, M) have in common, per row → (N,)."""
    k = min(k, one.shape[1])
    pairs = zip(top(one, k), top(other, k), strict=True)
    return np.array([len(np.intersect1d(a, b)) / k for a, b in pairs])


def neighbour_scores(vectors: Embeddings) -> NDArray[np.float32]:
    """Cosine of each track with each other one, (N, D) → (N, N); itself comes last."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return scores


def neighbour_overlap(exact: Embeddings, fast: Embeddings, k: int) -> NDArray[np.float64]:
    """Overlap of the k nearest other tracks of each track."""
    k = min(k, len(exact) - 1)
    return overlap(neighbour_scores(exact), neighbour_scores(fast), k)


def code_agreement(exact: NDArray[np.integer], fast: NDArray[np.integer]) -> float:
    """Share of equal codes of (K, T) and (K, T)."""
    return float(np.mean(exact == fast))


def distribution(values: NDArray[np.floating]) -> dict[str, float]:
    """Mean and low percentiles; percentile 0 is the lowest."""
    low = np.percentile(values, PERCENTILES)
    return {"mean": float(values.mean())} | {
        f"p{p}": float(v) for p, v in zip(PERCENTILES, low, strict=True)
    }


def figures(
    exact: Embeddings, fast: Embeddings, texts: tuple[Embeddings, Embeddings], *, k: int = TOP
) -> dict[str, dict[str, float]]:
    """All figures of music (N, D) and of texts (M, D) in both precisions."""
    plain = np.einsum("nd,nd->n", exact, fast, dtype=np.float64)
    found = {
        "centred cosine, music": centred_cosines(exact, fast),
        f"top-{k} overlap, music to music": neighbour_overlap(exact, fast, k),
        f"top-{k} overlap, text to music": overlap(texts[0] @ exact.T, texts[1] @ fast.T, k),
        "centred cosine, texts": centred_cosines(*texts),
        "plain cosine, music (tells little)": plain,
    }
    return {name: distribution(values) for name, values in found.items()}


def tracks_of(options: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """The files, and the texts that go with them."""
    texts: list[str] = []
    if options.music.is_dir():
        files = list(find_audio([options.music]))
    else:
        examples = [e for e in read_manifest(options.music) if options.split in (None, e.split)]
        files = list(dict.fromkeys(e.audio for e in examples))
        texts = list(dict.fromkeys(e.text for e in examples if e.text))
    if options.queries is not None:
        lines = options.queries.read_text(encoding="utf-8").splitlines()
        texts = [line.strip() for line in lines if line.strip()]
    return files[: options.limit], texts or captions(60)


def compare(options: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """Embed everything twice."""
    limit_threads(options.threads)
    files, texts = tracks_of(options)
    exact = load(options.model, precision="exact", device=options.device)
    fast = load(options.model, precision="fast", device=options.device)
    sounds, failed = sounds_of(files, rate=exact.sample_rate, seconds=options.seconds)
    first, second, equal = [], [], []
    for sound in sounds:
        first.append(exact.embed_audio([sound])[0])
        second.append(fast.embed_audio([sound])[0])
        equal.append(code_agreement(*codes_of(fast, sound)))
    if len(equal) < 2:
        raise InputError(f"{str(options.music)!r}: rankings need two tracks that can be decoded")
    words = exact.embed_text(texts), fast.embed_text(texts)
    rows = figures(np.stack(first), np.stack(second), words)
    rows["share of equal codes"] = distribution(np.array(equal))
    found = {"model": str(options.model), "tracks": len(equal), "texts": len(texts)}
    return {**found, "failed": failed, "figures": rows}, [table_of(found, rows)]


def sounds_of(
    files: Sequence[Path], *, rate: int, seconds: float | None
) -> tuple[Iterator[Waveform], list[str]]:
    """Decoded files, one at a time, and the list that fills with those that failed."""
    failed: list[str] = []

    def decoded() -> Iterator[Waveform]:
        for path in files:
            try:
                sound = load_audio(path, sample_rate=rate).waveform
            except AudioError as error:
                failed.append(str(error))
                continue
            yield sound if seconds is None else sound[: round(seconds * rate)]

    return decoded(), failed


def codes_of(model: ClapMusicGen, sound: Waveform) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes (K, T) of a sound's first clip: by transformers' modules, and as the runtime gets them."""
    encoder = model.audio_encoder
    clip = sound[: encoder.clip_samples]
    with torch.inference_mode():
        waveforms, samples = (part.to(model.device) for part in padded([clip], encoder))
        plain = encoder.encode(waveforms, samples)[0]
        if encoder.config.loudness == "rms":
            waveforms = normalise_loudness(waveforms, samples)
        if model.device.type == "cpu" and packed_kernels():
            whole = encoder.unpadded(waveforms, samples)
            quick = PackedCodec(encoder.codec).encode(whole, encoder.codebooks)[0]
        else:
            quick = encoder.codec.quantizer.encode(encoder.codec.encoder(waveforms[:, None]))[
                : encoder.codebooks, 0
            ]
    return plain.cpu().numpy(), quick.cpu().numpy()


def near_one(value: float) -> str:
    """Four digits; a value that they would round to 1 as its distance from 1."""
    return f"{value:.4f}" if value == 1.0 or value < 0.99995 else f"1 − {1.0 - value:.0e}"


def table_of(found: dict[str, Any], rows: dict[str, dict[str, float]]) -> Table:
    """One row per figure."""
    headings = ("", "mean", "lowest", "1 %", "5 %", "median")
    cells = [(name, *map(near_one, values.values())) for name, values in rows.items()]
    title = f"{found['model']}, fast beside exact: {found['tracks']} tracks, {found['texts']} texts"
    note = f"By chance an overlap is about {min(1.0, TOP / max(found['tracks'] - 1, 1)):.3f}."
    return Table(title, headings, cells, [note])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Deviation of fast from exact on real music.")
    parser.add_argument("model", help="mini, a folder or a Hub id")
    parser.add_argument("music", type=Path, help="a folder of audio, or a manifest")
    parser.add_argument("--split", help="of the manifest (default: all)")
    parser.add_argument("--queries", type=Path, metavar="FILE", help="texts, one a line")
    parser.add_argument("--limit", type=positive, help="tracks at most")
    parser.add_argument("--seconds", type=float, help="of each track (default: all of it)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=positive, default=1)
    add_output_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        deliver(options, *compare(options))
    except ClapMusicGenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
