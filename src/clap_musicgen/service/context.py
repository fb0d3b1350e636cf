"""What all routes share: the library, its model, the settings and the uploaded sounds.

The service translates between HTTP and the library; what a question means is the library's matter.
Routes get it as `Here`. Knows ids and shapes; not what is asked of the library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, TypeVar

from fastapi import Depends, Request

from clap_musicgen.library.conditions import check_condition
from clap_musicgen.library.filters import Filters
from clap_musicgen.library.paths import path_key, readable
from clap_musicgen.service.hearing import Ears
from clap_musicgen.service.schemas import MatchOut, TrackOut
from clap_musicgen.service.uploaded import Sounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library.library import Library
    from clap_musicgen.library.query import Sound
    from clap_musicgen.library.records import Match, Track
    from clap_musicgen.service.schemas import Question, Which
    from clap_musicgen.service.settings import Settings


T = TypeVar("T")


class Asks(TypedDict):
    """The arguments of `Library.search`, `segments` and `scores` that say what is wanted."""

    query: str | None
    like: list[Sound]
    unlike: list[Sound]
    without: list[str]


class Among(TypedDict):
    """The arguments of `Library.search`, `segments` and `similar` that say which may answer."""

    filters: Filters
    where: str | None


@dataclass(frozen=True)
class Service:
    """One library, served.

    Attributes:
        library: answers.
        model: the library's.
        settings: what the server was started with.
        sounds: what was uploaded, for a while.
    """

    library: Library
    model: Embedder
    settings: Settings
    sounds: Sounds = field(default_factory=Sounds)
    _computed: dict[str, tuple[int, Any]] = field(default_factory=dict, repr=False)
    _computing: Lock = field(default_factory=Lock, repr=False)

    @cached_property
    def ears(self) -> Ears:
        """What hears uploaded files."""
        return Ears(self.model, wait_seconds=self.settings.wait_seconds)

    def track(self, key: str) -> Track:
        """Return the track with this id; TrackNotFoundError if there is none."""
        return self.library.track(key)

    def sound(self, key: str) -> Sound:
        """Return what the library takes for a track's id, or for that of an uploaded sound.

        Raises:
            TrackNotFoundError: there is no such track.
            SoundNotFoundError: there is no such sound, or it has been forgotten.
        """
        if key.startswith("s-"):
            return self.sounds.get(key).heard
        return self.track(key).path

    def once(self, name: str, compute: Callable[[Library], T]) -> T:
        """Return what `compute` makes of the library; computed once for each of its states.

        Whoever asks while it is computed waits. `name` tells one such thing from others.
        """
        with self._computing:
            version = self.library.version()
            held = self._computed.get(name)
            if held is None or held[0] != version:
                held = self._computed[name] = version, compute(self.library)
            found: T = held[1]
            return found

    def asks(self, question: Question) -> Asks:
        """What a question wants, for `Library.search(**…)`; errors as of `sound`."""
        return {
            "query": question.query,
            "like": [self.sound(key) for key in question.like],
            "unlike": [self.sound(key) for key in question.unlike],
            "without": question.without,
        }

    def among(self, which: Which) -> Among:
        """Which tracks may answer, for `Library.search(**…)`.

        Raises:
            LibraryQueryError: `where` is more than a stranger may ask for.
        """
        if which.where is not None:
            check_condition(which.where)
        filters = Filters(
            artist=which.artist,
            album=which.album,
            genre=which.genre,
            year=(which.year_from, which.year_to),
            duration=(which.duration_from, which.duration_to),
            under=which.under,
            added_since=which.added_since,
        )
        return {"filters": filters, "where": which.where}


def track_id(track: Track) -> str:
    """Id of a track: its key in the library, so that no path of a request is ever opened."""
    return path_key(track.path)


def track_out(track: Track) -> TrackOut:
    """Describe a track."""
    return TrackOut(
        id=track_id(track),
        title=track.title,
        artist=track.artist,
        album=track.album,
        genre=track.genre,
        year=track.year,
        duration=track.duration,
        path=readable(track.path),
        problem=track.problem,
    )


def match_out(match: Match) -> MatchOut:
    """Describe a match."""
    return MatchOut(
        track=track_out(match.track),
        score=match.score,
        calibrated=match.calibrated,
        start=match.start,
        end=match.end,
        also=[track_out(track) for track in match.also],
    )


def here(request: Request) -> Service:
    """Return the service that this application was made for (`app.state.service`)."""
    service: Service = request.app.state.service
    return service


Here = Annotated[Service, Depends(here)]
"""What a route takes to get the service: `def route(here: Here) -> …`."""
