"""The command line: `clap-musicgen index`, `search`, `similar`, `playlist`, `playlists`,
`duplicates`, `tags`, `map`, `check`, `export`, `import`, `classify`, `embed`, `info`, `serve`,
`manifest`, `prepare`, `tune-text`, `train`, `evaluate`, `assemble`, `convert`, `card`, `push`,
`export-onnx`.

One small file per command group; this one gathers them and turns errors into one line and an exit
code: 0 fine, 1 the user can mend it, 130 interrupted. Nothing heavy is imported before a command
runs, so that `--help` is instant.
"""

import sys
from typing import Annotated, cast

import typer

import clap_musicgen
from clap_musicgen.cli import (
    assembling,
    classifying,
    converting,
    embedding,
    evaluating,
    facts,
    indexing,
    keeping,
    listing,
    maintaining,
    manifests,
    mapping,
    preparing,
    publishing,
    searching,
    serving,
    training,
    tuning,
)
from clap_musicgen.cli.show import emit, note
from clap_musicgen.errors import ClapMusicGenError

# Typer gives no public name to the error of a wrong option, only to one of its subclasses.
_UsageError = cast(type[Exception], typer.BadParameter.__base__)
_INTERRUPTED = 130

app = typer.Typer(
    name="clap-musicgen",
    help="Search your music by words or by sound.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(indexing.index)
app.command()(searching.search)
app.command()(searching.similar)
app.command()(listing.playlist)
app.command()(listing.duplicates)
app.command()(keeping.playlists)
app.command(cls=classifying.LabelsCommand)(listing.tags)
app.command("map")(mapping.map_)
app.command()(maintaining.check)
app.command()(maintaining.export)
app.command("import")(maintaining.import_)
app.command(cls=classifying.LabelsCommand)(classifying.classify)
app.command()(embedding.embed)
app.command()(facts.info)
app.command()(serving.serve)
app.add_typer(manifests.app, name="manifest")
app.add_typer(preparing.app, name="prepare")
app.command("tune-text")(tuning.tune_text)
app.command()(training.train)
app.command()(evaluating.evaluate)
app.command()(assembling.assemble)
app.command()(converting.convert)
app.command()(publishing.card)
app.command()(publishing.push)
app.command("export-onnx")(publishing.export_onnx)


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"clap-musicgen {clap_musicgen.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Search your music by words or by sound."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str] | None = None) -> int:
    """Run one command, with the program's own arguments by default → its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names that the terminal cannot show must not end it
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(args=arguments, prog_name="clap-musicgen", standalone_mode=False)
        if code == _INTERRUPTED:
            note("interrupted")
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        text = str(getattr(error, "format_message", error.__str__)())
        note(f"error: {text.rstrip('.')}. Try clap-musicgen --help.")
    except ClapMusicGenError as error:
        note(f"error: {error}")
    except OSError as error:
        note(f"error: {error.strerror or error}: {error.filename or 'input or output'}")
    except (KeyboardInterrupt, typer.Abort):
        note("interrupted")
        return _INTERRUPTED
    return 1


def main() -> None:
    """Run as a program."""
    sys.exit(run())
