"""Write the golden embeddings of three generated clips and three texts under mini.

    python tests/golden/make.py

Run it when the bundled model changes on purpose, and say in the commit why.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Waveform
from clap_musicgen.model.clap import ClapMusicGen

PATH = Path(__file__).with_name("mini.json")
TEXTS = ["slow jazz with piano", "dark metal", "a fast drum loop, 140 bpm"]
RATE = 32_000


def clips() -> list[Waveform]:
    """A plucked chord, a drum-like loop, and a swept tone of 3.3 s, from closed formulas alone."""
    t = np.arange(10 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * t) / (1 + n) for n, f in enumerate((220.0, 277.18, 329.63)))
    plucked = chord * np.exp(-3 * (t % 1.0))
    hiss = np.sin(2 * np.pi * 5555.5 * t * (1 + np.sin(777.7 * t)))
    drums = hiss * np.exp(-30 * (t % 0.25)) + np.sin(2 * np.pi * 55 * t) * np.exp(-9 * (t % 0.5))
    s = t[: round(3.3 * RATE)]
    swept = np.sin(2 * np.pi * (100 * s + 300 * s**2))
    return [np.asarray(0.2 * x, dtype=np.float32) for x in (plucked, drums, swept)]


def embeddings(model: ClapMusicGen) -> dict[str, NDArray[np.float32]]:
    """What is pinned."""
    return {"clips": model.embed_clips(clips()), "texts": model.embed_text(TEXTS)}


def main() -> None:
    """Write the file."""
    model = ClapMusicGen.from_pretrained("mini")
    rounded = {k: np.round(v.astype(float), 6).tolist() for k, v in embeddings(model).items()}
    PATH.write_text(json.dumps({"fingerprint": model.fingerprint, **rounded}) + "\n")


if __name__ == "__main__":
    main()
