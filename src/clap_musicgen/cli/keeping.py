"""`clap-musicgen playlists`: what `playlist --save` and the page have kept with a library.

Needs no model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.listing import ForceOption, show_tracks, track_json, write_playlist
from clap_musicgen.cli.options import JsonOption, LibraryOption, library_folder, library_is_there
from clap_musicgen.cli.show import clock, emit, emit_json, emit_list, emit_table, note
from clap_musicgen.errors import InputError, LibraryError

if TYPE_CHECKING:
    from clap_musicgen.library.saved import Playlist


def playlists(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this one.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.m3u8", help="Write it for your player."),
    ] = None,
    force: ForceOption = False,
    absolute: Annotated[
        bool,
        typer.Option("--absolute", help="Absolute paths in it, not relative to where it lies."),
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete it; nothing happens to its tracks.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the playlists that are saved with the library, or show one of them."""
    if name is None and (out is not None or delete):
        raise InputError("which playlist? Name it: clap-musicgen playlists NAME")
    if out is not None and delete:
        raise InputError("write it or delete it: give --out or --delete")
    folder = library_folder(library)
    if not library_is_there(folder):
        raise LibraryError(
            f"there is no library in {str(folder)!r}: index some music first, with "
            "`clap-musicgen index FOLDER`"
        )
    if name is None:
        _list(folder, as_json=as_json)
    elif delete:
        from clap_musicgen.library import saved

        saved.delete(folder, name)
        note(f"deleted the playlist {name!r}")
    else:
        _show(_load(folder, name), out, absolute=absolute, force=force, as_json=as_json)


def _list(folder: Path | str, *, as_json: bool) -> None:
    from clap_musicgen.library import saved

    found = saved.listed(folder)
    if as_json:
        emit_json(
            [
                {
                    "name": one.name,
                    "tracks": one.tracks,
                    "minutes": round(one.minutes, 2),
                    "saved": None if one.saved is None else one.saved.isoformat(),
                }
                for one in found
            ]
        )
    elif not found:
        note('no saved playlists: clap-musicgen playlist "calm piano" --save NAME makes one')
    else:
        rows = [
            (
                str(one.tracks),
                clock(one.minutes * 60),
                "" if one.saved is None else f"{one.saved.astimezone():%Y-%m-%d %H:%M}",
                one.name,
            )
            for one in found
        ]
        emit_table([">tracks", ">length", "saved", "name"], rows)


def _load(folder: Path | str, name: str) -> "Playlist":
    from clap_musicgen.library import saved
    from clap_musicgen.library.folder import read_description
    from clap_musicgen.library.place import locate
    from clap_musicgen.library.store import Store

    place = locate(folder)
    tracks = Store(place.target, dim=read_description(place).dim).tracks()
    known = {track.path: track for track in tracks}
    return saved.load(place, name, known.get)


def _show(
    found: "Playlist", out: Path | None, *, absolute: bool, force: bool, as_json: bool
) -> None:
    if out is not None:
        written = write_playlist(out, found.tracks, absolute, force)
        emit(f"{len(found.tracks)} tracks, {clock(found.minutes * 60)}: {written}")
    elif as_json:
        tracks = [track_json(track) for track in found.tracks]
        emit_json({"name": found.name, "tracks": tracks, "missing": list(found.missing)})
    else:
        show_tracks(found.tracks)
    if not as_json:
        emit_list("not in the library:", [(path, "index it again") for path in found.missing])
