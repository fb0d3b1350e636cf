"""OpenSubsonic's sonicSimilarity: shapes, keys, forms, and which track another server means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.library.records import Track
from clap_musicgen.service.settings import Settings
from clap_musicgen.service.subsonic import check_key
from clap_musicgen.service.subsonic_answers import SubsonicError, child, succeeded
from clap_musicgen.service.subsonic_tracks import Catalogue, Wanted
from service_client import Served, serving

TOKEN = "correct-horse-battery"
SPACE = "{http://subsonic.org/restapi}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("rest"), Settings(token=TOKEN)) as served:
        yield served


def ask(served: Served, name: str, **params: Any) -> dict[str, Any]:
    """Ask with the key, and check the wrapper."""
    given = {"apiKey": TOKEN, "v": "1.16.1", "c": "test", "f": "json", **params}
    answer = served.client.get(f"/rest/{name}", params=given)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told: dict[str, Any] = answer.json()["subsonic-response"]
    assert told["version"] == "1.16.1"
    assert told["type"] == "clap-musicgen"
    assert told["serverVersion"]
    assert told["openSubsonic"] is True
    assert told["status"] == ("failed" if "error" in told else "ok")
    return told


class TestEndpoints:
    @pytest.mark.parametrize("name", ["ping", "ping.view"])
    def test_ping(self, served: Served, name: str) -> None:
        assert ask(served, name)["status"] == "ok"

    def test_similar_tracks_come_best_first(self, served: Served) -> None:
        key = served.id("low.flac")
        found = ask(served, "getSonicSimilarTracks.view", id=key, count=3)["sonicMatch"]
        assert len(found) == 3
        alike = [one["similarity"] for one in found]
        assert alike == sorted(alike, reverse=True)
        assert all(0 <= similarity <= 1 for similarity in alike)
        assert key not in [one["entry"]["id"] for one in found]
        expected = served.library.similar(served.music / "low.flac", k=3)
        assert [one["entry"]["title"] for one in found] == [one.track.title for one in expected]

    def test_a_child_has_what_clients_need(self, served: Served) -> None:
        found = ask(served, "getSonicSimilarTracks", id=served.id("low.flac"), count=200)
        entry = next(
            one["entry"] for one in found["sonicMatch"] if one["entry"]["title"] == "Höher"
        )
        assert entry == {
            "id": served.id("high.mp3"),
            "isDir": False,
            "title": "Höher",
            "album": "Two",
            "artist": "Béla",
            "year": 2005,
            "genre": "beep",
            "contentType": "audio/mpeg",
            "suffix": "mp3",
            "duration": entry["duration"],
            "path": str(served.music / "high.mp3"),
            "isVideo": False,
            "type": "music",
            "mediaType": "song",
        }
        assert entry["duration"] in {2, 3}

    def test_a_path_leads_from_one_to_the_other(self, served: Served) -> None:
        first, last = served.id("low.flac"), served.id("top.flac")
        found = ask(served, "findSonicPath", startSongId=first, endSongId=last, count=4)
        keys = [one["entry"]["id"] for one in found["sonicMatch"]]
        assert keys[0] == first
        assert keys[-1] == last
        assert len(set(keys)) == len(keys) <= 4
        alike = [one["similarity"] for one in found["sonicMatch"]]
        assert alike[0] == 1.0
        assert max(alike[1:]) <= 1.0
        assert alike[-1] == min(alike)

    def test_extensions_need_no_key(self, served: Served) -> None:
        answer = served.client.get("/rest/getOpenSubsonicExtensions", params={"f": "json"})
        told = answer.json()["subsonic-response"]["openSubsonicExtensions"]
        assert {"name": "sonicSimilarity", "versions": [1]} in told

    def test_token_info(self, served: Served) -> None:
        assert ask(served, "tokenInfo")["tokenInfo"] == {"username": "clap-musicgen"}

    def test_xml_is_what_is_sent_unasked(self, served: Served) -> None:
        key = served.id("low.flac")
        params = {"apiKey": TOKEN, "id": key, "count": "2"}
        answer = served.client.get("/rest/getSonicSimilarTracks.view", params=params)
        assert answer.headers["content-type"] == "application/xml"
        root = ElementTree.fromstring(answer.content)
        assert root.tag == f"{SPACE}subsonic-response"
        assert (root.get("status"), root.get("openSubsonic")) == ("ok", "true")
        matches = root.findall(f"{SPACE}sonicMatch")
        told = ask(served, "getSonicSimilarTracks", id=key, count=2)["sonicMatch"]
        assert [float(one.get("similarity", "")) for one in matches] == [
            one["similarity"] for one in told
        ]
        entries = [one.find(f"{SPACE}entry") for one in matches]
        assert [entry is not None and entry.get("id") for entry in entries] == [
            one["entry"]["id"] for one in told
        ]

    def test_a_form_does_too(self, served: Served) -> None:
        data = {"apiKey": TOKEN, "f": "json", "id": served.id("low.flac"), "count": "1"}
        answer = served.client.post("/rest/getSonicSimilarTracks", data=data)
        assert len(answer.json()["subsonic-response"]["sonicMatch"]) == 1

    @pytest.mark.parametrize(
        ("name", "params", "code"),
        [
            ("getSonicSimilarTracks", {}, 10),
            ("getSonicSimilarTracks", {"id": "al-1"}, 70),
            ("getSonicSimilarTracks", {"title": "Low", "count": "0"}, 0),
            ("getSonicSimilarTracks", {"title": "Low", "count": "many"}, 0),
            ("getSonicSimilarTracks", {"title": "Low", "duration": "long"}, 0),
            ("getSonicSimilarTracks", {"title": "x" * 2_001}, 0),
            ("findSonicPath", {"startTitle": "Low"}, 10),
            ("findSonicPath", {"startTitle": "Low", "endTitle": "Top", "count": "1"}, 0),
            ("ping", {"f": "jsonp"}, 0),
        ],
    )
    def test_errors_have_numbers(
        self, served: Served, name: str, params: dict[str, str], code: int
    ) -> None:
        answer = served.client.get(f"/rest/{name}", params={"apiKey": TOKEN, **params})
        assert answer.status_code == 200
        error = ElementTree.fromstring(answer.content).find(f"{SPACE}error")
        assert error is not None
        assert error.get("code") == str(code)
        assert error.get("message")

    def test_other_endpoints_are_not_there(self, served: Served) -> None:
        assert served.client.get("/rest/getArtists", params={"apiKey": TOKEN}).status_code == 404


class TestKey:
    @pytest.mark.parametrize(
        "params",
        [
            {"apiKey": TOKEN},
            {"u": "me", "p": TOKEN},
            {"u": "me", "p": "enc:" + TOKEN.encode().hex()},
            {"u": "me", "s": "salt", "t": md5(f"{TOKEN}salt".encode()).hexdigest()},
        ],
    )
    def test_ways_in(self, served: Served, params: dict[str, str]) -> None:
        check_key(params, TOKEN)
        answer = served.client.get("/rest/ping", params={**params, "f": "json"})
        assert answer.json()["subsonic-response"]["status"] == "ok"

    @pytest.mark.parametrize(
        ("params", "code"),
        [
            ({}, 10),
            ({"u": "me"}, 10),
            ({"u": "me", "t": "00"}, 10),
            ({"apiKey": TOKEN + "x"}, 44),
            ({"apiKey": TOKEN, "u": "me"}, 43),
            ({"apiKey": TOKEN, "p": TOKEN}, 43),
            ({"u": "me", "p": "wrong"}, 40),
            ({"u": "me", "p": "enc:zz"}, 40),
            ({"u": "me", "p": "enc:ff"}, 40),
            ({"u": "me", "s": "salt", "t": md5(b"salt").hexdigest()}, 40),
        ],
    )
    def test_ways_that_stay_closed(self, served: Served, params: dict[str, str], code: int) -> None:
        answer = served.client.get("/rest/ping", params={**params, "f": "json"})
        told = answer.json()["subsonic-response"]
        assert (told["status"], told["error"]["code"]) == ("failed", code)
        assert TOKEN not in answer.text

    @given(st.dictionaries(st.sampled_from(["u", "p", "t", "s", "apiKey"]), st.text(max_size=40)))
    def test_nothing_else_opens(self, params: dict[str, str]) -> None:
        with pytest.raises(SubsonicError):
            check_key(params, TOKEN)

    def test_the_service_s_own_ways_work_too(self, served: Served) -> None:
        answer = served.client.get(
            "/rest/ping", params={"f": "json"}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert answer.json()["subsonic-response"]["status"] == "ok"


def track(path: str, **known: Any) -> Track:
    base = Track(path, "Song", "Ada", "One", "", None, 200.0, path, "")
    return replace(base, **known)


class TestFind:
    def test_by_our_id(self) -> None:
        one = track("/music/a.mp3")
        key = child(one)["id"]
        assert Catalogue([track("/music/b.mp3"), one]).find(Wanted(id=key, title="x")) == one

    @pytest.mark.parametrize(
        "path", ["/music/Ada/One/01.mp3", "Ada/One/01.mp3", "One/01.mp3", "Ada\\One\\01.mp3"]
    )
    def test_by_the_end_of_a_path(self, path: str) -> None:
        one = track("/music/Ada/One/01.mp3")
        others = [track("/music/Ada/Two/01.mp3"), track("/music/Ada/Someone/1.mp3")]
        assert Catalogue([one, *others]).find(Wanted(id="theirs", path=path)) == one

    def test_a_path_that_fits_several_fits_none(self) -> None:
        tracks = [track("/music/One/01.mp3", title="a"), track("/music/Two/01.mp3", title="b")]
        with pytest.raises(SubsonicError, match="2 tracks here are"):
            Catalogue(tracks).find(Wanted(path="01.mp3"))

    def test_a_path_that_fits_nothing_leaves_the_tags(self) -> None:
        one = track("/music/One/01.mp3", title="Schöner Tag", artist="BÉLA")
        wanted = Wanted(path="Béla/One/01 - x.mp3", title="schoner tag", artist="bela")
        assert Catalogue([one]).find(wanted) == one

    def test_artist_album_and_length_tell_songs_apart(self) -> None:
        one = track("/1.mp3")
        other = track("/2.mp3", artist="Bob")
        live = track("/3.mp3", album="Live", duration=300.0)
        catalogue = Catalogue([one, other, live])
        assert catalogue.find(Wanted(title="song", artist="bob")) == other
        assert catalogue.find(Wanted(title="song", artist="ada", album="live")) == live
        assert catalogue.find(Wanted(title="song", artist="ada", duration=301.4)) == live
        with pytest.raises(SubsonicError, match="say more"):
            catalogue.find(Wanted(title="song", artist="ada"))

    def test_encodings_and_copies_of_one_song_are_one(self) -> None:
        one, other = track("/1.flac"), track("/2.mp3", duration=201.0)
        assert Catalogue([one, other]).find(Wanted(title="Song", artist="Ada")) == one
        copy = track("/3.flac", content="/1.flac", title="other")
        assert Catalogue([one, copy]).find(Wanted(path="1.flac")) == one

    def test_another_artist_s_song_is_another_song(self) -> None:
        with pytest.raises(SubsonicError, match="no track here"):
            Catalogue([track("/1.mp3")]).find(Wanted(title="Song", artist="Bob"))
        untagged = track("/2.mp3", artist="")
        assert Catalogue([untagged]).find(Wanted(title="Song", artist="Bob")) == untagged


@given(st.text(max_size=20))
def test_any_title_gives_xml_that_can_be_read(title: str) -> None:
    answer = succeeded({"sonicMatch": [{"entry": {"title": title}}]}, as_json=False, version="1")
    root = ElementTree.fromstring(bytes(answer.body))
    assert root.find(f"{SPACE}sonicMatch/{SPACE}entry") is not None


class Navidrome(BaseHTTPRequestHandler):
    """A stand-in for Navidrome: as much of its API as the guide's script needs."""

    songs: ClassVar[dict[str, dict[str, object]]] = {}
    saved: ClassVar[list[dict[str, list[str]]]] = []

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        params = parse_qs(address.query)
        salted = md5(f"sesame{params['s'][0]}".encode()).hexdigest()
        assert (params["u"], params["t"]) == (["me"], [salted])
        told: dict[str, object] = {"status": "ok"}
        if address.path == "/rest/getSong.view":
            told["song"] = self.songs[params["id"][0]]
        elif address.path == "/rest/search3.view":
            word = params["query"][0].casefold()
            hits = [song for song in self.songs.values() if word in str(song["title"]).casefold()]
            told["searchResult3"] = {"song": hits} if hits else {}
        else:
            assert address.path == "/rest/createPlaylist.view"
            self.saved.append(params)
        body = json.dumps({"subsonic-response": told}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
        pass


@contextmanager
def listening(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def running(served: Served) -> Iterator[str]:
    """Serve on a real port."""
    config = uvicorn.Config(served.app, port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_the_script_of_the_guide(served: Served, tmp_path: Path) -> None:
    guide = Path(__file__).parents[1] / "docs" / "navidrome.md"
    script = guide.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "mix.py").write_text(script, encoding="utf-8")
    Navidrome.songs = {
        f"nd-{track.title}": {"id": f"nd-{track.title}", "title": track.title.upper()}
        | {"artist": track.artist, "duration": int(track.duration)}
        for track in served.library.tracks()
        if track.artist
    }
    navidrome = ThreadingHTTPServer(("127.0.0.1", 0), Navidrome)
    with listening(navidrome) as theirs, running(served) as ours:
        environment = {"NAVIDROME": theirs, "CLAP_MUSICGEN": ours, "NAVIDROME_USER": "me"}
        environment |= {"NAVIDROME_PASSWORD": "sesame", "CLAP_MUSICGEN_TOKEN": TOKEN}
        done = subprocess.run(
            [sys.executable, tmp_path / "mix.py", "nd-Low"],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, **environment, "PYTHONUTF8": "1"},
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Like LOW: 4 songs\n"
    (saved,) = Navidrome.saved
    assert saved["name"] == ["Like LOW"]
    assert saved["songId"][0] == "nd-Low"
    assert set(saved["songId"]) == set(Navidrome.songs)
