"""The page's files: under their own names and no others, each answer with its own nonce."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pytest

from bare_service import bare, client_of
from clap_musicgen.service import page as pages
from clap_musicgen.service.page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

HTML = b'<!doctype html><link nonce="__CSP_NONCE__"><p>Hello'
SCRIPT = b"console.log(1);" * 100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "assets").mkdir()
    for name, content in {
        "index.html": HTML,
        "map.html": HTML,
        "assets/main-1a2b.js": SCRIPT,
        "assets/icon.svg": b"<svg/>",
        "assets/font.woff2": b"\0" * 2_000,
    }.items():
        (folder / name).write_bytes(content)
    (folder.parent / "secret.txt").write_text("secret")
    (folder / "assets" / "link.txt").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def client(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "BUNDLE", bundle)
        return client_of(bare(tmp_path_factory.mktemp("library")))


def test_the_page_is_at_the_root(client: TestClient) -> None:
    for path in ("/", "/index.html"):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert "Hello" in response.text


def test_each_answer_has_its_own_nonce(client: TestClient) -> None:
    nonces = set()
    for _ in range(3):
        response = client.get("/")
        nonce = re.search(r'nonce="([\w-]{20,})"', response.text)
        assert nonce is not None
        assert f"style-src 'self' 'nonce-{nonce[1]}'" in response.headers["content-security-policy"]
        nonces.add(nonce[1])
    assert len(nonces) == 3


def test_only_the_map_may_compile_code(client: TestClient) -> None:
    policies = {
        path: client.get(path).headers["content-security-policy"]
        for path in ("/", "/map.html", "/assets/main-1a2b.js", "/api/health")
    }
    assert [path for path, text in policies.items() if "unsafe" in text] == ["/map.html"]
    assert "unsafe-inline" not in policies["/map.html"]


def test_files_have_their_types_and_stay_in_the_cache(client: TestClient) -> None:
    for name, kind in {
        "main-1a2b.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml; charset=utf-8",
        "font.woff2": "font/woff2",
    }.items():
        response = client.get(f"/assets/{name}")
        assert response.headers["content-type"] == kind
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        again = client.get(f"/assets/{name}", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_texts_are_packed_for_those_who_can(client: TestClient) -> None:
    path = "/assets/main-1a2b.js"
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert (plain.content, "content-encoding" in plain.headers) == (SCRIPT, False)
    packed = client.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert packed.content == SCRIPT  # unpacked by the client
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(gzip.compress(SCRIPT, mtime=0))
    assert packed.headers["vary"] == "Accept-Encoding"


def test_head_has_no_body(client: TestClient) -> None:
    response = client.head("/")
    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/assets/link.txt",
        "/assets/",
        "/assets",
        "/assets/../../secret.txt",
        "/..%2fsecret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/assets/%00",
        "/assets\\..\\..\\secret.txt",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "secret" not in response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_without_a_bundle_the_page_tells_how_to_make_it(tmp_path: Path) -> None:
    page = Page(tmp_path / "absent")
    assert list(page) == ["/"]
    assert b"npm run build" in page.answer("/", {}).body
