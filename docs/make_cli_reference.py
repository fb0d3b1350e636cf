"""Write the reference of the command line from the program itself, as one page of Markdown.

`python docs/make_cli_reference.py` prints it; the site's build asks for it anew each time, so that
it is never older than the code. Knows only what `--help` knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import typer

from clap_musicgen.cli import app

INTRODUCTION = """\
# Command line

Every command says the same with `--help`. Exit codes: 0 is fine, 1 is something that you can mend, 130
is interrupted. Data goes to standard output, everything else to standard error.
"""

Command: TypeAlias = Any
"""A command or a group of them: Typer has no public name for what they have in common."""


def page() -> str:
    """Describe all commands, in the order of `clap-musicgen --help`."""
    root = typer.main.get_command(app)
    parts = [_described(names, command) for names, command in commands(root, ("clap-musicgen",))]
    return INTRODUCTION + "\n" + "\n".join(parts)


def commands(group: Command, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Walk through the commands of a group and its groups: names from the program on, command."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def _described(names: tuple[str, ...], command: Command) -> str:
    context = typer.Context(command, info_name=" ".join(names))
    usage = " ".join([*names, *command.collect_usage_pieces(context)])
    text = [f"## {' '.join(names[1:])}", "", *_paragraphs(command.help or ""), "", "```text", usage]
    text += ["```", ""]
    for title, rows in _tables(command, context).items():
        text += [f"| {title} | |", "| --- | --- |"]
        text += [f"| `{left}` | {_prose(right)} |" for left, right in rows]
        text.append("")
    return "\n".join(text)


def _tables(command: Command, context: typer.Context) -> dict[str, list[tuple[str, str]]]:
    """Arguments and options as (how it is written, what it does), under the titles of `--help`."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is None or parameter.hidden:
            continue
        kind = "Options" if parameter.opts[0].startswith("-") else "Arguments"
        tables.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
    return tables


def _paragraphs(text: str) -> list[str]:
    return [_prose(line) if line else "" for line in text.split("\b")[0].splitlines()]


def _prose(text: str) -> str:
    """Plain text as Markdown: what would be markup becomes itself."""
    return re.sub(r"([\\*_<>|\[\]])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    print(page())
