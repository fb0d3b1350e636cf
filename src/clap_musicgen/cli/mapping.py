"""`clap-musicgen map`: the library in two dimensions, as a picture or a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clap_musicgen.cli.listing import ForceOption
from clap_musicgen.cli.options import (
    JsonOption,
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    open_library,
)
from clap_musicgen.cli.show import emit, emit_json, note, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from clap_musicgen.library.mapping import Map

_KINDS = (".svg", ".csv")


def map_(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.svg|csv", help="A picture for a browser, or a table."),
    ] = None,
    force: ForceOption = False,
    by: Annotated[
        Literal["genre", "mood"], typer.Option("--by", help="What the colours of a picture are.")
    ] = "genre",
    method: Annotated[
        Literal["pacmap", "pca"] | None,
        typer.Option(
            "--method", help="By default PaCMAP where it is installed.", show_default=False
        ),
    ] = None,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the whole library as a map: tracks that sound alike lie near to each other.

    It is computed once and kept with the library; the page of `clap-musicgen serve` shows the same.
    """
    if out is not None and out.suffix.lower() not in _KINDS:
        raise InputError(
            f"{str(out)!r} must end in {' or '.join(_KINDS)}, for a picture or a table"
        )
    from clap_musicgen.library.projecting import method_for

    method_for(0, method)  # what is not installed is told before the model is loaded
    folder = library_folder(library)
    with open_library(folder, model=model, precision=precision) as opened:
        with waiting("drawing the map"):
            found = opened.map(method=method)
        if as_json:
            emit_json(_json(found))
        written = None if out is None else _write(out, found, by=by, force=force)
    if as_json:
        return
    emit(f"{len(found.tracks)} tracks, {found.method}{f': {written}' if written else ''}")
    if written is None:
        note("draw it with --out map.svg, or look around in it: clap-musicgen serve")


def _write(out: Path, found: "Map", *, by: str, force: bool) -> Path:
    from clap_musicgen.library.map_files import csv_bytes, svg_bytes
    from clap_musicgen.library.output import write_new

    colours = found.moods if by == "mood" else found.genres
    table = out.suffix.lower() == ".csv"
    content = csv_bytes(found) if table else svg_bytes(found, colours=colours)
    return write_new(out, content, force=force)


def _json(found: "Map") -> dict[str, object]:
    columns = zip(
        found.tracks, found.x.tolist(), found.y.tolist(), found.genres, found.moods, strict=True
    )
    return {
        "method": found.method,
        "tracks": [
            {
                "path": track.path,
                "title": track.title,
                "artist": track.artist,
                "genre": genre,
                "mood": mood,
                "x": round(x, 4),
                "y": round(y, 4),
            }
            for track, x, y, genre, mood in columns
        ],
    }
