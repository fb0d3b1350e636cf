"""A map as a file for people: a picture that any browser shows, or a table for spreadsheets.

Pure text. Knows a map; not how it was made.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from clap_musicgen.library.paths import readable
from clap_musicgen.library.tagging import harmless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.library.mapping import Map

# Tol's "bright" and two of his "muted" colours: told apart by eyes that see few colours, too.
COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#882255",
    "#44aa99",
)
REST = "#8d8d8d"
_SIZE, _MARGIN, _LINE, _LEGEND = 900, 30, 24, 240


def csv_bytes(found: Map) -> bytes:
    """Write a table: path, title, artist, genre, mood, x, y; UTF-8 with a byte order mark.

    What a spreadsheet would run as a formula gets an apostrophe before it.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["path", "title", "artist", "genre", "mood", "x", "y"])
    columns = zip(
        found.tracks, found.genres, found.moods, found.x.tolist(), found.y.tolist(), strict=True
    )
    for track, genre, mood, x, y in columns:
        words = [readable(track.path), track.title, track.artist, genre, mood]
        table.writerow([*map(harmless, words), f"{x:.4f}", f"{y:.4f}"])
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def svg_bytes(found: Map, *, colours: Sequence[str]) -> bytes:
    """Draw a picture with a dot for each track, which tells its name to the mouse.

    Args:
        found: the map.
        colours: (N,) what each track is coloured by; the most frequent have a colour of their own.
    """
    counts = Counter(name for name in colours if name)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))[: len(COLOURS)]
    colour_of = dict(zip(ranked, COLOURS, strict=False))
    radius = 5 if len(found.tracks) <= 500 else 3 if len(found.tracks) <= 5_000 else 1.5
    half = _SIZE / 2 - _MARGIN
    dots = [
        f'<circle cx="{_SIZE / 2 + half * x:.1f}" cy="{_SIZE / 2 - half * y:.1f}" r="{radius}" '
        f'fill="{colour_of.get(name, REST)}"><title>{_text(_told(track.title, track.artist, name))}'
        "</title></circle>"
        for track, x, y, name in zip(
            found.tracks, found.x.tolist(), found.y.tolist(), colours, strict=True
        )
    ]
    rows = [(colour_of[name], name, counts[name]) for name in ranked]
    rest = len(found.tracks) - sum(count for _, _, count in rows)
    rows += [(REST, "other or unknown", rest)] if rest else []
    legend = [
        f'<circle cx="{_SIZE}" cy="{_MARGIN + _LINE * row}" r="6" fill="{colour}"/>'
        f'<text x="{_SIZE + 14}" y="{_MARGIN + _LINE * row + 5}">{_text(name)} ({count})</text>'
        for row, (colour, name, count) in enumerate(rows)
    ]
    width = _SIZE + _LEGEND
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_SIZE}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        f"<title>{len(found.tracks)} tracks: what sounds alike lies near</title>",
        f'<rect width="{width}" height="{_SIZE}" fill="#ffffff"/>',
        '<g fill-opacity="0.75">',
        *dots,
        "</g>",
        *legend,
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _told(title: str, artist: str, name: str) -> str:
    return " · ".join(part for part in (title, artist, name) if part)


def _text(words: str) -> str:
    """Escape; what XML cannot hold, such as control characters, becomes a question mark."""
    kept = "".join(mark if mark.isprintable() else "?" for mark in words)
    return escape(kept)
