"""The application: routes, error answers and protective layers, put together.

Knows every part by name and none by heart; what each does is its own module's matter.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import FastAPI

import clap_musicgen
from clap_musicgen.service import (
    audio,
    classes,
    covers,
    describing,
    health,
    jobs,
    labels,
    maps,
    metrics,
    page,
    peaks,
    playlists,
    problems,
    questions,
    runs,
    sessions,
    sounds,
    subsonic,
    tracks,
    vectors,
)
from clap_musicgen.service.adding import Jobs
from clap_musicgen.service.context import Service
from clap_musicgen.service.gate import Gate, Lanes
from clap_musicgen.service.guard import Guard
from clap_musicgen.service.maps import MapKeeper
from clap_musicgen.service.media import Media
from clap_musicgen.service.metrics import Measured, Metrics
from clap_musicgen.service.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from clap_musicgen.embedding import Embedder
    from clap_musicgen.library.library import Library
    from clap_musicgen.service.settings import Settings


_PARTS: tuple[ModuleType, ...] = (
    health,
    sessions,
    metrics,
    describing,
    questions,
    classes,
    labels,
    vectors,
    tracks,
    sounds,
    audio,
    peaks,
    covers,
    playlists,
    maps,
    jobs,
    runs,
    subsonic,
)
"""Each has a router; of two routes that fit an address the first is taken."""


def create_app(library: Library, model: Embedder, settings: Settings) -> FastAPI:
    """Make an application that serves an open library with its loaded model.

    Closing the library is the caller's matter.
    """
    app = FastAPI(
        title="clap-musicgen",
        version=clap_musicgen.__version__,
        summary="Search a library of music by words or by sound.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    state = app.state
    state.service = Service(library=library, model=model, settings=settings)
    state.sessions = Sessions(settings.token)
    state.lanes = Lanes(settings)
    state.metrics = Metrics(lanes=state.lanes, tracks=library.__len__)
    state.jobs, state.media, state.map_keeper = Jobs(), Media(), MapKeeper(library)
    for part in _PARTS:
        app.include_router(part.router)
    bundle = page.Page(page.BUNDLE)
    page.install(app, bundle)
    problems.install(app, methods=describing.methods_at)
    describing.install(app)
    # The last one added is passed first.
    app.add_middleware(Gate, lanes=state.lanes, settings=settings, on_refused=state.metrics.refused)
    app.add_middleware(
        Guard, settings=settings, sessions=state.sessions, is_page=bundle.__contains__
    )
    app.add_middleware(Measured, metrics=state.metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Have a thread for each place."""
    lanes: Lanes = app.state.lanes
    anyio.to_thread.current_default_thread_limiter().total_tokens = lanes.threads
    yield
