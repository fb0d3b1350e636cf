"""Libraries made of rows, without any audio: quick, and with all that a row may hold."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clap_musicgen.audio.files import Tags
from clap_musicgen.embedding import mean_direction, unit
from clap_musicgen.library.folder import FORMAT, Description, write_description
from clap_musicgen.library.rows import Clips, NewTrack, Summary
from clap_musicgen.library.store import CLIPS, TRACKS, Store
from clap_musicgen.library.tables import Database, Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIM = 8
DESCRIBED = Description(
    FORMAT, "made-1", dim=DIM, sample_rate=8_000, clip_seconds=1.0, made_with="--model made"
)
ADDED = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def content_of(name: str) -> str:
    """A hash that stands for a file's bytes."""
    return blake2b(name.encode(), digest_size=16).hexdigest()


def track_of(path: str, name: str, *, copy: bool = False, clips: int = 3) -> NewTrack:
    """A track whose vectors follow from the name of its content; its last clip is short."""
    generator = np.random.default_rng(len(name) + int(content_of(name)[:8], 16))
    vectors = unit(generator.normal(size=(clips, DIM)) + 1)
    starts = np.arange(clips, dtype=np.float64)
    ends = np.append(starts[1:], clips - 0.25)
    mean = mean_direction(vectors, ends - starts)
    return NewTrack(
        path,
        tags=Tags(title=f"title of {name}", artist="Nina", genre="jazz", year=1999),
        size=len(path),
        mtime_ns=7,
        content=content_of(name),
        summary=Summary(float(ends[-1]), "", ADDED, mean),
        clips=None if copy else Clips(starts, ends, vectors),
    )


def make(folder: Path, groups: Sequence[Sequence[NewTrack]] = ()) -> Store:
    """Make a library; each group is a transaction, and a file of each table."""
    folder.mkdir(parents=True)
    store = Store.create(folder, dim=DIM)
    write_description(folder, DESCRIBED)
    for group in groups:
        store.commit(group)
    return store


def make_some(folder: Path, count: int = 6, *, per_group: int = 2) -> Store:
    """Make a library of tracks /music/0.wav and so on, and a copy of the first one."""
    tracks = [track_of(f"/music/{number}.wav", str(number)) for number in range(count)]
    groups = [tracks[first : first + per_group] for first in range(0, count, per_group)]
    return make(folder, [*groups, [track_of("/music/copy.wav", "0", copy=True)]])


def table_of(folder: Path, name: str) -> Table:
    """One of its tables."""
    return Database(folder).open(name)


def rows_in(folder: Path) -> tuple[pa.Table, pa.Table]:
    """All rows of tracks and clips, bit for bit, in an order that does not depend on history."""
    tracks, clips = (table_of(folder, name) for name in (TRACKS, CLIPS))
    by_time = [("content", "ascending"), ("start", "ascending")]
    return (
        tracks.read(tracks.schema.names).sort_by("raw_path"),
        clips.read(clips.schema.names).sort_by(by_time),
    )


def data_files(folder: Path, name: str) -> list[Path]:
    """Files of a table, oldest first."""
    files = (folder / f"{name}.lance" / "data").iterdir()
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)
