"""The music over HTTP: ranges, validators, what is not served, and WAV for browsers."""

from __future__ import annotations

import io
import os
import wave
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from audio_factory import write_audio
from clap_musicgen.audio.kinds import audio_type
from clap_musicgen.audio.playing import make_wav
from clap_musicgen.errors import InputError, UnreadableAudioError
from clap_musicgen.service.byteranges import BLOCK, RangeError, Span, file_response, requested
from clap_musicgen.service.media import Media
from clap_musicgen.service.problems import ProblemError
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Message, Scope


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


class TestRequested:
    @given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
    def test_it_is_what_slicing_gives(self, size: int, first: int, last: int) -> None:
        content = bytes(range(size))
        header = f"bytes={first}-{last}"
        if last < first:
            assert requested(header, size) is None
        elif first >= size:
            with pytest.raises(RangeError):
                requested(header, size)
        else:
            span = requested(header, size)
            assert span is not None
            assert content[span.start : span.end] == content[first : last + 1]

    @given(st.integers(1, 50), st.integers(1, 60))
    def test_a_suffix_is_the_end(self, size: int, count: int) -> None:
        span = requested(f"bytes=-{count}", size)
        assert span is not None
        assert bytes(range(size))[span.start : span.end] == bytes(range(size))[-count:]

    @given(st.text(max_size=30))
    def test_any_text_is_a_part_the_whole_or_refused(self, text: str) -> None:
        for header in (text, f"bytes={text}"):
            try:
                span = requested(header, 10)
            except RangeError:
                continue
            assert span is None or 0 <= span.start < span.end <= 10

    @pytest.mark.parametrize(
        "header", [None, "", "bytes=-", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=5-4"]
    )
    def test_what_is_no_single_range_asks_for_the_whole(self, header: str | None) -> None:
        assert requested(header, 10) is None

    @pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=" + "9" * 5_000 + "-"])
    def test_nothing_lies_there(self, header: str) -> None:
        with pytest.raises(RangeError):
            requested(header, 10)

    def test_an_end_beyond_is_the_end(self) -> None:
        assert requested("Bytes = 3-999999999999999999999999", 10) == Span(3, 10)


class TestAudio:
    def url(self, served: Served, name: str = "high.mp3", *, of: str = "audio") -> str:
        return f"/api/tracks/{served.id(name)}/{of}"

    def test_the_bytes_are_those_of_the_file(self, served: Served) -> None:
        answer = served.client.get(self.url(served))
        assert answer.status_code == 200
        assert answer.content == (served.music / "high.mp3").read_bytes()
        assert answer.headers["content-type"] == "audio/mpeg"
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_range(self, served: Served) -> None:
        whole = (served.music / "high.mp3").read_bytes()
        answer = served.client.get(self.url(served), headers={"Range": "bytes=100-199"})
        assert answer.status_code == 206
        assert answer.content == whole[100:200]
        assert answer.headers["content-range"] == f"bytes 100-199/{len(whole)}"
        assert answer.headers["content-length"] == "100"

    def test_no_such_range(self, served: Served) -> None:
        answer = served.client.get(self.url(served), headers={"Range": "bytes=99999999-"})
        assert answer.status_code == 416
        assert answer.headers["content-type"] == "application/problem+json"
        size = (served.music / "high.mp3").stat().st_size
        assert answer.headers["content-range"] == f"bytes */{size}"

    def test_head_tells_the_length_and_sends_nothing(self, served: Served) -> None:
        answer = served.client.head(self.url(served))
        assert answer.status_code == 200
        assert answer.content == b""
        assert int(answer.headers["content-length"]) == (served.music / "high.mp3").stat().st_size

    def test_validators(self, served: Served) -> None:
        url, part = self.url(served), {"Range": "bytes=0-9"}
        first = served.client.get(url, headers=part)
        tag, time = first.headers["etag"], first.headers["last-modified"]
        assert served.client.get(url, headers={"If-None-Match": tag}).status_code == 304
        assert served.client.get(url, headers={**part, "If-Range": tag}).status_code == 206
        assert served.client.get(url, headers={**part, "If-Range": time}).status_code == 206
        assert served.client.get(url, headers={**part, "If-Range": '"other"'}).status_code == 200

    @pytest.mark.parametrize("key", ["0" * 32, "..%2f..%2fetc%2fpasswd", "%2e%2e", "x"])
    def test_what_is_no_track_is_not_served(self, served: Served, key: str) -> None:
        answer = served.client.get(f"/api/tracks/{key}/audio")
        assert answer.status_code in {404, 422}
        assert answer.headers["content-type"] == "application/problem+json"

    def test_a_file_that_is_no_music_any_more_is_not_served(self, tmp_path: Path) -> None:
        with serving(tmp_path) as served:
            secret = tmp_path / "secret"
            secret.write_text("root:x:0:0:root:/root:/bin/sh\n")
            for name in ("low.flac", "mid.flac", "top.flac"):
                (served.music / name).unlink()
            (served.music / "low.flac").symlink_to(secret)
            (served.music / "mid.flac").mkdir()
            for name, told in (("low", "does not begin"), ("mid", "folder"), ("top", "no such")):
                answer = served.client.get(self.url(served, f"{name}.flac"))
                assert answer.status_code == 404
                assert told in answer.json()["detail"]
                assert "root:x" not in answer.text

    def test_wav_is_the_same_sound(self, served: Served) -> None:
        answer = served.client.get(self.url(served, "low.flac", of="audio.wav"))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "audio/wav"
        with wave.open(io.BytesIO(answer.content)) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8_000)
            sound = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 2**15
        time = np.arange(len(sound)) / 8_000
        assert len(sound) == 20_000
        assert np.abs(sound - 0.3 * np.sin(2 * np.pi * 200 * time)).max() < 1e-3

    def test_wav_has_ranges_and_is_made_once(self, served: Served) -> None:
        url = self.url(served, "low.flac", of="audio.wav")
        whole = served.client.get(url)
        part = served.client.get(url, headers={"Range": "bytes=0-43"})
        assert part.status_code == 206
        assert part.content == whole.content[:44]
        assert part.headers["etag"] == whole.headers["etag"]


class TestWav:
    def test_stereo_stays_stereo_and_high_rates_come_down(self, tmp_path: Path) -> None:
        time = np.arange(96_000) / 96_000
        both = np.stack([np.sin(2 * np.pi * 440 * time), np.zeros_like(time)]).astype(np.float32)
        source = write_audio(tmp_path / "a.flac", both * 0.5, sample_rate=96_000)
        make_wav(source, tmp_path / "a.wav", duration=1.0, most_bytes=2**20, timeout=60)
        with wave.open(str(tmp_path / "a.wav")) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 48_000)
            sound = np.frombuffer(file.readframes(48_000), dtype="<i2").reshape(-1, 2)
        assert abs(np.abs(sound[:, 0]).max() / 2**15 - 0.5) < 0.01
        assert np.abs(sound[:, 1]).max() == 0

    def test_a_long_track_becomes_smaller_and_a_longer_one_is_refused(self, tmp_path: Path) -> None:
        source = write_audio(
            tmp_path / "a.wav", np.zeros((2, 44_100), dtype=np.float32), sample_rate=44_100
        )
        target = tmp_path / "small.wav"
        make_wav(source, target, duration=1.0, most_bytes=100_000, timeout=60)
        with wave.open(str(target)) as file:
            assert (file.getnchannels(), file.getframerate()) == (1, 22_050)
        with pytest.raises(InputError, match="too much to be converted"):
            make_wav(source, target, duration=10_000, most_bytes=100_000, timeout=60)

    def test_what_is_no_music_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp3").write_text("no music")
        with pytest.raises(UnreadableAudioError, match="not audio"):
            make_wav(
                tmp_path / "a.mp3", tmp_path / "a.wav", duration=1, most_bytes=2**20, timeout=60
            )

    def test_a_file_that_states_less_than_it_holds_is_cut_off(self, tmp_path: Path) -> None:
        sound = np.zeros(44_100 * 60, dtype=np.float32)
        source = write_audio(tmp_path / "a.flac", sound, sample_rate=44_100)
        target = tmp_path / "a.wav"
        with pytest.raises(UnreadableAudioError, match="cannot be written"):
            make_wav(source, target, duration=0.1, most_bytes=100_000, timeout=60)

    def test_old_ones_make_room(self, served: Served) -> None:
        media = Media(most_bytes=120_000)
        tracks = [served.library.track(served.id(name)) for name in ("low.flac", "mid.flac")]
        try:
            with media.converted(tracks[0]) as first, media.converted(tracks[1]) as second:
                assert len(first.read()) == len(second.read()) == 40_044
            folder = media._temporary()
            assert len(list(folder.iterdir())) == 2
            with media.converted(served.library.track(served.id("top.flac"))):
                assert len(list(folder.iterdir())) == 2
                assert not list(folder.glob(f"{tracks[0].content}*"))
        finally:
            media.close()
        assert not folder.exists()

    def test_a_track_without_its_file(self, tmp_path: Path, served: Served) -> None:
        media = Media()
        track = replace(served.library.track(served.id("low.flac")), path=str(tmp_path / "no.mp3"))
        with pytest.raises(ProblemError) as caught:
            media.converted(track)
        assert caught.value.status_code == 404


async def _listened(file: BinaryIO, *, blocks: int) -> int:
    """Play a file to somebody who goes away after some blocks → bytes sent."""
    gone, sent = anyio.Event(), 0
    scope: Scope = {"type": "http", "method": "GET", "headers": [], "path": "/"}

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal sent
        sent += len(message.get("body", b""))
        if sent >= blocks * BLOCK:
            gone.set()
            await anyio.sleep(0.01)

    response = file_response(Request(scope), file, media_type="audio/mpeg")
    await response(scope, receive, send)
    return sent


def test_who_goes_away_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(50 * BLOCK))
    file = path.open("rb")
    assert anyio.run(partial(_listened, file, blocks=2)) < 50 * BLOCK
    assert file.closed


def test_a_file_that_is_cut_meanwhile_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(3 * BLOCK))
    file = path.open("rb")
    response = file_response(
        Request({"type": "http", "method": "GET", "headers": []}), file, media_type="audio/mpeg"
    )
    assert response.headers["content-length"] == str(3 * BLOCK)
    os.truncate(path, BLOCK)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(response, {"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert sum(len(message.get("body", b"")) for message in sent) == BLOCK
    assert file.closed


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"ID3\x04\0\0\0\0\0\x02xx\xff\xfb\x90", "audio/mpeg"),
        (b"ID3\x04\0\0\0\0\0\x02xxfLaC", "audio/flac"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"FORM\0\0\0\0AIFF", "audio/aiff"),
        (b"RIFF\0\0\0\0WEBP", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_kinds(head: bytes, kind: str | None) -> None:
    assert audio_type(io.BytesIO(head)) == kind
