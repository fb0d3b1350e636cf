"""What commands share: the options for the library and the model, and opening them."""

import shlex
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.show import waiting
from clap_musicgen.errors import LibraryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.library.library import Library
    from clap_musicgen.model.loading import LoadedModel

LibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library",
        metavar="FOLDER",
        envvar="CLAP_MUSICGEN_LIBRARY",
        help="Where the library is, a folder or s3://bucket/name; by default in your user data "
        "folder.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME",
        help="mini, a folder, or a Hub id: one of our checkpoints, or a CLAP of transformers.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="exact|fast",
        envvar="CLAP_MUSICGEN_PRECISION",
        help="fast: quicker, with slightly other vectors; a library stays with one of the two.",
    ),
]
LibraryModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="mini, a folder, or a Hub id; by default the one the library was made with.",
        show_default=False,
    ),
]
LibraryPrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="exact|fast",
        envvar="CLAP_MUSICGEN_PRECISION",
        help="By default that of the library; exact for a new one.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
CountOption = Annotated[int, typer.Option("-k", "--count", min=1, help="How many matches.")]
WholeFilesOption = Annotated[
    bool,
    typer.Option(
        "--whole-files",
        help="Ignore start and end of the manifest: its files are the excerpts already.",
    ),
]

DEFAULT_MODEL = "mini"
DEFAULT_PRECISION = "exact"


def library_folder(library: str | None) -> Path | str:
    """Resolve the option: the folder or the URI given, or the folder in the user's data folder."""
    if library is not None:
        return library if "://" in library else Path(library).expanduser()
    from platformdirs import user_data_path

    return user_data_path("clap-musicgen", appauthor=False) / "library"


def library_is_there(folder: Path | str) -> bool:
    """Tell whether there is a library, or at least a folder; LibraryError if nobody can tell."""
    if isinstance(folder, Path):
        return folder.is_dir()
    from clap_musicgen.library.folder import exists

    with waiting("looking for the library"):
        return exists(folder)


def load_model(
    name: str, *, precision: str = DEFAULT_PRECISION, device: str = "cpu"
) -> "LoadedModel":
    """Load a model, with a sign of life: the first import of torch takes seconds."""
    with waiting("loading the model"):
        from clap_musicgen.model.loading import load_embedder
        from clap_musicgen.model.runtime import keep_large_buffers

        keep_large_buffers()
        return load_embedder(name, device=device, precision=precision)


def portable_name(model: str) -> str:
    """The name of a model that means the same in any folder."""
    folder = Path(model).expanduser()
    return str(folder.absolute()) if folder.is_dir() and model != DEFAULT_MODEL else model


def options_of(model: str, precision: str) -> str:
    """Write the options that load this model again, from any folder."""
    name = portable_name(model)
    chosen = "" if precision == DEFAULT_PRECISION else f" --precision {precision}"
    return f"--model {shlex.quote(name)}{chosen}"


def model_of(folder: Path | str, model: str | None, precision: str | None) -> tuple[str, str]:
    """Model and precision: as given, else those the library was made with, else mini, exact."""
    made: dict[str, str] = {}
    if (model is None or precision is None) and library_is_there(folder):
        from clap_musicgen.library.folder import exists, read_description

        with suppress(ValueError):  # a program may have written there what it liked
            words = shlex.split(read_description(folder).made_with) if exists(folder) else []
            made = dict(zip(words[::2], words[1::2], strict=False))
    return (
        model or made.get("--model", DEFAULT_MODEL),
        precision or made.get("--precision", DEFAULT_PRECISION),
    )


@contextmanager
def open_library(
    folder: Path | str, *, model: str | None, precision: str | None, create: bool = False
) -> "Iterator[Library]":
    """Open a library with its model; without `create` an absent one is an error, found at once.

    What is None of model and precision is what the library was made with.

    Raises:
        LibraryError: there is none, or it holds another model's vectors.
    """
    if not create and not library_is_there(folder):
        raise LibraryError(
            f"there is no library in {str(folder)!r}: index some music first, with "
            "`clap-musicgen index FOLDER`"
        )
    model, precision = model_of(folder, model, precision)
    loaded = load_model(model, precision=precision)
    from clap_musicgen.library.library import Library

    with waiting("opening the library"):
        made_with = options_of(model, precision)
        library = Library.open(folder, loaded, create=create, made_with=made_with)
    with library:
        yield library
