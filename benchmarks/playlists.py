"""How smooth are playlists? Paths and orders by several methods, on a folder of music.

    python benchmarks/playlists.py ~/Music
    python benchmarks/playlists.py ~/Music --limit 500 --tracks 10 --pairs 200

Paths: between the same random pairs of tracks, the largest step (in degrees between neighbours), how
uneven the steps are (the largest over the mean) and how long the way is. Themes: the tracks nearest
to random ones, in the order of the ranking and in those of the chain and of 2-opt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.audio.files import find_audio
from clap_musicgen.embedding import Embedder, Embeddings, unit
from clap_musicgen.errors import AudioError, InputError
from clap_musicgen.evaluation.pieces import Piece, excerpt
from clap_musicgen.library import playlists
from clap_musicgen.model.tracks import embed_track
from tables import Table, add_output_options, deliver, positive

Way = Callable[[Embeddings, int, int, int], Sequence[int]]


def steps(vectors: Embeddings, order: Sequence[int]) -> NDArray[np.float64]:
    """Degrees between neighbours."""
    along = vectors[np.asarray(order)].astype(np.float64)
    cosines = np.clip((along[:-1] * along[1:]).sum(axis=1), -1, 1)
    return np.asarray(np.degrees(np.arccos(cosines)))


def at_random(vectors: Embeddings, first: int, last: int, k: int) -> list[int]:
    rng = np.random.default_rng(first * 7919 + last)
    others = np.setdiff1d(np.arange(len(vectors)), [first, last])
    return [first, *rng.choice(others, k - 2, replace=False).tolist(), last]


def nearest_to_points(vectors: Embeddings, first: int, last: int, k: int) -> list[int]:
    """The unused track nearest to each of k - 2 even points of the great circle."""
    angle = playlists.angles(vectors[[first]], vectors[[last]])[0, 0]
    order = [first]
    for t in np.linspace(0, 1, k)[1:-1]:
        point = np.sin((1 - t) * angle) * vectors[first] + np.sin(t * angle) * vectors[last]
        ranked = np.argsort(-(vectors @ point), kind="stable")
        order.append(next(int(row) for row in ranked if row not in {last, *order}))
    return [*order, last]


def by_power(power: float) -> Way:
    """As `smooth_path`, but with another power of the angles summed."""

    def way(vectors: Embeddings, first: int, last: int, k: int) -> list[int]:
        table = playlists.angles(vectors, vectors[[first, last]])
        places = table[:, 0] / np.maximum(table.sum(axis=1), 1e-9)
        middle = np.setdiff1d(np.arange(len(vectors)), [first, last])
        nodes = [first, *middle[np.argsort(places[middle], kind="stable")].tolist(), last]
        costs = playlists.angles(vectors[nodes], vectors[nodes]) ** power
        return [nodes[place] for place in playlists.cheapest_chain(costs, k)]

    return way


def shipped(vectors: Embeddings, first: int, last: int, k: int) -> list[int]:
    return [int(row) for row in playlists.smooth_path(vectors, first, last, k)]


WAYS: Mapping[str, Way] = {
    "tracks at random": at_random,
    "nearest to even points": nearest_to_points,
    "least sum of angles": by_power(1.0),
    "least sum of squares": by_power(2.0),
    "least sum of 4th powers (shipped)": shipped,
    "the same, of all tracks": by_power(4.0),
    "least sum of 8th powers": by_power(8.0),
}


def paths(vectors: Embeddings, *, pairs: int, k: int) -> dict[str, dict[str, float]]:
    """Method → means over the pairs."""
    rng = np.random.default_rng(0)
    ends = [rng.choice(len(vectors), 2, replace=False).tolist() for _ in range(pairs)]
    found = {}
    for name, way in WAYS.items():
        each = [steps(vectors, way(vectors, first, last, k)) for first, last in ends]
        found[name] = {
            "largest": float(np.mean([own.max() for own in each])),
            "uneven": float(np.mean([own.max() / own.mean() for own in each])),
            "length": float(np.mean([own.sum() for own in each])),
        }
    return found


def themes(vectors: Embeddings, *, count: int, k: int) -> dict[str, dict[str, float]]:
    """Order → means over themes."""
    rng = np.random.default_rng(1)
    seeds = rng.choice(len(vectors), min(count, len(vectors)), replace=False)
    found: dict[str, list[NDArray[np.float64]]] = {}
    for seed in seeds:
        ranked = np.argsort(-(vectors @ vectors[seed]), kind="stable")[:k]
        own = vectors[ranked]
        orders = {
            "by rank": list(range(len(own))),
            "nearest neighbours": playlists.nearest_chain(own),
            "2-opt (shipped)": playlists.smooth_order(own),
        }
        for name, order in orders.items():
            found.setdefault(name, []).append(steps(own, order))
    return {
        name: {
            "largest": float(np.mean([own.max() for own in each])),
            "mean": float(np.mean([own.mean() for own in each])),
        }
        for name, each in found.items()
    }


def embed(
    model: Embedder, files: Sequence[Path], *, seconds: float, tell: Callable[[str], object]
) -> Embeddings:
    """The mean directions (N, D) of those files that can be read."""
    vectors = []
    for number, file in enumerate(files, 1):
        tell(f"\r{number}/{len(files)} files")
        try:
            piece = Piece(file, end=seconds)
            vectors.append(embed_track(model, excerpt(piece, sample_rate=model.sample_rate)))
        except AudioError as error:
            tell(f"\nleft out: {error}\n")
    tell("\n")
    return np.stack(vectors) if vectors else np.zeros((0, model.dim), dtype=np.float32)


def tables_of(found: Mapping[str, Mapping[str, Mapping[str, float]]], tracks: int) -> list[Table]:
    made = []
    for title, measured in found.items():
        names = list(next(iter(measured.values())))
        rows = [
            (method, *(f"{own[name]:.2f}" for name in names)) for method, own in measured.items()
        ]
        note = f"{tracks} tracks; angles in degrees."
        made.append(Table(title, ("method", *names), rows, [note]))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=positive, default=1000, help="of files")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each file at most")
    parser.add_argument("--tracks", type=positive, default=10, help="of a path or a theme")
    parser.add_argument("--pairs", type=positive, default=100)
    add_output_options(parser)
    options = parser.parse_args(arguments)
    from clap_musicgen.model.loading import load_embedder

    files = find_audio([options.folder])[: options.limit]
    model = load_embedder(options.model)
    raw = embed(model, files, seconds=options.seconds, tell=sys.stderr.write)
    k = max(options.tracks, 3)
    if len(raw) < k:
        raise InputError(f"{str(options.folder)!r} has {len(raw)} files, too few for {k} tracks")
    found = {}
    for name, vectors in {"as stored": raw, "centred": unit(raw - raw.mean(axis=0))}.items():
        found[f"Paths, vectors {name}"] = paths(vectors, pairs=options.pairs, k=k)
        found[f"Themes, vectors {name}"] = themes(vectors, count=options.pairs, k=k)
    deliver(options, found, tables_of(found, len(raw)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
