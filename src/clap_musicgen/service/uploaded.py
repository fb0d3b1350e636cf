"""Sounds that somebody uploaded: their vectors, kept for a while, so that they can be asked with.

Knows vectors and the time; neither HTTP nor files, which are gone once they have been heard.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from clap_musicgen.errors import TrackNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clap_musicgen.library.query import Heard

KEPT = 64
"""So many sounds are kept; the one that was not used for longest goes."""
KEPT_SECONDS = 3600.0
"""For so long a sound is kept."""


class SoundNotFoundError(TrackNotFoundError):
    """There is no such uploaded sound, or no more."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An uploaded sound.

    Attributes:
        id: begins with "s-"; cannot be guessed, since others may use the same server.
        heard: its vector.
        title: the name of the file.
        duration: seconds.
        problem: "" or what was wrong, for example that only the beginning could be decoded.
    """

    id: str
    heard: Heard
    title: str
    duration: float
    problem: str


class Sounds:
    """The uploaded sounds by id; may be used from several threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep nothing yet; `clock` gives seconds."""
        self._kept: OrderedDict[str, tuple[float, Uploaded]] = OrderedDict()
        self._clock, self._lock = clock, Lock()

    def __len__(self) -> int:
        """How many are kept."""
        with self._lock:
            self._forget()
            return len(self._kept)

    def add(self, heard: Heard, *, title: str, duration: float, problem: str) -> Uploaded:
        """Keep a sound under a new id."""
        sound = Uploaded(f"s-{secrets.token_urlsafe(16)}", heard, title, duration, problem)
        with self._lock:
            self._kept[sound.id] = self._clock(), sound
            self._forget()
        return sound

    def get(self, key: str) -> Uploaded:
        """Return a sound; SoundNotFoundError if there is none or it has been forgotten."""
        with self._lock:
            self._forget()
            if key not in self._kept:
                raise SoundNotFoundError(
                    f"there is no uploaded sound {key!r} (any more): upload it again; the last "
                    f"{KEPT} are kept, for an hour"
                )
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _forget(self) -> None:
        oldest = self._clock() - KEPT_SECONDS
        for key in [key for key, (since, _) in self._kept.items() if since < oldest]:
            del self._kept[key]
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
