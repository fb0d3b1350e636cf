"""How far does a change that nobody hears as other music move a track's vector?

    python benchmarks/robustness.py examples/music

For each change: the cosine with the unchanged track (minimum and mean over tracks), and the same after the mean
of all tracks is taken out, since embeddings share a direction that hides what moves. Beside it the
mean cosine of two different tracks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from clap_musicgen.audio.files import find_audio, load_audio
from clap_musicgen.embedding import Embeddings, Waveform, unit
from clap_musicgen.model.clap import ClapMusicGen


def changes(waveform: Waveform, rate: int) -> dict[str, Waveform]:
    """The changed versions of a waveform (T,)."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(waveform.size) * np.sqrt(np.mean(waveform**2)) * 10 ** (-30 / 20)
    return {
        "gain -20 dB": waveform * np.float32(0.1),
        "0.1 s cut from the start": waveform[rate // 10 :],
        "noise at 30 dB": np.asarray(waveform + noise, dtype=np.float32),
    }


def row(original: Embeddings, changed: Embeddings) -> list[str]:
    """Minimum and mean of the cosines, plain and centred, as text."""
    mean = original.mean(axis=0)
    plain = (original * changed).sum(axis=1)
    centred = (unit(original - mean) * unit(changed - mean)).sum(axis=1)
    return [f"{value:.3f}" for c in (plain, centred) for value in (c.min(), c.mean())]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("music", type=Path, nargs="+")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    model = ClapMusicGen.from_pretrained(args.model)
    rate = model.sample_rate
    tracks = [load_audio(p, sample_rate=rate).waveform for p in find_audio(args.music)]
    original = model.embed_audio(tracks)
    variants = [changes(track, rate) for track in tracks]
    table = Table(title=f"{len(tracks)} tracks, {args.model}")
    for name in ("change", "cosine min", "mean", "centred min", "mean"):
        table.add_column(name)
    for name in variants[0]:
        table.add_row(name, *row(original, model.embed_audio([v[name] for v in variants])))
    others = [np.roll(original, n, axis=0) for n in range(1, len(tracks))]
    table.add_row(
        "another track", *row(np.tile(original, (len(others), 1)), np.concatenate(others))
    )
    Console().print(table)


if __name__ == "__main__":
    main()
