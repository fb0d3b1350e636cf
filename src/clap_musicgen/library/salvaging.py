"""Tables of which some files are damaged: which rows can still be read, and how to go on with them.

Knows tables and their files, through `tables`; not what the rows mean. A row's id is the number of
its fragment (a file) times 2³² plus its place there, and can be read without that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clap_musicgen.errors import LibraryError
from clap_musicgen.library.runs import is_hash
from clap_musicgen.library.tables import Database

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.library.tables import Table

ROW_ID = "_rowid"
_SHIFT = np.uint64(32)
_BATCH = 4096
_AT_ONCE = 500  # row ids in one condition
_PROBED = 1000  # nearest rows asked for: the more, the more of an index is read
_PATH = re.compile(r"\S*(?<!\binput)/\S*", re.IGNORECASE)
_NOT_DAMAGE = (
    "permission denied",
    "operation not permitted",
    "too many open files",
    "timed out",
    "connect",
    "dispatch failure",
    "access denied",
    "forbidden",
    "input/output error",  # a share that went away says so too; a file on a dying disk can be removed
    "stale file handle",
    "transport endpoint",
    "host is down",
    "unreachable",
)


@dataclass(frozen=True, slots=True, eq=False)
class Damage:
    """What of a table cannot be read.

    Attributes:
        fragments: number of a fragment → (its rows, why). Empty where all is well.
        ids: (N,) ids of all rows, in their order; empty where all is well.
    """

    fragments: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    ids: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


def damage_of(table: Table) -> Damage:
    """Read all rows, and where that fails find out which fragments are to blame.

    Raises:
        LibraryError: not even the ids of the rows can be read, or it is no damage that keeps us
            from reading them (see `check_damage`).
    """
    try:
        for _ in table.batches():
            pass
    except LibraryError as error:
        check_damage(error)
    else:
        return Damage()
    ids = table.read([ROW_ID])[ROW_ID].to_numpy().astype(np.uint64)
    found: dict[int, tuple[int, str]] = {}
    for fragment in np.unique(ids >> _SHIFT).tolist():
        offsets = np.flatnonzero(ids >> _SHIFT == fragment)
        try:
            for _ in _taken(table, offsets, table.schema.names):
                pass
        except LibraryError as error:
            check_damage(error)
            found[fragment] = (len(offsets), str(error))
    return Damage(found, ids)


def check_damage(error: LibraryError) -> None:
    """Raise the error again if no file is to blame, but a permission or a connection.

    Nothing must be taken out of a library because of those.
    """
    said = _PATH.sub("", str(error)).lower()  # a folder may be called anything
    if any(sign in said for sign in _NOT_DAMAGE):
        raise error


def rows_of(table: Table, damage: Damage, *, ids: bool = False) -> Iterator[pa.RecordBatch]:
    """Go through all rows that can be read, with their ids in the column `_rowid` if wanted."""
    names = [*table.schema.names, *([ROW_ID] if ids else [])]
    if not damage.fragments:
        yield from table.batches(names)
        return
    bad = np.asarray(list(damage.fragments), dtype=np.uint64)
    yield from _taken(table, np.flatnonzero(~np.isin(damage.ids >> _SHIFT, bad)), names)


def _taken(table: Table, offsets: NDArray[np.int64], names: list[str]) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(offsets), _BATCH):
        yield from table.take(offsets[first : first + _BATCH].tolist(), names).to_batches()


def index_flaw(table: Table) -> str:
    """Ask a table in the ways that use its indices; "" if it answers."""
    first = _first_row(table)
    if first is None:
        return ""
    content, vector = first
    try:
        found = table.read(["content"], f"content = '{content}'").num_rows
        nearest = table.nearest(vector, limit=_PROBED, columns=["content"]).num_rows
    except LibraryError as error:
        check_damage(error)
        return str(error)
    return "" if found and nearest else "it does not find what is there"


def _first_row(table: Table) -> tuple[str, NDArray[np.float32]] | None:
    for batch in table.batches(["content", "vector"]):
        for content, vector in zip(batch["content"], batch["vector"], strict=True):
            if is_hash(content.as_py()):
                return str(content.as_py()), vector.values.to_numpy()
    return None


def rewrite(table: Table) -> None:
    """Write all rows anew, which leaves every index behind."""
    table.overwrite(pa.RecordBatchReader.from_batches(table.schema, table.batches()))


def remove_fragments(table: Table, damage: Damage) -> None:
    """Take fragments that cannot be read out of a table."""
    for fragment in damage.fragments:
        table.delete(f"{ROW_ID} >= {fragment << 32} AND {ROW_ID} < {(fragment + 1) << 32}")


def remove_rows(table: Table, ids: NDArray[np.uint64]) -> None:
    """Remove rows by their ids (N,)."""
    for first in range(0, len(ids), _AT_ONCE):
        part = ", ".join(map(str, ids[first : first + _AT_ONCE].tolist()))
        table.delete(f"{ROW_ID} IN ({part})")


def step_back(target: Path | str, name: str) -> bool:
    """Go back to the newest state of a table that can be read; False if there is none.

    Newer states are put aside, not deleted: their manifests get the suffix `.damaged`. Works in
    folders only, not in object stores.
    """
    if not isinstance(target, Path):
        return False
    aside: list[tuple[Path, Path]] = []
    for manifest in _manifests(target / f"{name}.lance" / "_versions"):
        aside.append((manifest, manifest.rename(manifest.with_name(f"{manifest.name}.damaged"))))
        try:
            Database(target).open(name).read([ROW_ID])
            return True
        except LibraryError as error:
            check_damage(error)
    for original, renamed in aside:
        renamed.rename(original)
    return False


def _manifests(folder: Path) -> list[Path]:
    """Manifests, newest first: a name is the version, or since Lance 0.17 what it lacks of 2⁶⁴."""

    def age(path: Path) -> int:
        number = int(path.stem)
        return number if number >= 1 << 63 else (1 << 64) - number

    found = folder.glob("*.manifest") if folder.is_dir() else ()
    return sorted((path for path in found if path.stem.isdecimal()), key=age)
