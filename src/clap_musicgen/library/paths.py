"""Paths as a library keeps them: absolute, exact to the byte, keyed by a hash.

Knows the file system's names only; neither tables nor audio.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

from clap_musicgen.errors import InputError, InputTypeError, LibraryError

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A file or folder, or several."""


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the path under which a library keeps a file; links are not followed.

    Raises:
        InputError: it begins with ~ and the name of nobody.
    """
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:  # no such user
        raise InputError(f"{str(path)!r}: ~ stands before the name of no user here") from error
    return os.path.abspath(expanded)  # noqa: PTH100 - resolve() would follow links


def listed(paths: Paths) -> list[str]:
    """Return absolute paths; one path stands for a list of one."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    try:
        return [absolute(path) for path in paths]
    except TypeError as error:
        raise InputTypeError(f"paths must be a path or a list of paths, not {paths!r}") from error


def path_key(path: str) -> str:
    """Key of a track: 32 hex digits, so that no odd character of a path reaches a query."""
    return blake2b(os.fsencode(path), digest_size=16).hexdigest()


def readable(path: str) -> str:
    r"""Return a path as UTF-8 can hold it: other bytes of a file's name become ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_under(path: str, root: str) -> bool:
    """Tell whether a path is `root` or lies somewhere in it; both are absolute."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def is_gone(path: str) -> bool:
    """Tell whether a file is certainly gone; one that cannot be looked at may still be there."""
    try:
        Path(path).stat()
    except OSError as error:
        return error.errno in {errno.ENOENT, errno.ENOTDIR}
    return False


def gone(tracks: list[str], *, roots: list[str], found: list[str]) -> list[str]:
    """Return those tracks under `roots` whose files no longer exist.

    Raises:
        LibraryError: nothing is `found` in a root that has tracks. An unplugged drive looks just
            like that, and must not cost its tracks.
    """
    for root in roots:
        held = sum(is_under(path, root) for path in tracks)
        if held and not any(is_under(path, root) for path in found):
            raise LibraryError(
                f"there is no audio file in {root!r}, but the library has {held} of its tracks: is "
                "the drive connected? If they are gone for good, take them out with "
                f"Library.remove({root!r})"
            )
    return [
        path for path in tracks if any(is_under(path, root) for root in roots) and is_gone(path)
    ]
