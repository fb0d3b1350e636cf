"""`clap-musicgen evaluate`: how well a model finds and names music, beside chance."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clap_musicgen.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_PRECISION,
    JsonOption,
    PrecisionOption,
    WholeFilesOption,
    load_model,
)
from clap_musicgen.cli.show import emit, note, progress_bar, safe
from clap_musicgen.errors import InputError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from clap_musicgen.evaluation.figures import Figure, Result
    from clap_musicgen.evaluation.pieces import Embedded, Piece
    from clap_musicgen.evaluation.report import Results, Table
    from clap_musicgen.model.loading import LoadedModel

WIDTH = 180
"""Columns of the tables where the output is not a terminal."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is to be evaluated, from a manifest or a benchmark."""

    title: str
    pieces: "list[Piece]"
    about: dict[str, Any]
    labels: tuple[str, ...] | None = None
    multi_label: bool | None = None


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="mini, a folder, or a Hub id; also a CLAP of transformers."
        ),
    ] = DEFAULT_MODEL,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL, CSV or Parquet: audio and captions or tags."),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead: a public benchmark, as gtzan.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Your local copy of the benchmark.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test; all: every one.")] = "test",
    sets: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this set of the manifest; may be repeated."),
    ] = None,
    whole_files: WholeFilesOption = False,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="Also change the audio: 16 times the work.")
    ] = False,
    robustness_pieces: Annotated[
        int, typer.Option(min=2, help="From how many pieces robustness is measured.")
    ] = 50,
    precision: PrecisionOption = DEFAULT_PRECISION,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write results.json, .md and pictures.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure search by words and by sound, and zero-shot labels, with chance and intervals."""
    question = _question(manifest, benchmark, folder, split=split, sets=sets or [])
    if whole_files:
        whole = [replace(piece, start=0.0, end=None) for piece in question.pieces]
        question = replace(question, pieces=whole)
    if out is not None:
        _make_folder(out)
    loaded = load_model(model, precision=precision)
    started = time.perf_counter()
    embedded = _embed(loaded, question.pieces)
    seconds = time.perf_counter() - started
    from clap_musicgen.cli.show import waiting
    from clap_musicgen.evaluation.evaluate import evaluate as measure

    with waiting("measuring"):
        results = measure(
            loaded, embedded, labels=question.labels, multi_label=question.multi_label
        )
    changed = _robustness(loaded, embedded, robustness_pieces) if robustness else {}
    about = {
        "model": model,
        "precision": precision,
        "fingerprint": loaded.fingerprint,
        **question.about,
        "pieces": len(embedded.pieces),
        "failed": [{"audio": path, "reason": reason} for path, reason in embedded.failed],
        "embedding_seconds": round(seconds, 2),
    }
    question = replace(question, about=about, title=f"{model} on {question.title}")
    _deliver(question, results, changed, as_json=as_json, out=out)
    if out is not None:
        _draw(loaded, embedded, results, changed, out)


def _question(
    manifest: Path | None,
    benchmark: str | None,
    folder: Path | None,
    *,
    split: str,
    sets: "Sequence[str]",
) -> _Question:
    if (manifest is None) == (benchmark is None):
        raise InputError("give either --manifest FILE, or --benchmark NAME with --folder FOLDER")
    if manifest is not None:
        if folder is not None:
            raise InputError("--folder belongs to --benchmark; paths in a manifest need none")
        return _of_manifest(manifest, split=split, sets=sets)
    if folder is None or benchmark is None:
        raise InputError(f"--benchmark {benchmark} needs --folder FOLDER, your local copy of it")
    if sets:
        raise InputError("--sets belongs to --manifest; a benchmark is one set")
    from clap_musicgen.evaluation.public import load_benchmark

    found = load_benchmark(benchmark, folder, split=split)
    about = {"benchmark": found.name, "source": found.source, "split": split}
    labels = found.labels or None
    title = f"{found.name}, {split}"
    return _Question(title, found.pieces, about, labels, found.multi_label)


def _of_manifest(path: Path, *, split: str, sets: "Sequence[str]") -> _Question:
    from clap_musicgen.evaluation.pieces import Piece
    from clap_musicgen.training.manifest import SPLITS, read_manifest

    if split not in (*SPLITS, "all"):
        raise InputError(f"--split is {split!r}: it must be one of {', '.join(SPLITS)}, or all")
    examples = read_manifest(path)
    of_split = [example for example in examples if split in ("all", example.split)]
    chosen = [example for example in of_split if not sets or example.set in sets]
    if not chosen:
        splits = sorted({example.split for example in examples})
        names = sorted({example.set for example in of_split})
        raise ManifestError(
            f"{str(path)!r} has no piece of split {split!r} in the sets {list(sets) or 'given'}: "
            f"its splits are {splits}, the sets of this split {names}"
        )
    by_genre = any(example.genre for example in chosen)
    pieces = [
        Piece(
            example.audio,
            example.text,
            example.genre if by_genre else example.tags,
            example.set,
            example.group,
            example.start,
            example.end,
        )
        for example in chosen
    ]
    about = {"split": split, "sets": list(sets), "labels": "genre" if by_genre else "tags"}
    # Genres are one or a few that fit best, tags a list of all that holds.
    multi_label = None if by_genre else any(len(piece.labels) > 1 for piece in pieces)
    return _Question(f"{path.name}, {split}", pieces, about, multi_label=multi_label)


def _make_folder(out: Path) -> None:
    """Find out early that results cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {str(out)!r} cannot be a folder: {error.strerror}") from error


def _embed(model: "LoadedModel", pieces: "list[Piece]") -> "Embedded":
    from clap_musicgen.evaluation.pieces import embed_pieces

    with progress_bar() as bar:
        task = bar.add_task("embedding", total=len(pieces), detail="")
        embedded = embed_pieces(
            model, pieces, on_progress=lambda done, _: bar.update(task, completed=done)
        )
    for path, reason in embedded.failed:
        note(f"skipped {path}: {reason}")
    if not embedded.pieces:
        raise ManifestError(f"none of the {len(pieces)} pieces could be embedded")
    return embedded


def _robustness(model: "LoadedModel", embedded: "Embedded", at_most: int) -> "dict[str, Result]":
    """Measured from pieces that lie evenly among all."""
    from clap_musicgen.evaluation.robustness import embed_perturbed, robustness

    count = len(embedded.pieces)
    rows = sorted({place * count // at_most for place in range(at_most)})
    pieces = [embedded.pieces[row] for row in rows]
    with progress_bar() as bar:
        task = bar.add_task("changing", total=len(pieces), detail="")
        perturbed = embed_perturbed(
            model, pieces, on_progress=lambda done, _: bar.update(task, completed=done)
        )
    if len(perturbed.pieces) < 2:
        note("robustness is left out: it takes two or more pieces, to tell one from another")
        return {}
    return robustness(model, perturbed)


def _deliver(
    question: _Question,
    results: "Results",
    changed: "dict[str, Result]",
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    from clap_musicgen.evaluation import report
    from clap_musicgen.evaluation.zero_shot import PROMPTS

    prompted = any(result.task == "zero-shot" for of_set in results.values() for result in of_set)
    prompts = PROMPTS if prompted else ()
    about = {**question.about, "prompts": list(prompts)}
    text = report.to_json(results, about=about, robustness=changed)
    if out is not None:
        page = report.to_markdown(
            results, title=question.title, robustness=changed, prompts=prompts
        )
        _write(out / "results.json", text)
        _write(out / "results.md", page)
    if as_json:
        emit(text.rstrip())
        return
    tables = report.tables(results)
    tables += [report.robustness_table(changed)] if changed else []
    _show(tables, title=question.title, prompts=prompts)


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _show(tables: "Sequence[Table]", *, title: str, prompts: "Sequence[str]") -> None:
    """Print tables; what is better than chance stands out by colour and by mark."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(safe(title), style="bold", markup=False)
        for table in tables:
            _print_table(table, console)
        if prompts:
            console.print(
                f"Prompts of zero-shot, the whole set: {', '.join(prompts)}", markup=False
            )
        console.print(
            "Each cell: value, [95 % bootstrap interval over queries], chance of a random order. "
            "Green with ▲: the whole interval is better than chance.",
            markup=False,
        )
    emit(capture.get().rstrip())


def _print_table(table: "Table", console: "Console") -> None:
    from rich.markup import escape
    from rich.table import Table as Shown

    shown = Shown(title=escape(table.task), title_justify="left", show_lines=True)
    for heading in (table.rows_are, "queries", "items", *table.metrics):
        name = heading == table.rows_are
        shown.add_column(escape(heading), justify="left" if name else "right", no_wrap=name)
    for row in table.rows:
        cells = [escape(safe(row.name)), str(row.queries), str(row.items)]
        shown.add_row(*cells, *map(_cell, row.figures))
    console.print(shown)
    for text in table.notes:
        console.print(f"{text}.", markup=False, style="dim")


def _cell(figure: "Figure | None") -> str:
    from clap_musicgen.evaluation import report

    if figure is None:
        return report.NOTHING
    value, low, high, chance = (
        report.number(x, figure=figure)
        for x in (figure.value, figure.low, figure.high, figure.chance)
    )
    first = f"[bold green]{value} ▲[/]" if figure.beats_chance else value
    return f"{first}\n\\[{low}, {high}]\n[dim]chance {chance}[/]"


def _draw(
    model: "LoadedModel",
    embedded: "Embedded",
    results: "Results",
    changed: "dict[str, Result]",
    out: Path,
) -> None:
    """Pictures, where matplotlib is there: it comes with an extra, and the figures do without."""
    try:
        from clap_musicgen.evaluation import plots
    except ModuleNotFoundError as error:
        note(f"no pictures are drawn, {error.name} is missing: pip install 'clap-musicgen[train]'")
        return
    from clap_musicgen.evaluation.retrieval import unique_captions

    plots.draw_results(results, out / "results.png")
    plots.draw_robustness(changed, out / "robustness.png")
    rows = [row for row, piece in enumerate(embedded.pieces) if piece.caption.strip()]
    if rows:
        captions, caption_of = unique_captions([embedded.pieces[row].caption for row in rows])
        plots.draw_search(model.embed_text(captions), embedded.vectors[rows], caption_of, out)
    note(f"written to {out}")
