"""The map over HTTP: made apart, made anew, sent once, and what becomes of failures."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import made_library
from clap_musicgen.errors import LibraryError
from clap_musicgen.library import Library, projecting
from clap_musicgen.library.store import Store
from clap_musicgen.service import maps
from clap_musicgen.service.context import track_id
from clap_musicgen.service.maps import MapKeeper
from clap_musicgen.service.problems import ProblemError
from fake_embedder import FakeEmbedder
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clap_musicgen.library.mapping import Map
    from clap_musicgen.library.projecting import Method, Projection


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made_library.make_some(tmp_path / "library", 5)
    model = FakeEmbedder("made-1", dim=made_library.DIM)
    model.clip_seconds = 0.05  # texts are short sounds to it, and soon embedded
    with Library.open(tmp_path / "library", model) as library:
        yield library


class TestTheMap:
    def test_columns_in_the_order_of_the_library(self, served: Served) -> None:
        answer = served.client.get("/api/map")
        assert answer.status_code == 200
        found = answer.json()
        assert found["method"] == "pca"
        assert found["fresh"] is True
        assert found["version"] == served.library.version()
        tracks = served.library.tracks()
        assert found["ids"] == [track_id(track) for track in tracks]
        assert found["titles"][found["ids"].index(served.id("high.mp3"))] == "Höher"
        assert found["genres"][found["ids"].index(served.id("low.flac"))] == "drone"
        for name in ("artists", "genres", "moods", "x", "y"):
            assert len(found[name]) == len(tracks)
        assert max(map(abs, found["x"] + found["y"])) == 1

    def test_it_is_compressed_and_sent_once(self, served: Served) -> None:
        small = served.client.get("/api/map")
        assert small.headers["content-encoding"] == "gzip"
        plain = served.client.get("/api/map", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.json() == small.json()
        known = {"If-None-Match": small.headers["etag"]}
        again = served.client.get("/api/map", headers=known)
        assert (again.status_code, again.content) == (304, b"")

    def test_scores_are_those_of_a_search(self, served: Served) -> None:
        found = served.client.get("/api/map").json()
        answer = served.client.post("/api/map/scores", json={"query": "400"})
        assert answer.status_code == 200
        assert answer.json()["version"] == found["version"]
        scores = dict(zip(found["ids"], answer.json()["scores"], strict=True))
        for match in served.library.search("400", k=10, fold=False):
            assert scores[track_id(match.track)] == pytest.approx(match.score, abs=1e-4)
        assert max(scores, key=lambda key: scores[key]) == served.id("mid.flac")

    def test_scores_for_a_sound(self, served: Served) -> None:
        body = {"like": [served.id("top.flac")], "unlike": [served.id("low.flac")]}
        found = served.client.post("/api/map/scores", json=body).json()["scores"]
        ids = served.client.get("/api/map").json()["ids"]
        assert ids[int(np.argmax(found))] == served.id("top.flac")

    @pytest.mark.parametrize(
        ("body", "status"), [({}, 422), ({"like": ["0" * 32]}, 404), ({"quary": "x"}, 422)]
    )
    def test_questions_that_ask_for_nothing(
        self, served: Served, body: dict[str, object], status: int
    ) -> None:
        answer = served.client.post("/api/map/scores", json=body)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """Stands before a library and lets each computation wait until it is told to go on."""

    def __init__(self, library: Library, clock: Clock, *, error: Exception | None = None) -> None:
        self.library, self.clock, self.error = library, clock, error
        self.go, self.calls = threading.Event(), 0

    def map_so_far(self) -> Map | None:
        return self.library.map_so_far()

    def map(self, *, method: Method | None = None, by: Projection | None = None) -> Map:
        if method == "pca":
            return self.library.map(method=method, by=by)
        self.calls += 1
        assert self.go.wait(20)
        self.clock.now += 3
        if self.error is not None:
            raise self.error
        return self.library.map(by=by)


def wait(keeper: MapKeeper) -> None:
    thread = keeper._thread
    assert thread is not None
    thread.join()


class TestKeeping:
    def test_none_until_it_is_computed_and_one_computation_at_a_time(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maps, "AT_ONCE_SECONDS", 0.0)
        slow = Slow(library, Clock())
        keeper = MapKeeper(slow, clock=slow.clock)  # type: ignore[arg-type]
        assert keeper.get() is None
        assert keeper.get() is None
        assert slow.calls == 1
        slow.go.set()
        wait(keeper)
        found = keeper.get()
        assert found is not None
        assert keeper.get() is found
        assert keeper.packed(found) is keeper.packed(found)
        assert slow.calls == 1

    def test_a_changing_library_is_not_computed_all_the_time(
        self, library: Library, tmp_path: Path
    ) -> None:
        slow = Slow(library, Clock())
        slow.go.set()
        keeper = MapKeeper(slow, clock=slow.clock)  # type: ignore[arg-type]
        assert keeper.get() is not None
        wait(keeper)
        store = Store(tmp_path / "library", dim=made_library.DIM)
        store.commit([made_library.track_of("/music/new.wav", "new")])
        found = keeper.get()
        assert found is not None
        assert (found.fresh, len(found.tracks), slow.calls) == (False, 7, 1)
        slow.clock.now += maps.REST * 3
        keeper.get()
        wait(keeper)
        found = keeper.get()
        assert found is not None
        assert (found.fresh, slow.calls) == (True, 2)

    def test_after_a_failure_there_are_principal_components(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(projecting, "LEAST", 3)
        monkeypatch.setattr(projecting, "available", lambda: "pacmap")
        slow = Slow(library, Clock(), error=LibraryError("PaCMAP failed (signal 9)"))
        slow.go.set()
        keeper = MapKeeper(slow, clock=slow.clock)  # type: ignore[arg-type]
        keeper.get()
        wait(keeper)
        found = keeper.get()
        assert found is not None
        assert (found.method, found.fresh, slow.calls) == ("pca", False, 1)
        slow.clock.now += maps.PATIENCE_SECONDS
        keeper.get()
        wait(keeper)
        assert slow.calls == 2

    def test_if_even_those_fail_the_reason_is_told(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(**_: object) -> Map:
            raise LibraryError("the disk is on fire")

        monkeypatch.setattr(library, "map", fail)
        keeper = MapKeeper(library, clock=Clock())
        keeper._begin()
        wait(keeper)
        with pytest.raises(ProblemError, match="on fire") as caught:
            keeper.get()
        assert caught.value.status_code == 503
        assert dict(caught.value.headers or {})["Retry-After"] == "600"

    def test_closing_ends_the_computation(
        self, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maps, "AT_ONCE_SECONDS", 0.0)
        monkeypatch.setattr(projecting, "LEAST", 3)
        monkeypatch.setattr(projecting, "available", lambda: "pacmap")
        monkeypatch.setattr(projecting, "_PROGRAM", "import time; time.sleep(600)")
        keeper = MapKeeper(library)
        assert keeper.get() is None
        keeper.close()
        wait(keeper)
        assert keeper.get() is None


def test_waiting_answers_202(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MapKeeper, "get", lambda _: None)
    answer = served.client.get("/api/map")
    assert answer.status_code == 202
    assert answer.json() == {"state": "computing"}
    assert int(answer.headers["retry-after"]) >= 1
