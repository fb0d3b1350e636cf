"""What Prometheus reads: counts by route and answer, lanes, tracks; and nothing of anybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bare_service import TOKEN, bare, client_of, with_route
from clap_musicgen.service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return bare(tmp_path / "library")


def figures(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def one(text: str, name: str, **labels: str) -> float:
    return figures(text)[name, frozenset(labels.items())]


def test_requests_are_counted_by_route_and_answer(app: FastAPI) -> None:
    client = client_of(app)
    for key in ("0" * 32, "1" * 32, "wrong"):
        client.get(f"/api/tracks/{key}")
    client.get("/api/health")
    client.get("/nothing/at/all")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    counted = {"method": "GET", "route": "/api/tracks/{id}"}
    assert one(response.text, "clap_musicgen_requests_total", status="404", **counted) == 2
    assert one(response.text, "clap_musicgen_requests_total", status="422", **counted) == 1
    assert one(response.text, "clap_musicgen_request_seconds_count", **counted) == 3
    other = {"method": "GET", "route": "other", "status": "404"}
    assert one(response.text, "clap_musicgen_requests_total", **other) == 1


def test_no_question_and_no_id_becomes_a_label(app: FastAPI) -> None:
    client = client_of(app)
    client.get("/api/search", params={"query": "my secret wish"})
    client.get(f"/api/tracks/{'7' * 32}")
    client.request("SECRETMETHOD", "/secret/address")
    text = client.get("/metrics").text
    for hidden in ("secret", "wish", "SECRET", "7" * 32):
        assert hidden not in text


def test_a_failure_counts_as_500(app: FastAPI) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    client = client_of(with_route(app, "/api/fail", fail))
    assert client.get("/api/fail").status_code == 500
    text = client.get("/metrics").text
    counted = {"method": "GET", "route": "/api/fail", "status": "500"}
    assert one(text, "clap_musicgen_requests_total", **counted) == 1


def test_lanes_and_tracks_are_told(app: FastAPI) -> None:
    text = client_of(app).get("/metrics").text
    for lane in ("work", "media", "upload", "events"):
        assert one(text, "clap_musicgen_present", lane=lane) == 0
        assert one(text, "clap_musicgen_taken", lane=lane) == 0
    assert one(text, "clap_musicgen_tracks") == 0
    assert one(text, "process_resident_memory_bytes") > 0


def test_two_applications_do_not_share_figures(tmp_path: Path) -> None:
    first, second = bare(tmp_path / "1"), bare(tmp_path / "2")
    client_of(first).get("/api/health")
    assert "/api/health" in client_of(first).get("/metrics").text
    assert "/api/health" not in client_of(second).get("/metrics").text


def test_figures_need_the_token(tmp_path: Path) -> None:
    app = bare(tmp_path / "library", Settings(token=TOKEN))
    assert client_of(app).get("/metrics").status_code == 401
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client_of(app).get("/metrics", headers=headers).status_code == 200
