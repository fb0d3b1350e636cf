"""`clap-musicgen index`: music into the library."""

import time
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clap_musicgen.cli.options import (
    JsonOption,
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    load_model,
    model_of,
    open_library,
    portable_name,
)
from clap_musicgen.cli.show import emit, emit_json, emit_list, note, progress_bar, safe, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from clap_musicgen.library.adding import Engine
    from clap_musicgen.library.library import Library
    from clap_musicgen.library.records import Progress, Report


class Where(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


def index(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER", help="Folders or files of music.")
    ],
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Also take out tracks whose files are gone.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that decode, beside the model.")
    ] = 1,
    engine: Annotated[
        Where, typer.Option("--engine", help="Work in this process, or in workers on Ray.")
    ] = Where.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help="With --engine ray: a running cluster, such as auto; else one of its own.",
            show_default=False,
        ),
    ] = None,
    actors: Annotated[
        int | None,
        typer.Option(
            "--actors", min=1, metavar="N", help="With --engine ray: how many workers; 2 if unsaid."
        ),
    ] = None,
    gpus: Annotated[
        float, typer.Option("--gpus-per-actor", min=0.0, help="With --engine ray: of each worker.")
    ] = 0.0,
    wait: Annotated[
        float,
        typer.Option(
            "--wait", min=0.0, metavar="SECONDS", help="How long to wait for another writer."
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Add music to the library. Run it again at any time: only what is new or changed costs."""
    if engine is Where.LOCAL and (address is not None or actors is not None or gpus):
        raise InputError("--address, --actors and --gpus-per-actor need --engine ray")
    _check_music(folders)
    folder = library_folder(library)
    model, precision = model_of(folder, model, precision)
    chosen = None
    if engine is Where.RAY:
        chosen = _ray(address, actors or 2, gpus=gpus, model=model, precision=precision)
    with open_library(folder, model=model, precision=precision, create=True) as opened:
        try:
            started = time.monotonic()
            how = {"prune": prune, "workers": workers, "engine": chosen, "wait": wait}
            report = _add(opened, folders, how)
            elapsed = time.monotonic() - started
        except KeyboardInterrupt:
            note(
                f"{len(opened)} tracks are in the library {str(folder)!r} and stay there; "
                "run the same command again to go on"
            )
            raise typer.Exit(130) from None
        tracks = len(opened)
    if as_json:
        emit_json(_as_json(report, folder, tracks, elapsed))
    else:
        _print(report, folder, tracks, elapsed)
    if report.failed and not (report.added or report.updated or report.unchanged):
        raise typer.Exit(1)


def _check_music(folders: list[Path]) -> None:
    """Find out before the model is loaded that there is nothing to do."""
    with waiting("looking for music"):
        from clap_musicgen.audio.files import find_audio

        found = find_audio(folders)
    if not found:
        names = ", ".join(repr(str(folder)) for folder in folders)
        raise InputError(f"nothing to index: no audio files in {names}")


def _ray(address: str | None, actors: int, *, gpus: float, model: str, precision: str) -> "Engine":
    from clap_musicgen.library.scale import RayEngine

    device = "cuda" if gpus else "cpu"
    load = partial(load_model, portable_name(model), precision=precision, device=device)
    return RayEngine(address=address, workers=actors, gpus=gpus, load=load)


def _add(library: "Library", folders: list[Path], how: dict[str, Any]) -> "Report":
    with progress_bar() as bar:
        task = bar.add_task("indexing", total=None, detail="")
        started = time.monotonic()

        def show(state: "Progress") -> None:
            speed = state.seconds / max(1e-3, time.monotonic() - started)
            remarks = [f"{speed:.0f} × real time"] if state.seconds else []
            remarks += [f"{state.failed} failed"] if state.failed else []
            detail = f"({', '.join(remarks)})" if remarks else ""
            bar.update(task, completed=state.done, total=state.total, detail=detail)

        return library.add(folders, on_progress=show, **how)


def _print(report: "Report", folder: Path | str, tracks: int, elapsed: float) -> None:
    kinds = ("added", "updated", "unchanged", "removed", "failed")
    emit(", ".join(f"{len(getattr(report, kind))} {kind}" for kind in kinds))
    if report.seconds:
        speed = report.seconds / elapsed
        length = (
            f"{report.seconds / 60:.1f} minutes"
            if report.seconds >= 60
            else (f"{report.seconds:.1f} seconds")
        )
        emit(f"{length} of music in {elapsed:.1f} s: {speed:.0f} × real time")
    emit_list("failed:", report.failed)
    emit_list("used, but not whole:", report.problems)
    emit(f"library: {safe(folder)} ({tracks} tracks)")


def _as_json(report: "Report", folder: Path | str, tracks: int, elapsed: float) -> dict[str, Any]:
    return {
        "library": str(folder),
        "tracks": tracks,
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "removed": report.removed,
        "failed": [{"path": path, "reason": reason} for path, reason in report.failed],
        "problems": [{"path": path, "problem": problem} for path, problem in report.problems],
        "audio_seconds": round(report.seconds, 3),
        "elapsed_seconds": round(elapsed, 3),
        "times_real_time": round(report.seconds / elapsed, 2),
    }
