"""`clap-musicgen search` and `similar`: questions to the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_PRECISION,
    CountOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    PrecisionOption,
    library_folder,
    open_library,
)
from clap_musicgen.cli.show import clock, emit_json, emit_table, note, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from clap_musicgen.library.records import Match


def search(
    query: Annotated[
        str | None,
        typer.Argument(help='Words for the music, such as "calm piano".', show_default=False),
    ] = None,
    count: CountOption = 10,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="FILE", help="Also like this sound.")
    ] = None,
    without: Annotated[
        str | None, typer.Option("--without", metavar="TEXT", help="Words for what you want less.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="FILTER",
            help="An SQL condition on title, artist, album, genre, year or duration, such as "
            "\"artist = 'Nina' AND year < 1970\".",
        ),
    ] = None,
    library: LibraryOption = None,
    model: ModelOption = DEFAULT_MODEL,
    precision: PrecisionOption = DEFAULT_PRECISION,
    as_json: JsonOption = False,
) -> None:
    """Find the tracks, and the best moment of each, that fit words, a sound, or both."""
    if query is None and like is None:
        raise InputError("nothing to search for: give some words, or a sound with --like FILE")
    for name, text in (("query", query), ("text of --without", without)):
        if text is not None and not text.strip():
            raise InputError(f"the {name} is empty: describe the music in a few words")
    folder = library_folder(library)
    chosen = open_library(folder, model=model, precision=precision)
    with chosen as opened, waiting("searching"):
        matches = opened.search(query, k=count, like=like, without=without, where=where)
    _show(matches, as_json=as_json)


def similar(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A track or any audio file.")],
    count: CountOption = 10,
    library: LibraryOption = None,
    model: ModelOption = DEFAULT_MODEL,
    precision: PrecisionOption = DEFAULT_PRECISION,
    as_json: JsonOption = False,
) -> None:
    """Find the tracks that sound most like a file, which need not be in the library."""
    folder = library_folder(library)
    chosen = open_library(folder, model=model, precision=precision)
    with chosen as opened, waiting("searching"):
        matches = opened.similar(file, k=count)
    _show(matches, as_json=as_json)


def _show(matches: "list[Match]", *, as_json: bool) -> None:
    if as_json:
        emit_json([_as_json(match) for match in matches])
        return
    if not matches:
        note("no matches")
        return
    rows = [
        (
            match.track.title,
            match.track.artist,
            f"{match.score:.3f}",
            f"{clock(match.start)}–{clock(match.end)}",
            match.track.path,
        )
        for match in matches
    ]
    emit_table(["title", "artist", ">score", ">segment", "path"], rows)


def _as_json(match: "Match") -> dict[str, object]:
    track = match.track
    return {
        "path": track.path,
        "title": track.title,
        "artist": track.artist,
        "album": track.album,
        "genre": track.genre,
        "year": track.year,
        "duration": round(track.duration, 3),
        "score": round(match.score, 6),
        "start": round(match.start, 3),
        "end": round(match.end, 3),
        "problem": track.problem,
    }
