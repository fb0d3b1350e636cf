"""Tables of the benchmarks: the same rows to a terminal, to Markdown and to JSON.

Also the options that several scripts share. Knows text only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """One table; the first column is text, the others are figures.

    Attributes:
        title: one line.
        headings: of the columns.
        rows: cells as text.
        notes: sentences below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)


def spread(found: Mapping[str, float]) -> str:
    """A ratio as `2.31 (2.28–2.40)`: median, and what the rounds lay between."""
    return f"{found['median']:.2f} ({found['min']:.2f}–{found['max']:.2f})"


def markdown(table: Table) -> str:
    """The table in Markdown, figures right-aligned."""
    rule = "|".join(["---", *["---:"] * (len(table.headings) - 1)])
    lines = [f"### {table.title}", "", _row(table.headings), f"|{rule}|"]
    lines += [_row(row) for row in table.rows]
    for note in table.notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def show(table: Table) -> None:
    """Print it for a person."""
    from rich.console import Console
    from rich.table import Table as RichTable

    rich = RichTable(title=table.title)
    for number, heading in enumerate(table.headings):
        rich.add_column(heading, justify="right" if number else "left")
    for row in table.rows:
        rich.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(rich)
    for note in table.notes:
        console.print(note, markup=False)


def machine_note(machine: Mapping[str, Any]) -> str:
    """Where the figures come from, in one sentence."""
    return (
        f"{machine['processor']}, {machine['threads']} thread(s) of {machine['cores']} cores; "
        f"Python {machine['python']}, PyTorch {machine['torch']}, "
        f"transformers {machine['transformers']}, NumPy {machine['numpy']}."
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--markdown`."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables there")


def deliver(options: argparse.Namespace, found: Mapping[str, Any], made: Sequence[Table]) -> None:
    """Print the tables, or JSON if `--json`; write Markdown if `--markdown`."""
    if options.markdown is not None:
        options.markdown.write_text("\n".join(map(markdown, made)), encoding="utf-8")
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    for table in made:
        show(table)


def positive(text: str) -> int:
    """An argument that is a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number
