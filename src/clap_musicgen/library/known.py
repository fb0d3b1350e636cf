"""Tables of strings that answer "which row?" and "what was it?", compact for a million files.

A dict of a million strings takes some 150 MB and a dict of a million tuples twice that; sorted
hashes beside Arrow's columns take 50. Knows Arrow; not where the rows lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class Known(NamedTuple):
    """What tells whether a file has changed."""

    size: int
    mtime_ns: int
    content: str


class RowOf(Mapping[str, int]):
    """Text → its first row in a column, like a dict."""

    def __init__(self, texts: pa.Array) -> None:
        """Keep the column (a string array without nulls) and sort its hashes."""
        self._texts = texts
        hashes = _hashes(texts)
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]

    def __len__(self) -> int:
        """How many rows."""
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        """Go through the texts, by row."""
        return (text.as_py() for text in self._texts)

    def __getitem__(self, text: str) -> int:
        """Return the row of a text; KeyError if it has none."""
        wanted = _hashes(pa.array([text], pa.string()))[0]
        place = int(np.searchsorted(self._hashes, wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._order[place])
            if self._texts[row].as_py() == text:
                return row
            place += 1
        raise KeyError(text)

    def texts(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the texts of some rows."""
        return list(self._texts.take(pa.array(rows, pa.int64())).to_pylist())

    def rows(self, texts: Iterable[str] | pa.Array) -> NDArray[np.int64]:
        """Return the row of each of many texts at once; -1 for one that has none."""
        asked = texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.string())
        found = pc.fill_null(pc.index_in(asked, value_set=self._texts), -1)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


class KnownFiles:
    """Track key → size, time and content of its file as it was when it was indexed."""

    COLUMNS = ("key", "size", "mtime_ns", "content")

    def __init__(self, table: pa.Table) -> None:
        """Keep the columns `COLUMNS` of the tracks."""
        self._sizes = table["size"].to_numpy()
        self._times = table["mtime_ns"].to_numpy()
        contents = array_of(table["content"]).dictionary_encode()
        self._content_rows = contents.indices.to_numpy()
        self._contents = contents.dictionary
        self._row_of_key = RowOf(array_of(table["key"]))
        self._row_of_content = RowOf(self._contents)

    def __len__(self) -> int:
        """How many files."""
        return len(self._row_of_key)

    def get(self, key: str) -> Known | None:
        """What is known of the file with this key, if anything."""
        row = self._row_of_key.get(key)
        if row is None:
            return None
        content = self._contents[int(self._content_rows[row])].as_py()
        return Known(int(self._sizes[row]), int(self._times[row]), content)

    def has_content(self, content: str) -> bool:
        """Tell whether a file with this content is known, under whatever name."""
        return content in self._row_of_content


def array_of(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column of a table or of a batch as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _hashes(texts: pa.Array) -> NDArray[np.uint64]:
    """A number for each of (N,) strings; equal ones get equal numbers, in any column."""
    if not len(texts):
        return np.empty(0, dtype=np.uint64)
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.uint64)
    width = -(-int(max(lengths.max(), 1)) // 8) * 8
    padded = pc.binary_join_element_wise(texts.cast(pa.binary()), _padding(lengths, width), b"")
    bytes_ = np.frombuffer(padded.buffers()[2], dtype=np.uint8, count=len(texts) * width)
    found: NDArray[np.uint64] = lengths * _ODD
    for word in bytes_.view("<u8").reshape(len(texts), -1).T:
        # A word of padding changes nothing, so that a text's number is the same in any column.
        mixed = (found ^ word) * _ODD
        found = np.where(word == 0, found, mixed ^ (mixed >> _SHIFT))
    return found


def _padding(lengths: NDArray[np.uint64], width: int) -> pa.Array:
    missing = width - lengths.astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(missing)]).astype(np.int32)
    zeros = pa.py_buffer(bytes(int(offsets[-1])))
    return pa.Array.from_buffers(
        pa.binary(), len(lengths), [None, pa.py_buffer(offsets.tobytes()), zeros]
    )
