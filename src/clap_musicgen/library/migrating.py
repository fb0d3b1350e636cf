"""Libraries of older formats → the present one, in place.

Format 1 kept vectors in single precision and had no table `texts`. Knows formats and tables;
neither models nor questions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from clap_musicgen.library import rows
from clap_musicgen.library.folder import FORMAT, Description, read_description, write_description
from clap_musicgen.library.store import CLIPS, TEXTS, TRACKS, undisturbed
from clap_musicgen.library.tables import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.library.place import Place
    from clap_musicgen.library.tables import Table


def up_to_date(place: Place, *, timeout: float = 0.0) -> Description:
    """Read a library's description, once the library is of the present format.

    Raises:
        LibraryBusyError: it is of an older one, and somebody still writes after `timeout` seconds.
        LibraryError: as of `migrate`.
    """
    description = read_description(place)
    if description.format < FORMAT:
        with place.writing(timeout=timeout):
            migrate(place, read_description(place))
        description = read_description(place)
    return description


def migrate(place: Place, description: Description) -> None:
    """Bring a library of any older format to the present one; the caller holds its lock.

    Each table is written anew beside its old state and takes its place in one step; `library.json`
    tells the new format when all of them are done. A process that dies meanwhile leaves a library
    whose next migration goes on with the tables that are left, and that readers of either format
    can read.

    Raises:
        LibraryError: it cannot be read or written. What it held is still there.
    """
    if description.format >= FORMAT:
        return
    database = Database(place.target)
    schemas = {
        CLIPS: rows.clip_schema(description.dim),
        TRACKS: rows.track_schema(description.dim),
    }
    for name, schema in schemas.items():
        table = database.open(name)
        if table.schema.field("vector").type != schema.field("vector").type:
            with undisturbed():
                table.overwrite(pa.RecordBatchReader.from_batches(schema, _stored(table, schema)))
                table.compact()  # frees what the old vectors took
    if TEXTS not in database.names():
        database.create(TEXTS, rows.text_schema(description.dim))
    write_description(place, replace(description, format=FORMAT))


def _stored(table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in table.batches():
        yield from rows.stored(pa.Table.from_batches([batch]), schema).to_batches()
