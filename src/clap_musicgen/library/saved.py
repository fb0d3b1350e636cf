"""Playlists that are kept with a library: one M3U8 file each, in its folder `playlists`.

Players read the files as they are, and a file that somebody puts there is a playlist too. A name is
what a person calls it; the file's name follows from it and back. Knows tracks by their paths; not
how they were chosen.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from clap_musicgen.errors import InputError, LibraryError, PlaylistNotFoundError
from clap_musicgen.library.folder import reason
from clap_musicgen.library.m3u import m3u8
from clap_musicgen.library.place import locate
from clap_musicgen.library.records import Track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from clap_musicgen.library.place import AnyPlace, Place

FOLDER = "playlists"
LONGEST_NAME = 100
"""Characters."""
_SUFFIX = ".m3u8"
_LONGEST_FILE = 240  # bytes of a file's name, with room for the draft it is written to
_ESCAPED = frozenset('%:*?"<>|')  # some file systems do not allow these in names
_SAVED = "#CLAP-MUSICGEN-SAVED:"


@dataclass(frozen=True, slots=True)
class SavedPlaylist:
    """A saved playlist at a glance.

    Attributes:
        name: what it is called.
        tracks: how many, those that the library does not have (any more) included.
        minutes: of all of them, as far as it is known.
        saved: when, in UTC; None if another program wrote it.
    """

    name: str
    tracks: int
    minutes: float
    saved: datetime | None


@dataclass(frozen=True, slots=True)
class Playlist:
    """A saved playlist.

    Attributes:
        name: what it is called.
        tracks: in the order of playing.
        missing: paths in it that are not in the library (any more).
        saved: when, in UTC; None if another program wrote it.
    """

    name: str
    tracks: tuple[Track, ...]
    missing: tuple[str, ...]
    saved: datetime | None

    @property
    def minutes(self) -> float:
        """Length of its tracks."""
        return sum(track.duration for track in self.tracks) / 60


class _Entry(NamedTuple):
    path: str
    seconds: float


def checked_name(name: str) -> str:
    """Return a name as it is kept; InputError if no playlist can be called so."""
    wanted = unicodedata.normalize("NFC", name)
    if not 1 <= len(wanted) <= LONGEST_NAME or wanted != wanted.strip():
        raise InputError(
            f"a playlist has a name of 1 to {LONGEST_NAME} characters without blanks around it, "
            f"not {name!r}"
        )
    odd = [mark for mark in wanted if mark in "/\\" or unicodedata.category(mark) in _UNPRINTABLE]
    if odd or wanted.startswith("."):
        wrong = f"hold {odd[0]!r}" if odd else "begin with a dot"
        raise InputError(f"the name of a playlist may not {wrong}: {name!r}")
    if len(_file_of(wanted).encode()) > _LONGEST_FILE:
        raise InputError(f"the name {name!r} is too long for a file: shorten it")
    return wanted


_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp", "Cn"})


def check_free(place: AnyPlace, name: str) -> None:
    """InputError if the name cannot be used, or there is a playlist of that name already."""
    place = locate(place)
    file = f"{FOLDER}/{_file_of(checked_name(name))}"
    try:
        taken = place.exists(file)
    except OSError as error:
        raise LibraryError(f"cannot look for {place.file(file)!r}: {reason(error)}") from error
    if taken:
        raise InputError(
            f"there is a playlist {name!r} already: choose another name, or replace it with "
            "--force (replace=True)"
        )


def save(place: AnyPlace, name: str, tracks: Sequence[Track], *, replace: bool = False) -> Playlist:
    """Keep a playlist in one step.

    Args:
        place: the library's.
        name: of the playlist.
        tracks: in the order of playing.
        replace: whether one of that name may be replaced.

    Raises:
        InputError: the name cannot be used, there is one already, or there are no tracks.
        LibraryError: it cannot be written.
    """
    place, name = locate(place), checked_name(name)
    if not tracks:
        raise InputError(f"the playlist {name!r} would be empty: nothing is saved")
    if not replace:
        check_free(place, name)
    now = datetime.now(UTC).replace(microsecond=0)
    first, rest = m3u8(tracks).split("\n", 1)
    text = f"{first}\n#PLAYLIST:{name}\n{_SAVED}{now.isoformat()}\n{rest}"
    file = f"{FOLDER}/{_file_of(name)}"
    try:
        place.write(file, text.encode())
    except OSError as error:
        raise LibraryError(f"cannot write {place.file(file)!r}: {reason(error)}") from error
    return Playlist(name, tuple(tracks), (), now)


def listed(place: AnyPlace) -> list[SavedPlaylist]:
    """Return all saved playlists by name. Raises LibraryError."""
    place = locate(place)
    try:
        files = place.names(FOLDER)
    except OSError as error:
        raise LibraryError(f"cannot look into {place.file(FOLDER)!r}: {reason(error)}") from error
    names = [name for file in files if (name := _name_of(file)) is not None]
    found = []
    for name in sorted(names, key=lambda name: (name.casefold(), name)):
        try:
            text = _text(place, name)
        except PlaylistNotFoundError:
            continue  # somebody has just deleted it
        entries = list(_entries(text, place))
        minutes = sum(entry.seconds for entry in entries) / 60
        found.append(SavedPlaylist(name, len(entries), minutes, _saved(text)))
    return found


def load(place: AnyPlace, name: str, track_of: Callable[[str], Track | None]) -> Playlist:
    """Return a saved playlist.

    Args:
        place: the library's.
        name: of the playlist.
        track_of: path → the library's track, None if it has none.

    Raises:
        PlaylistNotFoundError: there is none of that name.
        LibraryError: it cannot be read.
    """
    place = locate(place)
    text = _text(place, name)
    tracks, missing = [], []
    for entry in _entries(text, place):
        track = track_of(entry.path)
        if track is None:
            missing.append(entry.path)
        else:
            tracks.append(track)
    return Playlist(checked_name(name), tuple(tracks), tuple(missing), _saved(text))


def delete(place: AnyPlace, name: str) -> None:
    """Delete a saved playlist; nothing happens to its tracks.

    Raises:
        PlaylistNotFoundError: there is none of that name.
        LibraryError: it cannot be deleted.
    """
    place = locate(place)
    _text(place, name)
    file = f"{FOLDER}/{_file_of(checked_name(name))}"
    try:
        place.delete(file)
    except OSError as error:
        raise LibraryError(f"cannot delete {place.file(file)!r}: {reason(error)}") from error


def _text(place: Place, name: str) -> str:
    try:
        file = f"{FOLDER}/{_file_of(checked_name(name))}"
    except InputError as error:
        raise _absent(place, name) from error
    try:
        # Names that are not UTF-8 survive, and so does a file in another encoding.
        return place.read(file).decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError as error:
        raise _absent(place, name) from error
    except OSError as error:
        raise LibraryError(f"cannot read {place.file(file)!r}: {reason(error)}") from error


def _absent(place: Place, name: str) -> PlaylistNotFoundError:
    return PlaylistNotFoundError(
        f"the library {str(place)!r} has no playlist {name!r}: `clap-musicgen playlists` lists "
        "those it has"
    )


def _entries(text: str, place: Place) -> Iterator[_Entry]:
    seconds = 0.0
    for line in (line.removesuffix("\r") for line in text.split("\n")):
        if line.startswith("#EXTINF:"):
            seconds = _seconds(line)
        elif line.strip() and not line.startswith("#"):
            yield _Entry(_path(line, place), seconds)
            seconds = 0.0


def _seconds(line: str) -> float:
    try:
        stated = float(line.removeprefix("#EXTINF:").split(",")[0].split()[0])
    except (ValueError, IndexError):
        return 0.0
    return stated if 0 < stated < 1e9 else 0.0


def _path(line: str, place: Place) -> str:
    if line.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(urlsplit(line).path))
    # A playlist that a player wrote here is relative to where it lies.
    return os.path.normpath(os.path.join(place.file(FOLDER), line))  # noqa: PTH118 - may be a URI


def _saved(text: str) -> datetime | None:
    for line in text.split("\n", 8)[:8]:
        if line.startswith(_SAVED):
            try:
                return datetime.fromisoformat(line.removeprefix(_SAVED).strip())
            except ValueError:
                return None
    return None


def _file_of(name: str) -> str:
    kept = (f"%{ord(mark):02X}" if mark in _ESCAPED else mark for mark in name)
    return "".join(kept) + _SUFFIX


def _name_of(file: str) -> str | None:
    """The name of the playlist in a file; None if that is none of ours."""
    if not file.endswith(_SUFFIX):
        return None
    name = unquote(file.removesuffix(_SUFFIX), errors="surrogateescape")
    try:
        return name if _file_of(checked_name(name)) == file else None
    except (InputError, UnicodeEncodeError):
        return None
