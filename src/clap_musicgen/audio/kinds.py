"""What kind of file some first bytes begin: the media type of music and of pictures.

What is sent to anybody is judged by its bytes, for a name says nothing about what a file holds; a
suffix serves where a type is merely told. Knows bytes only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

HEAD = 64
"""So many first bytes are enough."""

_BEGINNINGS = (
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"\x1aE\xdf\xa3", "audio/webm"),
    (b"wvpk", "audio/x-wavpack"),
    (b"0&\xb2u\x8ef\xcf\x11", "audio/x-ms-wma"),
    (b"#!AMR", "audio/amr"),
    (b".snd", "audio/basic"),
    (b"caff", "audio/x-caf"),
    (b"DSD ", "audio/x-dsf"),
    (b"MAC ", "audio/x-ape"),
    (b"MP+", "audio/x-musepack"),
    (b"MPCK", "audio/x-musepack"),
    (b"TTA1", "audio/x-tta"),
    (b"tBaK", "audio/x-tak"),
    (b"\x0bw", "audio/ac3"),
    (b"\x7f\xfe\x80\x01", "audio/vnd.dts"),
    (b"riff\x2e\x91\xcf\x11", "audio/x-w64"),
)
_PICTURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_ID3_HEADER = 10
_BY_SUFFIX = {
    ".aac": "audio/aac",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".alac": "audio/mp4",
    ".ape": "audio/x-ape",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".m4b": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".mpc": "audio/x-musepack",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".wma": "audio/x-ms-wma",
    ".wv": "audio/x-wavpack",
}


def audio_type(file: BinaryIO) -> str | None:
    """Media type of an open file by what it begins with; None if that is no music we know.

    Tags in front of the music are passed over. The position in the file is undefined afterwards.
    Raises OSError.
    """
    file.seek(0)
    head = file.read(HEAD)
    if not head.startswith(b"ID3") or len(head) < _ID3_HEADER:
        return _audio_type(head)
    # The length of the tag: four times seven bits.
    length = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(_ID3_HEADER + length)
    return _audio_type(file.read(HEAD)) or "audio/mpeg"


def usual_type(suffix: str) -> str | None:
    """Media type that files with this suffix, such as ".mp3", mostly have."""
    return _BY_SUFFIX.get(suffix.lower())


def picture_type(head: bytes) -> str | None:
    """Media type of a picture that begins so: JPEG, PNG, GIF or WebP; None for all others."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _PICTURES if head.startswith(magic)), None)


def _audio_type(head: bytes) -> str | None:
    if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
        return "audio/wav"
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    found = next((kind for magic, kind in _BEGINNINGS if head.startswith(magic)), None)
    return found or _mpeg_type(head)


def _mpeg_type(head: bytes) -> str | None:
    """A frame of MPEG audio begins with eleven or twelve bits that are set."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return "audio/aac" if head[1] & 0xF6 == 0xF0 else "audio/mpeg"  # layer 0 is that of ADTS
