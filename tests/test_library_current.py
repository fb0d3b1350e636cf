"""What answers is read anew when someone has written, but not too often."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.embedding import unit
from clap_musicgen.library import current
from clap_musicgen.library.calibration import NONE
from clap_musicgen.library.current import Current
from clap_musicgen.library.tagging import directions_of, labels_of
from fake_embedder import FakeEmbedder
from made_library import DIM, make_some, track_of

if TYPE_CHECKING:
    from pathlib import Path

    from clap_musicgen.embedding import Embeddings
    from clap_musicgen.library.store import Store


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Counting(FakeEmbedder):
    """Counts the texts."""

    texts: list[int] = field(default_factory=list)
    dim: int = DIM

    def embed_text(self, texts: object) -> Embeddings:
        assert isinstance(texts, (list, tuple))
        self.texts.append(len(texts))
        return unit(np.random.default_rng(len(texts)).normal(size=(len(texts), DIM)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_some(tmp_path / "library")


def test_a_large_library_is_read_again_after_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current, "TRACKS_PER_SECOND", 1)  # so that seven tracks are many
    clock = Clock()
    held = Current(store, Counting(), library="made", clock=clock)
    first = held.asking()
    clock.now = 10.0
    assert held.asking() is first  # nobody has written, and it is known to be the present state
    store.commit([track_of("/music/new.wav", "new")])
    clock.now = 11.9
    assert held.asking() is first
    clock.now = 12.0  # after MOST_SECONDS
    second = held.asking()
    assert len(second.state.tracks) == len(first.state.tracks) + 1

    store.commit([track_of("/music/newer.wav", "newer")])
    assert held.asking() is second
    with held.changing():
        pass
    assert len(held.asking().state.tracks) == len(second.state.tracks) + 1


def test_what_failed_may_have_written_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current, "TRACKS_PER_SECOND", 1)
    held = Current(store, Counting(), library="made", clock=Clock())
    count = len(held.asking().state.tracks)

    def write_and_fail() -> None:
        with held.changing():
            store.commit([track_of("/music/new.wav", "new")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()
    assert len(held.asking().state.tracks) == count + 1


def test_a_small_library_is_read_again_at_once(store: Store) -> None:
    clock = Clock()
    held = Current(store, Counting(), library="made", clock=clock)
    count = len(held.asking().state.tracks)
    store.commit([track_of("/music/new.wav", "new")])
    clock.now = 0.01
    assert len(held.asking().state.tracks) == count + 1


def test_labels_are_embedded_once(store: Store) -> None:
    model = Counting()
    held = Current(store, model, library="made")
    labels = labels_of({"genre": ["jazz", "rock"], "mood": ["calm"]})
    found = held.directions_of(labels, NONE)
    np.testing.assert_array_equal(found, directions_of(Counting(), labels, NONE))
    np.testing.assert_array_equal(held.directions_of(labels, NONE), found)
    assert len(model.texts) == 1
    held.directions_of(labels_of(["jazz"]), NONE)
    assert len(model.texts) == 2
