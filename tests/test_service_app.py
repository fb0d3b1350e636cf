"""The application as a whole: what it describes, and that every route is described well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bare_service import bare, client_of
from clap_musicgen.service.gate import Lanes
from clap_musicgen.service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI
    from starlette.testclient import TestClient

PROMISED = {
    "/api/health": {"get"},
    "/api/info": {"get"},
    "/api/session": {"get", "post", "delete"},
    "/api/search": {"get", "post"},
    "/api/segments": {"get", "post"},
    "/api/tracks": {"get"},
    "/api/tracks/{id}": {"get"},
    "/api/tracks/{id}/similar": {"get"},
    "/api/tracks/{id}/tags": {"get"},
    "/api/tracks/{id}/audio": {"get", "head"},
    "/api/tracks/{id}/audio.wav": {"get", "head"},
    "/api/tracks/{id}/peaks": {"get"},
    "/api/tracks/{id}/cover": {"get"},
    "/api/sounds": {"post"},
    "/api/classify": {"post"},
    "/api/tags": {"get"},
    "/api/embeddings": {"post"},
    "/api/playlists": {"get"},
    "/api/playlists/make": {"post"},
    "/api/playlists/{name}": {"get", "put", "delete"},
    "/api/playlists/{name}/m3u8": {"get"},
    "/api/map": {"get"},
    "/api/map/scores": {"post"},
    "/api/add": {"get", "post"},
    "/api/add/{job}": {"get", "delete"},
    "/api/add/{job}/events": {"get"},
    "/api/runs": {"get"},
    "/api/runs/{name}": {"get"},
    "/api/runs/{name}/figures/{file}": {"get"},
    "/metrics": {"get"},
}
"""What other programs, and the page, rely on."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return bare(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with client_of(app) as client:
        yield client


@pytest.fixture(scope="module")
def described(client: TestClient) -> dict[str, Any]:
    description: dict[str, Any] = client.get("/api/openapi.json").json()
    return description


def operations(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_everything_promised_is_there(described: dict[str, Any]) -> None:
    for path, methods in PROMISED.items():
        assert methods <= set(described["paths"][path]), path


def test_every_operation_is_described(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        assert operation["summary"], name
        assert name.split()[1].startswith("/rest/") or operation["description"], name
        assert operation["tags"], name
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good, name


def test_every_error_is_a_problem(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        for status, response in operation["responses"].items():
            if status.startswith(("4", "5")):
                assert set(response["content"]) == {"application/problem+json"}, (name, status)
        assert {"401", "403", "503"} <= set(operation["responses"]), name
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_what_is_sent_has_bounds(described: dict[str, Any]) -> None:
    """A string, list or number without a bound is a way to make us work for nothing."""
    loose = []
    for name, operation in operations(described):
        for parameter in operation.get("parameters", []):
            loose += _loose(parameter["schema"], f"{name} {parameter['name']}", described)
        for kind, body in operation.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json":
                loose += _loose(body["schema"], f"{name} body", described)
    assert loose == []


def _loose(schema: dict[str, Any], where: str, described: dict[str, Any]) -> list[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _loose(described["components"]["schemas"][name], f"{where}.{name}", described)
    found = [
        each
        for part in schema.get("anyOf", []) + schema.get("allOf", [])
        for each in _loose(part, where, described)
    ]
    for name, part in schema.get("properties", {}).items():
        found += _loose(part, f"{where}.{name}", described)
    kind = schema.get("type")
    if kind == "array":
        found += _loose(schema["items"], f"{where}[]", described)
        found += [] if "maxItems" in schema else [where]
    if kind == "string" and not schema.keys() & {"maxLength", "enum", "const", "format"}:
        pattern = schema.get("pattern", "")
        found += [] if re.search(r"\{\d+(,\d+)?\}\)?\$$", pattern) else [where]
    if kind in {"integer", "number"} and not schema.keys() & {"maximum", "exclusiveMaximum"}:
        found += [where]
    return found


def test_the_description_is_read_without_a_script(client: TestClient) -> None:
    response = client.get("/api/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "<script" not in response.text
    assert "http" not in re.sub(r"<code>.*?</code>", "", response.text).replace("/api", "")
    for path in PROMISED:
        assert path in response.text


def test_an_address_tells_all_it_takes(client: TestClient) -> None:
    response = client.patch("/api/session")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, POST"
    assert client.post("/").headers["allow"] == "GET, HEAD"
    assert client.delete("/api/playlists/make").status_code in {200, 204, 404}


def test_every_route_for_media_has_their_lane(described: dict[str, Any]) -> None:
    lanes = Lanes(Settings())
    media = {path for path in described["paths"] if lanes.of(path) is lanes.media}
    assert media == {
        path for path in PROMISED if re.search("/(audio|audio.wav|peaks|cover)$", path)
    }


def test_what_is_served_is_told(client: TestClient) -> None:
    info = client.get("/api/info").json()
    assert info["tracks"] == 0
    assert info["can_add"] is info["has_runs"] is False
    assert {"mp3", "flac", "wav"} <= set(info["formats"])
