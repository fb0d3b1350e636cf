"""LanceDB: connections, tables, indices, compaction. Only `store` uses it; nobody else imports it.

Knows tables of rows with a `vector`, where they lie (a folder or an object store) and how they are
kept fast; not what the rows mean. Who writes must hold the library's lock.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from clap_musicgen.errors import LibraryError
from clap_musicgen.library import nearest
from clap_musicgen.library.place import storage_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

KEEP_VERSIONS = timedelta(seconds=20)
"""How long files of older states stay, for readers that are reading them just now."""
INDEX_CACHE_BYTES = 512 << 20
METADATA_CACHE_BYTES = 64 << 20
"""What one process may keep of indices and of files' metadata; by default LanceDB takes 7 GB."""
ROWS_PER_FILE = 800
"""A large table may have more files, one for so many rows: see `allowed_files`."""
MOST_FILES = 320
MANY = 1 << 60
_LOOKS = 8  # how often the files are counted while as many come as there may be
_ATTEMPTS = 3


class Database:
    """The tables of one library, by name."""

    def __init__(self, folder: Path | str) -> None:
        """Connect to a folder, or to an object store by its URI such as ``s3://bucket/library``.

        What an object store needs is taken from the environment; see `place.storage_options`.
        """
        os.environ.setdefault("LANCEDB_LOG", "error")  # its warnings are about its own workings
        import lancedb  # takes over a second, and only an open library needs it

        self.place = str(folder)
        session = lancedb.Session(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES)
        with explained(self.place, "open"):
            self._connection = lancedb.connect(
                self.place,
                # Zero: a handle sees what others have written; by default it stays as it was.
                read_consistency_interval=timedelta(0),
                storage_options=storage_options() if "://" in self.place else None,
                session=session,
            )

    def names(self) -> list[str]:
        """Names of the tables there are; a folder that an interrupted creation left is none."""
        with explained(self.place, "open"):
            return [name for name in self._connection.list_tables().tables if self._begun(name)]

    def _begun(self, name: str) -> bool:
        """Tell whether a table has any state: it gets its first one after its folder."""
        try:
            self._connection.open_table(name)
        except ValueError:  # not found
            return False
        except (RuntimeError, OSError):  # damaged: whoever opens it is told
            return True
        return True

    def open(self, name: str) -> Table:
        """Open a table; LibraryError if it is missing or damaged."""
        with explained(self.place, "open"):
            return Table(self._connection.open_table(name), place=self.place)

    def create(self, name: str, schema: pa.Schema) -> None:
        """Make an empty table; LibraryError if there is one."""
        with explained(self.place, "create"):
            self._connection.create_table(name, schema=schema)

    def drop(self, name: str) -> None:
        """Remove a table with all its rows."""
        with explained(self.place, "create"):
            self._connection.drop_table(name)


class Table:
    """One table. Each change is one atomic step; each read sees one state."""

    def __init__(self, handle: Any, *, place: str) -> None:
        """Keep LanceDB's handle; `place` is what errors call the library."""
        self._handle, self._place = handle, place
        self._unchecked = MANY  # rows added since the indices were last looked at
        self._unlooked = MOST_FILES  # transactions since the files were last counted

    @property
    def schema(self) -> pa.Schema:
        """Columns and types as they are stored."""
        with explained(self._place, "read"):
            return self._handle.schema

    def version(self) -> int:
        """Number of the present state; it rises with every change."""
        with explained(self._place, "read"):
            return int(self._handle.version)

    def count(self) -> int:
        """How many rows there are."""
        with explained(self._place, "read"):
            return int(self._handle.count_rows())

    def read(self, columns: Sequence[str], where: str | None = None) -> pa.Table:
        """Return some columns of all rows, or of those for which an SQL condition holds."""
        return self._whole(lambda: self._query(columns, where).to_arrow())

    def select(self, columns: Sequence[str], where: str) -> pa.Table:
        """`read` that lets LanceDB's own errors through, for conditions that users write."""
        return self._query(columns, where).to_arrow()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Go through all rows, as of now, with little memory; None means all columns."""
        names = self.schema.names if columns is None else columns
        with explained(self._place, "read"):
            yield from self._query(names, None).to_batches(4096)

    def pinned(self) -> Table:
        """Stay at the present state from now on, whatever others write; for a handle of one's own."""
        with explained(self._place, "read"):
            self._handle.checkout(self._handle.version)
        return self

    def take(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return rows by their place, in any order; places hold for one version."""
        if not offsets:
            return self.read(columns, "false")
        query = self._handle.take_offsets(list(offsets)).select(list(columns))
        return self._whole(query.to_arrow)

    def nearest(
        self, vector: NDArray[np.float32], *, limit: int, columns: Sequence[str]
    ) -> pa.Table:
        """Return about the `limit` rows closest to a vector (D,) by cosine, nearest first.

        Rows that the index does not hold yet are searched one by one. Without an index all are.
        """
        asked = np.asarray(vector, dtype=np.float32)

        def ask() -> pa.Table:
            query = self._handle.search(asked, vector_column_name="vector", query_type="vector")
            query = query.distance_type("cosine").limit(limit).select([*columns, "_distance"])
            return query.nprobes(nearest.probes(limit)).to_arrow()

        return self._whole(ask)

    # Writing

    def add(self, rows: pa.Table) -> None:
        """Append rows."""
        with explained(self._place, "write to"):
            self._handle.add(rows)
        self._unchecked += rows.num_rows

    def upsert(self, rows: pa.Table, on: str) -> None:
        """Write rows over those with the same value in the column `on`, or append them."""
        with explained(self._place, "write to"):
            merge = self._handle.merge_insert(on).when_matched_update_all()
            merge.when_not_matched_insert_all().execute(rows)
        self._unchecked += rows.num_rows

    def overwrite(self, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Put these rows, and their schema, in the place of all there are, in one step."""
        with explained(self._place, "write to"):
            self._handle.add(rows, mode="overwrite")

    def delete(self, where: str) -> None:
        """Remove the rows for which an SQL condition holds."""
        with explained(self._place, "write to"):
            self._handle.delete(where)

    def tidy(self, *, max_files: int, exact_up_to: int, lookup: str | None = None) -> None:
        """Keep reading fast: merge small files, make the indices and extend them, where it pays.

        Args:
            max_files: so many files a small table may have; see `allowed_files`.
            exact_up_to: beyond so many rows there are indices.
            lookup: a column that rows are looked up by; it gets an index beside the vectors.
        """
        self._unlooked += 1
        if self._unlooked < max_files // _LOOKS:
            return
        self._unlooked = 0
        with explained(self._place, "write to"):
            stats = self._handle.stats()
            rows, files = stats["num_rows"], stats["fragment_stats"]["num_fragments"]
            late = self._unchecked > nearest.unindexed_rows(rows) and self._behind(rows)
            if late or files > allowed_files(rows, max_files):
                self._handle.optimize(cleanup_older_than=KEEP_VERSIONS)
                self._unchecked = 0
            self._index(rows, exact_up_to, lookup)

    def compact(self) -> None:
        """Merge small files, free what deleted rows took, extend the indices; now."""
        with explained(self._place, "write to"):
            self._handle.optimize(cleanup_older_than=KEEP_VERSIONS)
        self._unchecked = 0

    def _behind(self, rows: int) -> bool:
        """Tell whether an index lacks so many rows that it should be extended."""
        names = [index.name for index in self._handle.list_indices()]
        missing = [self._handle.index_stats(name).num_unindexed_rows for name in names]
        self._unchecked = max(missing, default=0)
        return self._unchecked > nearest.unindexed_rows(rows)

    def _index(self, rows: int, exact_up_to: int, lookup: str | None) -> None:
        if rows <= exact_up_to:
            return
        import lancedb.index

        present = {column for index in self._handle.list_indices() for column in index.columns}
        if lookup is not None and lookup not in present:
            self._handle.create_index(lookup, config=lancedb.index.BTree())
        if "vector" not in present:
            config = lancedb.index.IvfSq(
                distance_type="cosine",
                num_partitions=nearest.partitions(rows),
                sample_rate=nearest.SAMPLE_RATE,
                max_iterations=nearest.ITERATIONS,
            )
            self._handle.create_index("vector", config=config)

    def _query(self, columns: Sequence[str], where: str | None) -> Any:
        query = self._handle.search().select(list(columns))
        return query if where is None else query.where(where)

    def _whole(self, read: Callable[[], pa.Table]) -> pa.Table:
        """Read; once more if a writer has just cleared that state's files away."""
        for attempt in range(_ATTEMPTS):
            version = self.version()
            try:
                with explained(self._place, "read"):
                    return read()
            except LibraryError:
                if attempt == _ATTEMPTS - 1 or self.version() == version:
                    raise
        raise AssertionError("unreachable")


def allowed_files(rows: int, least: int) -> int:
    """How many files a table may have before they are merged.

    Each transaction adds a file, and merging writes all files below a million rows anew, however
    few rows are new. So it happens the more rarely the larger the table is: between two merges the
    rows that it rewrites stay in proportion to those that were added.
    """
    return max(least, min(rows // ROWS_PER_FILE, MOST_FILES))


@contextmanager
def explained(place: str, action: str) -> Iterator[None]:
    """Turn LanceDB's and the operating system's errors into a LibraryError with place and cause."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise LibraryError(
            f"cannot {action} the library {place!r}: {cause(error)}. What had been "
            "committed before is safe; try again once the cause is gone"
        ) from error


def cause(error: Exception) -> str:
    """The gist of an error of LanceDB, without places in its source and its inner columns."""
    text = re.split(r",? ?\S+\.rs:\d+|\. Valid fields are| ?Valid fields are", str(error))[0]
    text = re.sub(r".*sql parser error: (.*)\).*", r"\1", text, flags=re.DOTALL)
    for prefix in ("lance error: ", "LanceError(IO): ", "Invalid input, "):
        text = text.removeprefix(prefix)
    return " ".join(text.split()).rstrip(" .,")
