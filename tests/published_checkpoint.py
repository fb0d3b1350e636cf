"""The proof of concept as transformers' own modules with random weights, and its file layouts.

The twin that `read_published` is checked against: it runs the modules in the published way and
shares no line with the package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenDecoderConfig,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from conftest import tiny_tokenizer

RATE = 32000
Vectors = NDArray[np.float32]


class Head(nn.Module):
    def __init__(self, size: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Linear(size, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.projection(x)
        return y.div(y.norm(dim=-1, keepdim=True) + 1e-6)


class AudioTower(nn.Module):
    def __init__(self, encodec: EncodecModel, transformer: MusicgenDecoder, head: Head) -> None:
        super().__init__()
        self.encodec = encodec
        self.transformer = transformer
        self.projection = head


class TextTower(nn.Module):
    def __init__(self, roberta: RobertaModel, head: Head) -> None:
        super().__init__()
        self.text_encoder = roberta
        self.projection = head


class PublishedModel(nn.Module):
    """Its state dict has the published keys."""

    def __init__(self, audio: AudioTower, text: TextTower) -> None:
        super().__init__()
        self.audio_encoder = audio
        self.text_encoder = text
        self.logit_scale_a = nn.Parameter(torch.tensor(4.6))
        self.logit_scale_t = nn.Parameter(torch.tensor(4.6))
        self.eval()

    @torch.no_grad()
    def codes(self, waveform: Vectors) -> Tensor:
        """(T,) → (1, K, frames)."""
        encoded = self.audio_encoder.encodec.encode(torch.from_numpy(waveform)[None, None])
        return torch.as_tensor(encoded.audio_codes).squeeze(0)

    @torch.no_grad()
    def embed_clip(self, waveform: Vectors) -> Vectors:
        """(T,) → (D,)."""
        tables = self.audio_encoder.transformer.embed_tokens
        codes = self.codes(waveform)
        x = torch.stack([tables[k](codes[:, k]) for k in range(codes.shape[1])]).sum(dim=0)
        states = self.audio_encoder.transformer(inputs_embeds=x).last_hidden_state
        return np.asarray(self.audio_encoder.projection(states[:, -1])[0].numpy())

    @torch.no_grad()
    def embed_texts(self, tokenizer: RobertaTokenizer, texts: Sequence[str]) -> Vectors:
        """Texts → (N, D)."""
        batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1)
        states = self.text_encoder.text_encoder(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return np.asarray(self.text_encoder.projection(mean).numpy())


def build_published(
    *,
    hidden: int = 64,
    depth: int = 2,
    text_hidden: int = 64,
    text_depth: int = 2,
    codec: dict[str, Any] | None = None,
    decoder: dict[str, Any] | None = None,
) -> PublishedModel:
    """The layout in small, the same on every call; heads of 64, projections 24 wide, D = 32."""
    torch.manual_seed(0)
    encodec = EncodecModel(EncodecConfig(**{**CODEC, **(codec or {})}))
    transformer = MusicgenDecoder(
        MusicgenDecoderConfig(
            **{
                "vocab_size": 64,
                "hidden_size": hidden,
                "num_hidden_layers": depth,
                "num_attention_heads": hidden // 64,
                "ffn_dim": 96,
                "pad_token_id": None,
                "bos_token_id": None,
                **(decoder or {}),
            }
        )
    )
    roberta = RobertaModel(
        RobertaConfig(
            vocab_size=300,
            hidden_size=text_hidden,
            num_hidden_layers=text_depth,
            num_attention_heads=text_hidden // 64,
            intermediate_size=80,
            max_position_embeddings=40,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )
    )
    model = PublishedModel(
        AudioTower(encodec, transformer, Head(hidden, 24, 32)),
        TextTower(roberta, Head(text_hidden, 24, 32)),
    )
    _scatter(model)
    return model


CODEC: dict[str, Any] = {
    "sampling_rate": RATE,
    "num_filters": 4,
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 64,
    "codebook_dim": 16,
    "hidden_size": 16,
    "num_lstm_layers": 2,
    "target_bandwidths": [1.2],  # four codebooks of 6 bits at 50 Hz
    "use_causal_conv": False,
    "use_conv_shortcut": False,
}


def _scatter(model: PublishedModel) -> None:
    """No two weights alike, so that none can stand in for another, and codes that differ."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("original0"):
                parameter.mul_(1 + torch.rand_like(parameter))
            elif "norm" in name.lower() or "projection.projection.1" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif name.endswith("bias"):
                parameter.normal_(std=0.1)
            elif "transformer" in name or "text_encoder" in name:
                parameter.mul_(4)
        _spread_codes(model.audio_encoder.encodec)


def _spread_codes(encodec: Any) -> None:
    """Fresh latents are tiny and entries zero: bring both to one scale, as in a trained codec."""
    last = encodec.encoder.layers[-1].conv
    latents = encodec.encoder(torch.from_numpy(music(1.0))[None, None])[0]  # (size, frames)
    spread = latents.std(dim=1).clamp(min=1e-6)
    last.parametrizations.weight.original0.div_(spread[:, None, None])
    centre = encodec.encoder(torch.from_numpy(music(1.0))[None, None])[0].mean(dim=1)
    last.bias.sub_(centre)
    for number, layer in enumerate(encodec.quantizer.layers):
        layer.codebook.embed.normal_(std=0.8**number)


def spelled(model: PublishedModel, norm: str = "new") -> dict[str, Tensor]:
    """Key → tensor, with weight normalisation in one of the three spellings: new, old, plain."""
    weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
    for key in [k for k in weights if k.endswith("original0")]:
        stem = key.removesuffix("parametrizations.weight.original0")
        gain, vector = weights[key], weights[f"{stem}parametrizations.weight.original1"]
        if norm == "old":
            weights[f"{stem}weight_g"], weights[f"{stem}weight_v"] = gain, vector
        if norm == "plain":
            weights[f"{stem}weight"] = torch._weight_norm(vector, gain, 0)
        if norm != "new":
            del weights[key], weights[f"{stem}parametrizations.weight.original1"]
    return weights


CONFIG: dict[str, Any] = {
    "architectures": ["CLAPModel"],
    "audio_encoder_config": {
        "encodec_model_name": "model/encodec",
        "freeze_musicgen": True,
        "hidden_dim": 24,
        "musicgen_decoder_model_name": "model/musicgen_decoder",
        "projection_dim": 32,
    },
    "model_type": "",
    "temp_a": 0.01,
    "temp_t": 0.01,
    "text_encoder_config": {"freeze_text_encoder": True, "hidden_dim": 24, "projection_dim": 32},
}


def write_weights(folder: Path, weights: dict[str, Tensor], form: str = "safetensors") -> None:
    """In one of the four forms: safetensors, safetensors-shards, bin, bin-shards."""
    suffix = "safetensors" if form.startswith("safetensors") else "bin"
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    if not form.endswith("shards"):
        _write(folder / f"{stem}.{suffix}", weights)
        return
    keys = sorted(weights)
    parts = [keys[: len(keys) // 3], keys[len(keys) // 3 : -5], keys[-5:]]
    places = {}
    for number, part in enumerate(parts, start=1):
        name = f"{stem}-{number:05}-of-00003.{suffix}"
        _write(folder / name, {key: weights[key] for key in part})
        places.update(dict.fromkeys(part, name))
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index))


def _write(path: Path, weights: dict[str, Tensor]) -> None:
    if path.suffix == ".bin":
        torch.save(weights, path)
    else:
        save_file({k: v.contiguous() for k, v in weights.items()}, path, metadata={"format": "pt"})


def write_published(
    folder: Path,
    weights: dict[str, Tensor],
    *,
    form: str = "safetensors",
    config: dict[str, Any] | None = None,
    tokenizer: bool = True,
) -> Path:
    """A checkpoint folder; with `tokenizer` its `vocab.json` and `merges.txt` are beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, weights, form)
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    if tokenizer:
        write_vocabulary(folder)
    return folder


def write_vocabulary(folder: Path) -> Path:
    """`vocab.json` and `merges.txt` of a tiny byte-level BPE with RoBERTa's special tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_tokenizer().model.save(str(folder))
    return folder


def reference_tokenizer(folder: Path) -> RobertaTokenizer:
    """Transformers' own, from the files in a folder; it cuts where the tiny tower ends."""
    return RobertaTokenizer.from_pretrained(folder, model_max_length=38)


def music(seconds: float, seed: int = 0) -> Vectors:
    """A few tones under noise, (T,) at 32 kHz."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * f * time * (1 + 0.1 * time)) for f in (110, 440, 1760, 5000))
    wave = 0.1 * tones + 0.05 * generator.standard_normal(len(time))
    return np.asarray(wave, dtype=np.float32)
