"""Search, moments and similar tracks over HTTP: the same answers as in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clap_musicgen.library.paths import path_key
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.library import Match

NOWHERE = "0" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


def titles(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [match["track"]["title"] for match in answer.json()["matches"]]


def as_sent(match: Match) -> dict[str, Any]:
    return {
        "id": path_key(match.track.path),
        "score": match.score,
        "calibrated": match.calibrated,
        "start": match.start,
        "end": match.end,
    }


def test_search_answers_as_python_does(served: Served) -> None:
    expected = served.library.search("400", k=3, without="900", like=str(served.music / "low.flac"))
    asked: dict[str, Any] = {"query": "400", "k": 3, "without": ["900"]}
    asked["like"] = [served.id("low.flac")]
    answers = [
        served.client.get("/api/search", params=asked),
        served.client.post("/api/search", json=asked),
    ]
    for answer in answers:
        found = answer.json()["matches"]
        assert [one | {"id": one.pop("track")["id"], "also": []} for one in found] == [
            as_sent(match) | {"also": []} for match in expected
        ]


def test_a_track_is_described_whole(served: Served) -> None:
    found = served.client.get("/api/search", params={"query": "900", "k": 1}).json()["matches"][0]
    assert found["track"] == {
        "id": served.id("high.mp3"),
        "title": "Höher",
        "artist": "Béla",
        "album": "Two",
        "genre": "beep",
        "year": 2005,
        "duration": 2.5,
        "path": str(served.music / "high.mp3"),
        "problem": "",
    }


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"artist": ["ADA"]}, {"Low", "Mid"}),
        ({"artist": ["bela", "nobody"], "genre": ["b*p"]}, {"Höher", "Top"}),
        ({"album": ["two"], "year_to": 1999}, {"Top"}),
        ({"year_from": 2000, "year_to": 2010}, {"Höher"}),
        ({"duration_from": 2.6}, set()),
        ({"where": "genre = 'drone' AND NOT title = 'Low'"}, {"Mid"}),
        ({"added_since": "1h", "artist": [""], "year_from": None}, {"odd"}),
        ({"per": "artist", "artist": ["ada"]}, {"Mid"}),
    ],
)
def test_filters(served: Served, which: dict[str, Any], expected: set[str]) -> None:
    answer = served.client.post("/api/search", json={"query": "400"} | which)
    assert {title.split()[0] for title in titles(answer)} == expected
    params = {name: value for name, value in which.items() if value is not None}
    assert titles(served.client.get("/api/search", params={"query": "400"} | params)) == titles(
        answer
    )


def test_under_a_folder_and_above_a_score(served: Served) -> None:
    under = {"query": "x", "under": [str(served.music / "other")]}
    assert len(titles(served.client.post("/api/search", json=under))) == 1
    everything = served.client.post("/api/search", json={"query": "400"}).json()["matches"]
    bar = everything[0]["calibrated"] - 1e-6
    found = served.client.post("/api/search", json={"query": "400", "min_score": bar})
    assert len(titles(found)) == sum(one["calibrated"] >= bar for one in everything) < 5


def test_segments_of_all_tracks_and_of_one(served: Served) -> None:
    found = served.client.get("/api/segments", params={"query": "400", "k": 5})
    expected = served.library.segments("400", k=5)
    assert [
        (one["track"]["id"], one["score"], one["start"], one["end"])
        for one in found.json()["segments"]
    ] == [(path_key(one.track.path), one.score, one.start, one.end) for one in expected]
    asked = {"query": "400", "track": served.id("top.flac"), "k": 200}
    of_one = served.client.post("/api/segments", json=asked).json()["segments"]
    assert sorted((one["start"], one["end"]) for one in of_one) == [(0, 1), (1, 2), (2, 2.5)]
    refused = served.client.post("/api/segments", json=asked | {"per": "artist"})
    assert (refused.status_code, "leave out per" in refused.text) == (422, True)


def test_similar(served: Served) -> None:
    address = f"/api/tracks/{served.id('low.flac')}/similar"
    expected = served.library.similar(str(served.music / "low.flac"), k=2)
    found = served.client.get(address, params={"k": 2})
    assert titles(found) == [match.track.title for match in expected]
    assert titles(served.client.get(address, params={"artist": "ada"})) == ["Mid"]


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({}, 422, "nothing to search for"),
        ({"without": ["drums"]}, 422, "only what is not wanted"),
        ({"query": " "}, 422, "empty"),
        ({"query": '"open'}, 422, "open"),
        ({"query": "x", "like": [NOWHERE]}, 404, "no track"),
        ({"query": "x", "unlike": ["s-" + "a" * 22]}, 404, "upload it again"),
        ({"query": "x", "like": ["../../etc/passwd"]}, 422, "like"),
        ({"query": "x", "k": 201}, 422, "200"),
        ({"query": "x", "k": 0}, 422, "k"),
        ({"query": "x" * 2001}, 422, "2000"),
        ({"query": "x\x00"}, 422, "query"),
        ({"query": "x", "without": ["y"] * 101}, 422, "100"),
        ({"query": "x", "min_score": 1.5}, 422, "min_score"),
        ({"query": "x", "year_from": 2000, "year_to": 1999}, 422, "ends before it begins"),
        ({"query": "x", "added_since": "yesterday"}, 422, "yesterday"),
        ({"query": "x", "under": ["~nobody-of-that-name/x"]}, 422, "no user"),
        ({"query": "x", "where": "year >"}, 422, "year >"),
        ({"query": "x", "where": "length(repeat(title, 1000000)) > 0"}, 422, "length"),
        ({"query": "x", "per": "genre"}, 422, "per"),
        ({"query": "x", "quest": 1}, 422, "quest"),
    ],
)
def test_what_cannot_be_asked_is_told(
    served: Served, asked: dict[str, Any], status: int, told: str
) -> None:
    answers = [
        served.client.post("/api/search", json=asked),
        served.client.get("/api/search", params=asked),
        served.client.post("/api/segments", json=asked),
    ]
    for answer in answers:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert told in answer.json()["detail"]


def test_a_track_that_is_not_there(served: Served) -> None:
    for address in (f"/api/tracks/{NOWHERE}/similar", f"/api/segments?query=x&track={NOWHERE}"):
        answer = served.client.get(address)
        assert (answer.status_code, answer.json()["status"]) == (404, 404)
