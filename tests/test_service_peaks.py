"""Waveforms over HTTP: what they show, that they are found once, and what cannot be decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_factory import write_audio
from clap_musicgen.service import peaks as module
from clap_musicgen.service.peaks import outline
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 8_000


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 9))
def test_an_outline_is_the_loudest_of_each_part(count: int, bins: int, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(size=count).astype(np.float32)
    found = outline(values, bins)
    assert found.shape == (bins,)
    assert found.max() == values.max()
    if count % bins == 0:
        assert (found == values.reshape(bins, -1).max(axis=1)).all()
    if bins % count == 0:
        assert (found == np.repeat(values, bins // count)).all()


def test_an_outline_of_nothing_is_flat() -> None:
    assert (outline(np.zeros(0, dtype=np.float32), 3) == 0).all()


def write_music(folder: Path) -> Path:
    """A track that is silent for a second, quiet for one, and loud for one; and one of silence."""
    folder.mkdir()
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE).astype(np.float32)
    steps = np.repeat([0.0, 0.1, 0.4], RATE).astype(np.float32)
    write_audio(folder / "steps.flac", tone * steps, sample_rate=RATE)
    write_audio(folder / "silence.flac", 0 * tone, sample_rate=RATE)
    write_audio(folder / "broken.flac", tone, sample_rate=RATE)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("peaks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        with serving(folder, music=write_music(folder / "music")) as served:
            yield served


def url(served: Served, name: str) -> str:
    return f"/api/tracks/{served.id(name)}/peaks"


def test_they_show_how_loud_each_part_is(served: Served) -> None:
    answer = served.client.get(url(served, "steps.flac"), params={"bins": 30})
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["bins"] == 30
    assert shown["duration"] == 3.0
    parts = np.array(shown["peaks"])
    assert parts[:9].max() < 0.02
    assert np.abs(parts[11:19] - 0.25).max() < 0.02
    assert np.abs(parts[21:] - 1).max() < 0.02


def test_silence_is_flat(served: Served) -> None:
    shown = served.client.get(url(served, "silence.flac")).json()
    assert shown["peaks"] == [0.0] * 400


def test_they_are_found_once_for_a_content(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    first = served.client.get(url(served, "steps.flac"), params={"bins": 7}).json()
    monkeypatch.setattr(module, "_loudness", None)  # nothing decodes any more
    assert served.client.get(url(served, "steps.flac"), params={"bins": 7}).json() == first


def test_a_kept_file_that_is_damaged_is_made_anew(served: Served, tmp_path: Path) -> None:
    first = served.client.get(url(served, "steps.flac")).json()
    place = module._place(served.library.track(served.id("steps.flac")))
    place.write_bytes(b"half")
    assert served.client.get(url(served, "steps.flac")).json() == first
    assert len(place.read_bytes()) == module.MOST_BINS


def test_what_cannot_be_decoded_any_more(served: Served) -> None:
    (served.music / "broken.flac").write_bytes(b"no music")
    answer = served.client.get(url(served, "broken.flac"))
    assert answer.status_code == 422
    assert "cannot be decoded" in answer.json()["detail"]
    (served.music / "broken.flac").unlink()
    answer = served.client.get(url(served, "broken.flac"))
    assert answer.status_code == 404
    assert "was it moved" in answer.json()["detail"]


@pytest.mark.parametrize("bins", ["0", "2001", "many"])
def test_bins_are_bounded(served: Served, bins: str) -> None:
    assert served.client.get(url(served, "steps.flac"), params={"bins": bins}).status_code == 422


def test_no_such_track(served: Served) -> None:
    assert served.client.get(f"/api/tracks/{'0' * 32}/peaks").status_code == 404
