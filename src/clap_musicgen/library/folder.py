"""A library's folder: its description file, the right to write, where a library may be made.

Knows files and locks; neither tables nor vectors.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clap_musicgen.errors import LibraryBusyError, LibraryError, LibraryModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.embedding import Embedder

FORMAT = 1
"""Version of the folder's layout; raised whenever an older program could misread it."""
DESCRIPTION = "library.json"
LOCK = "write.lock"
WRITER = "write.pid"
TABLES = ("clips.lance", "tracks.lance")


@dataclass(frozen=True, slots=True)
class Description:
    """The content of `library.json`: whose vectors these are and how they were made."""

    format: int
    fingerprint: str
    dim: int
    sample_rate: int
    clip_seconds: float
    made_with: str = ""
    """How a person asked for the model, such as "--model mini"; "" in libraries that do not know."""


def describe(model: Embedder, *, made_with: str = "") -> Description:
    """Return the description of a library made with this model."""
    return Description(
        FORMAT,
        model.fingerprint,
        model.dim,
        model.sample_rate,
        model.clip_seconds,
        made_with=made_with,
    )


def exists(folder: Path) -> bool:
    """Tell whether the folder holds a library."""
    try:
        return (folder / DESCRIPTION).is_file()
    except OSError as error:
        raise LibraryError(f"cannot look into {str(folder)!r}: {reason(error)}") from error


def read_description(folder: Path) -> Description:
    """Read `library.json`; LibraryError if it is absent, damaged or of a newer program."""
    file = folder / DESCRIPTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        version = int(content["format"])
    except OSError as error:
        raise LibraryError(f"cannot read {str(file)!r}: {reason(error)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(file) from error
    if version > FORMAT:
        raise LibraryError(
            f"the library {str(folder)!r} was made by a newer clap-musicgen (format {version}; "
            f"this one reads up to {FORMAT}): upgrade with `pip install --upgrade clap-musicgen`"
        )
    names = [field.name for field in fields(Description) if field.name != "made_with"]
    try:
        known = {name: content[name] for name in names}
    except KeyError as error:
        raise _damaged(file) from error
    return Description(**known, made_with=str(content.get("made_with", "")))


def write_description(folder: Path, description: Description) -> None:
    """Write `library.json` in one step: another process sees all of it or nothing."""
    draft = folder / f"{DESCRIPTION}.new"
    stated = asdict(description)
    if not description.made_with:
        del stated["made_with"]
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(stated, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / DESCRIPTION)


def check_model(folder: Path, description: Description, model: Embedder) -> None:
    """LibraryModelError unless the library's vectors are this model's."""
    if description.fingerprint != model.fingerprint or description.dim != model.dim:
        how = f" ({description.made_with})" if description.made_with else ""
        raise LibraryModelError(
            f"the library {str(folder)!r} holds vectors of the model {description.fingerprint} "
            f"(length {description.dim}), not of {model.fingerprint} (length {model.dim}): open it "
            f"with the model and the precision it was made with{how}, or make a new library in "
            "another folder"
        )


def check_vacant(folder: Path) -> None:
    """LibraryError if the folder holds anything but what an interrupted creation leaves behind."""
    ours = {DESCRIPTION, f"{DESCRIPTION}.new", LOCK, WRITER, *TABLES}
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in ours)
    if foreign:
        raise LibraryError(
            f"{str(folder)!r} is neither empty nor a library (it holds {foreign[0]!r}): "
            "name a folder of its own for the library, which is made if it is absent"
        )


@contextmanager
def writing(folder: Path, *, timeout: float = 0.0) -> Iterator[None]:
    """Be the only writer while the block runs; readers go on undisturbed.

    The operating system frees the lock when its process ends, however it ends.

    Raises:
        LibraryBusyError: someone else still writes after `timeout` seconds.
        LibraryError: we may not write here.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise LibraryBusyError(
            f"{_writer(folder)} is writing to the library {str(folder)!r}: wait until it is done "
            "(searching goes on meanwhile)"
        ) from error
    except OSError as error:
        raise LibraryError(
            f"cannot write to the library {str(folder)!r}: {reason(error)}"
        ) from error
    try:
        with suppress(OSError):  # the number is a courtesy to whoever has to wait
            (folder / WRITER).write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        with suppress(OSError):
            (folder / WRITER).unlink(missing_ok=True)
        lock.release()


def size_on_disk(folder: Path) -> int:
    """Bytes of all files in the folder; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).stat().st_size
    return total


def reason(error: OSError) -> str:
    """What went wrong, in the operating system's words and without the path."""
    return error.strerror or str(error)


def _damaged(file: Path) -> LibraryError:
    return LibraryError(
        f"{str(file)!r} is damaged: restore it from a backup, or delete the folder and index again"
    )


def _writer(folder: Path) -> str:
    """Name the process that writes, as far as it is known."""
    with suppress(OSError, ValueError):
        return f"process {int((folder / WRITER).read_text(encoding='ascii'))}"
    return "another process"
