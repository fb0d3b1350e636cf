"""A service over a small library of real files, and a client to ask it.

The library is of tones, embedded by a FakeEmbedder: the words "400" ask for a tone of 400 Hz.

::

    @pytest.fixture(scope="module")
    def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        with serving(tmp_path_factory.mktemp("served")) as served:
            yield served

    def test_it(served: Served) -> None:
        assert served.client.get("/api/search", params={"query": "400"}).status_code == 200
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from starlette.testclient import TestClient

from audio_factory import write_audio
from clap_musicgen.library import Library
from clap_musicgen.library.paths import path_key
from clap_musicgen.service.app import create_app
from clap_musicgen.service.settings import Settings
from fake_embedder import FakeEmbedder
from library_music import RATE, write_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from numpy.typing import NDArray

    from clap_musicgen.service.context import Service

BASE_URL = "http://127.0.0.1:8321"
"""What a browser on this machine would ask; other hosts are refused."""
SECONDS = 2.5
TONES = {
    "low.flac": (200, {"title": "Low", "artist": "Ada", "album": "One", "genre": "drone"}),
    "mid.flac": (400, {"title": "Mid", "artist": "Ada", "album": "One", "genre": "drone"}),
    "high.mp3": (900, {"title": "Höher", "artist": "Béla", "album": "Two", "genre": "beep"}),
    "top.flac": (1800, {"title": "Top", "artist": "Béla", "album": "Two", "genre": "beep"}),
}
"""File → hertz and tags; all of the year 1999, but high.mp3 of 2005 and with a picture."""


def tone(hertz: float, *, seconds: float = SECONDS, rate: int = RATE) -> NDArray[np.float32]:
    """Render a sine, (T,) within ±0.3."""
    time = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def write_music(folder: Path) -> Path:
    """Write the tones of TONES, and "odd name.wav": a sweep without tags, in a folder of its own.

    The file's name ends in a byte that is not UTF-8, where the file system lets it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (hertz, tags) in TONES.items():
        dated = tags | {"date": "2005" if name == "high.mp3" else "1999"}
        path, rate = folder / name, 44_100 if name.endswith(".mp3") else RATE
        sound = tone(hertz, rate=rate)
        write_audio(path, sound, sample_rate=rate, tags=dated, cover=name == "high.mp3")
    odd = folder / "other" / "odd name \udcff.wav"
    odd.parent.mkdir(exist_ok=True)
    try:
        write_sweep(odd, seconds=SECONDS)
    except OSError:
        write_sweep(odd.with_name("odd name.wav"), seconds=SECONDS)
    return folder


@dataclass(frozen=True)
class Served:
    """A service that runs.

    Attributes:
        client: asks it, as a browser on this machine.
        app: the application.
        library: what it serves.
        model: the library's.
        music: the folder of the files.
    """

    client: TestClient
    app: FastAPI
    library: Library
    model: FakeEmbedder
    music: Path

    @property
    def service(self) -> Service:
        """What the routes share."""
        service: Service = self.app.state.service
        return service

    def id(self, name: str) -> str:
        """Id of the track of a file of `music`, such as "low.flac"."""
        return path_key(str(self.music / name))


@contextmanager
def serving(
    folder: Path, settings: Settings | None = None, *, music: Path | None = None
) -> Iterator[Served]:
    """Write music to `folder`, index it into a library there, and serve that.

    Args:
        folder: an empty one.
        settings: of the service.
        music: files to index instead of `write_music`.
    """
    model = FakeEmbedder()
    files = write_music(folder / "music") if music is None else music
    with Library.open(folder / "library", model, made_with="--model fake") as library:
        assert not library.add(files).failed
        app = create_app(library, model, settings or Settings())
        with TestClient(app, base_url=BASE_URL, raise_server_exceptions=False) as client:
            yield Served(client, app, library, model, files)
