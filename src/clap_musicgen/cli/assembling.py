"""`clap-musicgen assemble`: full-size towers and new projections as a checkpoint to train."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import JsonOption
from clap_musicgen.cli.show import emit, emit_facts, emit_json, note, safe, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from clap_musicgen.model.clap import ClapMusicGen

_WEIGHTS_LICENCE = (
    "facebook's weights of MusicGen are licensed CC BY-NC 4.0, not for commercial use: so is what "
    "contains them, trained or not"
)


def assemble(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    musicgen: Annotated[
        str,
        typer.Option(
            "--musicgen", metavar="NAME", help="facebook/musicgen-small, -medium, -large; a folder."
        ),
    ],
    text: Annotated[
        str, typer.Option("--text", metavar="NAME", help="A RoBERTa: Hub id or folder.")
    ] = "FacebookAI/roberta-base",
    layers: Annotated[
        list[int] | None,
        typer.Option(
            "--layers", metavar="N", help="Of the decoder; may be repeated. Default: the middle."
        ),
    ] = None,
    pooling: Annotated[str, typer.Option(help="Over frames: mean, last, mean_std.")] = "mean",
    combine: Annotated[str, typer.Option(help="Several layers: mix or concat.")] = "mix",
    delay: Annotated[bool, typer.Option(help="Delay codebooks, as MusicGen was trained.")] = True,
    positions: Annotated[str, typer.Option(help="sinusoidal or zero.")] = "sinusoidal",
    dim: Annotated[int, typer.Option(help="Length of an embedding.")] = 512,
    clip_seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Of the new projections.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of a MusicGen and a RoBERTa. Its projections are untrained.

    It is where training starts, not a model to search with:
    clap-musicgen train MANIFEST --from OUT --fresh --out FOLDER
    """
    out = out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{str(out)!r} exists and is no empty folder: give a new one")
    with waiting("reading the towers"):
        from clap_musicgen.model.clap import ClapMusicGen

        model = ClapMusicGen.from_backbones(
            musicgen,
            text,
            seed=seed,
            layers=layers,
            pooling=pooling,
            combine=combine,
            delay=delay,
            positions=positions,
            dim=dim,
            clip_seconds=clip_seconds,
        )
    with waiting("writing"):
        model.save_pretrained(out)
    _show(model, out, as_json=as_json)


def _show(model: "ClapMusicGen", out: Path, *, as_json: bool) -> None:
    config = model.config
    count = sum(parameter.numel() for parameter in model.parameters())
    if as_json:
        emit_json(
            {
                "folder": str(out),
                "name": config.name,
                "trained": False,
                "layers": list(config.layers),
                "dim": config.dim,
                "parameters": count,
                "fingerprint": model.fingerprint,
            }
        )
        return
    of = f"of {config.decoder.get('num_hidden_layers', 24)}, {config.combine}, {config.pooling}"
    emit_facts(
        [
            ("written to", str(out)),
            ("model", f"{config.name}, {count / 1e6:,.1f} M parameters"),
            ("layers", f"{', '.join(map(str, config.layers))} {of}"),
            ("projections", "UNTRAINED: its vectors do not yet join music and words"),
        ]
    )
    start = safe(quote(str(out)))
    emit(f"train it: clap-musicgen train MANIFEST --from {start} --fresh --out FOLDER")
    note(_WEIGHTS_LICENCE)
