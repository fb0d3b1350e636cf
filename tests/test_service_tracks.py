"""The tracks of the library over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clap_musicgen.service.context import track_out
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_pages_make_up_the_whole(served: Served) -> None:
    whole = served.client.get("/api/tracks").json()
    paths = [track.path for track in served.library.tracks()]
    assert whole["total"] == 5
    assert whole["tracks"] == [track_out(track).model_dump() for track in served.library.tracks()]
    assert len(paths) == 5
    pages = [
        served.client.get("/api/tracks", params={"offset": offset, "limit": 2}).json()
        for offset in (0, 2, 4, 6)
    ]
    assert [len(page["tracks"]) for page in pages] == [2, 2, 1, 0]
    assert [track for page in pages for track in page["tracks"]] == whole["tracks"]
    assert {page["total"] for page in pages} == {5}


@pytest.mark.parametrize(
    ("find", "expected"),
    [
        ("bela", ["Höher", "Top"]),
        ("HOHER béla", ["Höher"]),
        ("ada drone m", ["Mid"]),
        ("one two", []),
        (".*", []),
        ("  ", ["Höher", "Low", "Mid", "odd", "Top"]),
    ],
)
def test_find(served: Served, find: str, expected: list[str]) -> None:
    found = served.client.get("/api/tracks", params={"find": find}).json()
    assert [track["title"].split()[0] for track in found["tracks"]] == expected
    assert found["total"] == len(expected)


def test_one_track(served: Served) -> None:
    found = served.client.get(f"/api/tracks/{served.id('low.flac')}")
    assert found.json()["title"] == "Low"
    absent = served.client.get(f"/api/tracks/{'0' * 32}")
    assert (absent.status_code, absent.json()["title"]) == (404, "Not Found")


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "A" * 32, "0" * 33, "%00"]
)
def test_no_path_of_a_request_is_opened(served: Served, name: str) -> None:
    assert served.client.get(f"/api/tracks/{name}").status_code in {404, 422}


@pytest.mark.parametrize("asked", ["limit=501", "offset=-1", "limit=x", f"find={'a' * 201}"])
def test_bounds(served: Served, asked: str) -> None:
    assert served.client.get(f"/api/tracks?{asked}").status_code == 422
