"""Format 1 → the present one, undisturbed and interrupted at every step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from clap_musicgen.audio.files import Tags
from clap_musicgen.errors import LibraryError
from clap_musicgen.library import migrating
from clap_musicgen.library.folder import DESCRIPTION, FORMAT, read_description, writing
from clap_musicgen.library.place import locate
from clap_musicgen.library.rows import (
    Clips,
    NewTrack,
    Summary,
    clip_schema,
    clip_table,
    track_schema,
    track_table,
)
from clap_musicgen.library.store import CLIPS, TRACKS, Store
from clap_musicgen.library.tables import Table
from library_music import everything
from test_library_resident import make_tracks

if TYPE_CHECKING:
    from pathlib import Path

    from library_music import Held

DIM = 8


def single_precision(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same rows as format 1 had them."""
    place = schema.get_field_index("vector")
    old = schema.set(place, pa.field("vector", pa.list_(pa.float32(), DIM), nullable=False))
    return table.cast(old)


def write_format_1(folder: Path, tracks: list[NewTrack]) -> None:
    """Write a library as version 1 of this package did."""
    folder.mkdir()
    connection = lancedb.connect(str(folder))
    written = {
        "tracks": single_precision(track_table(tracks, DIM), track_schema(DIM)),
        "clips": single_precision(clip_table(tracks, DIM), clip_schema(DIM)),
    }
    for name, rows in written.items():
        table = connection.create_table(name, schema=rows.schema)
        for first in range(0, rows.num_rows, 400):
            table.add(rows.slice(first, 400))
    description = {
        "format": 1,
        "fingerprint": "fake-1",
        "dim": DIM,
        "sample_rate": 8000,
        "clip_seconds": 1.0,
        "made_with": "--model tiny",
    }
    (folder / DESCRIPTION).write_text(json.dumps(description))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    tracks = make_tracks(np.random.default_rng(0))
    write_format_1(folder, tracks[:30] + tracks[-20:])
    return folder


def migrate(folder: Path) -> None:
    with writing(folder):
        migrating.migrate(locate(folder), read_description(folder))


def vector_types(folder: Path) -> list[pa.DataType]:
    connection = lancedb.connect(str(folder))
    names = (TRACKS, CLIPS)
    return [connection.open_table(name).schema.field("vector").type.value_type for name in names]


def assert_same(folder: Path, before: dict[str, Held]) -> None:
    held = everything(folder)
    assert held.keys() == before.keys()
    for path, one in held.items():
        assert one.track == before[path].track
        np.testing.assert_allclose(one.mean, before[path].mean, atol=1e-3)
        assert [clip[:2] for clip in one.clips] == [clip[:2] for clip in before[path].clips]
        for clip, other in zip(one.clips, before[path].clips, strict=True):
            np.testing.assert_allclose(clip[2], other[2], atol=1e-3)


def test_format_1_is_read_as_it_is_and_migrated(old: Path) -> None:
    before = everything(old)
    assert len(before) == 50
    description = read_description(old)
    migrate(old)
    assert vector_types(old) == [pa.float16(), pa.float16()]
    after = read_description(old)
    assert (after.format, after.made_with) == (FORMAT, description.made_with)
    assert_same(old, before)
    store = Store(old, dim=DIM)
    assert store.texts() is None
    version = store.version()
    migrate(old)  # nothing is left to do
    assert store.version() == version
    store.commit([NewTrack("/new", Tags(title="new"), 1, 1, "ab", *_parts(old))])
    assert store.count_tracks() == 51


def _parts(folder: Path) -> tuple[Summary, Clips | None]:
    track = make_tracks(np.random.default_rng(3))[0]
    return track.summary, track.clips


@pytest.mark.parametrize("step", range(4))
def test_an_interrupted_migration_is_taken_up_again(
    old: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(old)
    done = 0

    def stop_at_step() -> None:
        nonlocal done
        done += 1
        if done > step:
            raise LibraryError("killed")

    overwrite, compact = Table.overwrite, Table.compact

    def overwrite_or_stop(self: Table, rows: pa.Table) -> None:
        stop_at_step()
        overwrite(self, rows)

    def compact_or_stop(self: Table) -> None:
        stop_at_step()
        compact(self)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "overwrite", overwrite_or_stop)
        patch.setattr(Table, "compact", compact_or_stop)
        patch.setattr(migrating, "write_description", lambda *_: stop_at_step())
        with pytest.raises(LibraryError, match="killed"):
            migrate(old)
    assert read_description(old).format == 1
    assert_same(old, before)  # whole in the meantime, too
    migrate(old)
    assert vector_types(old) == [pa.float16(), pa.float16()]
    assert_same(old, before)
