"""How often are zero-shot tags right, and how many tracks get one? Beside tags given at random.

    python benchmarks/tag_quality.py music/manifest.jsonl --split test
    python benchmarks/tag_quality.py music/manifest.jsonl --facets genre,instrument --vocabulary

The manifest is JSON lines: `audio` (relative to it) and, for each facet, a list of labels (by
default genre, mood, instrument). The pieces that have a label of a facet are its library: they are
tagged with the labels of that facet which at least `--least` pieces have (or, with `--vocabulary`,
with those of the built-in vocabulary, where a label that the manifest never uses takes no part).

Precision: of the tags given, those that the manifest has too. It rarely names everything that is
true of a piece, so this is a lower bound. Chance is the same number of tags of each label, given
to pieces at random. Coverage: the pieces that get a tag at all.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embedder, Embeddings
from clap_musicgen.errors import AudioError, InputError
from clap_musicgen.evaluation.zero_shot import PROMPTS
from clap_musicgen.library import tagging
from clap_musicgen.library.calibration import Calibration, Correction
from clap_musicgen.library.vocabulary import VOCABULARY, bank
from clap_musicgen.model.tracks import embed_track
from tables import Table, add_output_options, deliver, positive

FACETS = "genre,mood,instrument"
BARS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True, slots=True, eq=False)
class Facet:
    """The pieces and labels of one facet.

    Attributes:
        name: of the facet.
        rows: (n,) which pieces have a label of it.
        labels: the C labels that are asked.
        truth: (n, C) which labels the manifest gives them.
    """

    name: str
    rows: NDArray[np.int64]
    labels: list[str]
    truth: NDArray[np.bool_]


def read(manifest: Path, split: str | None) -> list[dict[str, object]]:
    """The lines of a manifest, with absolute paths.

    Raises:
        InputError: it cannot be read, or has no such lines.
    """
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        chosen = [
            {**row, "audio": str(manifest.parent / row["audio"])}
            for row in rows
            if split is None or row.get("split") == split
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read the manifest {str(manifest)!r}: {error}") from error
    if not chosen:
        raise InputError(f"{str(manifest)!r} has no piece of the split {split!r}")
    return chosen


def labels_of(piece: Mapping[str, object], facet: str) -> set[str]:
    given = piece.get(facet)
    return {str(name).casefold() for name in given} if isinstance(given, list) else set()


def facet_of(
    pieces: Sequence[Mapping[str, object]], name: str, *, least: int, vocabulary: bool
) -> Facet | None:
    """Gather a facet; None if it has fewer than two labels."""
    own = [labels_of(piece, name) for piece in pieces]
    rows = np.flatnonzero([bool(names) for names in own])
    counts = Counter(label for names in own for label in names)
    labels = sorted(label for label, count in counts.items() if count >= least)
    if vocabulary:
        labels = [label for label in VOCABULARY.get(name, ()) if counts[label]]
    if len(labels) < 2:
        return None
    truth = np.array([[label in own[row] for label in labels] for row in rows])
    return Facet(name, rows, labels, truth)


def embed(
    model: Embedder, pieces: Sequence[Mapping[str, object]], *, tell: Callable[[str], object]
) -> tuple[list[Mapping[str, object]], Embeddings]:
    """The pieces that can be read and their vectors (N, D)."""
    kept, vectors = [], []
    for number, piece in enumerate(pieces, 1):
        tell(f"\r{number}/{len(pieces)} pieces")
        try:
            stream = AudioStream(str(piece["audio"]), sample_rate=model.sample_rate)
            vectors.append(embed_track(model, stream))
            kept.append(piece)
        except AudioError as error:
            tell(f"\nleft out: {error}\n")
    tell("\n")
    if not kept:
        raise InputError("not one piece of the manifest can be read")
    return kept, np.stack(vectors)


def scores_of(
    model: Embedder, facet: Facet, music: Embeddings, prompts: Sequence[str]
) -> NDArray[np.float32]:
    """Calibrated scores (n, C) in a library of the facet's pieces."""
    own, texts = music[facet.rows], model.embed_text(bank())
    correction = Correction.fit(own)
    calibration = Calibration.fit(texts, own, correction)
    labels = tagging.labels_of({facet.name: facet.labels})
    directions = tagging.directions_of(model, labels, correction, prompts=prompts)
    return tagging.tag_scores(own, directions, correction=correction, calibration=calibration)


def quality(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, bar: float, per_facet: int
) -> dict[str, float]:
    """Count tags, those that are right, what random ones would be, and pieces that have one."""
    given = tagging.given_tags(scores, ["x"] * truth.shape[1], min_score=bar, per_facet=per_facet)
    return {
        "tags": float(given.sum()),
        "right": float((given & truth).sum()),
        "expected": float((given.sum(axis=0) * truth.mean(axis=0)).sum()),
        "covered": float(given.any(axis=1).sum()),
        "pieces": float(len(truth)),
        "recalled": float((given & truth).sum() / max(truth.sum(), 1)),
    }


def table(name: str, measured: Mapping[float, Mapping[str, float]], note: str) -> Table:
    rows = []
    for bar, own in measured.items():
        tags = own["tags"]
        rows.append(
            (
                f"{bar:g}",
                f"{tags:.0f}",
                f"{own['right'] / tags:.3f}" if tags else "–",
                f"{own['expected'] / tags:.3f}" if tags else "–",
                f"{own['right'] / own['expected']:.2f} ×" if own["expected"] else "–",
                f"{own['covered'] / own['pieces']:.3f}",
                f"{own['recalled']:.3f}",
            )
        )
    headings = ("min score", "tags", "precision", "chance", "ratio", "coverage", "recall")
    return Table(name, headings, rows, [note])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--split", help="only these pieces; all by default")
    parser.add_argument("--facets", default=FACETS, help="fields of the manifest")
    parser.add_argument("--least", type=positive, default=5, help="pieces that have a label")
    parser.add_argument("--vocabulary", action="store_true", help="the built-in labels")
    parser.add_argument("--per-facet", type=positive, default=tagging.PER_FACET)
    parser.add_argument("--prompts", nargs="+", default=list(PROMPTS))
    add_output_options(parser)
    options = parser.parse_args(arguments)
    from clap_musicgen.model.loading import load_embedder

    model = load_embedder(options.model)
    pieces, music = embed(model, read(options.manifest, options.split), tell=sys.stderr.write)
    found: dict[str, object] = {}
    made = []
    for name in options.facets.split(","):
        facet = facet_of(pieces, name, least=options.least, vocabulary=options.vocabulary)
        if facet is None:
            sys.stderr.write(f"{name}: fewer than two labels, left out\n")
            continue
        scores = scores_of(model, facet, music, options.prompts)
        measured = {
            bar: quality(scores, facet.truth, bar=bar, per_facet=options.per_facet) for bar in BARS
        }
        found[name] = {"labels": facet.labels, "bars": measured}
        note = f"{len(facet.rows)} pieces, {len(facet.labels)} labels: {', '.join(facet.labels)}."
        made.append(table(f"{name}, {options.model}", measured, note))
    deliver(options, found, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
