"""The library: a folder of vectors that answers questions about music.

Knows a model only as an Embedder, so any model that maps clips and texts to one space will do.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np

from clap_musicgen.audio.files import content_hash, find_audio
from clap_musicgen.errors import (
    InputError,
    InputTypeError,
    LibraryError,
    TrackNotFoundError,
)
from clap_musicgen.library import folder as folders
from clap_musicgen.library import query as queries
from clap_musicgen.library.adding import Adding
from clap_musicgen.library.paths import Paths, absolute, gone, is_gone, is_under, listed, path_key
from clap_musicgen.library.records import Info, Match, Progress, Report, Track
from clap_musicgen.library.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library.query import Sound
    from clap_musicgen.library.resident import Resident

CREATION_SECONDS = 30.0
"""How long to wait for another process that is making the same library."""


class Library:
    """Tracks on disk and the vectors of one model, searchable by words and by sound.

    Open one with `Library.open`. Any number of processes may search while one adds; what it commits
    is seen by the next search. One object may be used from several threads.
    """

    def __init__(self, folder: Path, model: Embedder, store: Store) -> None:
        """Take the parts as they are; `open` checks that they belong together."""
        self.path = folder
        self._model = model
        self._store: Store | None = store
        self._resident: Resident | None = None
        self._loading = Lock()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Embedder,
        *,
        create: bool = True,
        made_with: str = "",
    ) -> Self:
        """Open the library in the folder `path`; make it if it is absent and `create` is true.

        Args:
            path: a folder of its own.
            model: embeds what is added and what is asked.
            create: whether to make it.
            made_with: kept in a new library, and told to whoever opens it with another model: how
                to ask for this one, such as "--model mini".

        Raises:
            LibraryModelError: it holds another model's vectors.
            LibraryError: it is absent, damaged, of a newer format, or may not be read or made; or
                the folder holds something else.
        """
        folder = Path(absolute(path))
        if not folders.exists(folder):
            if not create:
                raise _absent(folder)
            _create(folder, model, made_with)
        description = folders.read_description(folder)
        folders.check_model(folder, description, model)
        return cls(folder, model, Store(folder, dim=description.dim))

    @staticmethod
    def inspect(path: str | os.PathLike[str]) -> Info:
        """Describe the library in `path` without a model; LibraryError if there is none."""
        folder = Path(absolute(path))
        if not folders.exists(folder):
            raise _absent(folder)
        description = folders.read_description(folder)
        return _info(folder, description, Store(folder, dim=description.dim))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Free the memory; the object cannot be used afterwards. Closing twice is fine."""
        self._store = self._resident = None

    # Changing

    def add(
        self,
        paths: Paths,
        *,
        prune: bool = False,
        workers: int = 1,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Index files and folders (recursively); what is known and unchanged costs nothing.

        Tracks are committed in small groups. Ctrl-C commits what is finished and is raised again; a
        killed process loses the group it was working on. Run it again to go on.

        Args:
            paths: a file or folder, or several.
            prune: take out tracks under `paths` whose files are gone.
            workers: processes that decode.
            on_progress: called after each file and each batch.

        Raises:
            UnreadableAudioError: one of `paths` does not exist. Files within them that cannot be
                used do not raise; the report lists them.
            LibraryBusyError: another process is writing.
            LibraryError: the library cannot be written, or `prune` finds a folder empty of audio.
        """
        store = self._open_store()
        roots = listed(paths)
        if workers < 1:
            raise InputError(f"workers must be at least 1, not {workers!r}")
        found = find_audio(roots)
        with folders.writing(self.path):
            store.sweep()
            removed = _gone(store, roots, found) if prune else []
            with Adding(store, self._model, workers=workers, on_progress=on_progress) as adding:
                adding.add(found)
            store.delete(path_key(path) for path in removed)
            report = adding.report(removed)
            if report.updated or report.removed:
                store.sweep()
        return report

    def remove(self, paths: Paths) -> list[str]:
        """Take out tracks, or all tracks under folders; nothing happens to the files.

        Returns:
            The paths taken out, sorted.

        Raises:
            TrackNotFoundError: one of `paths` has no track; then none is taken out.
        """
        store = self._open_store()
        roots = listed(paths)
        with folders.writing(self.path):
            present = [track.path for track in store.tracks()]
            under = {root: [path for path in present if is_under(path, root)] for root in roots}
            missing = [root for root, tracks in under.items() if not tracks]
            if missing:
                raise TrackNotFoundError(
                    f"the library {str(self.path)!r} has no track {missing[0]!r} nor any under it"
                )
            removed = sorted({path for tracks in under.values() for path in tracks})
            store.delete(path_key(path) for path in removed)
            store.sweep()
        return removed

    # Asking

    def __len__(self) -> int:
        """How many tracks there are."""
        return self._open_store().count_tracks()

    def tracks(self) -> list[Track]:
        """Return all tracks, by path."""
        return list(self._open_store().tracks())

    def info(self) -> Info:
        """Describe the library."""
        description = folders.read_description(self.path)
        return _info(self.path, description, self._open_store())

    def search(
        self,
        query: str | None = None,
        *,
        k: int = 10,
        like: Sound | None = None,
        without: str | None = None,
        where: str | None = None,
    ) -> list[Match]:
        """Return the tracks that fit best, by words, by sound, or both.

        Args:
            query: words, such as "dark metal".
            k: how many at most.
            like: a track of the library (as it was indexed), any audio file, or (T,) samples at
                the model's rate.
            without: words for what is not wanted.
            where: an SQL condition on title, artist, album, genre, year, duration, path and added,
                such as "artist = 'Nina Simone' AND year >= 1960". Unknown years are null.

        Returns:
            Matches by score (see `Match`), highest first; equal scores by path.

        Raises:
            InputError: nothing is asked for, or `k` is not positive.
            LibraryQueryError: `where` cannot be understood.
            AudioError: the file `like` cannot be used.
        """
        _check_k(k)
        wanted = [] if query is None else [queries.embed_words(self._model, query, name="query")]
        resident = self._current()
        if like is not None:
            wanted.append(self._vector_of(like, resident)[0])
        unwanted = []
        if without is not None:
            unwanted.append(queries.embed_words(self._model, without, name="without"))
        direction = queries.compose(wanted, unwanted)
        return resident.search(direction, k=k, rows=self._rows_where(where, resident))

    def similar(self, path: str | os.PathLike[str], *, k: int = 10) -> list[Match]:
        """Return the tracks that sound most like a track of the library or any audio file.

        The track itself and copies of it (the same bytes) are left out. A track of the library is
        taken as it was indexed, so its file need not be there.

        Raises:
            TrackNotFoundError: there is neither such a track nor such a file.
            AudioError: the file cannot be used.
            InputError: `k` is not positive.
        """
        _check_k(k)
        resident = self._current()
        vector, content_row = self._vector_of(path, resident)
        others = (
            None if content_row is None else np.flatnonzero(resident.content_rows != content_row)
        )
        return resident.search(vector, k=k, rows=others)

    def _vector_of(
        self, sound: Sound, resident: Resident
    ) -> tuple[NDArray[np.float32], int | None]:
        """Return a sound's unit vector and, if the library has that content, its content row."""
        if not isinstance(sound, (str, os.PathLike)):
            return queries.embed_sound(self._model, sound), None
        path = absolute(sound)
        row = resident.row_of_key.get(path_key(path))
        if row is not None:
            content_row = int(resident.content_rows[row])
            return resident.means[content_row], content_row
        if is_gone(path):
            raise TrackNotFoundError(
                f"{path!r} is neither a track of the library {str(self.path)!r} nor a file"
            )
        known = resident.row_of_content.get(content_hash(path))
        if known is not None:
            return resident.means[known], known
        return queries.embed_sound(self._model, path), None

    def _rows_where(self, where: str | None, resident: Resident) -> NDArray[np.int64] | None:
        if where is None:
            return None
        if not isinstance(where, str):
            raise InputTypeError(f"where must be a string, not {type(where).__name__}")
        keys = self._open_store().keys_where(where)
        rows = (resident.row_of_key.get(key) for key in keys)
        return np.asarray(sorted(row for row in rows if row is not None), dtype=np.int64)

    def _current(self) -> Resident:
        """Return the library's present state in memory, read again if someone has written."""
        store = self._open_store()
        with self._loading:
            if self._resident is None or self._resident.version != store.version():
                self._resident = store.resident()
            return self._resident

    def _open_store(self) -> Store:
        if self._store is None:
            raise LibraryError(f"the library {str(self.path)!r} is closed: open it again")
        return self._store


def _create(folder: Path, model: Embedder, made_with: str) -> None:
    """Make an empty library; whoever makes it at the same time is waited for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folders.check_vacant(folder)
        with folders.writing(folder, timeout=CREATION_SECONDS):
            if not folders.exists(folder):
                Store.create(folder, dim=model.dim)
                description = folders.describe(model, made_with=made_with)
                folders.write_description(folder, description)
    except OSError as error:
        raise LibraryError(
            f"cannot make a library in {str(folder)!r}: {folders.reason(error)}"
        ) from error


def _info(folder: Path, description: folders.Description, store: Store) -> Info:
    return Info(
        str(folder),
        tracks=store.count_tracks(),
        clips=store.count_clips(),
        hours=store.seconds() / 3600,
        fingerprint=description.fingerprint,
        dim=description.dim,
        bytes=folders.size_on_disk(folder),
        made_with=description.made_with,
    )


def _gone(store: Store, roots: list[str], found: list[Path]) -> list[str]:
    tracks = [track.path for track in store.tracks()]
    return gone(tracks, roots=roots, found=[str(path) for path in found])


def _absent(folder: Path) -> LibraryError:
    return LibraryError(
        f"there is no library in {str(folder)!r}: index some music first, with "
        "`clap-musicgen index FOLDER` or Library.open(...).add(...)"
    )


def _check_k(k: int) -> None:
    if not isinstance(k, int):
        raise InputTypeError(f"k must be a whole number, not {k!r}")
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
