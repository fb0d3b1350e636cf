"""Playlists over HTTP: saved, listed, made, written for a player, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "/api/playlists"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("playlists")) as served:
        yield served


def test_the_life_of_a_playlist(served: Served) -> None:
    keys = [served.id("top.flac"), served.id("low.flac")]
    answer = served.client.put(f"{URL}/Sunday: day off", json={"tracks": keys})
    assert answer.status_code == 200
    told = answer.json()
    assert [track["id"] for track in told["tracks"]] == keys
    assert told["missing"] == []
    assert told["minutes"] == pytest.approx(5 / 60)
    (line,) = served.client.get(URL).json()["playlists"]
    assert line["name"] == "Sunday: day off"
    assert line["tracks"] == 2
    assert line["saved"] == told["saved"]
    assert served.client.get(f"{URL}/Sunday: day off").json() == told
    assert served.library.playlists()[0].name == "Sunday: day off"
    served.client.put(f"{URL}/Sunday: day off", json={"tracks": keys[:1]})
    assert len(served.client.get(f"{URL}/Sunday: day off").json()["tracks"]) == 1
    assert served.client.delete(f"{URL}/Sunday: day off").status_code == 204
    assert served.client.delete(f"{URL}/Sunday: day off").status_code == 404
    assert served.client.get(URL).json() == {"playlists": []}


def test_the_file_for_players(served: Served) -> None:
    served.client.put(f"{URL}/Über", json={"tracks": [served.id("high.mp3")]})
    answer = served.client.get(f"{URL}/Über/m3u8")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("audio/x-mpegurl")
    assert "filename*=UTF-8''%C3%9Cber.m3u8" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[-1] == str(served.music / "high.mp3")
    served.client.delete(f"{URL}/Über")


@pytest.mark.parametrize("name", ["..", "%2e%2e", "a%2fb", "..%2f..%2fx", "a%5cb", "a%00b", ".x"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_odd_names_lead_nowhere(served: Served, name: str, method: str) -> None:
    body = {"tracks": [served.id("low.flac")]} if method == "PUT" else None
    answer = served.client.request(method, f"{URL}/{name}", json=body)
    assert answer.status_code in {404, 405, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert served.client.get(URL).json() == {"playlists": []}


@pytest.mark.parametrize(
    ("tracks", "status"),
    [([], 422), (["x"], 422), (["0" * 32], 404), (["0" * 32] * 5_001, 422)],
)
def test_tracks_must_be_there(served: Served, tracks: list[str], status: int) -> None:
    answer = served.client.put(f"{URL}/x", json={"tracks": tracks})
    assert answer.status_code == status
    assert served.client.get(f"{URL}/x").status_code == 404


class TestMake:
    def titles(self, served: Served, **wish: object) -> list[str]:
        answer = served.client.post(f"{URL}/make", json=wish)
        assert answer.status_code == 200, answer.text
        return [track["title"] for track in answer.json()["tracks"]]

    def test_a_theme_in_words(self, served: Served) -> None:
        titles = self.titles(served, query="900", k=2)
        assert [track.title for track in served.library.playlist("900", k=2)] == titles
        assert "Höher" in titles

    def test_a_theme_of_a_sound(self, served: Served) -> None:
        assert "Low" in self.titles(served, like=[served.id("low.flac")], k=2, per_artist=1)

    def test_a_path(self, served: Served) -> None:
        ends = {"from": served.id("low.flac"), "to": served.id("top.flac")}
        titles = self.titles(served, **ends, k=3)
        assert (titles[0], titles[-1]) == ("Low", "Top")
        assert self.titles(served, **ends, minutes=0.1)[-1] == "Top"

    @pytest.mark.parametrize(
        "wish",
        [
            {},
            {"query": "x", "k": 0},
            {"query": "x", "k": 201},
            {"query": "x", "k": 2, "minutes": 3},
            {"query": "x", "minutes": -1},
            {"query": "", "k": 2},
            {"from": "0" * 32, "k": 2},
            {"query": "x", "colour": "red"},
        ],
    )
    def test_wishes_that_cannot_be(self, served: Served, wish: dict[str, object]) -> None:
        answer = served.client.post(f"{URL}/make", json=wish)
        assert answer.status_code == 422
        assert answer.json()["detail"]

    def test_words_and_a_path_do_not_go_together(self, served: Served) -> None:
        key = served.id("low.flac")
        wish = {"query": "x", "from": key, "to": key}
        assert served.client.post(f"{URL}/make", json=wish).status_code == 422
