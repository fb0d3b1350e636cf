"""`clap-musicgen check`, `export` and `import`: keeping a library whole, and carrying it elsewhere.

None of them needs the model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clap_musicgen.cli.options import JsonOption, LibraryOption, library_folder
from clap_musicgen.cli.show import emit, emit_json, emit_list, progress_bar, safe, waiting

if TYPE_CHECKING:
    from clap_musicgen.library.checking import CheckReport
    from clap_musicgen.library.records import Progress, Report


def check(
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put right what can be; take out what cannot be saved."),
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at every row of the library: is it whole? Exit code 1 if it is not."""
    folder = library_folder(library)
    with waiting("checking"):
        from clap_musicgen.library.checking import check_library

        report = check_library(folder, repair=repair)
    if as_json:
        emit_json(_check_json(report))
    else:
        _print_check(report, repair=repair)
    if not report.sound:
        raise typer.Exit(1)


def _print_check(report: "CheckReport", *, repair: bool) -> None:
    harmless = [finding for finding in report.findings if finding.kind == "orphans"]
    for title, mended in (("repaired:", True), ("not sound:", False)):
        found = [
            (finding.subject, finding.detail)
            for finding in report.findings
            if finding.mended is mended and (mended or finding not in harmless)
        ]
        emit_list(title, found)
    if not repair:
        emit_list("harmless:", [(finding.subject, finding.detail) for finding in harmless])
    if report.lost:
        verb = "taken out" if repair and report.sound else "cannot be saved"
        emit(f"{len(report.lost)} tracks {verb}; index their folders again to have them back:")
        emit("\n".join(f"  {safe(path)}" for path in report.lost))
    if not report.sound and not repair:
        emit("clap-musicgen check --repair puts right what can be")
    state = "sound" if report.sound else "not sound"
    emit(f"library: {safe(report.path)} ({report.tracks} tracks, {report.clips} clips): {state}")


def _check_json(report: "CheckReport") -> dict[str, Any]:
    return {
        "library": report.path,
        "tracks": report.tracks,
        "clips": report.clips,
        "sound": report.sound,
        "lost": report.lost,
        "findings": [
            {
                "kind": finding.kind,
                "subject": finding.subject,
                "detail": finding.detail,
                "lost": finding.lost,
                "mended": finding.mended,
            }
            for finding in report.findings
        ],
    }


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="What to write.")],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole library, vectors included, into one Parquet file."""
    folder = library_folder(library)
    with waiting("exporting"):
        from clap_musicgen.library.exchange import export_library

        done = export_library(folder, file)
    if as_json:
        emit_json(
            {"file": done.path, "tracks": done.tracks, "clips": done.clips} | {"bytes": done.bytes}
        )
        return
    size = f"{done.bytes / 1e6:,.1f} MB" if done.bytes >= 1e6 else f"{done.bytes / 1e3:.0f} kB"
    emit(f"{done.tracks} tracks, {done.clips} clips, {size}: {safe(done.path)}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="What an export wrote.")],
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the tracks of an exported library into this one, which is made if it is absent.

    Nothing is embedded, and the music need not be there. Run it again if it was interrupted.
    """
    folder = library_folder(library)
    with progress_bar() as bar:
        task = bar.add_task("importing", total=None, detail="")

        def show(state: "Progress") -> None:
            bar.update(task, completed=state.done, total=state.total)

        from clap_musicgen.library.importing import import_library

        report = import_library(folder, file, on_progress=show)
    if as_json:
        emit_json(_import_json(report, folder))
    else:
        _print_import(report, folder)
    if report.failed and not (report.added or report.unchanged):
        raise typer.Exit(1)


def _print_import(report: "Report", folder: Path | str) -> None:
    kinds = ("added", "unchanged", "failed")
    emit(", ".join(f"{len(getattr(report, kind))} {kind}" for kind in kinds))
    emit_list("failed:", report.failed)
    emit(f"library: {safe(folder)}")


def _import_json(report: "Report", folder: Path | str) -> dict[str, Any]:
    return {
        "library": str(folder),
        "added": report.added,
        "unchanged": report.unchanged,
        "failed": [{"path": path, "reason": reason} for path, reason in report.failed],
    }
