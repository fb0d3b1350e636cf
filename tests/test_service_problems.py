"""Errors as problem details: every kind, with its status, and nothing told that must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bare_service import bare, client_of, with_route
from clap_musicgen import errors
from clap_musicgen.service.problems import MEDIA_TYPE, ProblemError, of_error
from clap_musicgen.service.schemas import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return bare(tmp_path_factory.mktemp("library"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.TrackNotFoundError("no such track"), 404),
        (errors.LibraryBusyError("somebody writes"), 503),
        (errors.LibraryQueryError("a bracket is missing"), 422),
        (errors.InputError("k must be at least 1"), 422),
        (errors.InputTypeError("write ['a']"), 422),
        (errors.NotAudioError("x.txt", "is a text"), 415),
        (errors.EmptyAudioError("x.wav", "holds no sample"), 422),
        (errors.UnreadableAudioError("x.wav", "is gone"), 422),
        (errors.LibraryError("the table is damaged"), 500),
        (errors.ClapMusicGenError("something of ours"), 500),
    ],
)
def test_our_errors_keep_their_message(
    app: FastAPI, error: errors.ClapMusicGenError, status: int
) -> None:
    def route() -> None:
        raise error

    path = f"/api/raise/{type(error).__name__}"
    response = client_of(with_route(app, path, route)).get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    problem = Problem.model_validate(response.json())
    assert (problem.status, problem.detail) == (status, str(error))
    assert ("retry-after" in response.headers) == (status == 503)


def test_of_an_unforeseen_error_nothing_is_told(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    def route() -> None:
        raise ZeroDivisionError("the secret is 42")

    response = client_of(with_route(app, "/api/raise", route)).get("/api/raise")
    assert response.status_code == 500
    assert response.headers["content-type"] == MEDIA_TYPE
    assert "42" not in response.text
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "the secret is 42" in caplog.text  # the log tells whoever runs the service


def test_a_route_raises_problems_with_headers(app: FastAPI) -> None:
    def route() -> None:
        raise ProblemError(409, "in the way", headers={"X-Way": "out"}, retry_after=7)

    response = client_of(with_route(app, "/api/conflict", route)).get("/api/conflict")
    assert response.status_code == 409
    assert (response.headers["x-way"], response.headers["retry-after"]) == ("out", "7")
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "in the way",
    }


def test_a_wrong_value_is_named_with_its_place(app: FastAPI) -> None:
    response = client_of(app).get("/api/search", params={"query": "x", "k": 0})
    assert response.status_code == 422
    assert response.json()["errors"][0]["where"] == "query.k"
    assert "greater than or equal to 1" in response.json()["detail"]


def test_what_was_sent_is_not_repeated_at_length(app: FastAPI) -> None:
    response = client_of(app).post("/api/search", json={"x" * 3_000: 1})
    assert response.status_code == 422
    assert len(response.json()["detail"]) <= 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/nothing", 404), ("GET", "/nothing", 404), ("DELETE", "/api/info", 405)],
)
def test_the_frameworks_own_errors_are_problems(
    app: FastAPI, method: str, path: str, status: int
) -> None:
    response = client_of(app).request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.json()["status"] == status


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 2_000, b'{"query": "\\ud800"}'])
def test_a_broken_body_is_a_problem(app: FastAPI, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = client_of(app).post("/api/search", content=body, headers=headers)
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == MEDIA_TYPE


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    error = errors.NotAudioError(tmp_path / "\udcff.wav", "is a text")
    assert b"\\udcff" in bytes(of_error(error).body)
