"""How long the map of a library takes: principal components, PaCMAP, names, and what is sent.

    python benchmarks/map_speed.py --tracks 1000 10000 50000 --markdown map.md

The vectors are made up (see synthetic.py: 60 genres); everything else is the library's own code. The
first run of PaCMAP on a machine also compiles it, which is not measured: it runs once before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from clap_musicgen.library.calibration import Calibration, Correction
from clap_musicgen.library.map_layout import facet_labels
from clap_musicgen.library.projecting import NEIGHBOURS, Method, Projection, available
from clap_musicgen.library.tagging import tag_scores
from synthetic import Music
from tables import Table, add_output_options, deliver, machine_note, positive
from timing import limit_threads, machine

HEADINGS = (
    "tracks",
    "PCA, s",
    "PaCMAP, s",
    "genres and moods, s",
    "kept neighbours, PCA",
    "kept neighbours, PaCMAP",
)
SAMPLE = 500
NEAR = 100
"""Of a track's `NEIGHBOURS` nearest those count that are among the nearest 1 / NEAR on the map."""


def main() -> int:
    options = _options()
    limit_threads(options.threads)
    if available() != "pacmap":
        raise SystemExit("this needs PaCMAP: pip install 'clap-musicgen[map]'")
    Projection()(np.random.default_rng(0).normal(size=(200, 60)).astype(np.float32), "pacmap")
    found = [of_size(size, options.dim) for size in options.tracks]
    about = machine(options.threads)
    rows = [(str(one["tracks"]), *(f"{one[name]:.2f}" for name in HEADINGS[1:])) for one in found]
    note = (
        f"Kept neighbours: the share of a track's {NEIGHBOURS} nearest by cosine that are among the "
        f"nearest hundredth on the map, of {SAMPLE} tracks."
    )
    table = Table("The map of a library", HEADINGS, rows, [note, machine_note(about)])
    deliver(options, {"machine": about, "found": found}, [table])
    return 0


def of_size(tracks: int, dim: int) -> dict[str, Any]:
    """Measure one library: seconds, and shares of neighbours kept."""
    music = Music(tracks, dim)
    vectors = music.directions()
    correction = Correction.fit(vectors)
    corrected = correction.music(vectors)
    found: dict[str, Any] = {"tracks": tracks}
    for name, method in (("PCA", "pca"), ("PaCMAP", "pacmap")):
        points, seconds = timed(_projecting(corrected, method))
        found[f"{name}, s"] = seconds
        found[f"kept neighbours, {name}"] = kept(corrected, points)
    calibration = Calibration.fit(music.captions(), vectors, correction, tracks=tracks)
    labels = music.words(len(facet_labels().names))
    _, found["genres and moods, s"] = timed(
        lambda: tag_scores(vectors, labels, correction=correction, calibration=calibration)
    )
    return found


def _projecting(vectors: Any, method: Method | str) -> Callable[[], Any]:
    return lambda: Projection()(vectors, "pca" if method == "pca" else "pacmap")


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def kept(vectors: Any, points: Any) -> float:
    """Share of the nearest neighbours of some tracks that are near on the map, too."""
    rows = np.linspace(0, len(vectors) - 1, min(SAMPLE, len(vectors))).astype(int)
    shares = []
    for row in rows:
        cosines = vectors @ vectors[row]
        cosines[row] = -2
        far = np.linalg.norm(points - points[row], axis=1)
        far[row] = np.inf
        near = np.argsort(far)[: len(vectors) // NEAR]
        shares.append(np.isin(np.argsort(-cosines)[:NEIGHBOURS], near).mean())
    return float(np.mean(shares))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tracks", type=positive, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--dim", type=positive, default=256)
    parser.add_argument("--threads", type=positive, default=2)
    add_output_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
