"""Rows of a library held against what must be true of them.

Pure: from rows to findings, and to what would put them right. Knows neither tables nor files, and
cannot tell whether a vector is what the model would give: only whether it is a vector.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from clap_musicgen.embedding import mean_direction
from clap_musicgen.library.paths import path_key, readable
from clap_musicgen.library.rows import halves, packed
from clap_musicgen.library.runs import Run, is_hash, mean_flaw, run_flaw, runs, vectors_flaw

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind: TypeAlias = Literal[
    "description", "table", "fragment", "track", "name", "twice", "vector", "clips", "orphans",
    "index", "texts",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: description (library.json), table (of the store: it cannot be opened), fragment (a
            file of a table cannot be read), track (a row that makes no sense), name (a row whose
            key is not that of its path), twice, vector (not the mean of the clips), clips (missing
            or flawed), orphans (clips without a track: harmless, the next writer removes them),
            index, texts.
        subject: the path, table or content it is about.
        detail: what is wrong.
        lost: paths of the tracks that must be indexed again, as far as they are known.
        mended: a repair has put it right; what is lost must still be indexed again.
    """

    kind: Kind
    subject: str
    detail: str
    lost: tuple[str, ...] = ()
    mended: bool = False


@dataclass(slots=True)
class Examined:
    """What was found in the rows, and what would put it right.

    Attributes:
        findings: in words.
        tracks: the rows of `tracks` that are good, keys and vectors corrected.
        changed: whether those are not simply all that were read.
        surplus: (S,) row ids of clips that are there twice.
        bad_clips: (B,) row ids of clips that are flawed or belong to no track.
        clips: how many rows of clips were read.
    """

    findings: list[Finding] = field(default_factory=list)
    tracks: pa.Table | None = None
    changed: bool = False
    surplus: list[NDArray[np.uint64]] = field(default_factory=list)
    bad_clips: list[NDArray[np.uint64]] = field(default_factory=list)
    clips: int = 0


def examine(tracks: pa.Table, clips: Iterable[pa.RecordBatch], dim: int) -> Examined:
    """Hold all rows against what must be true of them.

    Args:
        tracks: rows of `tracks`.
        clips: rows of `clips`, with their row ids in the column `_rowid`.
        dim: length D of the vectors.
    """
    found = Examined()
    named, kept = _check_tracks(tracks, found)
    _Clips(named, kept, dim, found).check(clips)
    return found


def _check_tracks(tracks: pa.Table, found: Examined) -> tuple[pa.Table, NDArray[np.bool_]]:
    """Return the rows with the right keys, and which of them are good in themselves."""
    plain = tracks.drop_columns(["vector"]).to_pylist()
    kept = np.ones(len(plain), dtype=bool)
    newest: dict[str, int] = {}
    keys, paths = [], []
    for row, values in enumerate(plain):
        path = os.fsdecode(values["raw_path"])
        keys.append(path_key(path))
        paths.append(readable(path))
        flaw = _track_flaw(values, path)
        if flaw:
            kept[row] = False
            found.findings.append(Finding("track", path, flaw, lost=(path,)))
            continue
        if (values["key"], values["path"]) != (keys[row], paths[row]):
            found.changed = True
            found.findings.append(Finding("name", path, "its row is not found under its path"))
        rival = newest.setdefault(keys[row], row)
        if rival != row:
            older, newer = sorted((rival, row), key=lambda place: (plain[place]["added"], place))
            kept[older], newest[keys[row]] = False, newer
            found.findings.append(Finding("twice", path, "there are several rows of it"))
    found.changed = found.changed or not kept.all()
    for name, column in (("key", keys), ("path", paths)):
        place = tracks.schema.get_field_index(name)
        tracks = tracks.set_column(place, tracks.schema.field(place), pa.array(column, pa.string()))
    return tracks, kept


def _track_flaw(values: dict[str, Any], path: str) -> str:
    if not Path(path).is_absolute() or "\0" in path:
        return f"its path {path!r} is not an absolute one"
    if not is_hash(values["content"]):
        return f"its content {values['content']!r} is not a hash"
    if not (math.isfinite(values["duration"]) and values["duration"] > 0):
        return f"its duration is {values['duration']!r} s"
    if values["size"] < 0:
        return f"its size is {values['size']} bytes"
    return ""


class _Clips:
    """The clips held against the tracks they belong to."""

    def __init__(
        self, tracks: pa.Table, kept: NDArray[np.bool_], dim: int, found: Examined
    ) -> None:
        self._tracks, self._kept, self._dim, self._found = tracks, kept, dim, found
        self._paths = [os.fsdecode(raw) for raw in tracks["raw_path"].to_pylist()]
        self._contents = tracks["content"].to_pylist()
        self._durations = tracks["duration"].to_numpy()
        self._vectors = np.array(halves(tracks["vector"], dim))
        self._owners: dict[str, list[int]] = {}
        for row in np.flatnonzero(kept).tolist():
            self._owners.setdefault(self._contents[row], []).append(row)
        self._whole: set[str] = set()
        self._odd: dict[str, list[Run]] = {}

    def check(self, clips: Iterable[pa.RecordBatch]) -> None:
        """Go through all clips; then take out the tracks that have none, or flawed ones."""
        orphans = 0
        for run in runs(clips):
            self._found.clips += run.table.num_rows
            owners = self._owners.get(run.content)
            if owners is None:
                orphans += run.table.num_rows
                self._found.bad_clips.append(_ids(run))
            elif run.content in self._whole or self._flaw(run.by_time()):
                self._odd.setdefault(run.content, []).append(run)
            else:
                self._accept(run)
        if orphans:
            detail = f"{orphans} clips belong to no track: an interrupted writer left them"
            self._found.findings.append(Finding("orphans", "clips", detail))
        for content, pieces in self._odd.items():
            self._resolve(content, pieces)
        for content in self._owners.keys() - self._whole - self._odd.keys():
            self._take_out(content, "it has no clips")
        self._finish()

    def _flaw(self, run: Run) -> str:
        duration = float(self._durations[self._owners[run.content][0]])
        return run_flaw(run, duration=duration, dim=self._dim)

    def _accept(self, run: Run) -> None:
        """Hold the vectors of the tracks against whole clips."""
        self._whole.add(run.content)
        vectors, seconds = run.vectors(self._dim), run.ends - run.starts
        for row in self._owners[run.content]:
            flaw = vectors_flaw(self._vectors[row : row + 1])
            flaw = flaw or mean_flaw(self._vectors[row], vectors, seconds=seconds)
            if flaw:
                self._found.findings.append(Finding("vector", self._paths[row], flaw))
                self._found.changed = True
                self._vectors[row] = self._mean(vectors, seconds)

    def _mean(
        self, vectors: NDArray[np.floating], seconds: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        mean = mean_direction(vectors, seconds)
        return packed(mean[None])[0] if self._vectors.dtype == np.float16 else mean

    def _resolve(self, content: str, pieces: Sequence[Run]) -> None:
        """Clips in several places: are they whole together, or there twice?"""
        path = self._paths[self._owners[content][0]]
        if content in self._whole:
            self._found.surplus += map(_ids, pieces)
            self._found.findings.append(Finding("twice", path, "its clips are there twice"))
            return
        joined = Run(content, pa.concat_tables([piece.table for piece in pieces])).by_time()
        firsts = np.unique(joined.starts, return_index=True)[1]
        once = Run(content, joined.table.take(firsts))
        flaw = self._flaw(once)
        if flaw:
            self._found.bad_clips += map(_ids, pieces)
            self._take_out(content, flaw)
            return
        self._accept(once)
        extra = np.setdiff1d(_ids(joined), _ids(once))
        if len(extra):
            self._found.surplus.append(extra)
            detail = f"{len(extra)} of its clips are there twice"
            self._found.findings.append(Finding("twice", path, detail))

    def _take_out(self, content: str, flaw: str) -> None:
        owners = self._owners[content]
        self._kept[owners] = False
        self._found.changed = True
        paths = tuple(self._paths[row] for row in owners)
        self._found.findings.append(Finding("clips", paths[0], flaw, lost=paths))

    def _finish(self) -> None:
        place = self._tracks.schema.get_field_index("vector")
        column_type = self._tracks.schema.field(place).type
        flat = pa.array(self._vectors.reshape(-1), column_type.value_type)
        column = pa.FixedSizeListArray.from_arrays(flat, type=column_type)
        whole = self._tracks.set_column(place, self._tracks.schema.field(place), column)
        self._found.tracks = whole.filter(pa.array(self._kept))


def _ids(run: Run) -> NDArray[np.uint64]:
    return np.asarray(run.table["_rowid"].to_numpy(), dtype=np.uint64)
