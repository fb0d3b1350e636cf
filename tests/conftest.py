"""Models that the tests share: a tiny one with random weights, and the bundled mini."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.config import ModelConfig

# Two test processes on two cores: more threads than one each only wait for each other. And no
# test may fail because a machine was slow.
torch.set_num_threads(1)
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")

TINY: dict[str, Any] = {
    "name": "tiny",
    "clip_seconds": 0.5,
    "codec": {
        "sampling_rate": 8000,
        "num_filters": 4,
        "upsampling_ratios": [5, 4, 4, 2],
        "codebook_size": 16,
        "codebook_dim": 8,
        "hidden_size": 8,
        "num_lstm_layers": 1,
        "target_bandwidths": [0.8],
        "use_causal_conv": False,
    },
    "decoder": {
        "vocab_size": 16,
        "num_codebooks": 4,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "pad_token_id": None,
        "bos_token_id": None,
    },
    "layers": (2,),
    "text": {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 20,
        "type_vocab_size": 1,
    },
    "max_tokens": 16,
    "projection_hidden": 12,
    "dim": 8,
}


def tiny_config(**changes: Any) -> ModelConfig:
    """A model of a few thousand weights with every part of the real one."""
    return ModelConfig(**{**TINY, **changes})


def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE with RoBERTa's special tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.train_from_iterator(
        ["slow jazz with piano", "dark metal"],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def build_tiny(**changes: Any) -> ClapMusicGen:
    """A tiny model with random weights, the same on every call."""
    torch.manual_seed(0)
    model = ClapMusicGen(tiny_config(**changes), tiny_tokenizer())
    codec: Any = model.audio_encoder.codec
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_()  # transformers leaves codebooks at zero
    return model


@torch.no_grad()
def lively(**changes: Any) -> ClapMusicGen:
    """The tiny model with codebooks spread like its own latents: random ones give a single code."""
    model = build_tiny(**changes)
    rng = np.random.default_rng(0)
    sounds = rng.normal(size=(6, 1, model.audio_encoder.clip_samples)) * np.geomspace(
        0.01, 1, 6
    ).reshape(6, 1, 1)
    codec: Any = model.audio_encoder.codec
    rest = codec.encoder(torch.from_numpy(sounds).float()).transpose(1, 2).flatten(0, 1)
    generator = torch.Generator().manual_seed(0)
    for layer in codec.quantizer.layers:
        embed = layer.codebook.embed
        embed.copy_(rest.mean(0) + rest.std(0) * torch.randn(embed.shape, generator=generator))
        rest = rest - layer.codebook.decode(layer.codebook.encode(rest))
    return model


@pytest.fixture(scope="session")
def tiny() -> ClapMusicGen:
    return build_tiny()


@pytest.fixture(scope="session")
def mini() -> ClapMusicGen:
    return ClapMusicGen.from_pretrained("mini")
