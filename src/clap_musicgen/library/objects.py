"""A library in an object store: small objects, and a writer's lock made of one of them.

The only door to obstore. The lock is an object that is created only if it is absent and changed
only if nobody else has changed it meanwhile (conditional writes). Its holder rewrites it every few
seconds; one that stops doing so is dead, and its lock ends. Knows neither tables nor what the
objects say.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from clap_musicgen.errors import InputError, LibraryBusyError, LibraryError
from clap_musicgen.library.place import (
    LOCK,
    Lease,
    busy,
    storage_options,
    this_process,
)

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

BEAT_SECONDS = 10.0
"""How often the writer shows that it lives."""
DEAD_SECONDS = 60.0
"""After so long without a sign of life, by the store's own clock, a writer's lock has ended."""
_POLL_SECONDS = 1.0
_RETRY: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix in an object store, such as `s3://bucket/library`; credentials by environment."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    @property
    def target(self) -> Path | str:
        """The URI."""
        return self.uri

    def make(self) -> None:
        """Nothing to make: a prefix is there as soon as something has it."""

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name; LibraryError if nobody can tell."""
        with _explained(self.uri, "look into"):
            try:
                # Not a mere HEAD: only a GET's answer tells a missing bucket from a missing object.
                _obstore().get(self._store(), name)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return False
        return True

    def read(self, name: str) -> bytes:
        """Return an object's content; FileNotFoundError if it is absent."""
        with _explained(self.uri, "read"):
            try:
                return bytes(_obstore().get(self._store(), name).bytes())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
        raise FileNotFoundError(errno.ENOENT, "no such object", self.file(name))

    def write(self, name: str, content: bytes) -> None:
        """Write an object; the store does so in one step."""
        with _explained(self.uri, "write to"):
            _obstore().put(self._store(), name, content)

    def delete(self, name: str) -> None:
        """Delete an object; nothing happens if there is none."""
        with _explained(self.uri, "write to"), suppress(FileNotFoundError):
            _obstore().delete(self._store(), name)

    def names(self, folder: str = "") -> list[str]:
        """Names of what lies directly below, or below a folder, sorted."""
        with _explained(self.uri, "look into"):
            found = _obstore().list_with_delimiter(self._store(), folder or None)
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def size(self) -> int:
        """Bytes of all objects below."""
        with _explained(self.uri, "look into"):
            pages = _obstore().list(self._store())
            return sum(int(entry["size"]) for page in pages for entry in page)

    def file(self, name: str) -> str:
        """Return its URI."""
        return f"{self.uri}/{name}"

    @contextmanager
    def writing(self, *, timeout: float = 0.0) -> Iterator[Lease]:
        """Be the only writer; wait for another one at most `timeout` seconds."""
        lock = _Lock(self)
        deadline = time.monotonic() + timeout
        while True:
            with _explained(self.uri, "write to"):
                writer = lock.take()
            if writer is None:
                break
            if time.monotonic() >= deadline:
                hint = f"; had it died, its lock would end by itself within {DEAD_SECONDS:g} s"
                raise busy(self, writer, hint=hint)
            time.sleep(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic())))
        lock.start()
        try:
            yield lock
        finally:
            lock.release()

    def _store(self) -> Any:
        return _open_store(self.uri)


class _Lock:
    """The lock object of one place, as one writer sees it."""

    def __init__(self, bucket: Bucket) -> None:
        self._uri, self._store = bucket.uri, bucket._store()
        self._token, self._beats = uuid4().hex, 0
        self._version: Any = None  # what the store calls the state that we wrote last
        self._lived = 0.0
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="library-lock")

    def take(self) -> str | None:
        """Try once; return the name of whoever holds it, None if it is ours now."""
        obstore = _obstore()
        try:
            self._put("create")
            return None
        except obstore.exceptions.AlreadyExistsError:
            pass
        try:
            found = obstore.get(self._store, LOCK)
        except FileNotFoundError:
            return "another process"  # somebody has just taken the object away
        state = _parsed(bytes(found.bytes()))
        if state.get("holder") and self._age(found.meta["last_modified"]) < DEAD_SECONDS:
            return str(state["holder"])
        try:
            self._put(_version_of(found.meta))
        except obstore.exceptions.PreconditionError:
            return "another process"  # it was faster
        return None

    def start(self) -> None:
        """Show signs of life from now on."""
        self._thread.start()

    def check(self) -> None:
        """LibraryError if it is no longer certain that nobody else writes."""
        silent = time.monotonic() - self._lived
        if self._lost or silent > DEAD_SECONDS - BEAT_SECONDS:
            raise LibraryError(
                f"the right to write to the library {self._uri!r} is lost: for {silent:.0f} s no "
                "sign of life reached the store. What had been committed is safe; run it again to "
                "go on"
            )

    def release(self) -> None:
        """Let the next one write; should that fail, the lock ends by itself."""
        self._stop.set()
        self._thread.join()
        if not self._lost:
            with suppress(_obstore().exceptions.BaseError, OSError, ValueError):
                body = json.dumps({"free": self._token}).encode()
                _obstore().put(self._store, LOCK, body, mode=self._version)

    def _live(self) -> None:
        obstore = _obstore()
        while not self._stop.wait(BEAT_SECONDS):
            try:
                self._put(self._version)
            except obstore.exceptions.PreconditionError:
                self._lost = not self._recovered()
                if self._lost:
                    return
            except (obstore.exceptions.BaseError, OSError, ValueError):
                continue  # perhaps it works the next time; `check` watches the clock

    def _recovered(self) -> bool:
        """Whether the lock is still ours: a beat may arrive though its answer gets lost."""
        obstore = _obstore()
        with suppress(obstore.exceptions.BaseError, OSError, ValueError):
            found = obstore.get(self._store, LOCK)
            if _parsed(bytes(found.bytes())).get("token") == self._token:
                self._version, self._lived = _version_of(found.meta), time.monotonic()
                return True
        return False

    def _put(self, mode: Any) -> None:
        # The count makes each state differ: a store may name equal contents by the same tag.
        self._beats += 1
        state = {"holder": this_process(), "token": self._token, "beat": self._beats}
        asked = time.monotonic()
        self._version = _version_of(
            _obstore().put(self._store, LOCK, json.dumps(state).encode(), mode=mode)
        )
        self._lived = asked

    def _age(self, written: datetime) -> float:
        """Seconds since an object was written, by the store's clock: ours may be wrong."""
        obstore, name = _obstore(), f"{LOCK}.{self._token}"
        obstore.put(self._store, name, b"what time is it?")
        try:
            now = obstore.head(self._store, name)["last_modified"]
        finally:
            obstore.delete(self._store, name)
        return float((now - written).total_seconds())


def _version_of(meta: Any) -> dict[str, Any]:
    """What the store calls this state of an object; some give a tag, some a version, some both."""
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def _parsed(content: bytes) -> dict[str, Any]:
    """What a lock says; one that cannot be read counts as held by someone."""
    try:
        return dict(json.loads(content))
    except (ValueError, TypeError):
        return {"holder": "another process"}


def _obstore() -> Any:
    try:
        import obstore  # an extra
    except ImportError as error:
        raise InputError(
            "a library in an object store needs obstore: pip install 'clap-musicgen[scale]'"
        ) from error
    return obstore


def _open_store(uri: str) -> Any:
    _obstore()
    from obstore.store import from_url

    options = storage_options()
    client: Any = {"connect_timeout": "5s", "timeout": "30s"}
    if "allow_http" in options:
        client["allow_http"] = True
    config: Any = None
    if uri.startswith("s3://") and "region" in options:
        config = {"region": options["region"]}
    with _explained(uri, "open"):
        return from_url(uri, config=config, client_options=client, retry_config=_RETRY)


_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_DENIED = "access is denied: these credentials may not do that here"
_CAUSES = (
    ("169.254.169.254", f"there are no credentials: {_KEYS}"),
    ("NoSuchBucket", "there is no such bucket: make it, or correct the address"),
    ("InvalidAccessKeyId", f"the store does not know the access key: {_KEYS}"),
    ("SignatureDoesNotMatch", "the secret does not fit the access key: set AWS_SECRET_ACCESS_KEY"),
    ("AccessDenied", _DENIED),
    ("403 Forbidden", _DENIED),
    ("401 Unauthorized", _DENIED),
    ("error sending request", "the server cannot be reached: check network and AWS_ENDPOINT_URL"),
)
"""What object stores say → what a person can do; the first that fits."""


@contextmanager
def _explained(uri: str, action: str) -> Iterator[None]:
    """Turn what an object store says into a LibraryError with the URI and a way out."""
    obstore = _obstore()
    try:
        yield
    except LibraryBusyError:
        raise
    except (obstore.exceptions.BaseError, OSError, ValueError) as error:
        text = str(error)
        cause = next((way for mark, way in _CAUSES if mark in text), " ".join(text.split())[:300])
        raise LibraryError(f"cannot {action} the library {uri!r}: {cause}") from error
