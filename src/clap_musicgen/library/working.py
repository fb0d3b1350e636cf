"""What one worker of a cluster does: hash files, decode and embed them. Knows no cluster.

A worker sees files and a model; neither the store nor what is known already. Whatever is wrong with
one file is told in its place, so that the others go on.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from clap_musicgen.audio.files import Tags, content_hash, read_tags
from clap_musicgen.audio.pool import DecodePool, Failed
from clap_musicgen.embedding import Embedder
from clap_musicgen.errors import AudioError, InputError
from clap_musicgen.library.folder import reason
from clap_musicgen.library.listening import Batch, Heard, listen


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was hashed: bytes, nanoseconds, hash and tags."""

    path: Path
    size: int
    mtime_ns: int
    content: str
    tags: Tags


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a worker is, and whose vectors it makes."""

    host: str
    pid: int
    fingerprint: str
    dim: int


Look: TypeAlias = Seen | Failed
Result: TypeAlias = Heard | Failed


class Worker:
    """Embeds files with a model of its own, beside one process that decodes."""

    def __init__(self, load: Callable[[], Embedder] | None, model: Embedder | None) -> None:
        """Take the model, or what loads it; `hello` comes first, and loads it."""
        self._load, self._given = load, model

    def hello(self) -> Hello:
        """Load the model and say who this is."""
        model = self._given if self._load is None else self._load()
        if model is None:
            raise InputError("a worker needs a model, or what loads it")
        self._model = model
        self._pool = DecodePool(sample_rate=model.sample_rate, clip_seconds=model.clip_seconds)
        return Hello(socket.gethostname(), os.getpid(), model.fingerprint, model.dim)

    def look(self, paths: Sequence[Path]) -> list[Look]:
        """Hash files and read their tags; one answer for each, in order."""
        return [_look(path) for path in paths]

    def embed(self, paths: Sequence[Path]) -> list[Result]:
        """Decode and embed files, in batches across them; one answer for each, in any order.

        Raises:
            Exception: whatever the model raises.
        """
        news = listen(self._model, self._pool.decode(paths))
        return [event for event in news if not isinstance(event, Batch)]

    def close(self) -> None:
        """End the decoder."""
        self._pool.close()


def _look(path: Path) -> Look:
    try:
        status = path.stat()
        content, tags = content_hash(path), read_tags(path)
    except AudioError as error:
        return Failed(path, error.reason)
    except OSError as error:
        return Failed(path, _where(error))
    return Seen(path, status.st_size, status.st_mtime_ns, content, tags)


def _where(error: OSError) -> str:
    """Say on which machine a file is missing: the one that found it may be another."""
    if error.errno != errno.ENOENT:
        return reason(error)
    return f"{reason(error)} (on {socket.gethostname()}: workers need the same paths)"
