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

TEMPERATURE = 0.1
"""Cosines are divided by it before the softmax, or all shares would look alike."""

_EXPLANATION = (
    f"share: softmax of cosine / {TEMPERATURE:g} over these labels alone; it ranks them and is no "
    "probability"
)


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
        emit(_EXPLANATION)
    if len(results) < len(files):
        raise typer.Exit(1)


def _checked(labels: list[str]) -> list[str]:
    stripped = [label.strip() for label in labels]
    if not all(stripped) or len(set(stripped)) < max(2, len(stripped)):
        raise InputError(
            f"the labels {labels} are no choice: give two or more different ones behind the files, "
            "as in classify song.mp3 --labels jazz metal"
        )
    return stripped


def _rank(
    model: "LoadedModel", file: Path, labels: list[str], vectors: "NDArray[np.float32]"
) -> list[dict[str, Any]]:
    import numpy as np

    with waiting("listening"):
        cosines = vectors @ model.embed_audio([file])[0]
    weights = np.exp((cosines - cosines.max()) / TEMPERATURE)
    shares = weights / weights.sum()
    return [
        {
            "label": labels[place],
            "share": round(float(shares[place]), 6),
            "cosine": round(float(cosines[place]), 6),
        }
        for place in np.argsort(-cosines, kind="stable")
    ]
