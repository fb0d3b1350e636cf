"""The whole API against its own description, with values that nobody would think of.

With `-s` it tells how many requests there were, and how they were answered.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.python.asgi import get_client

from bare_service import bare
from clap_musicgen.service.settings import Settings
from service_client import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis.python.asgi import ASGIClient
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service_client import Served

# They take what /api/search takes; all its values are tried there, and a few here.
TWINS = ("/api/segments", "/api/tracks/{id}/similar", "/api/map/scores")
CONFIG = {
    "generation": {"deterministic": True, "max-examples": 5, "database": "none"},
    "phases": {"stateful": {"enabled": False}},
    "operations": [
        {"include-path": path, "phases": {"coverage": {"enabled": False}}} for path in TWINS
    ],
}
NAME = "testserver"
"""Under which schemathesis asks."""
SETTINGS = Settings(public_hosts=(NAME,))
EXAMPLES = ("0123456789abcdef0123456789abcdef", "0" * 32)
"""Ids that schemathesis likes; no track has them, so they become one that is there."""

load_all_checks()
# What a question means cannot be described: "a AND" is a text like any other, and no condition.
UNDESCRIBED = CHECKS.get_one("positive_data_acceptance")
# By its rules /rest answers 200 with an error inside.
REJECTED = CHECKS.get_one("negative_data_rejection")


def _described() -> Any:
    # pytest wants the operations before any fixture is made; a library without music has them all.
    with tempfile.TemporaryDirectory() as folder:
        app = bare(Path(folder) / "library", SETTINGS)
        config = SchemathesisConfig.from_dict(CONFIG)
        return schemathesis.openapi.from_dict(app.openapi(), config=config)


schema = _described()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("schema"), SETTINGS) as served:
        yield served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[ASGIClient]:
    with get_client(_alive(served.app)) as client:
        yield client


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[int]]:
    tally: Counter[int] = Counter()
    yield tally
    told = ", ".join(f"{number} × {status}" for status, number in sorted(tally.items()))
    print(f"\n{tally.total()} requests to {len(list(schema))} addresses: {told}")


def _alive(app: ASGIApp) -> Any:
    """The application, which schemathesis would otherwise end after each test."""

    async def http_only(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await app(scope, receive, send)
            return
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})

    return http_only


def _real(value: Any, key: str) -> Any:
    """Put the id of a track where an example stands, at any depth."""
    if isinstance(value, str):
        return key if value in EXAMPLES else value
    if isinstance(value, list):
        return [_real(each, key) for each in value]
    if isinstance(value, dict):
        return {name: _real(each, key) for name, each in value.items()}
    return value


@schema.parametrize()  # type: ignore[untyped-decorator]
def test_the_service_does_what_it_says(
    case: Any, served: Served, client: ASGIClient, tally: Counter[int]
) -> None:
    key = served.id("low.flac")
    case.path_parameters = _real(case.path_parameters, key)
    case.query = _real(case.query, key)
    case.body = _real(case.body, key)
    excluded = [UNDESCRIBED, *([REJECTED] if case.path.startswith("/rest/") else [])]
    response = case.call_and_validate(
        session=client, base_url=f"http://{NAME}", excluded_checks=excluded
    )
    tally[response.status_code] += 1
    assert response.status_code != 500
