"""Where the clips of each content lie, so that a few are read without searching for them.

Reading by place is faster than by an index of the contents, and needs none. Places
hold for one version of the table only: `Layout` keeps reading that version. Knows the table only by
what it can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from clap_musicgen.library.known import array_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from clap_musicgen.library.known import RowOf


class Pinned(Protocol):
    """A table that stays as it was; `tables.Table.pinned` gives one."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""
        ...

    def take(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return rows by their place, in any order."""
        ...


class Layout:
    """The places of all clips, by content row."""

    def __init__(self, table: Pinned, owners: NDArray[np.int64], contents: int) -> None:
        """Sort the places of (M,) clips by content row; negative ones belong to none."""
        self._table = table
        self._order = np.argsort(owners, kind="stable").astype(np.int32)
        self._firsts = np.searchsorted(owners[self._order], np.arange(contents + 1))

    @classmethod
    def of(cls, table: Pinned, row_of_content: RowOf) -> Self:
        """Read whose each clip is."""
        owners = row_of_content.rows(array_of(table.read(["content"])["content"]))
        return cls(table, owners, len(row_of_content))

    def places(self, content_rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Places of all clips of some contents, ascending."""
        runs = [self._order[self._firsts[row] : self._firsts[row + 1]] for row in content_rows]
        return np.sort(np.concatenate([np.empty(0, dtype=np.int32), *runs]))

    def read(self, content_rows: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return all clips of some contents, in any order.

        Raises:
            LibraryError: a writer has cleared that version away: make a new Layout.
        """
        return self._table.take(self.places(content_rows).tolist(), columns)
