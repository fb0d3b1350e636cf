"""`clap-musicgen embed`: vectors of files and texts into a file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_PRECISION,
    JsonOption,
    ModelOption,
    PrecisionOption,
    load_model,
)
from clap_musicgen.cli.show import emit, emit_json, note, progress_bar, safe
from clap_musicgen.errors import AudioError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clap_musicgen.model.loading import LoadedModel


def embed(
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="Where to: vectors.parquet, vectors.jsonl or vectors.npy."
        ),
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Audio files or folders.")
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="Also embed a text; may be repeated."),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    precision: PrecisionOption = DEFAULT_PRECISION,
    as_json: JsonOption = False,
) -> None:
    """Write unit vectors of audio files and texts, in the order given, files first."""
    write = _writer(out)
    paths, words = _paths(files or []), list(texts or [])
    if not paths and not words:
        raise InputError("nothing to embed: give audio files, or texts with --text")
    if not all(text.strip() for text in words):
        raise InputError("the text of --text is empty: describe the music in a few words")
    loaded = load_model(model, precision=precision)
    names, vectors, failed = _embed_files(loaded, paths)
    if failed and out.suffix == ".npy":
        raise InputError(
            f"nothing is written, because rows of {out.name!r} have no names and "
            f"{len(failed)} of {len(paths)} files cannot be used: leave them out, or write .jsonl"
        )
    vectors += list(loaded.embed_text(words))
    if vectors:
        rows = [("path", name) for name in names] + [("text", word) for word in words]
        _replace(out, rows, vectors, write)
    _report(out, len(vectors), loaded.dim, failed, as_json=as_json)
    if failed:
        raise typer.Exit(1)


Row = tuple[str, str]
"""What a vector is of: ("path" or "text", which)."""
Write = Callable[[Path, "list[Row]", "list[NDArray[np.float32]]"], None]


def _writer(out: Path) -> Write:
    """Choose the format, and find out early that `out` cannot be written."""
    writers: dict[str, Write] = {
        ".parquet": _write_parquet,
        ".jsonl": _write_jsonl,
        ".npy": _write_npy,
    }
    if out.suffix not in writers:
        raise InputError(f"--out {str(out)!r} must end in {', '.join(writers)}")
    if not out.absolute().parent.is_dir():
        raise InputError(f"the folder of --out {str(out)!r} does not exist")
    return writers[out.suffix]


def _paths(files: list[Path]) -> list[Path]:
    """Open folders; files stay in the order given."""
    paths: list[Path] = []
    for file in files:
        if file.is_dir():
            from clap_musicgen.audio.files import find_audio

            paths += find_audio([file])
        else:
            paths.append(file)
    return paths


def _embed_files(
    model: "LoadedModel", paths: list[Path]
) -> "tuple[list[str], list[NDArray[np.float32]], list[tuple[str, str]]]":
    names, vectors, failed = [], [], []
    with progress_bar() as bar:
        task = bar.add_task("embedding", total=len(paths), detail="")
        for path in paths:
            try:
                vectors.append(model.embed_audio([path])[0])
                names.append(str(path))
            except AudioError as error:
                failed.append((str(path), error.reason))
                note(f"error: {error}")
            bar.advance(task)
    return names, vectors, failed


def _replace(
    out: Path, rows: list[Row], vectors: "list[NDArray[np.float32]]", write: Write
) -> None:
    """Write beside `out` and move it there, so that an interruption leaves no half file."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        write(partial, rows, vectors)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write_npy(path: Path, rows: list[Row], vectors: "list[NDArray[np.float32]]") -> None:  # noqa: ARG001 - it has no place for names
    import numpy as np

    with path.open("wb") as file:
        np.save(file, np.stack(vectors))


def _write_jsonl(path: Path, rows: list[Row], vectors: "list[NDArray[np.float32]]") -> None:
    with path.open("w", encoding="ascii") as file:
        for (kind, name), vector in zip(rows, vectors, strict=True):
            file.write(json.dumps({kind: name, "embedding": vector.tolist()}) + "\n")


def _write_parquet(path: Path, rows: list[Row], vectors: "list[NDArray[np.float32]]") -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    def column(kind: str) -> list[str | None]:
        return [_utf8(name) if own == kind else None for own, name in rows]

    flat = pa.array(np.concatenate(vectors), type=pa.float32())
    table = pa.table(
        {
            "path": pa.array(column("path"), type=pa.string()),
            "text": pa.array(column("text"), type=pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, len(vectors[0])),
        }
    )
    parquet.write_table(table, path)


def _utf8(text: str) -> str:
    """Parquet holds Unicode only: bytes of a file name that are none are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _report(
    out: Path, count: int, dim: int, failed: list[tuple[str, str]], *, as_json: bool
) -> None:
    if as_json:
        reasons = [{"path": path, "reason": reason} for path, reason in failed]
        written = str(out) if count else None
        emit_json({"out": written, "vectors": count, "dim": dim, "failed": reasons})
    elif count:
        emit(f"{count} vectors of {dim} numbers in {safe(out)}")
