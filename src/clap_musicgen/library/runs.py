"""Clips content by content, and what must hold for them.

The clips of one content are written together and stay together, so that a whole library can be
gone through with the clips of one track in memory. Knows Arrow and arrays; neither where the rows
come from nor what is done about a flaw.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from clap_musicgen.embedding import mean_direction
from clap_musicgen.library import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

TIME_TOLERANCE = 1e-6
"""Seconds by which neighbouring clips may miss each other."""
LENGTH_TOLERANCE = 2e-3
"""By how much a unit vector's length may differ from 1: half precision alone costs 5e-4."""
MEAN_TOLERANCE = 2e-3
"""How far a track's vector may lie from the mean of clips that point one way; see `mean_flaw`."""
_HASH = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The clips of one content, as they are stored.

    Attributes:
        content: hash of the file's bytes.
        table: its rows, with at least the columns of `rows.clip_schema`.
    """

    content: str
    table: pa.Table

    @property
    def starts(self) -> NDArray[np.float64]:
        """(C,) seconds."""
        return np.asarray(self.table["start"].to_numpy(), dtype=np.float64)

    @property
    def ends(self) -> NDArray[np.float64]:
        """(C,) seconds."""
        return np.asarray(self.table["end"].to_numpy(), dtype=np.float64)

    def vectors(self, dim: int) -> NDArray[np.floating]:
        """(C, D), in the precision in which they are stored."""
        return rows.halves(self.table["vector"], dim)

    def by_time(self) -> Run:
        """Return the same clips in the order of their starts."""
        return Run(self.content, self.table.take(np.argsort(self.starts, kind="stable")))


def runs(batches: Iterable[pa.RecordBatch]) -> Iterator[Run]:
    """Cut rows of clips wherever the content changes; a run may reach over several batches."""
    name, held = "", list[pa.RecordBatch]()
    for batch in batches:
        if not batch.num_rows:
            continue
        codes = batch["content"].dictionary_encode()
        changes = np.flatnonzero(np.diff(codes.indices.to_numpy(zero_copy_only=False))) + 1
        for first, last in pairwise([0, *changes.tolist(), batch.num_rows]):
            content = batch["content"][first].as_py()
            if held and content != name:
                yield Run(name, pa.Table.from_batches(held))
                held = []
            name = content
            held.append(batch.slice(first, last - first))
    if held:
        yield Run(name, pa.Table.from_batches(held))


def is_hash(text: str) -> bool:
    """Tell whether a text can be a key or the hash of a content."""
    return _HASH.fullmatch(text) is not None


def times_flaw(starts: NDArray[np.float64], ends: NDArray[np.float64], *, duration: float) -> str:
    """Say what is wrong with the times of a track's clips; "" if they cover 0 to `duration`.

    Args:
        starts: (C,) seconds, in the order in which the clips are stored.
        ends: (C,) seconds.
        duration: seconds.
    """
    if not len(starts):
        return "it has no clips"
    if not (np.isfinite(starts).all() and np.isfinite(ends).all()):
        return "a clip has no finite time"
    if (ends <= starts).any():
        clip = int(np.argmax(ends <= starts))
        return f"clip {clip} ends at {ends[clip]:g} s, where it begins or before"
    if abs(starts[0]) > TIME_TOLERANCE:
        return f"its clips begin at {starts[0]:g} s"
    apart = np.abs(starts[1:] - ends[:-1]) > TIME_TOLERANCE
    if apart.any():
        clip = int(np.argmax(apart))
        return f"clip {clip} ends at {ends[clip]:g} s, and the next begins at {starts[clip + 1]:g}"
    if not abs(ends[-1] - duration) <= TIME_TOLERANCE:
        return f"its clips end at {ends[-1]:g} s of {duration:g}"
    return ""


def vectors_flaw(vectors: NDArray[np.floating]) -> str:
    """Say what is wrong with vectors (N, D); "" if all are finite and of unit length."""
    lengths = np.linalg.norm(np.asarray(vectors, dtype=np.float64), axis=-1)
    if not np.isfinite(lengths).all():
        return f"vector {int(np.argmin(np.isfinite(lengths)))} is not finite"
    wrong = np.abs(lengths - 1) > LENGTH_TOLERANCE
    if wrong.any():
        worst = int(np.argmax(wrong))
        return f"vector {worst} has the length {lengths[worst]:.4g}, not 1"
    return ""


def mean_flaw(
    vector: NDArray[np.floating],
    vectors: NDArray[np.floating],
    *,
    seconds: NDArray[np.floating],
) -> str:
    """Say whether a track's vector (D,) is not the mean direction of its clips.

    Rounding moves a mean direction the further, the more the clips cancel out; where they cancel
    out altogether any direction will do.

    Args:
        vector: (D,) unit vector of the track.
        vectors: (C, D) of its clips.
        seconds: (C,) their lengths.
    """
    mean = np.average(np.asarray(vectors, dtype=np.float64), axis=0, weights=seconds)
    rest = float(np.linalg.norm(mean))
    if rest <= MEAN_TOLERANCE:
        return ""
    apart = float(np.linalg.norm(mean_direction(vectors, seconds) - vector))
    if apart <= MEAN_TOLERANCE / rest:
        return ""
    return f"its vector is {apart:.3g} away from the mean direction of its clips"


def run_flaw(run: Run, *, duration: float, dim: int) -> str:
    """Say what is wrong with the clips of a content; "" if they are whole."""
    return times_flaw(run.starts, run.ends, duration=duration) or vectors_flaw(run.vectors(dim))
