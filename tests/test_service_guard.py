"""Who may ask: names, origins, tokens, sessions; and the headers on every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bare_service import HOST, TOKEN, bare, client_of, with_route
from clap_musicgen.errors import InputError
from clap_musicgen.service.guard import HEADERS, policy
from clap_musicgen.service.sessions import COOKIE, KEPT, KEPT_SECONDS, Sessions
from clap_musicgen.service.settings import Settings, is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def free(library: Path) -> FastAPI:
    return bare(library)


@pytest.fixture(scope="module")
def locked(library: Path) -> FastAPI:
    return bare(library, Settings(token=TOKEN))


# Names


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "app.localhost", "127.0.0.1", "[::1]:8321", "192.168.0.7:8321"],
)
def test_addresses_and_loopback_names_are_answered(free: FastAPI, host: str) -> None:
    assert client_of(free).get("/api/info", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil-localhost", 421),
        ("0x7f.1", 421),
        ("", 400),
        ("a b", 400),
        ("localhost:8321@evil.example", 400),
        ("localhost:port", 400),
    ],
)
def test_other_names_are_refused_everywhere(free: FastAPI, host: str, status: int) -> None:
    for path in ("/", "/api/health", "/api/info", "/metrics", "/rest/ping"):
        response = client_of(free).get(path, headers={"Host": host})
        assert response.status_code == status
        assert HEADERS["Content-Security-Policy"] in response.headers["content-security-policy"]


def test_two_hosts_are_refused(free: FastAPI) -> None:
    headers = [("Host", HOST), ("Host", "localhost")]
    assert client_of(free).get("/api/info", headers=headers).status_code == 400


def test_a_public_name_is_answered(library: Path) -> None:
    app = bare(library, Settings(public_hosts=("Music.example.org",)))
    assert client_of(app, host="music.example.org").get("/api/info").status_code == 200
    assert client_of(app, host="other.example.org").get("/api/info").status_code == 421


# Origins


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 422),  # a program; the question is empty
        ({"Origin": f"http://{HOST}"}, 422),
        ({"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}, 422),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
def test_pages_of_other_origins_cannot_post(
    free: FastAPI, headers: dict[str, str], status: int
) -> None:
    assert client_of(free).post("/api/search", json={}, headers=headers).status_code == status


def test_pages_of_other_origins_cannot_make_us_work(free: FastAPI) -> None:
    client = client_of(free)
    crossing = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/api/info", headers=crossing).status_code == 403
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/api/info", headers=followed).status_code == 200
    assert client.get("/", headers=crossing).status_code == 200


def test_no_other_origin_is_ever_allowed_to_read(free: FastAPI) -> None:
    client = client_of(free)
    asking = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for response in (
        client.options("/api/search", headers=asking),
        client.get("/api/health", headers={"Origin": "http://evil.example"}),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_behind_a_proxy_its_name_is_our_origin(library: Path) -> None:
    app = bare(library, Settings(public_hosts=("music.example.org",)))
    headers = {"Origin": "https://music.example.org"}
    assert client_of(app).post("/api/search", json={}, headers=headers).status_code == 422


# Tokens


@pytest.mark.parametrize(
    "path",
    [
        "/api/info",
        "/api/search",
        "/api/docs",
        "/api/openapi.json",
        "/api/session/",
        "/api/health/../info",
        "//api/info",
        "/API/INFO",
        "/metrics",
        "/nothing",
    ],
)
def test_without_the_token_nothing_is_told(locked: FastAPI, path: str) -> None:
    for value in _WRONG:
        response = client_of(locked).get(path, headers=[(b"Authorization", value)])
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


_WRONG = (b"", b"Bearer", b"Bearer x", b"Bearer \xff", TOKEN.encode(), f"Basic {TOKEN}".encode())


def test_the_token_opens(locked: FastAPI) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert client_of(locked).get("/api/info", headers=headers).status_code == 200


def test_the_page_and_the_sign_of_life_need_no_token(locked: FastAPI) -> None:
    client = client_of(locked)
    assert client.get("/api/health").json() == {"status": "ok"}
    assert client.get("/").status_code == 200
    assert client.get("/api/session").json() == {"needed": True, "open": False}


def test_what_a_route_has_of_its_own_is_locked_too(library: Path) -> None:
    app = with_route(bare(library, Settings(token=TOKEN)), "/new/route", lambda: "secret")
    assert client_of(app).get("/new/route").status_code == 401


def test_a_session_stands_for_the_token(locked: FastAPI) -> None:
    client = client_of(locked)
    answer = client.post("/api/session", json={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 204
    assert TOKEN not in cookie
    for flag in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert flag in cookie
    assert "Secure" not in cookie  # it would not be sent over http
    assert client.get("/api/session").json() == {"needed": True, "open": True}
    assert client.get("/api/info").status_code == 200
    value = client.cookies[COOKIE]
    assert client.delete("/api/session").status_code == 204
    assert client.get("/api/info").status_code == 401
    assert client.get("/api/info", headers={"Cookie": f"{COOKIE}={value}"}).status_code == 401


def test_a_wrong_token_opens_no_session(locked: FastAPI) -> None:
    client = client_of(locked)
    for token in ("x", "ü", TOKEN[:-1], TOKEN.upper()):
        answer = client.post("/api/session", json={"token": token})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert token not in answer.json()["detail"] or token == "x"
    assert client.get("/api/info", headers={"Cookie": f"{COOKIE}=made-up"}).status_code == 401


def test_over_https_the_cookie_stays_there(locked: FastAPI) -> None:
    from starlette.testclient import TestClient

    client = TestClient(locked, base_url=f"https://{HOST}")
    cookie = client.post("/api/session", json={"token": TOKEN}).headers["set-cookie"]
    assert "Secure" in cookie


def test_where_no_token_is_needed_everything_is_open(free: FastAPI) -> None:
    client = client_of(free)
    assert client.get("/api/session").json() == {"needed": False, "open": True}
    answer = client.post("/api/session", json={"token": "whatever"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)


def test_sessions_end() -> None:
    now = 0.0
    sessions = Sessions(TOKEN, clock=lambda: now)
    first = sessions.open()
    now = KEPT_SECONDS - 1
    assert sessions.is_open(first)
    now = KEPT_SECONDS
    assert not sessions.is_open(first)
    many = [sessions.open() for _ in range(KEPT + 1)]
    assert len(set(many)) == KEPT + 1
    assert [sessions.is_open(value) for value in many] == [False] + [True] * KEPT


# Headers


def test_every_answer_carries_the_headers(locked: FastAPI) -> None:
    client = client_of(locked)
    for path in ("/", "/api/health", "/api/info", "/nothing", "/metrics"):
        response = client.get(path)
        for name, value in HEADERS.items():
            assert name in response.headers, (path, name)
            if name != "Cache-Control" and path != "/":
                assert response.headers[name] == value


def test_scripts_come_from_the_page_alone() -> None:
    for text in (policy(), policy(nonce="abc")):
        rules = dict(rule.split(" ", 1) for rule in text.split("; "))
        assert rules["script-src"] == "'self'"
        assert "unsafe" not in text
    assert "'nonce-abc'" in policy(nonce="abc")
    assert policy(evaluates=True).count("unsafe") == 1


# Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "music.example.org", ""])
def test_other_addresses_need_a_token_or_a_word(host: str) -> None:
    with pytest.raises(InputError, match="--no-token"):
        Settings(host=host)
    assert Settings(host=host, token=TOKEN).token == TOKEN
    assert Settings(host=host, open_to_all=True).token is None


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "with a space in it", "ümläut" * 4])
def test_a_bad_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(token=token)
    assert not token or token not in str(caught.value)


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(Settings(token=TOKEN))


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65_536},
        {"running": 0},
        {"waiting": -1},
        {"wait_seconds": 0.0},
        {"request_seconds": float("nan")},
        {"media_running": 0},
        {"max_upload_bytes": 0},
    ],
)
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"must|is between"):
        Settings(**wrong)  # type: ignore[arg-type]
