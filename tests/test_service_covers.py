"""Covers over HTTP: from the file, from beside it, and what is no picture."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.audio import pictures
from clap_musicgen.audio.pictures import embedded_picture, picture_beside, read_picture
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def png(grey: int = 0) -> bytes:
    """A picture of one point."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes([0, grey])))
    return b"\x89PNG\r\n\x1a\n" + image + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("covers")) as served:
        yield served


def url(served: Served, name: str) -> str:
    return f"/api/tracks/{served.id(name)}/cover"


def test_the_picture_in_the_file(served: Served) -> None:
    (served.music / "cover.png").write_bytes(png())  # not this one
    answer = served.client.get(url(served, "high.mp3"))
    (served.music / "cover.png").unlink()
    assert answer.status_code == 200
    assert answer.headers["content-type"] in {"image/png", "image/jpeg"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = embedded_picture(served.music / "high.mp3")
    assert found is not None
    assert answer.content == found.content


def test_the_picture_beside_the_file(served: Served) -> None:
    picture = served.music / "Folder.PNG"
    picture.write_bytes(png())
    answer = served.client.get(url(served, "low.flac"))
    assert (answer.status_code, answer.content) == (200, png())
    assert answer.headers["content-type"] == "image/png"
    tag = {"If-None-Match": answer.headers["etag"]}
    assert served.client.get(url(served, "low.flac"), headers=tag).status_code == 304
    (served.music / "COVER.png").write_bytes(png(255))  # comes first
    assert served.client.get(url(served, "low.flac"), headers=tag).content == png(255)
    picture.unlink()
    (served.music / "COVER.png").unlink()


@pytest.mark.parametrize(
    "content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"", b"\xff\xd8"]
)
def test_what_is_no_picture_is_not_sent(served: Served, content: bytes) -> None:
    (served.music / "cover.jpg").write_bytes(content)
    answer = served.client.get(url(served, "low.flac"))
    (served.music / "cover.jpg").unlink()
    assert answer.status_code == 404
    assert "no cover" in answer.json()["detail"]


def test_a_link_is_not_followed(served: Served, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.png").write_bytes(png())
    link = served.music / "cover.png"
    link.symlink_to(tmp_path / "elsewhere.png")
    assert picture_beside(served.music / "low.flac") is None
    assert read_picture(link) is None
    assert served.client.get(url(served, "low.flac")).status_code == 404
    link.unlink()


def test_too_large_a_picture_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 200)
    (tmp_path / "cover.png").write_bytes(png())
    assert read_picture(tmp_path / "cover.png") is not None
    (tmp_path / "cover.png").write_bytes(png() + bytes(200))
    assert read_picture(tmp_path / "cover.png") is None
    assert read_picture(tmp_path) is None
    assert read_picture(tmp_path / "absent.png") is None


def test_parsers_get_a_bounded_part_of_a_file(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded_picture(served.music / "high.mp3") is not None
    monkeypatch.setattr(pictures, "_READ_AT_MOST", 100)
    assert embedded_picture(served.music / "high.mp3") is None


def test_tags_that_cannot_be_read_hold_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"ID3\x04\0\0\x7f\x7f\x7f\x7fAPIC" + bytes(50))
    assert embedded_picture(tmp_path / "a.mp3") is None


def test_no_such_track(served: Served) -> None:
    assert served.client.get(f"/api/tracks/{'0' * 32}/cover").status_code == 404
