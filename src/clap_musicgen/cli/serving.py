"""`clap-musicgen serve`: the library over HTTP, with its page."""

import errno
import os
import socket
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import (
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    library_is_there,
    load_model,
    model_of,
    options_of,
)
from clap_musicgen.cli.show import emit, note, safe, waiting
from clap_musicgen.errors import ClapMusicGenError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clap_musicgen.library.library import Library
    from clap_musicgen.model.loading import LoadedModel
    from clap_musicgen.service.settings import Settings

_NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - only compared with


def serve(
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen; 0.0.0.0 lets other machines in, who need a token.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="TCP port; 0 takes any free one.")
    ] = 8321,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Holds the token that callers must show; CLAP_MUSICGEN_TOKEN may hold it too.",
            show_default=False,
        ),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let in whoever can reach the address.")
    ] = False,
    public_host: Annotated[
        list[str] | None,
        typer.Option(
            "--public-host",
            metavar="NAME",
            help="A name under which others reach this service, such as music.example.org.",
            show_default=False,
        ),
    ] = None,
    music: Annotated[
        list[Path] | None,
        typer.Option(
            "--music",
            metavar="FOLDER",
            help="A folder from which the page may add music; may be given several times.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            "--runs", metavar="FOLDER", help="A folder of training runs.", show_default=False
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
) -> None:
    """Serve the library over HTTP: a page to look and listen, and an API beside it.

    Only this machine can reach it unless --host says otherwise. End it with Ctrl-C.
    """
    _check_installed()
    from clap_musicgen.service.settings import Settings

    settings = Settings(
        host=host,
        port=port,
        token=_token(token_file, no_token=no_token),
        open_to_all=no_token,
        music=tuple(_folder(path, "--music") for path in music or ()),
        runs=None if runs is None else _folder(runs, "--runs"),
        public_hosts=tuple(public_host or ()),
    )
    folder = library_folder(library)
    if not settings.music and not library_is_there(folder):
        raise InputError(
            f"there is no library in {str(folder)!r}: index some music first, with "
            "`clap-musicgen index FOLDER`, or name your music with --music FOLDER and add it in "
            "the page"
        )
    with _bound(host, port) as listener:
        model, precision = model_of(folder, model, precision)
        # Idle threads of the model would spin, and take the cores from whoever answers meanwhile.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        loaded = load_model(model, precision=precision)
        made_with = options_of(model, precision)
        with _opened(folder, loaded, made_with, create=bool(settings.music)) as opened:
            _serve(opened, loaded, settings, listener, open_page=open_page)
    note("stopped")


def _check_installed() -> None:
    """Say what to install, before anything else is done."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ClapMusicGenError(
            f"serve needs {', '.join(missing)}: install them with "
            '`pip install "clap-musicgen[serve]"`'
        )


def _token(file: Path | None, *, no_token: bool) -> str | None:
    """Choose between the ways to say the token; None where there is none.

    No option takes the token itself: all users of a machine can read the arguments of a process.
    """
    token = os.environ.get("CLAP_MUSICGEN_TOKEN")
    if no_token:
        if token is not None or file is not None:
            raise InputError("a token and --no-token: leave out one of them")
        return None
    if file is None:
        return token
    if token is not None:
        raise InputError("the token comes from --token-file or CLAP_MUSICGEN_TOKEN, not from both")
    try:
        return file.expanduser().read_text().strip()
    except UnicodeDecodeError:
        raise InputError(
            f"{str(file)!r} is no text: write the token into it, and no more"
        ) from None


def _folder(path: Path, option: str) -> Path:
    folder = path.expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"{option} {str(path)!r} is not a folder: check the name")
    return folder


@contextmanager
def _bound(host: str, port: int) -> "Iterator[socket.socket]":
    """Take the port before a model is loaded; InputError if that is not possible."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise InputError(f"{host!r} is no address of this machine: try 127.0.0.1") from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as listener:
        if sys.platform != "win32":  # there it would let two services share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen()
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            way_out = "--port 0 takes any free one" if taken else "--host 127.0.0.1 always works"
            raise InputError(
                f"cannot listen on {host}, port {port}: {error.strerror}; {way_out}"
            ) from None
        yield listener


def _opened(folder: Path | str, model: "LoadedModel", made_with: str, *, create: bool) -> "Library":
    """Open the library, and ask it something: the first visitor shall not wait for that."""
    from clap_musicgen.library.library import Library

    with waiting("opening the library"):
        library = Library.open(folder, model, create=create, made_with=made_with)
        if len(library):
            library.search("music", k=1)
    return library


def _serve(
    library: "Library",
    model: "LoadedModel",
    settings: "Settings",
    listener: socket.socket,
    *,
    open_page: bool,
) -> None:
    """Serve until somebody ends it."""
    from clap_musicgen.service.app import create_app
    from clap_musicgen.service.running import run

    app = create_app(library, model, settings)
    address = _address(settings.host, listener)

    def started() -> None:
        beyond = " and on all other addresses of this machine" * (settings.host in _WILDCARDS)
        tracks = len(library)
        emit(f"{safe(library.path)} ({tracks} tracks) is served at {address}{beyond}")
        if open_page:
            import webbrowser

            webbrowser.open(address)

    run(app, listener, on_started=started)


def _address(host: str, listener: socket.socket) -> str:
    """What to type into a browser of this machine."""
    shown = _WILDCARDS.get(host) or (f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{listener.getsockname()[1]}"
