"""GET /api/map: the whole library in two dimensions, and what each track scores for a question.

The points are the library's (`Library.map`); computing them happens apart, one computation at a
time, while the service goes on. Knows when to begin one; not how it is done.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from clap_musicgen.library.projecting import Projection
from clap_musicgen.service.context import Here, Service, track_id
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import Question, problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from clap_musicgen.library.library import Library
    from clap_musicgen.library.mapping import Map

AT_ONCE_SECONDS = 0.5
"""A request that begins a computation waits so long: that of a small library is done by then."""
RETRY_SECONDS = 2
REST = 10.0
"""Between two computations lie so many times the seconds that one takes: a library that is being
added to changes all the time."""
PATIENCE_SECONDS = 600.0
"""After a failure nothing is tried for so long."""
_DIGITS = 4
_LOG = logging.getLogger(__name__)


class MapOut(BaseModel):
    """All tracks as points of a plane; all columns have the same order, by path."""

    method: Literal["pacmap", "pca"] = Field(description="How the points were computed.")
    version: int = Field(description="Of the library; scores come with the same number.")
    fresh: bool = Field(
        description="False while a better map is being made: new tracks lie by their neighbours."
    )
    ids: list[str] = Field(description="Ids of the tracks.")
    titles: list[str]
    artists: list[str] = Field(description="Empty if unknown.")
    genres: list[str] = Field(description="The file's, else what fits the sound, else empty.")
    moods: list[str] = Field(description="What fits the sound, else empty.")
    x: list[float] = Field(description="From -1 to 1; what counts is what lies near what.")
    y: list[float] = Field(description="Likewise.")


class Computing(BaseModel):
    """There is no map yet: ask again after Retry-After."""

    state: Literal["computing"] = "computing"


class MapScores(BaseModel):
    """What each track of the map scores."""

    version: int = Field(description="Of the library; if the map's differs, get the map again.")
    scores: list[float] = Field(description="As `score` of a match, in the order of the map.")


@dataclass(frozen=True, slots=True)
class Packed:
    """A map as it is sent: JSON, the same compressed, and a tag that changes with it."""

    plain: bytes
    small: bytes
    tag: str


class MapKeeper:
    """Has the map made apart when there is none, or none for the present tracks."""

    def __init__(self, library: Library, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin nothing yet; `clock` gives seconds."""
        self._library, self._clock = library, clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._projection: Projection | None = None
        self._not_before = -np.inf
        self._fallback: Map | None = None
        self._error: Exception | None = None
        self._packed: tuple[Map, Packed] | None = None
        self._closed = False

    def get(self) -> Map | None:
        """Return the best map there is, and see that there will be a better one; None: not yet.

        Raises:
            ProblemError: there is none, and making one has failed.
        """
        found = self._library.map_so_far()
        if found is None or not found.fresh:
            thread = self._begin()
            if thread is not None:
                thread.join(AT_ONCE_SECONDS)
                found = self._library.map_so_far()
        found = found or self._fallback
        if found is None and self._error is not None:
            detail = f"the map could not be made: {self._error}"
            raise ProblemError(503, detail, retry_after=round(PATIENCE_SECONDS)) from self._error
        return found

    def packed(self, found: Map) -> Packed:
        """Write a map as it is sent; once for each map."""
        with self._lock:
            if self._packed is None or self._packed[0] is not found:
                self._packed = (found, _packed(found))
            return self._packed[1]

    def close(self) -> None:
        """End what is being computed."""
        with self._lock:
            self._closed = True
            thread, projection = self._thread, self._projection
        if projection is not None:
            projection.stop()
        if thread is not None:
            thread.join()

    def _begin(self) -> threading.Thread | None:
        """Start a computation, unless one runs or it is too early; return it if it was started."""
        with self._lock:
            runs = self._thread is not None and self._thread.is_alive()
            if runs or self._closed or self._clock() < self._not_before:
                return None
            self._projection = Projection()
            self._thread = threading.Thread(
                target=self._compute, args=(self._projection,), daemon=True, name="map"
            )
            self._thread.start()
            return self._thread

    def _compute(self, projection: Projection) -> None:
        began = self._clock()
        try:
            self._library.map(by=projection)
            self._fallback = self._error = None
            self._not_before = self._clock() + REST * (self._clock() - began)
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise it to; `get` does
            self._not_before = self._clock() + PATIENCE_SECONDS
            if not self._closed:
                self._fall_back(error)

    def _fall_back(self, error: Exception) -> None:
        """Principal components need neither another process nor much memory."""
        _LOG.warning("the map is drawn by principal components, since: %s", error)
        try:
            self._fallback = self._library.map(method="pca")
        except Exception as worse:  # noqa: BLE001 - likewise
            _LOG.warning("there is no map, since: %s", worse)
            self._error = worse


def _packed(found: Map) -> Packed:
    columns = {
        "method": found.method,
        "version": found.version,
        "fresh": found.fresh,
        "ids": [track_id(track) for track in found.tracks],
        "titles": [track.title for track in found.tracks],
        "artists": [track.artist for track in found.tracks],
        "genres": found.genres,
        "moods": found.moods,
        "x": _rounded(found.x),
        "y": _rounded(found.y),
    }
    plain = json.dumps(columns, separators=(",", ":")).encode("ascii")
    tag = blake2b(plain, digest_size=16).hexdigest()
    return Packed(plain, gzip.compress(plain, compresslevel=5, mtime=0), f'"{tag}"')


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[float]:
    return [round(value, _DIGITS) for value in values.tolist()]


# Routes


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    keeper: MapKeeper = app.state.map_keeper
    await asyncio.to_thread(keeper.close)


def map_keeper(request: Request) -> MapKeeper:
    """Return the keeper of this application."""
    keeper: MapKeeper = request.app.state.map_keeper
    return keeper


Keeper = Annotated[MapKeeper, Depends(map_keeper)]
router = APIRouter(prefix="/api", tags=["map"], lifespan=_lifespan)


@router.get(
    "/map",
    summary="The library in two dimensions",
    response_model=MapOut,
    responses={
        202: {"model": Computing, "description": "There is no map yet; Retry-After says when."},
        304: {"description": "The map that the caller has is still the map."},
        **problems(503),
    },
)
def get_map(request: Request, keeper: Keeper) -> Response:
    """Get all tracks as points that lie near to what sounds alike.

    Computed once, and made anew when the library has changed.
    """
    found = keeper.get()
    if found is None:
        headers = {"Retry-After": str(RETRY_SECONDS)}
        body = Computing().model_dump_json()
        return Response(body, 202, headers=headers, media_type="application/json")
    packed = keeper.packed(found)
    headers = {"ETag": packed.tag, "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == packed.tag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(packed.small, headers=headers, media_type="application/json")
    return Response(packed.plain, headers=headers, media_type="application/json")


@router.post(
    "/map/scores",
    summary="What each track of the map scores",
    responses=problems(404, 422, 503),
)
def score_map(question: Question, here: Here) -> MapScores:
    """Score all tracks for a question, in the order of the map; its filters and `k` do not count."""
    return scores_of(here, question)


def scores_of(here: Service, question: Question) -> MapScores:
    """Scores and the version they are of, which must not change between the two."""
    asks = here.asks(question)
    for _ in range(3):
        version = here.library.version()
        scores = here.library.scores(**asks)
        if here.library.version() == version:
            return MapScores(version=version, scores=_rounded(scores))
    raise ProblemError(503, "the library is changing: ask again", retry_after=RETRY_SECONDS)
