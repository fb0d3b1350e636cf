"""Tiny CLAP checkpoints, built and saved by transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor
from transformers import RobertaTokenizer as Tokenizer

from clap_musicgen.embedding import Waveform
from conftest import tiny_tokenizer

RATE = 8_000
AUDIO: dict[str, Any] = {
    "spec_size": 64,
    "num_mel_bins": 16,
    "patch_size": 4,
    "patch_stride": (4, 4),
    "window_size": 4,
    "depths": [1, 2],
    "num_attention_heads": [2, 4],
    "patch_embeds_hidden_size": 8,
    "hidden_size": 16,
    "aff_block_r": 2,
}
TEXT: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
    "type_vocab_size": 1,
}
FEATURES: dict[str, Any] = {
    "feature_size": 16,
    "sampling_rate": RATE,
    "hop_length": 40,
    "max_length_s": 1,
    "fft_window_size": 256,
    "frequency_min": 50,
    "frequency_max": 4000,
}


def build(*, fused: bool = False, padding: str = "repeatpad") -> tuple[ClapModel, ClapProcessor]:
    """A model of a few thousand random weights, the same on every call, that tells inputs apart."""
    torch.manual_seed(0)
    config = ClapConfig(
        audio_config={**AUDIO, "enable_fusion": fused}, text_config=TEXT, projection_dim=12
    )
    model = ClapModel(config).eval()
    with torch.no_grad():  # as it begins, it gives all inputs almost the same vector
        for name, weights in model.named_parameters():
            if weights.ndim > 1 and "embed" not in name:
                weights.mul_(5)
            if "norm" in name.lower():
                weights.add_(torch.randn_like(weights) * 0.1)
    truncation = "fusion" if fused else "rand_trunc"
    extractor = ClapFeatureExtractor(**FEATURES, truncation=truncation, padding=padding)
    tokenizer = Tokenizer(tokenizer_object=tiny_tokenizer())
    return model, ClapProcessor(feature_extractor=extractor, tokenizer=tokenizer)


def save(folder: Path, *, fused: bool = False, padding: str = "repeatpad") -> Path:
    """A folder as `save_pretrained` of model and processor leave it."""
    model, processor = build(fused=fused, padding=padding)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def sound(seconds: float, seed: int = 0) -> Waveform:
    """A few tones that come and go, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tones = sum(
        np.sin(2 * np.pi * hertz * time + phase) * np.cos(2 * np.pi * speed * time)
        for hertz, phase, speed in rng.uniform((100, 0, 0.2), (3500, 6, 3), (4, 3))
    )
    return np.asarray(0.1 * tones + 0.01 * rng.normal(size=len(time)), dtype=np.float32)
