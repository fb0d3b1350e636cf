"""Labelled music for the measurements of searching: pieces of a manifest, their labels and vectors.

Reads JSON lines with `audio`, `caption`, `split`, and the optional lists `genre`, `mood` and
`instrument`, which may hold any spelling of a label. Embeds each file once and keeps the vectors in
a cache file, made anew when the model or the list of files changes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embedder, Embeddings
from clap_musicgen.evaluation.pieces import Piece, embed_pieces

FACETS = ("genre", "mood", "instrument")
PHRASES = {"genre": "{} music", "mood": "{} music", "instrument": "music with {}"}
"""How a label of a facet is asked for."""
SAME = {
    "drum": "drums",
    "drum kit": "drums",
    "drum loop": "drums",
    "vocal": "vocals",
    "female vocal": "female vocals",
    "male vocal": "male vocals",
    "synth": "synthesizer",
    "melancholic": "melancholy",
    "mid-tempo": "medium tempo",
    "electronic beat": "electronic percussion",
}
"""Spellings and kinds of one thing that are told apart by name only."""
IMPLIED = {
    "female vocals": "vocals",
    "male vocals": "vocals",
    "acoustic guitar": "guitar",
    "electric guitar": "guitar",
    "bass drum": "drums",
    "snare drum": "drums",
    "hi-hat": "drums",
    "ride cymbal": "drums",
    "drums": "percussion",
    "tabla": "percussion",
    "hand pan": "percussion",
    "electronic percussion": "percussion",
    "bass synth": "synthesizer",
    "jrpg": "video game music",
    "8-bit": "chiptune",
    "chiptune": "electronic",
}
"""What a label says besides itself: a track of drums is one of percussion."""


@dataclass(frozen=True, slots=True)
class Track:
    """One piece: its set, its caption, and its labels as (facet, label)."""

    path: str
    set: str
    split: str
    caption: str
    labels: frozenset[tuple[str, str]]

    def names(self, facet: str) -> tuple[str, ...]:
        """Its labels of one facet, sorted."""
        return tuple(sorted(label for kind, label in self.labels if kind == facet))


@dataclass(frozen=True, slots=True)
class Labelled:
    """Tracks and their vectors (N, D), in the same order."""

    tracks: list[Track]
    vectors: Embeddings

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> Labelled:
        """Some of the tracks."""
        chosen = [int(row) for row in rows]
        return Labelled([self.tracks[row] for row in chosen], self.vectors[chosen])

    def having(self, label: tuple[str, str]) -> NDArray[np.bool_]:
        """Which tracks have a label → (N,)."""
        return np.array([label in track.labels for track in self.tracks], dtype=bool)

    def labels(self, *, least: int = 1, facets: Sequence[str] = FACETS) -> list[tuple[str, str]]:
        """The labels that at least so many tracks have, sorted."""
        counts: dict[tuple[str, str], int] = {}
        for track in self.tracks:
            for label in track.labels:
                counts[label] = counts.get(label, 0) + 1
        return sorted(x for x, count in counts.items() if count >= least and x[0] in facets)


def phrase(label: tuple[str, str]) -> str:
    """How one asks for a label: `jazz music`, `music with piano`."""
    return PHRASES[label[0]].format(label[1])


def read_tracks(manifest: Path, splits: Sequence[str]) -> list[Track]:
    """The pieces of some splits, in the order of the manifest."""
    with manifest.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [_track(row, manifest.parent) for row in rows if row.get("split") in splits]


def load(
    manifest: Path, splits: Sequence[str], *, model: Embedder, cache: Path | None = None
) -> Labelled:
    """Pieces and vectors; files that cannot be used are named and left out."""
    tracks = read_tracks(manifest, splits)
    held = _held(cache, model.fingerprint)
    missing = [track for track in tracks if track.path not in held]
    if missing:
        pieces = [Piece(Path(track.path), caption=track.caption) for track in missing]
        embedded = embed_pieces(model, pieces, on_progress=_told)
        for path, why in embedded.failed:
            sys.stderr.write(f"left out: {path}: {why}\n")
        paths = (str(piece.audio) for piece in embedded.pieces)
        held |= dict(zip(paths, embedded.vectors, strict=True))
        if cache is not None:
            _keep(cache, held, model.fingerprint)
    usable = [track for track in tracks if track.path in held]
    if not usable:
        raise SystemExit(f"no usable piece of {', '.join(splits)} in {manifest}")
    return Labelled(usable, np.stack([held[track.path] for track in usable]))


def _track(row: dict[str, Any], folder: Path) -> Track:
    labels: set[tuple[str, str]] = set()
    for facet in FACETS:
        for name in row.get(facet) or ():
            known = SAME.get(name.casefold().strip(), name.casefold().strip())
            while known:
                labels.add((facet, known))
                known = IMPLIED.get(known, "")
    path = os.fspath(folder / row["audio"])
    return Track(path, row.get("set", ""), row["split"], row.get("caption", ""), frozenset(labels))


def _held(cache: Path | None, fingerprint: str) -> dict[str, Embeddings]:
    """Path → vector (D,) of what the cache holds for this model."""
    if cache is None or not cache.exists():
        return {}
    with np.load(cache) as held:
        if str(held["fingerprint"]) != fingerprint:
            return {}
        return dict(zip(held["paths"].tolist(), held["vectors"], strict=True))


def _keep(cache: Path, held: dict[str, Embeddings], fingerprint: str) -> None:
    part = cache.with_name(f".{cache.name}.part")
    with part.open("wb") as file:
        vectors = np.stack(list(held.values()))
        np.savez(
            file, paths=np.array(list(held)), vectors=vectors, fingerprint=np.array(fingerprint)
        )
    part.replace(cache)


def _told(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        sys.stderr.write(f"embedded {done} of {total}\n")
