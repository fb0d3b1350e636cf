"""The cover of a piece of music: the picture in its file, else one that lies beside it.

What a picture is, its bytes tell; only JPEG, PNG, GIF and WebP count, since others may carry
scripts. Parsers get a bounded part of a file. Knows neither libraries nor HTTP.
"""

from __future__ import annotations

import io
import logging
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinytag import TinyTag

from clap_musicgen.audio.decode import open_regular
from clap_musicgen.audio.kinds import HEAD, picture_type

if TYPE_CHECKING:
    from typing import BinaryIO

LARGEST = 10 * 2**20
"""Bytes a picture may have."""
_READ_AT_MOST = 4 * LARGEST  # of a music file, while its tags are parsed
_ENTRIES = 10_000  # of a folder that are looked at
_NAMES = ("cover", "folder", "front", "album", "albumart")  # the first that is there
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        content: its bytes.
        media_type: image/jpeg, image/png, image/gif or image/webp.
    """

    content: bytes
    media_type: str


def embedded_picture(path: str | Path) -> Picture | None:
    """Return the front cover in a music file, else any picture in it; None if it has none.

    Raises:
        UnreadableAudioError: missing, no permission, or no regular file.
    """
    path = Path(path)
    with open_regular(path) as file:
        try:
            tag = TinyTag.get(
                filename=path, file_obj=_Bounded(file), tags=True, duration=False, image=True
            )
            image = tag.images.front_cover or tag.images.any
            content = bytes(image.data) if image is not None and image.data else b""
        except Exception as error:  # noqa: BLE001 - a parser of arbitrary bytes may raise anything
            logger.debug("pictures of %r cannot be read: %s", str(path), error)
            return None
    return _picture(content)


def picture_beside(path: str | Path) -> Path | None:
    """Find the picture of the folder in which a music file lies, such as cover.jpg.

    Names count whatever their case. Links are not followed: they may lead anywhere.
    """
    found: dict[str, Path] = {}
    with suppress(OSError), os.scandir(Path(path).parent) as entries:
        for _, entry in zip(range(_ENTRIES), entries, strict=False):
            stem, suffix = os.path.splitext(entry.name.lower())  # noqa: PTH122 - no path needed
            if stem in _NAMES and suffix in _SUFFIXES and entry.is_file(follow_symlinks=False):
                found.setdefault(stem, Path(entry.path))
    return next((found[name] for name in _NAMES if name in found), None)


def read_picture(path: Path) -> Picture | None:
    """Read a picture file; None if it is none, is too large, or has gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(LARGEST + 1)
    except OSError:
        return None
    return _picture(content)


def _picture(content: bytes) -> Picture | None:
    kind = picture_type(content[:HEAD])
    return None if kind is None or len(content) > LARGEST else Picture(content, kind)


class _Bounded(io.RawIOBase):
    """A file of which only so much may be read, whatever a damaged tag says of its length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _READ_AT_MOST

    def read(self, size: int = -1, /) -> bytes:
        """Read; OSError where it would be too much."""
        content = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(content)
        if self._left < 0:
            raise OSError("more would have to be read for the tags than is reasonable")
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go elsewhere."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where we are."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True
