"""The M3U8 file of a playlist, as players read it.

Knows tracks and names of files; not how they were chosen.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from clap_musicgen.audio.files import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.library.records import Track


def m3u8(tracks: Sequence[Track], *, relative_to: str | None = None) -> str:
    """Write an extended M3U playlist, to be stored as UTF-8.

    Two lines for each track: `#EXTINF:SECONDS,ARTIST - TITLE` and its path. Whatever tags and names
    hold, a track cannot add a line: tags are brought onto one line, and a name with control
    characters, line separators or blanks at its ends, or one that is not UTF-8, is written as a
    percent-encoded `file:` URI of its absolute path, which VLC, mpv and others open byte for byte.

    Args:
        tracks: in the order of playing.
        relative_to: a folder, the one where the playlist will lie; paths are relative to it, so
            that both can be moved together. None: absolute paths.
    """
    lines = ["#EXTM3U"]
    for track in tracks:
        seconds = round(track.duration) if track.duration > 0 else -1
        names = [name for name in (one_line(track.artist), one_line(track.title)) if name]
        lines += [f"#EXTINF:{seconds},{' - '.join(names)}", _location(track.path, relative_to)]
    return "\n".join(lines) + "\n"


def _location(path: str, relative_to: str | None) -> str:
    if not _is_plain(path):
        return Path(path).as_uri()
    if relative_to is None:
        return path
    relative = os.path.relpath(path, relative_to)
    # "#1.mp3" would be a comment, and "a:b.mp3" the address of something called a.
    return f"./{relative}" if relative[0] == "#" or ":" in relative.split("/")[0] else relative


def _is_plain(path: str) -> bool:
    r"""Whether every player reads a line with this path as it stands."""
    # In any part: a relative path may begin or end elsewhere.
    blanks = any(part != part.strip() for part in path.split("/"))
    return not blanks and not any(
        unicodedata.category(mark) in {"Cc", "Cs", "Zl", "Zp"} or mark == "\ufeff" for mark in path
    )
