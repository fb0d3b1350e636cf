"""A service without music: an empty library, for what happens before a route is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.testclient import TestClient

from clap_musicgen.library import Library
from clap_musicgen.service.app import create_app
from clap_musicgen.service.settings import Settings
from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi import FastAPI

TOKEN = "a-token-of-many-characters"
HOST = "127.0.0.1:8321"


def bare(folder: Path, settings: Settings | None = None) -> FastAPI:
    """Make an application over an empty library, which is made in `folder` if it is not there."""
    model = FakeEmbedder()
    return create_app(Library.open(folder, model), model, settings or Settings())


def client_of(app: FastAPI, *, host: str = HOST) -> TestClient:
    """A browser that asks for `host`."""
    return TestClient(app, base_url=f"http://{host}", raise_server_exceptions=False)


def with_route(app: FastAPI, path: str, route: Callable[..., object]) -> FastAPI:
    """Add a route of a test, for GET and POST."""
    app.add_api_route(path, route, methods=["GET", "POST"], include_in_schema=False)
    return app
