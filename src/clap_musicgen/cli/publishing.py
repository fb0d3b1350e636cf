"""`clap-musicgen card`, `push` and `export-onnx`: a model for others to use."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import JsonOption
from clap_musicgen.cli.show import emit, emit_facts, emit_json, note, safe, waiting

if TYPE_CHECKING:
    from clap_musicgen.bridges.hub import Push
    from clap_musicgen.bridges.onnx_parity import Closeness, Parity

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run of train, or a checkpoint folder.")
]
LicenceOption = Annotated[
    str | None,
    typer.Option(
        "--license",
        "--licence",
        metavar="ID",
        help="As the Hub writes it, for example cc-by-4.0. Nobody guesses one.",
    ),
]


def card(
    run: RunArgument,
    repository: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Its future name on the Hub.")
    ] = None,
    licence: LicenceOption = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Hub id of what it was trained on; may be repeated."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite another README.md.")
    ] = False,
) -> None:
    """Write RUN/README.md, a model card made of the run's own report and evaluations.

    Measure first, so that the card has figures: clap-musicgen evaluate RUN --out RUN/test
    """
    with waiting("loading the model"):
        from clap_musicgen.bridges.hub import write_card

        path = write_card(
            run,
            repository=repository,
            licence=licence,
            datasets=dataset or (),
            replace=replace,
        )
    if licence is None:
        note("the card states no licence: give --license ID, or nobody may use the model")
    emit(safe(path))


def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Created if absent.")],
    private: Annotated[bool, typer.Option("--private", help="Only its owner sees it.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the card; send nothing.")
    ] = False,
    licence: LicenceOption = None,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Created if absent; by default main.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a checkpoint and its card to the Hugging Face Hub, in one commit.

    Log in once with `hf auth login`, or set HF_TOKEN. A README.md in RUN is used as it is.
    """
    with waiting("loading the model"):
        from clap_musicgen.bridges.hub import CARD, push_to_hub
    if licence is None and not (run.expanduser() / CARD).exists():
        licence = _ask_for_licence(quiet=as_json or dry_run)
    done = push_to_hub(
        run, repository, private=private, dry_run=dry_run, licence=licence, revision=revision
    )
    _show_push(done, dry_run=dry_run, as_json=as_json)


def _ask_for_licence(*, quiet: bool) -> str | None:
    if not quiet and _terminal():
        answer: str = typer.prompt(
            "Licence of the model, as the Hub writes it (empty: state none)",
            default="",
            show_default=False,
            err=True,
        )
        if answer.strip():
            return answer.strip()
    note("the card states no licence: give --license ID, or nobody may use the model")
    return None


def _terminal() -> bool:
    return sys.stdin.isatty()


def _show_push(done: "Push", *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        emit_json(asdict(done))
        return
    if dry_run:
        emit(done.card.rstrip())
        note("a dry run: nothing was sent. It would send:")
    for name, size in done.files.items():
        note(f"  {name}  {size:,} bytes")
    if not dry_run:
        emit(safe(done.url))
        note(f"use it: clap-musicgen index ~/Music --model {done.repository}")


def export_onnx(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="mini, a checkpoint folder, or a Hub id.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A new folder, or that of an earlier export.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Write both towers as ONNX, checked against the model with onnxruntime."""
    with waiting("loading the model"):
        from clap_musicgen.bridges import onnx
        from clap_musicgen.model.clap import ClapMusicGen

        loaded = ClapMusicGen.from_pretrained(model)
    with waiting("exporting and checking"):
        parity = onnx.export_onnx(loaded, out)
    _show_parity(parity, out, as_json=as_json)


def _show_parity(parity: "Parity", out: Path, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        emit_json({"folder": str(out), **asdict(parity)})
        return
    emit_facts(
        [
            ("written to", str(out)),
            ("audio.onnx", f"{parity.clips} clips: {_close(parity.audio)}"),
            ("", f"{parity.codes:.2%} of the codes agree; given the same codes:"),
            ("", _close(parity.same_codes)),
            ("text.onnx", f"{parity.texts} texts: {_close(parity.text)}"),
        ]
    )


def _close(found: "Closeness") -> str:
    return (
        f"cosine {found.cosine:.7f} or more, centred {found.centred_cosine:.7f}, numbers within "
        f"{found.deviation:.1e}"
    )
