"""The shell's map: a picture, a table, JSON, and what is told before a model is loaded."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import typer

from clap_musicgen.cli import mapping as command
from clap_musicgen.errors import InputError
from clap_musicgen.library import Library, Track, projecting
from clap_musicgen.library.map_files import COLOURS, REST, csv_bytes, svg_bytes
from clap_musicgen.library.mapping import Map
from fake_embedder import FakeEmbedder
from made_library import DIM, make_some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SVG = "{http://www.w3.org/2000/svg}"


def map_of(titles: list[str], genres: list[str]) -> Map:
    tracks = [
        Track(f"/m/{n}.mp3", title, "=Nina", "", "", None, 1.0, "00", "")
        for n, title in enumerate(titles)
    ]
    places = np.linspace(-1, 1, len(tracks), dtype=np.float32)
    return Map("pca", 3, True, tracks, places, -places, tuple(genres), ("",) * len(tracks))


class TestFiles:
    def test_a_picture_has_a_dot_for_each_track_and_a_legend(self) -> None:
        titles = ["a < b & c", "bell \x07", "'\"", "日本", "last"]
        found = map_of(titles, ["jazz", "rock", "jazz", "", "<b>"])
        root = ET.fromstring(svg_bytes(found, colours=found.genres))
        dots = list(root.find(f"{SVG}g") or [])
        assert [dot.findtext(f"{SVG}title") for dot in dots] == [
            "a < b & c · =Nina · jazz",
            "bell ? · =Nina · rock",
            "'\" · =Nina · jazz",
            "日本 · =Nina",
            "last · =Nina · <b>",
        ]
        assert [dot.get("fill") for dot in dots] == [
            COLOURS[0],
            COLOURS[2],
            COLOURS[0],
            REST,
            COLOURS[1],
        ]
        assert [dot.get("cx") for dot in dots] == ["30.0", "240.0", "450.0", "660.0", "870.0"]
        assert dots[0].get("cy") == "30.0"  # y points upward
        assert [text.text for text in root.findall(f"{SVG}text")] == [
            "jazz (2)",
            "<b> (1)",
            "rock (1)",
            "other or unknown (1)",
        ]

    def test_the_rest_of_many_genres_has_one_colour(self) -> None:
        genres = [f"genre {n:02}" for n in range(20)]
        found = map_of(genres, genres)
        text = svg_bytes(found, colours=genres).decode()
        assert text.count(REST) == 12 + 1
        assert "other or unknown (12)" in text

    def test_no_tracks(self) -> None:
        found = map_of([], [])
        assert ET.fromstring(svg_bytes(found, colours=[])).find(f"{SVG}text") is None
        assert len(csv_bytes(found).splitlines()) == 1

    def test_a_table(self) -> None:
        content = csv_bytes(map_of(["one", "two"], ["jazz", ""]))
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        assert [row["title"] for row in rows] == ["one", "two"]
        assert rows[0]["artist"] == "'=Nina"
        assert (rows[0]["x"], rows[0]["y"]) == ("-1.0000", "1.0000")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call the command on a library of six tracks and a copy, with a model of the tests."""
    from contextlib import contextmanager

    make_some(tmp_path / "library")

    @contextmanager
    def opened(folder: Path | str, **_: object) -> Iterator[Library]:
        model = FakeEmbedder("made-1", dim=DIM)
        model.clip_seconds = 0.05  # texts are short sounds to it, and soon embedded
        with Library.open(folder, model) as library:
            yield library

    monkeypatch.setattr(command, "open_library", opened)
    app = typer.Typer()
    app.command("map")(command.map_)

    def call(*arguments: str) -> None:
        app(["--library", str(tmp_path / "library"), *arguments], standalone_mode=False)

    return call


class TestCommand:
    def test_a_picture_and_then_the_same_from_what_is_kept(
        self, run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("--out", str(tmp_path / "map.svg"))
        assert f"7 tracks, pca: {tmp_path / 'map.svg'}" in capsys.readouterr().out
        first = (tmp_path / "map.svg").read_bytes()
        with pytest.raises(InputError, match="already"):
            run("--out", str(tmp_path / "map.svg"), "--by", "mood")
        run("--out", str(tmp_path / "map.svg"), "--force")
        assert (tmp_path / "map.svg").read_bytes() == first

    def test_a_table_and_json(
        self, run: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("--out", str(tmp_path / "map.CSV"), "--json")
        found = json.loads(capsys.readouterr().out)
        assert found["method"] == "pca"
        assert len(found["tracks"]) == 7
        assert len((tmp_path / "map.CSV").read_text(encoding="utf-8-sig").splitlines()) == 8
        run()
        assert "--out map.svg" in capsys.readouterr().err

    def test_what_cannot_be_drawn(
        self, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(InputError, match=r"\.svg or \.csv"):
            run("--out", "map.gif")
        monkeypatch.setattr(projecting, "available", lambda: "pca")
        with pytest.raises(InputError, match=r"clap-musicgen\[map\]"):
            run("--method", "pacmap")
