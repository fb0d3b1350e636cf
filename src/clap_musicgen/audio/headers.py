"""What a file's header says of its length, where FFmpeg would only guess from the file's size.

A truncated file is recognised by comparing that with what could be decoded. Knows bytes only:
neither FFmpeg nor samples.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

STATED_BY_CONTAINER = frozenset(
    {
        "aiff",
        "ape",
        "dsf",
        "flac",
        "iff",
        "matroska",
        "mov",
        "mpc8",
        "ogg",
        "tak",
        "tta",
        "w64",
        "wv",
    }
)
"""FFmpeg's names of the containers whose own duration can be believed."""

_PCM_TAGS = frozenset({0x0001, 0x0003, 0xFFFE})
_STREAMED = 0x7FFF_0000  # programs that write into a pipe state a size from here up
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_OGG_PAGE_MAX = 65_307


def stated_seconds(file: BinaryIO, *, container: str) -> float | None:
    """Read the length in seconds that a WAV, MP3 or WMA header states; None where it states none.

    `container` is FFmpeg's name for the format. The position of `file` is changed.
    """
    readers = {"wav": _wav_seconds, "mp3": _mp3_seconds, "asf": _asf_seconds}
    if container not in readers:
        return None
    file.seek(0)
    try:
        return readers[container](file)
    except struct.error:  # the header itself is cut off
        return None


def _wav_seconds(file: BinaryIO) -> float | None:
    """Walk the RIFF chunks as far as `data` and divide its stated size by the byte rate."""
    riff, _, form = struct.unpack("<4sI4s", file.read(12))
    if riff not in (b"RIFF", b"RF64") or form != b"WAVE":
        return None
    byte_rate, long_size = 0, 0
    for _ in range(64):
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"data":
            total = long_size if riff == b"RF64" else size
            believable = 0 < total < _STREAMED or riff == b"RF64"
            return total / byte_rate if byte_rate and believable else None
        body = file.read(min(size, 64))
        if name == b"ds64":
            long_size = struct.unpack_from("<Q", body, 8)[0]
        if name == b"fmt " and struct.unpack_from("<H", body)[0] in _PCM_TAGS:
            byte_rate = struct.unpack_from("<I", body, 8)[0]
        file.seek(size - len(body) + size % 2, 1)
    return None


def _mp3_seconds(file: BinaryIO) -> float | None:
    """Frames counted by the Xing or Info tag, times a frame's length, less the padding."""
    head = file.read(10)
    if head[:3] == b"ID3":
        size = sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False)
        )
        file.seek(10 + size)
    else:
        file.seek(0)
    frame = file.read(4096)
    places = [place for mark in (b"Xing", b"Info") if (place := frame.find(mark)) >= 0]
    start = frame.find(b"\xff")
    if not places or start < 0 or start > min(places):
        return None
    version, rate_index = (frame[start + 1] >> 3) & 3, (frame[start + 2] >> 2) & 3
    if version not in _MPEG_RATES or rate_index == 3:
        return None
    mark = min(places)
    flags, frames = struct.unpack_from(">II", frame, mark + 4)
    if not flags & 1:
        return None
    encoder = mark + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2
    trim = frame[encoder + 21 : encoder + 24]  # 12 bits each: what the encoder added at both ends
    padding = int.from_bytes(trim, "big")
    added = (padding >> 12) + (padding & 0xFFF)
    samples = frames * (1152 if version == 3 else 576) - added
    return float(max(0, samples) / _MPEG_RATES[version][rate_index])


def _asf_seconds(file: BinaryIO) -> float | None:
    """Play duration less the preroll, both in the file properties object."""
    head = file.read(65_536)
    place = head.find(_ASF_FILE_PROPERTIES)
    if place < 0:
        return None
    play, _, preroll = struct.unpack_from("<QQQ", head, place + 64)
    seconds = play / 1e7 - preroll / 1e3
    return seconds if seconds > 0 else None


def ogg_end_missing(file: BinaryIO) -> bool:
    """Whether an Ogg file stops without the page that is marked as its last, or within a page.

    The position of `file` is changed.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - 2 * _OGG_PAGE_MAX))
    tail = file.read()
    place = tail.rfind(b"OggS\x00")
    while place >= 0:
        header = tail[place : place + 27]
        if len(header) < 27:
            return True
        lengths = tail[place + 27 : place + 27 + header[26]]
        complete = place + 27 + header[26] + sum(lengths) <= len(tail)
        if len(lengths) < header[26] or not complete:
            return True
        return not header[5] & 0x04
    return True
