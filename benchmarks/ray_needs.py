"""What indexing so many tracks needs: hours, euros and bytes; arithmetic on measured figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tables import Table

TRACK_CLIPS = 24
"""Clips of ten seconds in a track of four minutes."""
TRACK_SECONDS = 240.0
INDEX_OVERHEAD = 8
"""Bytes a vector in the index: its row's number."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a library of so many tracks of four minutes needs.

    Attributes:
        tracks: how many.
        core_hours: to embed them.
        euros: for that.
        vectors: bytes of the clips' and the tracks' vectors, in half precision.
        other: bytes of everything else in the tables.
        index: bytes of an index with a byte for each number of a vector.
    """

    tracks: int
    core_hours: float
    euros: float
    vectors: float
    other: float
    index: float


def need(tracks: int, *, speed: float, dim: int, stored: float, euros: float) -> Need:
    """Work it out.

    Args:
        tracks: how many.
        speed: seconds of audio per second of one core, decoding included.
        dim: length of a vector.
        stored: bytes of a track in the tables, its vectors included.
        euros: an hour of one core.
    """
    core_hours = tracks * TRACK_SECONDS / speed / 3600
    rows = tracks * (TRACK_CLIPS + 1)
    vectors = 2.0 * dim * rows
    return Need(
        tracks,
        core_hours=core_hours,
        euros=core_hours * euros,
        vectors=vectors,
        other=tracks * stored - vectors,
        index=float((dim + INDEX_OVERHEAD) * rows),
    )


def need_table(needs: Sequence[Need], *, speed: float, euros: float) -> Table:
    rows = [
        (
            f"{each.tracks:,}",
            f"{each.core_hours:,.0f}",
            f"{each.core_hours / 64:,.0f}",
            f"{each.core_hours / 1024:,.1f}",
            f"{each.euros:,.0f}",
            *(f"{size / 1e9:,.1f}" for size in (each.vectors, each.other, each.index)),
        )
        for each in needs
    ]
    hours = ("core hours", "h on 64 cores", "h on 1,024 cores")
    return Table(
        "What large libraries need",
        ("tracks", *hours, "€", "GB of vectors", "GB of the rest", "GB of index"),
        rows,
        [
            f"Tracks of four minutes; {speed:.1f} × real time for each core, from the table above "
            f"(all cores at work); € {euros:g} for an hour of one core is assumed. The index has "
            "a byte for each number of a vector."
        ],
    )
