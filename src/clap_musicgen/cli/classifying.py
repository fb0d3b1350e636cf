"""`clap-musicgen classify`: which of a few labels fits a file best."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from clap_musicgen.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_PRECISION,
    JsonOption,
    ModelOption,
    PrecisionOption,
    load_model,
)
from clap_musicgen.cli.show import emit, emit_json, emit_table, note, waiting
from clap_musicgen.errors import AudioError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clap_musicgen.model.loading import LoadedModel


class LabelsCommand(TyperCommand):
    """Lets one `--labels` take every word up to the next option, which options cannot do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat `--labels` before each of its words."""
        spread: list[str] = []
        in_labels = False
        for place, word in enumerate(args):
            if word == "--":
                spread += args[place:]
                break
            if word.startswith("-") and len(word) > 1:
                in_labels = word == "--labels"
                if not in_labels:
                    spread.append(word)
            else:
                spread += ["--labels", word] if in_labels else [word]
        return list(super().parse_args(ctx, spread))


def classify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Audio files.")],
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels", metavar="LABEL...", help="The labels to choose from, behind the files."
        ),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    precision: PrecisionOption = DEFAULT_PRECISION,
    as_json: JsonOption = False,
) -> None:
    """Rank labels for each file, for example: classify song.mp3 --labels jazz metal ambient."""
    chosen = _checked(labels or [])
    loaded = load_model(model, precision=precision)
    with waiting("reading the labels"):
        from clap_musicgen.evaluation.zero_shot import label_vectors

        vectors = label_vectors(loaded, chosen)
    results: list[dict[str, Any]] = []
    for file in files:
        try:
            ranking = _rank(loaded, file, chosen, vectors)
        except AudioError as error:
            note(f"error: {error}")
            continue
        results.append({"path": str(file), "labels": ranking})
    if as_json:
        emit_json(results)
    elif results:
        rows = [
            (place["label"], f"{place['share']:.1%}", f"{place['cosine']:.3f}", str(result["path"]))
            for result in results
            for place in result["labels"]
        ]
        emit_table(["label", ">share", ">cosine", "path"], rows)
        from clap_musicgen.evaluation.zero_shot import SHARE_TEMPERATURE

        emit(
            f"share: softmax of cosine / {SHARE_TEMPERATURE:g} over these labels alone; it ranks "
            "them and is no probability"
        )
    if len(results) < len(files):
        raise typer.Exit(1)


def _checked(labels: list[str]) -> list[str]:
    from clap_musicgen.evaluation.zero_shot import as_choice

    try:
        return as_choice(labels)
    except InputError as error:
        raise InputError(
            f"{error}, behind the files, as in classify song.mp3 --labels jazz metal"
        ) from error


def _rank(
    model: "LoadedModel", file: Path, labels: list[str], vectors: "NDArray[np.float32]"
) -> list[dict[str, Any]]:
    from clap_musicgen.evaluation.zero_shot import rank_labels

    with waiting("listening"):
        ranked = rank_labels(model.embed_audio([file]), labels, vectors)[0]
    return [
        {"label": one.label, "share": round(one.share, 6), "cosine": round(one.cosine, 6)}
        for one in ranked
    ]
