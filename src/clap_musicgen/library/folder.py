"""A library's folder: its description file, the right to write, where a library may be made.

Each function takes a path, a URI or a Place. Knows files and locks; neither tables nor vectors.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from clap_musicgen.errors import LibraryError, LibraryModelError
from clap_musicgen.library.place import LOCK, WRITER, AnyPlace, Lease, locate

if TYPE_CHECKING:
    from clap_musicgen.embedding import Embedder

FORMAT = 2
"""Version of the folder's layout; raised whenever an older program could misread it.

1: vectors as float32. 2: vectors as float16."""
DESCRIPTION = "library.json"
TABLES = ("clips.lance", "texts.lance", "tracks.lance")
MAP = "map.npz"
"""What `mapping` keeps beside the tables; without it a map is only computed again."""


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


def exists(place: AnyPlace) -> bool:
    """Tell whether there is a library; LibraryError if nobody can tell."""
    place = locate(place)
    try:
        return place.exists(DESCRIPTION)
    except OSError as error:
        raise LibraryError(f"cannot look into {str(place)!r}: {reason(error)}") from error


def read_description(place: AnyPlace) -> Description:
    """Read `library.json`; LibraryError if it is absent, damaged or of a newer program."""
    place = locate(place)
    file = place.file(DESCRIPTION)
    try:
        content = json.loads(place.read(DESCRIPTION).decode("utf-8"))
        version = int(content["format"])
    except OSError as error:
        raise LibraryError(f"cannot read {file!r}: {reason(error)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(file) from error
    if version > FORMAT:
        raise LibraryError(
            f"the library {str(place)!r} was made by a newer clap-musicgen (format {version}; "
            f"this one reads up to {FORMAT}): upgrade with `pip install --upgrade clap-musicgen`"
        )
    names = [field.name for field in fields(Description) if field.name != "made_with"]
    try:
        known = {name: content[name] for name in names}
    except KeyError as error:
        raise _damaged(file) from error
    return Description(**known, made_with=str(content.get("made_with", "")))


def write_description(place: AnyPlace, description: Description) -> None:
    """Write `library.json` in one step: another process sees all of it or nothing."""
    stated = asdict(description)
    if not description.made_with:
        del stated["made_with"]
    locate(place).write(DESCRIPTION, json.dumps(stated, indent=2).encode())


def check_model(place: AnyPlace, description: Description, model: Embedder) -> None:
    """LibraryModelError unless the library's vectors are this model's."""
    if description.fingerprint != model.fingerprint or description.dim != model.dim:
        how = f" ({description.made_with})" if description.made_with else ""
        raise LibraryModelError(
            f"the library {str(place)!r} holds vectors of the model {description.fingerprint} "
            f"(length {description.dim}), not of {model.fingerprint} (length {model.dim}): open it "
            f"with the model and the precision it was made with{how}, or make a new library in "
            "another folder"
        )


def check_vacant(place: AnyPlace) -> None:
    """LibraryError if there is anything but what an interrupted creation leaves behind."""
    place = locate(place)
    ours = {DESCRIPTION, f"{DESCRIPTION}.new", LOCK, WRITER, MAP, *TABLES}
    foreign = [name for name in place.names() if name not in ours and not name.startswith(LOCK)]
    if foreign:
        raise LibraryError(
            f"{str(place)!r} is neither empty nor a library (it holds {foreign[0]!r}): "
            "name a folder of its own for the library, which is made if it is absent"
        )


def writing(place: AnyPlace, *, timeout: float = 0.0) -> AbstractContextManager[Lease]:
    """Be the only writer while the block runs; readers go on undisturbed.

    The lock ends with its process, however that ends: at once in a folder, and in an object store
    when it has shown no sign of life for `objects.DEAD_SECONDS`. There the lease's `check` tells
    before each commit that the right to write is still ours.

    Raises:
        LibraryBusyError: someone else still writes after `timeout` seconds.
        LibraryError: we may not write here.
    """
    return locate(place).writing(timeout=timeout)


def size_on_disk(place: AnyPlace) -> int:
    """Bytes of all files; files that vanish meanwhile do not count."""
    return locate(place).size()


def reason(error: OSError) -> str:
    """What went wrong, in the operating system's words and without the path."""
    return error.strerror or str(error)


def _damaged(file: str) -> LibraryError:
    return LibraryError(
        f"{file!r} is damaged: restore it from a backup, or delete the folder and index again"
    )
