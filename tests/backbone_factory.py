"""Tiny MusicGen and RoBERTa checkpoints, written by transformers' own `save_pretrained`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
)

from conftest import TINY, tiny_tokenizer

LAYERS = 4
CODEBOOKS = 4
PAD = 16
RATE = 8000


def clip(seconds: float, *, seed: int = 0) -> Tensor:
    """Noise that swells and falls, (1, T): its codes differ from frame to frame."""
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * RATE)
    swell = torch.linspace(0, 9, samples).sin().abs()
    return 0.3 * swell * torch.randn((1, samples), generator=generator)


def build_musicgen(codec: dict[str, Any] | None = None, **decoder: Any) -> Any:
    """MusicgenForConditionalGeneration with heads of 8, not 64, and codebooks that are in use."""
    torch.manual_seed(1)
    sizes = {
        "vocab_size": PAD, "num_codebooks": CODEBOOKS, "hidden_size": 24, "num_hidden_layers": LAYERS,
        "num_attention_heads": 3, "ffn_dim": 40, "initializer_factor": 0.3, "pad_token_id": None,
        "bos_token_id": None,
    }  # fmt: skip
    model: Any = MusicgenForConditionalGeneration(
        MusicgenConfig(
            text_encoder=T5Config(
                vocab_size=50, d_model=20, d_kv=5, d_ff=12, num_layers=1, num_heads=4
            ),
            audio_encoder=EncodecConfig(**{**TINY["codec"], **(codec or {})}),
            decoder=MusicgenDecoderConfig(**{**sizes, **decoder}),
        )
    ).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):  # which are all 1 and 0 at the start
            parameter.data += 0.1 * torch.randn_like(parameter)
    with torch.no_grad():
        rest = model.audio_encoder.encoder(clip(2.0).unsqueeze(1))[0].T
        for n, layer in enumerate(model.audio_encoder.quantizer.layers):
            # Entries among what is left to say, of frames that no layer before has said exactly.
            layer.codebook.embed.copy_(rest[n :: len(rest) // PAD][:PAD])
            rest = rest - layer.decode(layer.encode(rest.T.unsqueeze(0)))[0].T
    return model


def build_roberta(**changes: Any) -> Any:
    """RobertaForMaskedLM with biases that are not zero."""
    torch.manual_seed(2)
    model: Any = RobertaForMaskedLM(RobertaConfig(**{**TINY["text"], **changes})).eval()
    for name, parameter in model.named_parameters():
        if "LayerNorm" in name or name.endswith("bias"):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def write_musicgen(folder: Path, *, model: Any = None, shards: str = "1GB") -> Path:
    (model or build_musicgen()).save_pretrained(folder, max_shard_size=shards)
    return folder


def write_roberta(folder: Path, *, model: Any = None) -> Path:
    (model or build_roberta()).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tiny_tokenizer().to_str())
    return folder


def write_pickle(folder: Path, weights: dict[str, Tensor]) -> None:
    """Put `pytorch_model.bin` in the place of what the folder has."""
    for path in folder.glob("model*.safetensors*"):
        path.unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def change_config(folder: Path, change: dict[str, Any], *, inside: str | None = None) -> None:
    """Set fields of `config.json`, or of one of its nested configs; None removes a field."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    part = values[inside] if inside else values
    part.update(change)
    for name in [name for name, value in change.items() if value is None]:
        del part[name]
    path.write_text(json.dumps(values))
