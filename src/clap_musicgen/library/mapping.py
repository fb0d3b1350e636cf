"""The map: every track of a library as a point of a plane, near to what sounds alike.

Points are computed once and kept beside the tables, in the library's folder or its like; see
`map_layout` for what happens when the library changes. Knows what answers and a place; not who shows
the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING

from clap_musicgen.evaluation.zero_shot import label_vectors
from clap_musicgen.library import map_layout, projecting
from clap_musicgen.library.tagging import as_questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder, Embeddings
    from clap_musicgen.library.asking import Asking
    from clap_musicgen.library.map_layout import Layout
    from clap_musicgen.library.place import Place
    from clap_musicgen.library.projecting import Method, Projection
    from clap_musicgen.library.records import Track


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """All tracks of a library in two dimensions; rows of every column belong together.

    Attributes:
        method: "pacmap" or "pca".
        version: of the library that the tracks are of; it rises with every change.
        fresh: whether the points were computed for just these contents. If not, new ones lie where
            their neighbours do, and `Library.map` would make a better map.
        tracks: the N tracks, by path.
        x: (N,) from -1 to 1. Neither axis means anything: what counts is what lies near what.
        y: (N,) likewise.
        genres: of the file, or else the label that fits the sound best, as far as one is more
            likely than not (`map_layout`); "" where none is.
        moods: by the sound likewise.
    """

    method: Method
    version: int
    fresh: bool
    tracks: Sequence[Track]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    genres: tuple[str, ...]
    moods: tuple[str, ...]


class Mapper:
    """Makes and remembers the map of one library; may be used from several threads."""

    def __init__(self, place: Place, model: Embedder) -> None:
        """Remember nothing yet."""
        self._place, self._model = place, model
        self._lock = RLock()
        self._layout: Layout | None = None
        self._map: Map | None = None
        self._labels: Embeddings | None = None

    def current(self, asking: Asking) -> Map | None:
        """Return the map without computing points anew; None if there has never been one."""
        version = asking.state.version
        with self._lock:
            if self._map is None or self._map.version != version:
                self._layout = self._found(asking) or self._layout
                if self._layout is not None:
                    self._map = self._made(asking, self._layout)
            return self._map

    def make(
        self, asking: Asking, *, method: Method | None = None, by: Projection | None = None
    ) -> Map:
        """Return a fresh map: the one that is kept, or a new one.

        A new one is kept from now on, unless a method was asked for that is not the usual one.
        Arguments and errors are those of `map_layout.lay_out`.
        """
        known, kept = self.current(asking), self._layout
        if known and kept and map_layout.is_fresh(kept, asking, method):
            return known
        layout = map_layout.lay_out(asking, self._directions(asking), method=method, by=by)
        if layout.method != projecting.method_for(len(layout.contents)):
            return self._made(asking, layout)
        map_layout.write_layout(self._place, layout)
        with self._lock:
            self._layout = layout
            self._map = self._made(asking, layout)
            return self._map

    def close(self) -> None:
        """Free the memory."""
        with self._lock:
            self._layout = self._map = self._labels = None

    def _found(self, asking: Asking) -> Layout | None:
        """What is kept, unless what is remembered is better; another process may have made one."""
        if self._layout is not None and map_layout.is_fresh(self._layout, asking):
            return self._layout
        kept = map_layout.read_layout(self._place)
        return kept if kept and map_layout.is_of(kept, self._model.fingerprint) else None

    def _made(self, asking: Asking, layout: Layout) -> Map:
        fresh = map_layout.is_fresh(layout, asking)
        whole = map_layout.fitted(layout, asking, self._directions(asking))
        state = asking.state
        x, y = whole.points[state.content_rows].T.copy()
        genres, moods = whole.words(0), whole.words(1)
        rows = state.content_rows.tolist()
        own = [track.genre.strip() for track in state.tracks]
        return Map(
            method=whole.method,
            version=state.version,
            fresh=fresh,
            tracks=state.tracks,
            x=x,
            y=y,
            genres=tuple(genre or genres[row] for genre, row in zip(own, rows, strict=True)),
            moods=tuple(moods[row] for row in rows),
        )

    def _directions(self, asking: Asking) -> Embeddings:
        """The labels as questions → (C, D); they are embedded once."""
        with self._lock:
            if self._labels is None:
                names = map_layout.facet_labels().names
                self._labels = label_vectors(self._model, names)
            labels = self._labels
        return as_questions(labels, asking.state.correction)
