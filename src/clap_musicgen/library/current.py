"""The present state of a library, as what answers its questions; read anew when someone has written.

Reading a state and learning its calibration takes the longer the more tracks there are. While
another process commits several times a second, each search would pay for it; so a state of N tracks
may be N / TRACKS_PER_SECOND seconds old, and MOST_SECONDS at most. What was written through the same
`Library` is found at once. Knows the store and a model; not what a question means.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from clap_musicgen.evaluation.zero_shot import label_vectors
from clap_musicgen.library.asking import Asking
from clap_musicgen.library.calibration import Calibration
from clap_musicgen.library.tagging import as_questions
from clap_musicgen.library.vocabulary import bank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clap_musicgen.embedding import Embedder, Embeddings
    from clap_musicgen.library.calibration import Correction
    from clap_musicgen.library.store import Store
    from clap_musicgen.library.tagging import Labels

TRACKS_PER_SECOND = 5_000
MOST_SECONDS = 2.0
"""How old a state may be: of few tracks not at all, since reading them costs nothing."""


class Current:
    """Hands out what answers; may be used from several threads."""

    def __init__(
        self,
        store: Store,
        model: Embedder,
        *,
        library: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read nothing yet; `library` is what errors call it, `clock` gives seconds."""
        self._store, self._model, self._library, self._clock = store, model, library, clock
        self._asking: Asking | None = None
        self._seen = 0.0  # when the state was last known to be the present one
        self._loading = RLock()
        self._labels: tuple[Labels, Embeddings] | None = None
        self._labelling = RLock()

    def asking(self) -> Asking:
        """Return what answers for the present state, or for one that is hardly older."""
        with self._loading:
            if self._asking is not None and self._store.version() == self._asking.state.version:
                self._seen = self._clock()
            elif self._asking is None or self._clock() - self._seen >= _may_be_old(self._asking):
                self._asking = None  # two states at once would take twice the memory
                now = self._clock()
                self._asking, self._seen = self._read(), now
            return self._asking

    def directions_of(self, labels: Labels, correction: Correction) -> Embeddings:
        """Return labels as `tagging.directions_of` does (C, D); the last ones' vectors are kept."""
        with self._labelling:
            if self._labels is None or self._labels[0] != labels:
                self._labels = labels, label_vectors(self._model, labels.names)
            vectors = self._labels[1]
        return as_questions(vectors, correction)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Read anew for the first question after the block, which writes, even if it fails."""
        try:
            yield
        finally:
            with self._loading:
                self._seen = -math.inf

    def close(self) -> None:
        """Free the memory."""
        with self._loading:
            self._asking = None

    def _read(self) -> Asking:
        state = self._store.resident()
        held = self._store.texts()
        texts = self._model.embed_text(bank()) if held is None else held[1]
        calibration = Calibration.fit(
            texts, state.sample(), state.correction, tracks=len(state.row_of_content)
        )
        return Asking(self._model, state, calibration, self._library)


def _may_be_old(asking: Asking) -> float:
    return min(MOST_SECONDS, len(asking.state.tracks) / TRACKS_PER_SECOND)
