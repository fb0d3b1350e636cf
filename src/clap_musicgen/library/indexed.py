"""Search beyond what fits in memory: an index finds candidates, exact scores choose among them.

Knows where rows come from only as a `Disk`, and a score only as a function of raw vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from clap_musicgen.errors import LibraryError
from clap_musicgen.library import clips, nearest
from clap_musicgen.library import rows as tables
from clap_musicgen.library.clips import ClipRows
from clap_musicgen.library.known import array_of
from clap_musicgen.library.layout import Layout
from clap_musicgen.library.nearest import top_k

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.known import RowOf
    from clap_musicgen.library.layout import Pinned

Score: TypeAlias = "Callable[[Embeddings], NDArray[np.float32]]"
"""Raw unit vectors (n, D) → exact scores (n,)."""


class Disk(Protocol):
    """Where a state reads what it does not hold; `store.Store` is one."""

    def count_clips(self) -> int:
        """How many clips there are."""
        ...

    def batches(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Go through the rows of a table."""
        ...

    def of_contents(self, name: str, contents: Sequence[str], columns: Sequence[str]) -> pa.Table:
        """Return the rows with one of these contents."""
        ...

    def pinned_clips(self) -> Pinned:
        """Return the clips as they are now and will stay."""
        ...

    def nearest(
        self, name: str, vector: NDArray[np.float32], *, limit: int, columns: Sequence[str]
    ) -> pa.Table:
        """Return about the `limit` rows closest to a vector (D,), by the index."""
        ...

    def sample(self, name: str, count: int) -> Embeddings:
        """Return about `count` vectors, evenly chosen."""
        ...


class Indexed:
    """Tracks and clips of one state that are searched by the index."""

    def __init__(self, disk: Disk, *, row_of_content: RowOf, dim: int) -> None:
        """Read nothing yet."""
        self._disk, self._row_of_content, self._dim = disk, row_of_content, dim
        self._layout: Layout | None = None

    def content_scores(
        self,
        direction: NDArray[np.float32],
        score: Score,
        *,
        k: int,
        allowed: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Scores (U,) of contents: exact ones of those that may be among the best k, else -inf.

        Args:
            direction: (D,), what is asked.
            score: of raw vectors.
            k: how many answers are wanted.
            allowed: (U,) negative for contents that may not answer.
        """
        found = np.full(len(allowed), -np.inf, dtype=np.float32)
        contents = np.flatnonzero(allowed >= 0)
        if len(contents) <= nearest.FEW:
            self._fill(found, self.means_of(contents), score)
            return found
        limit = nearest.candidates(k, share=len(contents) / len(allowed))
        while limit <= nearest.MOST_CANDIDATES:
            table = self._disk.nearest("tracks", direction, limit=limit, columns=tables.MEAN)
            owners, vectors = self._means(table)
            held = allowed[owners] >= 0
            if len(np.unique(owners[held])) >= nearest.enough(k) or table.num_rows < limit:
                self._fill(found, [(owners[held], vectors[held])], score)
                return found
            limit *= 4
        self._fill(found, self.all_means(), score)
        return found

    def clip_candidates(
        self,
        direction: NDArray[np.float32],
        score: Score,
        *,
        k: int,
        allowed: NDArray[np.int64],
    ) -> ClipRows:
        """Clips, raw, among which are the best k of those that may answer; see `content_scores`."""
        contents = np.flatnonzero(allowed >= 0)
        if len(contents) <= nearest.FEW_CLIPPED:
            return self.clips_of(contents)
        limit = nearest.candidates(k, share=len(contents) / len(allowed))
        while limit <= nearest.MOST_CANDIDATES:
            table = self._disk.nearest("clips", direction, limit=limit, columns=clips.COLUMNS)
            found = clips.owned(table, self._row_of_content, self._dim)
            found = found.take(allowed[found.owners] >= 0)
            if len(found) >= nearest.enough(k) or table.num_rows < limit:
                return found
            limit *= 4
        return self._best_of_all(score, k, allowed)

    def means_of(
        self, content_rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
        """Content rows and raw mean directions of some contents."""
        names = self._row_of_content.texts(content_rows)
        yield self._means(self._disk.of_contents("tracks", names, tables.MEAN))

    def all_means(self) -> Iterator[tuple[NDArray[np.int64], Embeddings]]:
        """Content rows and raw mean directions of all contents, part by part."""
        return map(self._means, self._disk.batches("tracks", tables.MEAN))

    def clips_of(self, content_rows: NDArray[np.int64]) -> ClipRows:
        """The clips, raw, of some contents."""
        try:
            layout = self._layout or self._lay_out()
            table = layout.read(content_rows, clips.COLUMNS)
        except (
            LibraryError
        ):  # a writer has cleared that version away, or the library cannot be read
            table = self._lay_out().read(content_rows, clips.COLUMNS)
        return clips.owned(table, self._row_of_content, self._dim)

    def _lay_out(self) -> Layout:
        self._layout = Layout.of(self._disk.pinned_clips(), self._row_of_content)
        return self._layout

    def all_clips(self) -> Iterator[ClipRows]:
        """All clips, raw, that belong to a track, part by part."""
        for batch in self._disk.batches("clips", clips.COLUMNS):
            yield clips.owned(batch, self._row_of_content, self._dim)

    def _best_of_all(self, score: Score, k: int, allowed: NDArray[np.int64]) -> ClipRows:
        best = clips.joined([], self._dim)
        for part in self.all_clips():
            held = clips.joined([best, part.take(allowed[part.owners] >= 0)], self._dim)
            held = held.take(np.lexsort((held.starts, allowed[held.owners])))
            best = held.take(top_k(score(held.vectors), k))
        return best

    def _means(self, table: pa.Table | pa.RecordBatch) -> tuple[NDArray[np.int64], Embeddings]:
        owners = self._row_of_content.rows(array_of(table["content"]))
        vectors = tables.vectors(table["vector"], self._dim)
        return owners[owners >= 0], vectors[owners >= 0]

    @staticmethod
    def _fill(
        found: NDArray[np.float32],
        parts: Iterable[tuple[NDArray[np.int64], Embeddings]],
        score: Score,
    ) -> None:
        for owners, vectors in parts:
            found[owners] = score(vectors)
