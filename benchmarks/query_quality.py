"""What searching a library is worth on labelled music: corrections, small libraries, "without".

    python benchmarks/query_quality.py music/manifest.jsonl --cache vectors.npz --markdown out.md

Without --split, what choices were made by (val; train and val together where val has too few labels)
and then test, which confirms them. Files are taken whole. `query_data.py` says what a manifest holds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import query_answers as answering
import query_correction as correcting
import query_negation as negating
import query_ways
from clap_musicgen import ClapMusicGen
from clap_musicgen.embedding import Embedder
from clap_musicgen.evaluation.zero_shot import label_vectors
from clap_musicgen.library.calibration import Correction
from clap_musicgen.library.vocabulary import bank
from query_data import Labelled, load, phrase
from tables import Table, add_output_options, deliver, positive

SIZES = (5, 20, 100)
SPLITS = ("train", "val", "test")
PLAN: tuple[tuple[Sequence[str], Sequence[str]], ...] = (
    (("val",), ("correction", "small")),
    (("train", "val"), ("answers", "without")),
    (("test",), ("correction", "small", "answers", "without")),
)
"""Splits → what is measured on them, where --split is not given."""


def words_of(model: Embedder, data: Labelled) -> correcting.Words:
    """Vectors of all captions, labels and pairs of labels, and of the bank."""
    genres = [label for _, label in data.labels(facets=("genre",))]
    texts = {track.caption for track in data.tracks} | {phrase(x) for x in data.labels()}
    texts |= set(answering.NOT_MUSIC)
    texts |= {text for pair in negating.pairs(data) for text in said(*pair)}
    ordered = sorted(texts)
    of = dict(zip(ordered, model.embed_text(ordered), strict=True))
    if genres:
        names = [f"genre:{genre}" for genre in genres]
        of |= dict(zip(names, label_vectors(model, genres), strict=True))
    return correcting.Words(of, model.embed_text(bank()))


def said(wanted: tuple[str, str], unwanted: tuple[str, str]) -> tuple[str, str, str]:
    """How one asks: "A", "X", and "A without X" in plain words."""
    return phrase(wanted), phrase(unwanted), f"{phrase(wanted)} without {unwanted[1]}"


def correction_tables(data: Labelled, words: correcting.Words, title: str) -> list[Table]:
    """All tracks as one library, and each set as its own."""
    sets = list(correcting.by_set(data))
    pooled = Table(
        f"Corrections, {title}: one library of {len(data.tracks)} tracks",
        ("way", "MRR", "change", "R@10", "change", "zero-shot", "genre nDCG@10", "change", "skew"),
        correcting.pooled_rows(data, words, query_ways.WAYS),
        [
            "Changes are against no correction, question by question, with 95 % bootstrap intervals. "
            "Skew: of how often a track is among the ten best of a caption. QB-Norm decides for each "
            "text anew, so scores of two labels cannot be compared: its zero-shot figure is no use."
        ],
    )
    headings = ("way", *(f"MRR {name}" for name in sets), *(f"zero-shot {name}" for name in sets))
    rows = correcting.set_rows(data, words, query_ways.WAYS)
    return [pooled, Table(f"Corrections, {title}: each set a library", headings, rows)]


def small_table(data: Labelled, words: correcting.Words, title: str, *, draws: int) -> list[Table]:
    """Libraries of a few tracks."""
    sizes = [size for size in SIZES if size <= len(data.tracks)]
    headings = ["way"]
    for size in sizes:
        headings += [f"MRR of {size}", "change"]
    ways = {**query_ways.WAYS, **query_ways.SHRUNK}
    rows = correcting.small_rows(data, words, ways, sizes=sizes, draws=draws)
    note = "The intervals are over draws; the pieces they are drawn from are always the same."
    return [Table(f"Small libraries, {title}: {draws} draws each", tuple(headings), rows, [note])]


def negation_table(data: Labelled, words: correcting.Words, title: str) -> list[Table]:
    """What "A without X" does, in the space that the library searches."""
    chosen = negating.pairs(data)
    if not chosen:
        return []
    correction = Correction.fit(data.vectors)
    vectors = {
        text: correction.question(words.of[text], "text") for pair in chosen for text in said(*pair)
    }
    found = negating.measure(
        data,
        chosen,
        vectors=vectors,
        texts=said,
        tracks=correction.music(data.vectors),
        ways=negating.WAYS,
    )
    headings = (
        "ranked by",
        "share of X in 10",
        "nDCG@10 of A, no X",
        "overlap",
        "nDCG@10, all",
        "change of X's share",
    )
    rows = negating.summary(found, chosen, base="A")
    unwanted = len({x for _, x in chosen})
    heading = f"Without, {title}: {len(chosen)} pairs, {unwanted} unwanted labels"
    note = (
        "Pairs with the same unwanted label are drawn together; overlap is with the ranking by A."
    )
    return [Table(heading, headings, rows, [note])]


def answer_tables(
    data: Labelled, words: correcting.Words, title: str, *, draws: int
) -> list[Table]:
    """Whether a library says that nothing fits."""
    made = []
    for size in (20, 80):
        found = list(answering.asked(data, words, size=size, draws=draws))
        if not found:
            continue
        calibrated, raw = answering.separation(found)
        labels = len({absent.label for absent, _, _ in found})
        headings = (
            "min score",
            "answered, 3 fit",
            "a right one",
            "answered, none fits",
            "answered, no music",
            "pairs that do not fit",
            "pairs with p ≤ 1 - score",
            "answers that are right",
        )
        note = (
            f"Best answer where the label is there above best answer where it is not: {calibrated:.2f} "
            f"of the cases by calibrated score, {raw:.2f} by cosine; a half is chance."
        )
        table = Table(
            f"Nothing fits, {title}: libraries of {size}, {labels} labels, {len(found)} draws",
            headings,
            answering.answer_rows(found),
            [note],
        )
        made.append(table)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", nargs="+", choices=SPLITS, help="one library of these alone")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep the vectors there")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--draws", type=positive, default=50, help="of each small library")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    model = ClapMusicGen.from_pretrained(options.model)
    made: list[Table] = []
    for splits, parts in PLAN if options.split is None else [(options.split, PARTS)]:
        data = load(options.manifest, splits, model=model, cache=options.cache)
        words, title = words_of(model, data), " + ".join(splits)
        for part in parts:
            if part in options.only:
                made += PARTS[part](data, words, title, options)
    found: dict[str, Any] = {
        table.title: [dict(zip(table.headings, row, strict=True)) for row in table.rows]
        for table in made
    }
    deliver(options, found, made)
    return 0


PARTS: dict[str, Callable[[Labelled, correcting.Words, str, argparse.Namespace], list[Table]]] = {
    "correction": lambda data, words, title, _: correction_tables(data, words, title),
    "small": lambda data, words, title, options: small_table(
        data, words, title, draws=options.draws
    ),
    "answers": lambda data, words, title, options: answer_tables(
        data, words, title, draws=min(options.draws, 8)
    ),
    "without": lambda data, words, title, _: negation_table(data, words, title),
}


if __name__ == "__main__":
    sys.exit(main())
