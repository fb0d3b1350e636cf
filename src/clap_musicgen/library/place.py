"""Where a library lies: a folder of this machine, or an address in an object store.

Either holds a few small files beside the tables, can be written by one process at a time, and is
named in the same two ways everywhere: a path, or a URI such as `s3://bucket/library`. Knows neither
what the files say nor what the tables hold.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from filelock import FileLock, Timeout

from clap_musicgen.errors import InputError, LibraryBusyError, LibraryError
from clap_musicgen.library.paths import absolute

LOCK = "write.lock"
WRITER = "write.pid"
SCHEMES = ("s3", "gs")
"""Object stores that are understood. Only s3 is tested, and only against a server of our own."""


class Lease(Protocol):
    """The right to write, while it lasts."""

    def check(self) -> None:
        """LibraryError if the right is lost: somebody else may write by now."""
        ...


class Place(Protocol):
    """A folder or its like. `str()` of it is what a person calls it, and opens it again."""

    @property
    def target(self) -> Path | str:
        """What the store opens: a Path, or a URI as a string."""
        ...

    def make(self) -> None:
        """Make it if it is absent. Raises OSError."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name. Raises OSError or LibraryError."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises OSError or LibraryError."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one step: another process sees all of it or what was there before."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if there is none. Raises OSError or LibraryError."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Names of the files and folders in it, or in a folder of it, which may be absent; sorted."""
        ...

    def size(self) -> int:
        """Bytes of all files, at any depth."""
        ...

    def file(self, name: str) -> str:
        """What to call a file in a message."""
        ...

    def writing(self, *, timeout: float = 0.0) -> AbstractContextManager[Lease]:
        """Be the only writer while the block runs; readers go on undisturbed.

        Raises:
            LibraryBusyError: someone else still writes after `timeout` seconds.
            LibraryError: we may not write here.
        """
        ...


AnyPlace: TypeAlias = Place | str | os.PathLike[str]


def locate(where: AnyPlace) -> Place:
    """Return the place that a path or a URI names.

    Raises:
        InputError: a URI of a kind that is not understood, or one that went through `Path`.
    """
    if not isinstance(where, (str, os.PathLike)):
        return where
    text = os.fspath(where)
    scheme, separator, _ = text.partition("://")
    if not separator:
        mangled = next((known for known in SCHEMES if text.startswith(f"{known}:/")), None)
        if mangled:
            raise InputError(
                f"{text!r} has lost a slash: give it as a string, '{mangled}://…', since a Path "
                "takes it for a folder"
            )
        return Folder(Path(absolute(text)))
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InputError(f"{text!r} is no place for a library: give a folder, or one of {known}")
    from clap_musicgen.library.objects import Bucket  # an extra

    return Bucket(text.rstrip("/"))


def storage_options() -> dict[str, str]:
    """What LanceDB must be told of an object store beyond what it takes from the environment.

    Address, region and credentials come from the environment by themselves, such as
    AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. An endpoint that is
    named with http:// may be talked to without encryption, and an endpoint of one's own has no
    region to be asked for. An absent server is given up after half a minute, not after minutes.
    """
    options = {"client_max_retries": "3", "client_retry_timeout": "30", "connect_timeout": "5s"}
    endpoint = _endpoint()
    if endpoint:
        options["region"] = os.environ.get("AWS_REGION") or os.environ.get(
            "AWS_DEFAULT_REGION", "us-east-1"
        )
    if endpoint.startswith("http://"):
        options["allow_http"] = "true"
    return options


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((value for name in names if (value := os.environ.get(name))), "")


def this_process() -> str:
    """Name this process for whoever has to wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or of a share that it has mounted."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def target(self) -> Path | str:
        """The folder."""
        return self.path

    def make(self) -> None:
        """Make it, with its parents."""
        self.path.mkdir(parents=True, exist_ok=True)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write beside it, then put it in its place."""
        draft = self.path / f"{name}.new"
        if draft.parent != self.path:
            draft.parent.mkdir(exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self.path / name)

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if there is none."""
        (self.path / name).unlink(missing_ok=True)

    def names(self, folder: str = "") -> list[str]:
        """Names of the files and folders in it, or in a folder of it, which may be absent; sorted."""
        if folder and not (self.path / folder).is_dir():
            return []
        return sorted(entry.name for entry in (self.path / folder).iterdir())

    def size(self) -> int:
        """Bytes of all files, at any depth; files that vanish meanwhile do not count."""
        total = 0
        for parent, _, names in os.walk(self.path):
            for name in names:
                with suppress(OSError):
                    total += (Path(parent) / name).stat().st_size
        return total

    def file(self, name: str) -> str:
        """Return its path."""
        return str(self.path / name)

    @contextmanager
    def writing(self, *, timeout: float = 0.0) -> Iterator[Lease]:
        """Be the only writer. The operating system frees the lock however its process ends."""
        lock = FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=timeout)
        except Timeout as error:
            raise busy(self, self._writer()) from error
        except OSError as error:
            raise LibraryError(
                f"cannot write to the library {str(self)!r}: {error.strerror or error}"
            ) from error
        try:
            with suppress(OSError):  # the number is a courtesy to whoever has to wait
                (self.path / WRITER).write_text(this_process(), encoding="utf-8")
            yield _Held()
        finally:
            with suppress(OSError):
                (self.path / WRITER).unlink(missing_ok=True)
            lock.release()

    def _writer(self) -> str:
        """Name the process that writes, as far as it is known."""
        with suppress(OSError, ValueError):
            text = (self.path / WRITER).read_text(encoding="utf-8")
            return text.removesuffix(f" on {socket.gethostname()}") or "another process"
        return "another process"


class _Held:
    """A lock of the operating system, which no other process can take away."""

    def check(self) -> None:
        """Nothing can have happened."""


def busy(place: Place, writer: str, *, hint: str = "") -> LibraryBusyError:
    """The error for whoever comes second."""
    return LibraryBusyError(
        f"{writer} is writing to the library {str(place)!r}: wait until it is done{hint}, or let index wait with --wait SECONDS "
        "(searching goes on meanwhile)"
    )
