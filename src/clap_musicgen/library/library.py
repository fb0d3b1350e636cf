"""The library: a place full of vectors that answers questions about music.

Knows a model only as an Embedder, so any model that maps clips and texts to one space will do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from clap_musicgen.audio.files import find_audio
from clap_musicgen.errors import InputError, LibraryError, TrackNotFoundError
from clap_musicgen.library import duplicates as copies
from clap_musicgen.library import folder as folders
from clap_musicgen.library import playlists, saved, tagging
from clap_musicgen.library.adding import Adding
from clap_musicgen.library.asking import asked, check_k, check_min_score
from clap_musicgen.library.current import Current
from clap_musicgen.library.filters import sql
from clap_musicgen.library.mapping import Mapper
from clap_musicgen.library.migrating import up_to_date
from clap_musicgen.library.paths import Paths, gone, is_under, listed, path_key
from clap_musicgen.library.picking import check_per
from clap_musicgen.library.place import locate
from clap_musicgen.library.query import as_sounds
from clap_musicgen.library.records import Found, Info, Match, Progress, Report, Segment, Track
from clap_musicgen.library.store import Store
from clap_musicgen.library.vocabulary import VOCABULARY, bank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import TypeAlias

    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embedder, Embeddings
    from clap_musicgen.library.adding import Engine, Run
    from clap_musicgen.library.asking import Asking
    from clap_musicgen.library.checking import CheckReport
    from clap_musicgen.library.duplicates import Copy
    from clap_musicgen.library.exchange import Exported
    from clap_musicgen.library.filters import Filters
    from clap_musicgen.library.mapping import Map
    from clap_musicgen.library.picking import Per
    from clap_musicgen.library.place import Place
    from clap_musicgen.library.projecting import Method, Projection
    from clap_musicgen.library.query import Phrase, Sound
    from clap_musicgen.library.saved import Playlist, SavedPlaylist
    from clap_musicgen.library.tagging import Tag

    Words: TypeAlias = str | Phrase | Sequence[str | Phrase]
    Sounds: TypeAlias = Sound | Sequence[Sound]

WRITER_SECONDS = 30.0
"""How long to wait for another process that is making, or migrating, the same library."""


class Library:
    """Tracks and the vectors of one model, searchable by words and by sound.

    Open one with `Library.open`. Any number of processes may search while one adds; what it commits
    is seen by the next search, in a large library within two seconds (see `current`). One object
    may be used from several threads.
    """

    def __init__(self, place: Place, model: Embedder, store: Store) -> None:
        """Take the parts as they are; `open` checks that they belong together."""
        self.path = str(place)
        self._place, self._model = place, model
        self._store: Store | None = store
        self._current = Current(store, model, library=self.path)
        self._maps = Mapper(place, model)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Embedder,
        *,
        create: bool = True,
        made_with: str = "",
    ) -> Self:
        """Open the library in `path`; make it if it is absent and `create` is true.

        A library of an older format is brought up to date first.

        Args:
            path: a folder of its own, or a URI such as "s3://bucket/library".
            model: embeds what is added and what is asked.
            create: whether to make it.
            made_with: kept in a new library, and told to whoever opens it with another model: how
                to ask for this one, such as "--model mini".

        Raises:
            LibraryModelError: it holds another model's vectors.
            LibraryError: it is absent, damaged, of a newer format, or may not be read or made; or
                the folder holds something else.
        """
        place = locate(path)
        if not folders.exists(place):
            if not create:
                raise _absent(place)
            _create(place, model, made_with)
        description = folders.read_description(place)
        folders.check_model(place, description, model)
        if description.format < folders.FORMAT:
            up_to_date(place, timeout=WRITER_SECONDS)
        return cls(place, model, Store(place.target, dim=description.dim))

    @staticmethod
    def inspect(path: str | os.PathLike[str]) -> Info:
        """Describe the library in `path` without a model; LibraryError if there is none."""
        place = locate(path)
        if not folders.exists(place):
            raise _absent(place)
        description = folders.read_description(place)
        return _info(place, description, Store(place.target, dim=description.dim))

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
        self._store = None
        self._current.close()
        self._maps.close()

    # Changing

    def add(
        self,
        paths: Paths,
        *,
        prune: bool = False,
        workers: int = 1,
        engine: Engine | None = None,
        wait: float = 0.0,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Index files and folders (recursively); what is known and unchanged costs nothing.

        Tracks are committed in small groups. Ctrl-C commits what is finished and is raised again; a
        killed process loses the group it was working on. Run it again to go on.

        Args:
            paths: a file or folder, or several.
            prune: take out tracks under `paths` whose files are gone.
            workers: processes that decode.
            engine: where files are read and embedded, such as a `RayEngine`; None is here.
            wait: seconds to wait for another process that is writing.
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
        with self._current.changing(), folders.writing(self._place, timeout=wait) as lease:
            store.sweep()
            _keep_texts(store, self._model)
            removed = _gone(store, roots, found) if prune else []
            if engine is None:
                run: AbstractContextManager[Run] = Adding(
                    store, self._model, workers=workers, on_progress=on_progress, guard=lease.check
                )
            else:
                run = engine.adding(store, self._model, on_progress=on_progress, guard=lease.check)
            with run as adding:
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
        with self._current.changing(), folders.writing(self._place):
            present = [track.path for track in store.tracks()]
            under = {root: [path for path in present if is_under(path, root)] for root in roots}
            missing = [root for root, tracks in under.items() if not tracks]
            if missing:
                raise TrackNotFoundError(
                    f"the library {self.path!r} has no track {missing[0]!r} nor any under it"
                )
            removed = sorted({path for tracks in under.values() for path in tracks})
            store.delete(path_key(path) for path in removed)
            store.sweep()
        return removed

    def export(self, file: str | os.PathLike[str]) -> Exported:
        """Write all tracks and vectors into one Parquet file; see `exchange.export_library`."""
        from clap_musicgen.library.exchange import export_library

        self._open_store()
        return export_library(self._place, file)

    def take_in(
        self,
        file: str | os.PathLike[str],
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Bring in the tracks of an exported file; see `importing.import_library`."""
        from clap_musicgen.library.importing import import_library

        self._open_store()
        with self._current.changing():
            return import_library(self._place, file, on_progress=on_progress)

    def check(self, *, repair: bool = False) -> CheckReport:
        """Look at every row, and put right what can be; see `checking.check_library`."""
        from clap_musicgen.library.checking import check_library

        self._open_store()
        with self._current.changing():
            return check_library(self._place, repair=repair)

    # Asking

    def __len__(self) -> int:
        """How many tracks there are."""
        return self._open_store().count_tracks()

    def tracks(self) -> list[Track]:
        """Return all tracks, by path."""
        return list(self._open_store().tracks())

    def track(self, key: str) -> Track:
        """Return the track with this key; see `tracks_with`."""
        return self.tracks_with([key])[0]

    def tracks_with(self, keys: Sequence[str]) -> list[Track]:
        """Return the tracks with these keys (`paths.path_key` of their paths), in this order.

        No file is looked at, and the state of the library only once.

        Raises:
            TrackNotFoundError: there is none with one of them.
        """
        state = self._ask().state
        rows = [state.row_of_key.get(key) for key in keys]
        for key, row in zip(keys, rows, strict=True):
            if row is None:
                raise TrackNotFoundError(
                    f"the library {self.path!r} has no track with the id {key!r}"
                )
        return [state.tracks[row] for row in rows if row is not None]

    def find(self, text: str = "", *, offset: int = 0, limit: int = 100) -> Found:
        """Return some of the tracks by path: those whose tags hold every word of a text.

        Args:
            text: words, regardless of case and accents; "" finds all.
            offset: how many to pass over.
            limit: how many to return at most.
        """
        tracks = self._ask().state.tracks
        rows = tracks.find(text)
        chosen = rows[max(0, offset) : max(0, offset) + max(0, limit)]
        return Found(len(rows), tuple(tracks.pick(chosen)))

    def vectors(self, sounds: Sequence[Sound]) -> Embeddings:
        """Return the mean directions of sounds → (N, D); of tracks, as they were indexed.

        Raises:
            TrackNotFoundError: one is a path of neither a track nor a file.
            AudioError: a file cannot be used.
        """
        return self._ask().vectors(as_sounds(sounds, name="sounds"))

    def version(self) -> int:
        """Number of the state that a question is answered from now; it rises with every change."""
        return self._ask().state.version

    def info(self) -> Info:
        """Describe the library."""
        description = folders.read_description(self._place)
        return _info(self._place, description, self._open_store())

    def search(
        self,
        query: Words | None = None,
        *,
        k: int = 10,
        like: Sounds | None = None,
        unlike: Sounds | None = None,
        without: Words | None = None,
        filters: Filters | None = None,
        where: str | None = None,
        per: Per | None = None,
        fold: bool = True,
        min_score: float = 0.0,
    ) -> list[Match]:
        """Return the tracks that fit best, by words, by sound, or both.

        Args:
            query: words in the query language (`phrases.parse`), such as "dark metal -vocals";
                or a Phrase, or a list of phrases, which are taken as they are.
            k: how many at most.
            like: one sound or several: a track of the library (as it was indexed), any audio file,
                or (T,) samples at the model's rate.
            unlike: sounds to keep away from.
            without: words for what is not wanted.
            filters: which tracks may answer.
            where: an SQL condition on title, artist, album, genre, year, duration, path and added,
                such as "artist = 'Nina Simone' AND year >= 1960". Unknown years are null.
            per: "artist" or "album" for one answer each.
            fold: whether near-duplicates become one answer, which names them (`Match.also`).
            min_score: leave out answers whose calibrated score is lower, 0 to 1.

        Returns:
            Matches by score, highest first; equal scores by path.

        Raises:
            InputError: nothing is asked for, or a value cannot be used.
            LibraryQueryError: `query` or `where` cannot be understood.
            AudioError, TrackNotFoundError: a sound cannot be used.
        """
        check_k(k)
        check_per(per)
        check_min_score(min_score)
        question = asked(query, without=without, like=like, unlike=unlike)
        asking, rows = self._among(filters, where)
        direction = asking.direction(question)
        return asking.matches(direction, k=k, rows=rows, per=per, fold=fold, min_score=min_score)

    def segments(
        self,
        query: Words | None = None,
        *,
        k: int = 10,
        path: str | os.PathLike[str] | None = None,
        like: Sounds | None = None,
        unlike: Sounds | None = None,
        without: Words | None = None,
        filters: Filters | None = None,
        where: str | None = None,
    ) -> list[Segment]:
        """Return the moments that fit best: of all tracks, or of the track `path`.

        Arguments and errors are those of `search`.
        """
        check_k(k)
        question = asked(query, without=without, like=like, unlike=unlike)
        asking, rows = self._among(filters, where)
        direction = asking.direction(question)
        if path is not None:
            row = asking.row_of(path)
            allowed = rows is None or row in rows
            return asking.segments_of(direction, row, k=k) if allowed else []
        return asking.segments(direction, k=k, rows=rows)

    def similar(
        self,
        path: Sound,
        *,
        k: int = 10,
        filters: Filters | None = None,
        where: str | None = None,
        per: Per | None = None,
        fold: bool = True,
        min_score: float = 0.0,
    ) -> list[Match]:
        """Return the tracks that sound most like a track of the library or any audio file.

        The track itself and copies of it (the same bytes) are left out. A track of the library is
        taken as it was indexed, so its file need not be there. Arguments are those of `search`.

        Raises:
            TrackNotFoundError: there is neither such a track nor such a file.
            AudioError: the file cannot be used.
            InputError, LibraryQueryError: a value cannot be used.
        """
        check_k(k)
        check_per(per)
        check_min_score(min_score)
        asking, rows = self._among(filters, where)
        direction, content_row = asking.likeness(path)
        if content_row is not None:
            others = np.flatnonzero(asking.state.content_rows != content_row)
            rows = others if rows is None else np.intersect1d(rows, others, assume_unique=True)
        return asking.matches(direction, k=k, rows=rows, per=per, fold=fold, min_score=min_score)

    def scores(
        self,
        query: Words | None = None,
        *,
        like: Sounds | None = None,
        unlike: Sounds | None = None,
        without: Words | None = None,
    ) -> NDArray[np.float32]:
        """Return what every track scores for a question → (N,), in the order of `tracks`.

        The scores are those of `Match.score`. Arguments and errors are those of `search`.
        """
        question = asked(query, without=without, like=like, unlike=unlike)
        asking = self._ask()
        return asking.state.scores(asking.direction(question).vector)

    # Lists

    def playlist(
        self,
        query: Words | None = None,
        *,
        like: Sounds | None = None,
        between: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None,
        k: int | None = None,
        minutes: float | None = None,
        per_artist: int | None = None,
    ) -> list[Track]:
        """Return tracks in the order of playing; `m3u.m3u8` writes them for a player.

        Args:
            query: words for a theme, as in `search`.
            like: a sound or several for a theme.
            between: two tracks of the library to lead from and to, instead of a theme.
            k: how many tracks; 25 if `minutes` is not given either.
            minutes: how long, instead of how many.
            per_artist: how many tracks of one artist at most, in a theme.

        Raises:
            InputError: a theme and a path are asked for together, or a value cannot be used.
            TrackNotFoundError: one of the two tracks is not in the library.
            AudioError, LibraryQueryError: as in `search`.
        """
        length = playlists.Length.of(k, minutes)
        if between is not None:
            if query is not None or like is not None or per_artist is not None:
                raise InputError(
                    "a playlist is a theme or a path: leave out query, like, per_artist"
                )
            asking = self._ask()
            first, last = (asking.row_of(path) for path in between)
            chosen = playlists.path(asking.pool(), first=first, last=last, length=length)
            return [asking.state.tracks[row] for row in chosen.tolist()]
        question = asked(query, like=like)
        asking = self._ask()
        direction = asking.direction(question).vector
        rows = asking.state.ranked(direction, k=playlists.RANKED).rows
        chosen = playlists.theme(asking.pool(rows), length, per_artist=per_artist)
        return [asking.state.tracks[row] for row in rows[chosen].tolist()]

    def playlists(self) -> list[SavedPlaylist]:
        """Return the playlists that are saved with the library, by name."""
        self._open_store()
        return saved.listed(self._place)

    def save_playlist(self, name: str, paths: Paths, *, replace: bool = False) -> Playlist:
        """Save tracks of the library, in this order, as a playlist; see `saved.save`.

        Raises:
            InputError: the name cannot be used or is taken, or there are no tracks.
            TrackNotFoundError: one of `paths` is not in the library; nothing is saved.
        """
        asking = self._ask()
        tracks = [asking.state.tracks[asking.row_of(path)] for path in listed(paths)]
        return saved.save(self._place, name, tracks, replace=replace)

    def saved_playlist(self, name: str) -> Playlist:
        """Return a saved playlist; PlaylistNotFoundError if there is none of that name."""
        state = self._ask().state

        def track_of(path: str) -> Track | None:
            row = state.row_of_key.get(path_key(path))
            return None if row is None else state.tracks[row]

        return saved.load(self._place, name, track_of)

    def delete_playlist(self, name: str) -> None:
        """Delete a saved playlist, not its tracks; PlaylistNotFoundError if there is none."""
        self._open_store()
        saved.delete(self._place, name)

    def duplicates(self) -> list[list[Copy]]:
        """Return groups of tracks that are the same recording, the best copy first.

        See `duplicates.duplicate_groups` for what counts as the same.
        """
        state = self._ask().state
        tracks = list(state.tracks)
        durations = np.array([track.duration for track in tracks])
        groups = copies.duplicate_groups(
            state.means(), durations, state.content_rows, state.segments
        )
        found = [[tracks[row] for row in group] for group in groups]
        return [copies.best_first(group, copies.sizes_of(group)) for group in found]

    def tags(
        self,
        labels: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        min_score: float = tagging.MIN_SCORE,
        per_facet: int = tagging.PER_FACET,
    ) -> list[Tag]:
        """Return zero-shot tags for every track, none where nothing fits; files stay untouched.

        Args:
            labels: a list, or lists by facet; None is `vocabulary.VOCABULARY`.
            path: only those of this track.
            min_score: the calibrated score that a tag needs.
            per_facet: how many tags of a facet at most.

        Raises:
            InputError, InputTypeError: the labels or a value cannot be used.
            TrackNotFoundError: there is no track `path`.
        """
        check_min_score(min_score)
        chosen = tagging.labels_of(VOCABULARY if labels is None else labels)
        asking = self._ask()
        state = asking.state
        tracks: Sequence[Track] = state.tracks
        music, content_rows = None, state.content_rows
        if path is not None:
            row = asking.row_of(path)
            tracks, content_rows = [tracks[row]], np.zeros(1, dtype=np.int64)
            music = state.vectors(np.array([row]))
        scores = tagging.tag_scores(
            state.means() if music is None else music,
            self._current.directions_of(chosen, state.correction),
            correction=state.correction,
            calibration=asking.calibration,
        )
        return tagging.tags_of(
            tracks,
            content_rows,
            scores,
            chosen,
            min_score=min_score,
            per_facet=per_facet,
        )

    def map(self, *, method: Method | None = None, by: Projection | None = None) -> Map:
        """Return all tracks as points of a plane, near to what sounds alike, with genre and mood.

        Computed once and kept with the library; made anew when tracks have come or gone. How long
        it takes: `benchmarks/map_speed.py`.

        Args:
            method: "pacmap" or "pca"; None is PaCMAP where it is installed (the extra `map`).
            by: computes it, and can be ended from another thread.

        Raises:
            InputError: there is no such method, or it is not installed.
            LibraryError: it failed, or was ended.
        """
        return self._maps.make(self._ask(), method=method, by=by)

    def map_so_far(self) -> Map | None:
        """Return the map as `map` has left it, at once; None if there is none yet.

        Tracks that have come since lie where their neighbours do; see `Map.fresh`.
        """
        return self._maps.current(self._ask())

    # Inside

    def _ask(self) -> Asking:
        """Return what answers for the library's present state, as far as `current` knows it."""
        self._open_store()
        return self._current.asking()

    def _among(
        self, filters: Filters | None, where: str | None
    ) -> tuple[Asking, NDArray[np.int64] | None]:
        """Return what answers, and the rows that may, ascending; None is all."""
        condition = sql(filters, where)
        asking = self._ask()
        if condition is None:
            return asking, None
        rows = asking.state.row_of_key.rows(self._open_store().keys_where(condition))
        return asking, np.sort(rows[rows >= 0])

    def _open_store(self) -> Store:
        if self._store is None:
            raise LibraryError(f"the library {self.path!r} is closed: open it again")
        return self._store


def _create(place: Place, model: Embedder, made_with: str) -> None:
    """Make an empty library; whoever makes it at the same time is waited for."""
    try:
        place.make()
        folders.check_vacant(place)
        with folders.writing(place, timeout=WRITER_SECONDS):
            if not folders.exists(place):
                Store.create(place.target, dim=model.dim)
                description = folders.describe(model, made_with=made_with)
                folders.write_description(place, description)
    except OSError as error:
        raise LibraryError(
            f"cannot make a library in {str(place)!r}: {folders.reason(error)}"
        ) from error


def _keep_texts(store: Store, model: Embedder) -> None:
    """Embed the bank of captions, once in the life of a library; the caller holds the lock."""
    if store.texts() is None:
        captions = bank()
        store.write_texts(captions, model.embed_text(captions))


def _info(place: Place, description: folders.Description, store: Store) -> Info:
    return Info(
        str(place),
        tracks=store.count_tracks(),
        clips=store.count_clips(),
        hours=store.seconds() / 3600,
        fingerprint=description.fingerprint,
        dim=description.dim,
        bytes=folders.size_on_disk(place),
        made_with=description.made_with,
    )


def _gone(store: Store, roots: list[str], found: list[Path]) -> list[str]:
    tracks = [track.path for track in store.tracks()]
    return gone(tracks, roots=roots, found=[str(path) for path in found])


def _absent(place: Place) -> LibraryError:
    return LibraryError(
        f"there is no library in {str(place)!r}: index some music first, with "
        "`clap-musicgen index FOLDER` or Library.open(...).add(...)"
    )
