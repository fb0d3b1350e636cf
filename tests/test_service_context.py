"""What routes share: ids, uploaded sounds, and what is computed once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.errors import LibraryQueryError, TrackNotFoundError
from clap_musicgen.library.query import Heard
from clap_musicgen.service import uploaded
from clap_musicgen.service.context import track_out
from clap_musicgen.service.schemas import Question
from clap_musicgen.service.uploaded import SoundNotFoundError, Sounds
from library_music import write_tone
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clap_musicgen.library import Library

HEARD = Heard(np.ones(12, dtype=np.float32) / np.sqrt(np.float32(12)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class TestUploaded:
    def test_a_sound_is_kept_for_an_hour(self) -> None:
        clock = Clock()
        sounds = Sounds(clock=clock)
        kept = sounds.add(HEARD, title="tone", duration=2.5, problem="")
        clock.now += 3600
        assert sounds.get(kept.id) is kept
        clock.now += 1
        with pytest.raises(SoundNotFoundError, match="upload it again"):
            sounds.get(kept.id)
        assert len(sounds) == 0

    def test_the_least_recently_used_one_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploaded, "KEPT", 3)
        sounds = Sounds()
        ids = [sounds.add(HEARD, title=name, duration=1, problem="").id for name in "abc"]
        sounds.get(ids[0])
        ids.append(sounds.add(HEARD, title="d", duration=1, problem="").id)
        assert len(sounds) == 3
        with pytest.raises(SoundNotFoundError, match=ids[1]):
            sounds.get(ids[1])
        assert [sounds.get(ids[place]).title for place in (0, 2, 3)] == ["a", "c", "d"]

    def test_ids_cannot_be_guessed(self) -> None:
        sounds = Sounds()
        ids = {sounds.add(HEARD, title="", duration=1, problem="").id for _ in range(50)}
        assert len(ids) == 50
        assert all(len(key) == 24 for key in ids)  # 16 random bytes


class TestService:
    def test_a_track_is_known_by_its_id_alone(self, served: Served) -> None:
        for track in served.library.tracks():
            described = track_out(track)
            assert served.service.track(described.id) == track
            assert served.service.sound(described.id) == track.path
        with pytest.raises(TrackNotFoundError, match="no track with the id"):
            served.service.track("0" * 32)

    def test_a_name_that_is_not_utf8_can_be_sent(self, served: Served) -> None:
        described = [track_out(track) for track in served.library.tracks()]
        for one in described:
            one.model_dump_json().encode()
        odd = next(one for one in described if one.title.startswith("odd name"))
        assert odd.path.endswith((r"odd name \xff.wav", "odd name.wav"))
        assert (odd.artist, odd.year) == ("", None)

    def test_a_question_becomes_arguments(self, served: Served) -> None:
        kept = served.service.sounds.add(HEARD, title="tone", duration=1, problem="")
        question = Question(
            query="low",
            like=[kept.id, served.id("low.flac")],
            artist=["ada"],
            year_from=1999,
            duration_to=10,
            where="genre = 'drone'",
        )
        asks = served.service.asks(question)
        assert asks["like"] == [HEARD, str(served.music / "low.flac")]
        among = served.service.among(question)
        filters = among["filters"]
        assert (filters.year, filters.duration) == ((1999, None), (None, 10))
        found = served.library.search(**asks, **among)
        assert {match.track.title for match in found} == {"Low", "Mid"}
        with pytest.raises(SoundNotFoundError):
            served.service.asks(Question(unlike=["s-" + "a" * 22]))
        with pytest.raises(LibraryQueryError, match="repeat"):
            served.service.among(Question(where="repeat(title, 9) = ''"))

    def test_once_for_each_state_of_the_library(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            calls: list[str] = []
            barrier = threading.Barrier(4)

            def count(library: Library) -> int:
                calls.append("called")
                return len(library)

            def ask() -> int:
                barrier.wait()
                return served.service.once("count", count)

            with ThreadPoolExecutor(4) as threads:
                found = [threads.submit(ask) for _ in range(4)]
            assert [one.result() for one in found] == [5] * 4
            assert len(calls) == 1
            assert served.service.once("other", lambda _: "other") == "other"
            served.library.add(write_tone(tmp_path / "new.wav", 3000))
            assert served.service.once("count", len) == 6
