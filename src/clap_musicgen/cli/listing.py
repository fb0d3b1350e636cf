"""`clap-musicgen playlist`, `duplicates` and `tags`: lists of what a library holds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import (
    JsonOption,
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    library_is_there,
    open_library,
)
from clap_musicgen.cli.show import clock, emit, emit_json, emit_table, note, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clap_musicgen.library.duplicates import Copy
    from clap_musicgen.library.records import Track
    from clap_musicgen.library.tagging import Tag

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace the file of --out if it is there.")
]
KeptForceOption = Annotated[
    bool, typer.Option("--force", help="Replace what --out or --save finds there.")
]


def playlist(
    query: Annotated[
        str | None,
        typer.Argument(help='Words for the music, such as "calm piano".', show_default=False),
    ] = None,
    seed: Annotated[
        Path | None,
        typer.Option("--seed", metavar="FILE", help="More like this track or audio file."),
    ] = None,
    first: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A track where a smooth path begins."),
    ] = None,
    last: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="The track where it ends.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-k", "--count", min=1, help="How many tracks; 25 by default.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="How long, instead of how many tracks.")
    ] = None,
    per_artist: Annotated[
        int | None,
        typer.Option("--per-artist", min=1, metavar="N", help="At most N tracks of an artist."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.m3u8", help="Write a playlist for your player."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="NAME", help="Keep it with the library; see `playlists`."),
    ] = None,
    force: KeptForceOption = False,
    absolute: Annotated[
        bool,
        typer.Option("--absolute", help="Absolute paths in it, not relative to where it lies."),
    ] = False,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a playlist: of a theme in words, of a track, or a smooth path between two tracks."""
    ends = _ends(query, seed, first, last, per_artist)
    if count is not None and minutes is not None:
        raise InputError("a playlist has a number of tracks (-k) or of minutes, not both")
    if out is not None and not force:
        _check_absent(out)
    folder = library_folder(library)
    if save is not None:
        _check_name(folder, save, force=force)
    chosen = open_library(folder, model=model, precision=precision)
    with chosen as opened, waiting("choosing"):
        tracks = opened.playlist(
            query, like=seed, between=ends, k=count, minutes=minutes, per_artist=per_artist
        )
        if tracks and save is not None:
            opened.save_playlist(save, [track.path for track in tracks], replace=force)
    if not tracks:
        note("nothing fits: no playlist")
        if as_json:
            emit_json([])
        return
    written = None if out is None else write_playlist(out, tracks, absolute, force)
    if as_json:
        emit_json([track_json(track) for track in tracks])
    elif written is None and save is None:
        show_tracks(tracks)
    else:
        total = clock(sum(track.duration for track in tracks))
        where = [str(written)] if written else []
        where += [f"playlist {save!r}"] if save is not None else []
        emit(f"{len(tracks)} tracks, {total}: {' and '.join(where)}")


def duplicates(
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """List recordings that are there more than once: copies, other formats, other masters.

    The best file of each comes first. Nothing is deleted. Live versions and edits are other
    recordings; listen before you delete.
    """
    folder = library_folder(library)
    chosen = open_library(folder, model=model, precision=precision)
    with chosen as opened, waiting("comparing"):
        groups = opened.duplicates()
    if as_json:
        emit_json([[_copy_json(copy) for copy in group] for group in groups])
        return
    if not groups:
        note("no duplicates")
        return
    rows = [
        (
            str(number),
            "same bytes" if copy.same_bytes and place else ("best" if not place else ""),
            clock(copy.track.duration),
            _megabytes(copy.size),
            copy.track.path,
        )
        for number, group in enumerate(groups, 1)
        for place, copy in enumerate(group)
    ]
    emit_table([">group", "is", ">length", ">MB", "path"], rows)
    spare = sum(copy.size or 0 for group in groups for copy in group[1:])
    count = sum(len(group) - 1 for group in groups)
    note(f"more files than recordings: {count}, together {_megabytes(spare)} MB")


def tags(
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="LABEL...", help="Labels instead of the built-in ones."),
    ] = None,
    labels_file: Annotated[
        Path | None,
        typer.Option(
            "--labels-file",
            metavar="FILE",
            help="Labels from a text: LABEL or FACET: LABEL a line.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.csv", help="Write a table for spreadsheets."),
    ] = None,
    force: ForceOption = False,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=0.0, max=1.0, help="The bar for a tag, 0 to 1."),
    ] = None,
    per_facet: Annotated[
        int | None,
        typer.Option("--per-facet", min=1, metavar="N", help="At most N labels of a facet."),
    ] = None,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tag every track with the labels that fit; a track that fits none gets none.

    Nothing is written to your audio files.
    """
    if labels and labels_file is not None:
        raise InputError("give --labels or --labels-file, not both")
    if out is not None and not force:
        _check_absent(out)
    from clap_musicgen.library import tagging
    from clap_musicgen.library.vocabulary import VOCABULARY

    own = None if labels_file is None else tagging.read_labels(labels_file)
    wanted: Mapping[str, Sequence[str]] | Sequence[str] = own or labels or VOCABULARY
    facets = tagging.labels_of(wanted).facets  # a wrong label is told before the model is loaded
    folder = library_folder(library)
    chosen = open_library(folder, model=model, precision=precision)
    with chosen as opened, waiting("tagging"):
        found = opened.tags(
            wanted,
            min_score=tagging.MIN_SCORE if min_score is None else min_score,
            per_facet=per_facet or tagging.PER_FACET,
        )
        tracks = opened.tracks()
    if out is not None:
        from clap_musicgen.library.output import write_new

        written = write_new(out, tagging.csv_bytes(tracks, found, facets), force=force)
    if as_json:
        emit_json([_tag_json(tag) for tag in found])
    elif out is None:
        _show_tags(found)
    else:
        emit(f"{_tally(found, len(tracks))}: {written}")


def _ends(
    query: str | None,
    seed: Path | None,
    first: Path | None,
    last: Path | None,
    per_artist: int | None,
) -> tuple[Path, Path] | None:
    """Check that one kind of playlist is asked for; return the ends of a path."""
    if query is not None and not query.strip():
        raise InputError("the query is empty: describe the music in a few words")
    if first is None and last is None:
        if query is None and seed is None:
            raise InputError(
                "a playlist of what? Give some words, a track with --seed FILE, or two tracks with "
                "--from FILE --to FILE"
            )
        return None
    if first is None or last is None:
        raise InputError("a path has two ends: give both --from FILE and --to FILE")
    if query is not None or seed is not None:
        raise InputError("a path between two tracks takes neither words nor --seed")
    if per_artist is not None:
        raise InputError("a path between two tracks takes no --per-artist")
    return first, last


def _check_absent(out: Path) -> None:
    """Say at once, before a model is loaded, what would fail in the end."""
    if os.path.lexists(out.expanduser()):
        raise InputError(
            f"there is a file {str(out)!r} already: name another one, or replace it with --force"
        )


def _check_name(folder: Path | str, name: str, *, force: bool) -> None:
    """Say at once, before a model is loaded, that a name cannot be used or is taken."""
    from clap_musicgen.library import saved

    if force or not library_is_there(folder):
        saved.checked_name(name)
    else:
        saved.check_free(folder, name)


def write_playlist(out: Path, tracks: "Sequence[Track]", absolute: bool, force: bool) -> Path:
    """Write an M3U8 file; its paths are relative to where it lies unless `absolute`."""
    from clap_musicgen.library.m3u import m3u8
    from clap_musicgen.library.output import write_new

    where = None if absolute else os.path.realpath(out.expanduser().parent)
    return write_new(out, m3u8(tracks, relative_to=where).encode(), force=force)


def show_tracks(tracks: "Sequence[Track]") -> None:
    """Write tracks as a numbered table."""
    rows = [
        (str(number), track.title, track.artist, clock(track.duration), track.path)
        for number, track in enumerate(tracks, 1)
    ]
    emit_table([">", "title", "artist", ">length", "path"], rows)


def _show_tags(found: "list[Tag]") -> None:
    if not found:
        note("no track fits a label: lower the bar with --min-score")
        return
    rows = [(tag.facet, tag.label, f"{tag.score:.2f}", tag.track.path) for tag in found]
    emit_table(["facet", "label", ">score", "path"], rows)


def _tally(found: "list[Tag]", tracks: int) -> str:
    tagged = len({tag.track.path for tag in found})
    return f"{len(found)} tags for {tagged} of {tracks} tracks"


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e6:.1f}"


def track_json(track: "Track") -> dict[str, object]:
    """Describe a track."""
    return {
        "path": track.path,
        "title": track.title,
        "artist": track.artist,
        "duration": round(track.duration, 3),
    }


def _copy_json(copy: "Copy") -> dict[str, object]:
    return {**track_json(copy.track), "size": copy.size, "same_bytes": copy.same_bytes}


def _tag_json(tag: "Tag") -> dict[str, object]:
    return {
        "path": tag.track.path,
        "title": tag.track.title,
        "artist": tag.track.artist,
        "facet": tag.facet,
        "label": tag.label,
        "score": round(tag.score, 4),
    }
