"""What a person or a program sees: tables, JSON, notes and progress.

Results go to standard output; notes and progress go to standard error, progress only if that is a
terminal. Whatever a file is called, it is shown on one line and cannot steer the terminal.
"""

import json
import os
import sys
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

LISTED = 10
"""How many of a long list are printed before the rest is only counted."""

# Control, format (but the joiner of emoji and of some scripts), line separators, surrogates.
_UNPRINTABLE = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_JOINERS = {"\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"}


def safe(text: object) -> str:
    """Escape what is not printable, as Python would: a line break becomes \\n."""
    return "".join(
        mark
        if mark in _JOINERS or unicodedata.category(mark) not in _UNPRINTABLE
        else mark.encode("unicode_escape", "surrogatepass").decode("ascii")
        for mark in str(text)
    )


def clock(seconds: float) -> str:
    """Write a time as m:ss, from an hour up as h:mm:ss."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}:{minutes:02}:{whole % 60:02}"
    return f"{minutes}:{whole % 60:02}"


def emit(text: str) -> None:
    """Write a result to standard output; a reader that has seen enough ends the program quietly."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Whatever is still buffered must go somewhere when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def emit_json(value: Any) -> None:
    """Write a result as JSON, in ASCII so that any file name survives any pipe."""
    emit(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Write one line to standard error."""
    print(safe(text), file=sys.stderr, flush=True)


def emit_table(columns: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    """Write a table; columns whose name begins with ">" are numbers. The last one holds paths.

    On a terminal it fits the width, and long texts and paths are shortened; in a pipe every text
    is whole, aligned, without colours.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 100_000, no_color=not terminal, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=terminal)
    limits = _limits(columns, rows, console.width) if terminal else [None] * len(columns)
    for column in columns:
        numeric = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        cells = zip(row, limits, strict=True)
        fitted = [_fit(safe(text), limit, tail=text is row[-1]) for text, limit in cells]
        table.add_row(*map(Text, fitted))
    with console.capture() as capture:
        console.print(table)
    emit("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def _limits(
    columns: "Sequence[str]", rows: "Sequence[Sequence[str]]", width: int
) -> "list[int | None]":
    """Share the width of the terminal: the texts may have so much, the path gets the rest."""
    from rich.cells import cell_len

    spare = width - 3 * len(columns) - 1
    limits: list[int | None] = []
    for place, column in enumerate(columns[:-1]):
        cells = [column.lstrip(">"), *(safe(row[place]) for row in rows)]
        needed = max(cell_len(cell) for cell in cells)
        limits.append(needed if column.startswith(">") else min(needed, max(10, spare // 3)))
    taken = sum(limit or 0 for limit in limits)
    return [*limits, max(12, spare - taken)]


def _fit(text: str, limit: int | None, *, tail: bool) -> str:
    """Shorten to `limit` cells; of a path the end tells more."""
    from rich.cells import cell_len

    if limit is None or cell_len(text) <= limit:
        return text
    while cell_len(text) >= limit:
        text = text[1:] if tail else text[:-1]
    return f"…{text}" if tail else f"{text}…"


def emit_facts(facts: "Sequence[tuple[str, str]]") -> None:
    """Write names and values below each other."""
    width = max(len(name) for name, _ in facts)
    emit("\n".join(f"{name:<{width}}  {safe(value)}".rstrip() for name, value in facts))


def emit_list(title: str, items: "Sequence[tuple[str, str]]") -> None:
    """Write paths and what is to be said of them: the first few, and how many more there are."""
    if not items:
        return
    lines = [f"  {safe(path)}: {safe(reason)}" for path, reason in items[:LISTED]]
    if len(items) > LISTED:
        lines.append(f"  … and {len(items) - LISTED} more")
    emit("\n".join([title, *lines]))


@contextmanager
def waiting(what: str) -> "Iterator[None]":
    """Show a spinner while something takes its time."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress_bar() -> "Iterator[Progress]":
    """Show a bar with the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left {task.fields[detail]}", markup=False),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        yield bar
