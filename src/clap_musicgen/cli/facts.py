"""`clap-musicgen info`: what there is."""

from typing import TYPE_CHECKING, Any

from clap_musicgen.cli.options import (
    DEFAULT_PRECISION,
    JsonOption,
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    library_is_there,
    load_model,
    model_of,
)
from clap_musicgen.cli.show import emit_facts, emit_json, waiting

if TYPE_CHECKING:
    from clap_musicgen.library.records import Info
    from clap_musicgen.model.loading import LoadedModel


def info(
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is in the library and which model is used."""
    folder = library_folder(library)
    found = None
    if library_is_there(folder):
        with waiting("looking at the library"):
            from clap_musicgen.library.library import Library

            found = Library.inspect(folder)
    model, precision = model_of(folder, model, precision)
    loaded = load_model(model, precision=precision)
    fits = found.fingerprint == loaded.fingerprint if found else None
    if as_json:
        emit_json(
            {
                "library": _library_json(found) if found else None,
                "model": _model_json(loaded, model, precision),
                "library_fits_model": fits,
            }
        )
        return
    facts = [("library", str(folder))]
    facts += _library_facts(found) if found else [("", "not there yet: clap-musicgen index FOLDER")]
    facts += _model_facts(loaded, model, precision)
    if found and not fits:
        how = f": {found.made_with}" if found.made_with else ""
        facts.append(("", f"the library holds vectors of another model{how}"))
    emit_facts(facts)


def _library_facts(info: "Info") -> list[tuple[str, str]]:
    return [
        ("tracks", f"{info.tracks:,}"),
        ("clips", f"{info.clips:,}"),
        (
            "music",
            f"{info.hours:.1f} hours" if info.hours >= 1 else f"{info.hours * 60:.1f} minutes",
        ),
        ("size on disk", f"{info.bytes / 1e6:,.1f} MB"),
    ]


def _model_facts(model: "LoadedModel", name: str, precision: str) -> list[tuple[str, str]]:
    facts = _model_json(model, name, precision)
    return [
        ("model", name if precision == DEFAULT_PRECISION else f"{name}, {precision}"),
        ("parameters", f"{facts['parameters'] / 1e6:.1f} million"),
        ("vectors", f"{facts['dim']} numbers, one per {facts['clip_seconds']:g} s of music"),
        ("sample rate", f"{facts['sample_rate']:,} Hz"),
        ("fingerprint", str(facts["fingerprint"])),
    ]


def _library_json(info: "Info") -> dict[str, Any]:
    return {
        "path": info.path,
        "tracks": info.tracks,
        "clips": info.clips,
        "hours": round(info.hours, 4),
        "bytes": info.bytes,
        "dim": info.dim,
        "fingerprint": info.fingerprint,
        "made_with": info.made_with,
    }


def _model_json(model: "LoadedModel", name: str, precision: str) -> dict[str, Any]:
    return {
        "name": name,
        "precision": precision,
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "dim": model.dim,
        "sample_rate": model.sample_rate,
        "clip_seconds": model.clip_seconds,
        "fingerprint": model.fingerprint,
    }
