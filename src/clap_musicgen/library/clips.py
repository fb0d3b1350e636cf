"""Clips of a library in memory: whose they are, when they sound, which of them fit best.

Arithmetic on arrays read from Arrow. Knows neither the store nor where a question comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.library import rows
from clap_musicgen.library.known import array_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.known import RowOf

COLUMNS = ("content", "start", "end", "vector")


@dataclass(frozen=True, slots=True, eq=False)
class ClipRows:
    """M clips in any order.

    Attributes:
        owners: (M,) the content row of each.
        starts: (M,) seconds.
        ends: (M,) seconds.
        vectors: (M, D) unit vectors.
    """

    owners: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: Embeddings

    def __len__(self) -> int:
        """How many clips."""
        return len(self.owners)

    def take(self, places: NDArray[np.int64] | NDArray[np.bool_]) -> ClipRows:
        """Return some of them, by place or by mask."""
        return ClipRows(
            self.owners[places], self.starts[places], self.ends[places], self.vectors[places]
        )


def owned(table: pa.Table | pa.RecordBatch, row_of_content: RowOf, dim: int) -> ClipRows:
    """Return the clips of a table with `COLUMNS`; those of unknown contents are left out."""
    contents, starts, ends, vectors = (array_of(table[name]) for name in COLUMNS)
    owners = row_of_content.rows(contents)
    clips = ClipRows(owners, starts.to_numpy(), ends.to_numpy(), rows.vectors(vectors, dim))
    return clips if (owners >= 0).all() else clips.take(owners >= 0)


def joined(parts: Sequence[ClipRows], dim: int) -> ClipRows:
    """Put parts together; none at all are no clips of `dim` dimensions."""
    none = ClipRows(
        np.empty(0, dtype=np.int64),
        np.empty(0),
        np.empty(0),
        np.empty((0, dim), dtype=np.float32),
    )
    parts = [none, *parts]
    return ClipRows(
        np.concatenate([part.owners for part in parts]),
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.ends for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )


def spans(
    clips: ClipRows,
    scores: NDArray[np.float32],
    content_rows: NDArray[np.int64],
    durations: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end of the best clip of each of (n,) contents; of equal clips the first.

    Args:
        clips: at least all clips of these contents.
        scores: (M,) of the clips.
        content_rows: (n,) contents, repeated as often as one likes.
        durations: (n,) seconds of each; a content without clips is one segment.
    """
    order = np.lexsort((clips.starts, -scores, clips.owners))
    owners, firsts = np.unique(clips.owners[order], return_index=True)
    best = order[firsts]
    starts, ends = np.zeros(len(content_rows)), np.array(durations, dtype=np.float64)
    if len(owners):
        places = np.minimum(np.searchsorted(owners, content_rows), len(owners) - 1)
        found = owners[places] == content_rows
        starts[found] = clips.starts[best[places[found]]]
        ends[found] = clips.ends[best[places[found]]]
    return starts, ends
