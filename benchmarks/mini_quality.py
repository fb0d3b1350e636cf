"""How well a model finds captioned music: by words, by sound, and captions for pieces.

    python benchmarks/mini_quality.py --manifest music/manifest.jsonl --split test

The manifest is JSON lines, one piece each: `audio` (relative to the manifest's folder), `caption`,
`split`, and optionally `set` and `genre` (a list). Every piece is embedded once, whole. Each set is
measured among its own pieces, and "overall" among all of them. Every figure stands beside the value
of a random order and a 95 % bootstrap interval over queries; pieces that share a caption count as
one question. Files that cannot be used are reported and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clap_musicgen import ClapMusicGen, ClapMusicGenError
from clap_musicgen.errors import AudioError, ManifestError
from clap_musicgen.evaluation import report
from clap_musicgen.evaluation.retrieval import (
    Figure,
    Result,
    music_to_music,
    music_to_text,
    text_to_music,
    unique_captions,
)
from clap_musicgen.evaluation.zero_shot import PROMPTS, label_vectors, zero_shot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.embedding import Embeddings

OVERALL = "overall"
WIDTH = 150
"""Columns of the tables where the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One line of the manifest."""

    audio: Path
    caption: str
    set: str
    genre: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """The pieces that could be embedded, their vectors (N, D), and what failed: (file, why)."""

    pieces: list[Piece]
    vectors: Embeddings
    failed: list[tuple[str, str]]


def read_manifest(path: Path, *, split: str, sets: Sequence[str]) -> list[Piece]:
    """The pieces of a split ("all": of every split) and of some sets (none named: of all)."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"cannot read the manifest {str(path)!r}: {error}") from error
    rows = [
        (number, _row(path, number, line)) for number, line in enumerate(lines, 1) if line.strip()
    ]
    pieces = [
        _piece(path, number, row) for number, row in rows if split in ("all", row.get("split"))
    ]
    chosen = [piece for piece in pieces if not sets or piece.set in sets]
    if not chosen:
        splits = sorted({str(row.get("split")) for _, row in rows})
        names = sorted({piece.set for piece in pieces})
        raise ManifestError(
            f"{str(path)!r} has no piece of split {split!r} in the sets {list(sets) or 'named'}: "
            f"its splits are {splits}, the sets of this split {names}"
        )
    return chosen


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{str(path)!r}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ManifestError(f"{str(path)!r}, line {number}: not an object but {line[:40]!r}")
    return row


def _piece(path: Path, number: int, row: dict[str, Any]) -> Piece:
    for field in ("audio", "caption"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            found = row.get(field)
            raise ManifestError(f"{str(path)!r}, line {number}: {field} is {found!r}, not a text")
    genre = row.get("genre") or []
    if not isinstance(genre, list) or not all(isinstance(name, str) for name in genre):
        raise ManifestError(
            f"{str(path)!r}, line {number}: genre is {genre!r}, not a list of texts"
        )
    name = str(row.get("set") or "unnamed")
    return Piece(path.parent / row["audio"], row["caption"], name, tuple(genre))


def embed(model: ClapMusicGen, pieces: Sequence[Piece], *, console: Console) -> Embedded:
    """Embed each whole piece; a file that cannot be used is set aside."""
    kept: list[Piece] = []
    vectors: list[Embeddings] = []
    failed: list[tuple[str, str]] = []
    for piece in track(pieces, description="Embedding", console=console):
        try:
            vectors.append(model.embed_audio([piece.audio]))
            kept.append(piece)
        except AudioError as error:
            failed.append((str(piece.audio), error.reason))
    stacked = np.concatenate(vectors) if vectors else np.zeros((0, model.dim), dtype=np.float32)
    return Embedded(kept, stacked, failed)


def evaluate(model: ClapMusicGen, embedded: Embedded) -> dict[str, list[Result]]:
    """Every task, for all pieces together and for each set by itself."""
    members = {OVERALL: list(range(len(embedded.pieces)))}
    for row, piece in enumerate(embedded.pieces):
        members.setdefault(piece.set, []).append(row)
    if len(members) == 2:  # one set is all there is
        del members[OVERALL]
    return {
        name: _evaluate_set(model, [embedded.pieces[row] for row in rows], embedded.vectors[rows])
        for name, rows in members.items()
    }


def _evaluate_set(model: ClapMusicGen, pieces: Sequence[Piece], music: Embeddings) -> list[Result]:
    captions, caption_of = unique_captions([piece.caption for piece in pieces])
    words = model.embed_text(captions)
    genres = [piece.genre for piece in pieces]
    groups = caption_of.tolist()
    results = [
        text_to_music(words, music, caption_of),
        music_to_text(music, words, caption_of),
        music_to_music(music, genres, groups=groups),
    ]
    labels = sorted({name.casefold() for names in genres for name in names})
    if labels:
        vectors = label_vectors(model, labels)
        results.append(zero_shot(music, genres, labels, vectors, groups=groups))
    return results


def show(results: report.Results, console: Console) -> None:
    for table in report.tables(results):
        shown = Table(title=table.task, title_justify="left", title_style="bold", show_lines=True)
        for heading in ("set", "queries", "items", *table.metrics):
            name = heading == "set"
            shown.add_column(heading, justify="left" if name else "right", no_wrap=name)
        for row in table.rows:
            cells = [row.name, str(row.queries), str(row.items)]
            shown.add_row(*cells, *map(_cell, row.figures))
        console.print(shown)
    console.print(
        "Each cell: value, [95 % bootstrap interval over queries], chance of a random order. "
        "Green with ▲: the whole interval is better than chance.",
        markup=False,
    )


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return report.NOTHING
    value, low, high, chance = (
        report.number(x, figure=figure)
        for x in (figure.value, figure.low, figure.high, figure.chance)
    )
    first = f"[bold green]{value} ▲[/]" if figure.beats_chance else value
    return f"{first}\n\\[{low}, {high}]\n[dim]chance {chance}[/]"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how well a model finds captioned music.")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines, one piece each")
    parser.add_argument("--split", default="test", help='which split, or "all" (default: test)')
    parser.add_argument("--model", default="mini", help="mini, a folder or a Hub id")
    parser.add_argument("--sets", nargs="+", default=[], help="only these sets")
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    parser.add_argument("--markdown", type=Path, help="write the tables here as Markdown")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, notes: Console) -> int:
    pieces = read_manifest(options.manifest, split=options.split, sets=options.sets)
    model = ClapMusicGen.from_pretrained(options.model)
    started = time.perf_counter()
    embedded = embed(model, pieces, console=notes)
    seconds = time.perf_counter() - started
    for path, reason in embedded.failed:
        notes.print(f"skipped {path}: {reason}", markup=False, style="yellow")
    if not embedded.pieces:
        raise ManifestError(f"none of the {len(pieces)} pieces could be embedded")
    results = evaluate(model, embedded)
    about = {
        "model": str(options.model),
        "fingerprint": model.fingerprint,
        "split": options.split,
        "pieces": len(embedded.pieces),
        "failed": [{"audio": path, "reason": reason} for path, reason in embedded.failed],
        "prompts": list(PROMPTS),
        "embedding_seconds": round(seconds, 2),
    }
    as_json = report.to_json(results, about=about)
    if options.out:
        options.out.write_text(as_json, encoding="utf-8")
    if options.markdown:
        title = f"{options.model} on {options.split}"
        options.markdown.write_text(report.to_markdown(results, title=title), encoding="utf-8")
    if options.json:
        sys.stdout.write(as_json)
    else:
        show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    notes = Console(stderr=True)
    try:
        return run(parse(arguments), notes)
    except ClapMusicGenError as error:
        notes.print(f"error: {error}", markup=False, style="red", soft_wrap=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
