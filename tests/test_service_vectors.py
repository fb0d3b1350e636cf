"""Embeddings over HTTP, as JSON and as raw rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.library.query import Heard
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARY = {"Accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_both_forms_hold_the_same(served: Served) -> None:
    path = str(served.music / "low.flac")
    vector = served.library.vectors([path])[0]
    kept = served.service.sounds.add(Heard(vector), title="", duration=1, problem="")
    asked = {"texts": ["400", "dark metal"], "ids": [kept.id, served.id("low.flac")]}
    answer = served.client.post("/api/embeddings", json=asked).json()
    assert answer["dim"] == 12
    np.testing.assert_allclose(answer["texts"], served.model.embed_text(asked["texts"]), atol=1e-6)
    np.testing.assert_allclose(answer["items"], [vector, vector], atol=1e-6)

    raw = served.client.post("/api/embeddings", json=asked, headers=BINARY)
    assert raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["x-shape"] == "4,12"
    rows = np.frombuffer(raw.content, "<f4").reshape(4, 12)
    np.testing.assert_array_equal(rows, np.array(answer["texts"] + answer["items"], "<f4"))


def test_nothing_asked_is_nothing(served: Served) -> None:
    answer = served.client.post("/api/embeddings", json={}).json()
    assert answer == {"dim": 12, "texts": [], "items": []}
    raw = served.client.post("/api/embeddings", json={}, headers=BINARY)
    assert (raw.headers["x-shape"], raw.content) == ("0,12", b"")


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"texts": ["a"] * 257}, 422, "256"),
        ({"texts": ["a" * 2001]}, 422, "2000"),
        ({"texts": ["a" * 2000] * 26}, 422, "50000"),
        ({"texts": [" "]}, 422, "texts"),
        ({"ids": ["0" * 32]}, 404, "no track"),
        ({"ids": ["/etc/passwd"]}, 422, "ids"),
    ],
)
def test_bounds(served: Served, asked: dict[str, list[str]], status: int, told: str) -> None:
    answer = served.client.post("/api/embeddings", json=asked)
    assert (answer.status_code, told in answer.json()["detail"]) == (status, True)
