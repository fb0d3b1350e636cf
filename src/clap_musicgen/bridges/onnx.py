"""ONNX: both towers as graphs that run without PyTorch, checked against the model they come from.

    export_onnx(ClapMusicGen.from_pretrained("mini"), "mini-onnx")

The folder then holds `audio.onnx` (waveform, samples → embedding, codes), `text.onnx` (ids, mask →
embedding), `tokenizer.json`, which frames, cuts and pads by itself, and `onnx.json`, which says what
goes in. It knows neither files of music nor whole tracks: decoding, resampling, cutting into clips
and taking their mean stay with the caller. The graphs are traced, as EnCodec's encoder keeps sizes in
tensors, which `torch.export` cannot follow.
"""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from clap_musicgen.bridges.onnx_parity import (
    AUDIO,
    TEXT,
    TOKENIZER,
    WORDS,
    Parity,
    measure,
    music_like,
    probe_clips,
    probe_texts,
    shortest_clip,
    zero_padded,
)
from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.audio_encoder import frame_count
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.pooling import masked_mean, mix_layers

CONFIG = "onnx.json"
FORMAT_VERSION = 1
OPSET = 17


class AudioGraph(nn.Module):
    """The audio tower for clips of one length, without a loop over them, which a trace would freeze."""

    def __init__(self, model: ClapMusicGen) -> None:
        super().__init__()
        self.encoder, self.projection = model.audio_encoder, model.audio_projection

    def forward(self, waveform: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T), (B,) → embeddings (B, D) and codes (B, K, frames)."""
        codes = self.encoder.encode_together(waveform, samples)
        frames = frame_count(samples, self.encoder.hop)
        pooled = self._pool(self.encoder.hidden_states(codes, frames), frames)
        return self.projection(pooled), codes

    def _pool(self, states: list[Tensor], frames: Tensor) -> Tensor:
        """As `pool_states`, but the last frame for any number of rows: its len() a trace freezes."""
        if self.encoder.config.pooling != "last":
            return self.encoder.pool_states(states, frames)
        if self.encoder.layer_logits is not None:
            states = [mix_layers(states, self.encoder.layer_logits)]
        last = (frames - 1)[:, None, None]
        return torch.cat(
            [s.gather(1, last.expand(-1, 1, s.shape[2])).squeeze(1) for s in states], 1
        )


class TextGraph(nn.Module):
    """The text tower for texts of one window each."""

    def __init__(self, model: ClapMusicGen) -> None:
        super().__init__()
        self.roberta, self.projection = model.text_encoder.roberta, model.text_projection

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T), (B, T) of 0 and 1 → embeddings (B, D)."""
        states = self.roberta(input_ids=ids, attention_mask=mask).last_hidden_state
        return cast(Tensor, self.projection(masked_mean(states, mask.bool())))


def export_onnx(model: ClapMusicGen, folder: str | os.PathLike[str]) -> Parity:
    """Write both towers as ONNX, and compare onnxruntime with the model on test inputs.

    Args:
        model: on the CPU, with `precision="exact"`.
        folder: new, empty, or of an earlier export, which is replaced.

    Raises:
        InputError: the folder holds something else, the model is not exact, or a package is missing.
        CheckpointError: a tower cannot be traced or written, or onnxruntime computes something else;
            the folder is then as it was.
    """
    _check_installed()
    target = Path(folder).expanduser()
    _check_target(target)
    _check_model(model)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".onnx-") as scratch:
            part = Path(scratch)
            parity = _build(model, part)
            if faults := parity.faults():
                raise CheckpointError(
                    f"{str(target)!r} is not written, as onnxruntime does not compute what the model "
                    f"does: {'; '.join(faults)}. Try other versions of torch and onnxruntime"
                )
            _write_config(model, parity, part)
            _move(part, target)
    except OSError as error:
        raise CheckpointError(f"cannot write {str(target)!r} ({error})") from error
    return parity


# --- before -----------------------------------------------------------------------------------


def _check_installed() -> None:
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"exporting to ONNX needs {' and '.join(missing)}: pip install 'clap-musicgen[onnx]'"
        )


def _check_target(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise InputError(f"{str(target)!r} is a file: name a new folder")
    if target.is_dir() and any(target.iterdir()) and not (target / CONFIG).is_file():
        raise InputError(
            f"{str(target)!r} holds something else than an earlier export (no {CONFIG}): name a new "
            "or an empty folder"
        )


def _check_model(model: ClapMusicGen) -> None:
    if model.precision != "exact":
        raise InputError(
            "only a model of precision 'exact' can be exported: load it without 'fast'"
        )
    if model.device.type != "cpu":
        raise InputError(f"the model is on {str(model.device)!r}: export it from the CPU")


# --- writing ----------------------------------------------------------------------------------


def _build(model: ClapMusicGen, part: Path) -> Parity:
    """Write graphs and tokenizer into an empty folder, and try them."""
    onnx_tokenizer(model).save(str(part / TOKENIZER))
    # First by PyTorch: a table of positions that grows with its input has grown before the trace.
    music, words = model.embed_clips(probe_clips(model)), model.embed_text(probe_texts(model))
    _export_audio(model, part / AUDIO)
    _export_text(model, part / TEXT)
    return measure(model, part, music=music, words=words)


def _export_audio(model: ClapMusicGen, path: Path) -> None:
    length = model.audio_encoder.clip_samples
    example = torch.from_numpy(music_like(length, model.sample_rate)).unsqueeze(0)
    axes = {name: {0: "batch"} for name in ("waveform", "samples", "embedding")}
    axes["codes"] = {0: "batch"}
    if not zero_padded(model):
        axes["waveform"][1], axes["codes"][2] = "length", "frames"
    _export(
        AudioGraph(model),
        (example, torch.tensor([length])),
        path,
        inputs=["waveform", "samples"],
        outputs=["embedding", "codes"],
        axes=axes,
    )


def _export_text(model: ClapMusicGen, path: Path) -> None:
    ids, mask, _ = model.text_encoder.tokenize(list(WORDS[:3]))
    both = {0: "batch", 1: "tokens"}
    _export(
        TextGraph(model),
        (ids, mask.long()),
        path,
        inputs=["ids", "mask"],
        outputs=["embedding"],
        axes={"ids": both, "mask": both, "embedding": {0: "batch"}},
    )


def _export(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    try:
        with torch.no_grad(), _tracing():
            torch.onnx.export(
                graph.eval(),
                example,
                path,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, TypeError) as error:  # what torch raises for what it cannot translate
        raise CheckpointError(
            f"PyTorch {torch.__version__} cannot write {path.name} "
            f"({str(error).strip().splitlines()[0]}): try another version"
        ) from error


@contextmanager
def _tracing() -> Iterator[None]:
    """Silence what is known: the old exporter is meant, and the branches it fixes are tested after."""
    known = (
        ("You are using the legacy TorchScript-based ONNX export", DeprecationWarning),
        ("The feature will be removed. Please remove usage of this function", DeprecationWarning),
        ("Exporting a model to ONNX with a batch_size other than 1", UserWarning),
        ("Exporting aten::index operator of advanced indexing", UserWarning),
        ("", torch.jit.TracerWarning),  # type: ignore[attr-defined]
    )
    with warnings.catch_warnings():
        for message, category in known:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


def onnx_tokenizer(model: ClapMusicGen) -> Tokenizer:
    """A tokenizer that frames with `<s>` and `</s>`, cuts at a window and pads by itself."""
    text = model.text_encoder
    tokenizer = Tokenizer.from_str(text.tokenizer.to_str())
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", text.start), ("</s>", text.end)]
    )
    tokenizer.enable_truncation(max_length=model.config.max_tokens)
    tokenizer.enable_padding(pad_id=text.pad, pad_token=tokenizer.id_to_token(text.pad) or "<pad>")
    return tokenizer


def _write_config(model: ClapMusicGen, parity: Parity, part: Path) -> None:
    """What someone who runs the graphs must know."""
    encoder = model.audio_encoder
    config = {
        "format_version": FORMAT_VERSION,
        "name": model.config.name,
        "fingerprint": model.fingerprint,
        "dim": model.dim,
        "sample_rate": model.sample_rate,
        "clip_seconds": model.clip_seconds,
        "clip_samples": encoder.clip_samples,
        "shortest_samples": shortest_clip(model),
        "zero_padded": zero_padded(model),
        "max_tokens": model.config.max_tokens,
        "opset": OPSET,
        "parity": asdict(parity),
        "files": sorted(path.name for path in part.iterdir()),
    }
    (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _move(part: Path, target: Path) -> None:
    """The config goes first and comes last: a folder that holds one is whole."""
    target.mkdir(exist_ok=True)
    (target / CONFIG).unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == CONFIG):
        path.replace(target / path.name)
