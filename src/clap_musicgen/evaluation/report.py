"""Results as tables for people (Markdown) and for programs (JSON).

Knows figures and words only; printing and writing files is the caller's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from clap_musicgen.evaluation.retrieval import Figure, Result

Results: TypeAlias = Mapping[str, Sequence[Result]]
"""Name of a set (for example "overall") → the results of its tasks."""

NOTHING = "—"
LEGEND = (
    "Each cell: value [95 % bootstrap interval over queries] chance of a random order. "
    "Bold: the whole interval is better than chance."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One set in the table of a task; a figure is None where the set has nothing to measure."""

    name: str
    queries: int
    items: int
    figures: tuple[Figure | None, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The sets of one task, one row each, with the metrics as columns."""

    task: str
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def tables(results: Results) -> list[Table]:
    """One table per task, in order of first appearance, with a row for each set that has it."""
    by_task: dict[str, list[tuple[str, Result]]] = {}
    for name, of_set in results.items():
        for result in of_set:
            by_task.setdefault(result.task, []).append((name, result))
    return [_table(task, named) for task, named in by_task.items()]


def number(value: float, *, figure: Figure) -> str:
    """A value in the figure's own precision: ranks to a tenth, shares to a thousandth."""
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.1f}" if figure.lower_is_better else f"{value:.3f}"


def to_markdown(results: Results, *, title: str = "") -> str:
    """All tables as Markdown, with a legend."""
    parts = [f"# {title}"] if title else []
    parts.append(LEGEND)
    for table in tables(results):
        header = ["set", "queries", "items", *table.metrics]
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *map(_markdown_cells, table.rows)]
        body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        parts.append(f"## {table.task}\n\n{body}")
    return "\n\n".join(parts) + "\n"


def to_json(results: Results, *, about: Mapping[str, Any] | None = None) -> str:
    """All figures as JSON: {"about": …, "results": {set: {task: {metric: {value, chance, …}}}}}.

    A bound that does not exist is null.
    """
    by_set = {
        name: {
            result.task: {
                "queries": result.queries,
                "items": result.items,
                "metrics": {figure.name: _plain(figure) for figure in result.figures},
            }
            for result in of_set
        }
        for name, of_set in results.items()
    }
    whole = {"about": dict(about or {}), "results": by_set}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _table(task: str, named: Sequence[tuple[str, Result]]) -> Table:
    metrics = tuple(dict.fromkeys(f.name for _, result in named for f in result.figures))
    rows = []
    for name, result in named:
        own = {figure.name: figure for figure in result.figures}
        figures = tuple(own.get(metric) for metric in metrics)
        rows.append(Row(name, result.queries, result.items, figures))
    return Table(task, metrics, tuple(rows))


def _markdown_cells(row: Row) -> list[str]:
    name = row.name.replace("|", "\\|")
    return [name, str(row.queries), str(row.items), *map(_markdown_cell, row.figures)]


def _markdown_cell(figure: Figure | None) -> str:
    if figure is None:
        return NOTHING
    value, low, high, chance = (
        number(x, figure=figure) for x in (figure.value, figure.low, figure.high, figure.chance)
    )
    shown = f"**{value}**" if figure.beats_chance else value
    return f"{shown} [{low}, {high}] {chance}"


def _plain(figure: Figure) -> dict[str, float | int | bool | None]:
    numbers = {key: getattr(figure, key) for key in ("value", "chance", "low", "high")}
    finite = {key: x if math.isfinite(x) else None for key, x in numbers.items()}
    return {**finite, "n": figure.n, "beats_chance": figure.beats_chance}
