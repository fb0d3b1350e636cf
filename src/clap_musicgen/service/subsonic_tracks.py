"""Which track another music server means: by our id, by a path, or by title and artist.

An id of another server says nothing here, so it may tell what it knows of the track instead. What
fits several different tracks fits none: no answer is better than one about another song. Knows
tracks; neither HTTP nor sound.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clap_musicgen.library.folding import fold
from clap_musicgen.library.paths import path_key, readable
from clap_musicgen.service.subsonic_answers import GENERIC, MISSING, NOT_FOUND, SubsonicError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.library.records import Track

SLACK = 3.0
"""Seconds by which lengths of one track may differ between programs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody knows of a track; "" or None where they know nothing.

    Attributes:
        id: hopefully one of ours.
        path: of the file, or the end of it: "Artist/Album/01 - Title.flac".
        title: whatever the case and accents.
        artist: likewise.
        album: likewise.
        duration: seconds.
    """

    id: str = ""
    path: str = ""
    title: str = ""
    artist: str = ""
    album: str = ""
    duration: float | None = None


class Catalogue:
    """All tracks of one state of a library, by what may be said of them."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        """Sort them, in the order of `Library.tracks`."""
        self.row_of = {path_key(track.path): row for row, track in enumerate(tracks)}
        self._tracks = tracks
        self._by_file: dict[str, list[int]] = defaultdict(list)
        self._by_title: dict[str, list[int]] = defaultdict(list)
        for row, track in enumerate(tracks):
            self._by_file[_parts(readable(track.path))[-1]].append(row)
            self._by_title[fold(track.title)].append(row)

    def find(self, wanted: Wanted) -> Track:
        """Return the track that is meant.

        Raises:
            SubsonicError: none is, or it cannot be told which.
        """
        if wanted.id in self.row_of:
            return self._tracks[self.row_of[wanted.id]]
        if not (wanted.id or wanted.path or wanted.title):
            raise SubsonicError(MISSING, "which song? Give an id, a path, or a title and an artist")
        for rows in (self._with_path(wanted), self._with_tags(wanted)):
            if rows:
                return self._one_of(rows, wanted)
        raise SubsonicError(
            NOT_FOUND,
            f"no track here is {_named(wanted)}: an id must be one of ours, a path must end as "
            "ours does, and title and artist must be those of the tags",
        )

    def _with_path(self, wanted: Wanted) -> list[int]:
        if not wanted.path:
            return []
        parts = _parts(wanted.path)
        return [
            row
            for row in self._by_file.get(parts[-1], [])
            if _parts(readable(self._tracks[row].path))[-len(parts) :] == parts
        ]

    def _with_tags(self, wanted: Wanted) -> list[int]:
        rows = self._by_title.get(fold(wanted.title), []) if wanted.title else []
        for name in ("artist", "album"):
            text = fold(getattr(wanted, name))
            # A tag that is absent here contradicts nothing, but never wins over one that fits.
            fitting = [row for row in rows if text == fold(getattr(self._tracks[row], name))]
            absent = [row for row in rows if not getattr(self._tracks[row], name)]
            rows = (fitting or absent) if text else rows
        return rows

    def _one_of(self, rows: list[int], wanted: Wanted) -> Track:
        """The only track, or the only one of this length; copies and encodings count as one."""
        if wanted.duration is not None:
            near = [
                row for row in rows if abs(self._tracks[row].duration - wanted.duration) <= SLACK
            ]
            rows = near or rows
        first = self._tracks[rows[0]]
        if all(_same(first, self._tracks[row]) for row in rows):
            return first
        raise SubsonicError(
            GENERIC,
            f"{len(rows)} tracks here are {_named(wanted)}: say more, such as a longer path, the "
            "artist, the album or the duration",
        )


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part) or ("",)


def _same(first: Track, second: Track) -> bool:
    if first.content == second.content:
        return True
    tags = all(
        fold(getattr(first, name)) == fold(getattr(second, name)) for name in ("title", "artist")
    )
    return tags and bool(first.artist) and abs(first.duration - second.duration) <= SLACK


def _named(wanted: Wanted) -> str:
    told = {
        "id": wanted.id,
        "path": wanted.path,
        "title": wanted.title,
        "artist": wanted.artist,
        "album": wanted.album,
    }
    return ", ".join(f"{name} {text[:100]!r}" for name, text in told.items() if text)
