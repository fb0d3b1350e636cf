"""`clap-musicgen convert`: any checkpoint that we can read, written in our own format."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clap_musicgen.cli.options import JsonOption
from clap_musicgen.cli.show import emit, emit_facts, emit_json, waiting
from clap_musicgen.errors import InputError

if TYPE_CHECKING:
    from clap_musicgen.model.clap import ClapMusicGen


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint folder or a Hub id: of the published proof of concept "
            "(yuhuacheng/clap-musicgen), or one of ours.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="NAME",
            help="A folder, Hub id or tokenizer.json. Default: what is beside the weights, else "
            "the published one from the Hub.",
        ),
    ] = None,
    half: Annotated[
        bool,
        typer.Option("--half", help="Store 16-bit floats: half the size, slightly other vectors."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint as config.json, model.safetensors and tokenizer.json.

    Only what an embedding needs is written, so the result is smaller than a published checkpoint,
    loads without the network and gives the same vectors.
    """
    _require_new(out)
    with waiting("reading the checkpoint"):
        import torch

        from clap_musicgen.model.checkpoint import find_checkpoint
        from clap_musicgen.model.clap import ClapMusicGen
        from clap_musicgen.model.published import is_published

        folder = find_checkpoint(source)
        if tokenizer is not None and not is_published(folder):
            raise InputError(f"{source!r} has its own tokenizer: convert it without --tokenizer")
        model = ClapMusicGen.from_pretrained(folder, tokenizer=tokenizer)
        if half:
            _round_to_half(model)
    with waiting("writing"):
        model.save_pretrained(out, dtype=torch.float16 if half else torch.float32)
    _show(model, source, out, half=half, as_json=as_json)


def _require_new(out: Path) -> None:
    """Never mix with what is there, and find out before a long read that it cannot be written."""
    folder = out.expanduser()
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{str(out)!r} is already there: name a new folder")


def _round_to_half(model: "ClapMusicGen") -> None:
    """Give the weights the values that they will have when they are read again."""
    import torch

    for key, tensor in model.state_dict().items():
        rounded = tensor.half().float()
        if not torch.isfinite(rounded).all():
            raise InputError(
                f"{key} holds {tensor.abs().max():.3g}, too large for 16 bits: convert without --half"
            )
        tensor.copy_(rounded)


def _show(model: "ClapMusicGen", source: str, out: Path, *, half: bool, as_json: bool) -> None:
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    megabytes = sum(file.stat().st_size for file in out.expanduser().iterdir()) / 1e6
    precision = "float16" if half else "float32"
    if as_json:
        emit_json(
            {
                "source": source,
                "out": str(out),
                "weights": count,
                "megabytes": round(megabytes, 1),
                "stored_as": precision,
                "dim": model.dim,
                "clip_seconds": model.clip_seconds,
                "sample_rate": model.sample_rate,
                "fingerprint": model.fingerprint,
            }
        )
        return
    emit_facts(
        [
            ("read", source),
            ("written", f"{out}, {megabytes:,.1f} MB"),
            ("weights", f"{count:,} as {precision}"),
            ("vectors", f"{model.dim} numbers, of clips of {model.clip_seconds:g} s"),
            ("model", model.fingerprint),
        ]
    )
    if half:
        emit("its vectors differ in the third digit: a library made with SOURCE needs a new index")
