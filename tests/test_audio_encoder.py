"""The audio tower against transformers' own modules called in the plain way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import EncodecConfig, EncodecModel, MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from clap_musicgen.model.audio_encoder import (
    TARGET_RMS,
    AudioEncoder,
    delay_codes,
    fold_weight_norm,
    frame_count,
    frame_mask,
    normalise_loudness,
)
from clap_musicgen.model.pooling import pool
from conftest import build_tiny, tiny_config

PAD = 16


def slow_delay(codes: Tensor, mask: Tensor, pad: int) -> Tensor:
    batch, codebooks, frames = codes.shape
    result = torch.full((batch, codebooks, frames + codebooks), pad)
    for b in range(batch):
        for k in range(codebooks):
            for t in range(frames):
                if mask[b, t]:
                    result[b, k, t + 1 + k] = codes[b, k, t]
    return result


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 5), st.integers(1, 8))
def test_delay_pattern(seed: int, batch: int, codebooks: int, frames: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, PAD, (batch, codebooks, frames), generator=generator)
    mask = frame_mask(torch.randint(1, frames + 1, (batch,), generator=generator), frames)
    assert torch.equal(delay_codes(codes, mask, PAD), slow_delay(codes, mask, PAD))


def test_delay_is_musicgens_own() -> None:
    """transformers builds the same pattern when it generates."""
    from transformers import MusicgenForCausalLM

    config = MusicgenDecoderConfig(
        vocab_size=16, num_codebooks=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        ffn_dim=8, pad_token_id=None, bos_token_id=None, audio_channels=1,
    )  # fmt: skip
    codes = torch.randint(0, 16, (1, 4, 6))
    start = torch.full((4, 1), PAD)
    _, pattern = MusicgenForCausalLM(config).build_delay_pattern_mask(start, PAD, max_length=10)
    ours = delay_codes(codes, torch.ones(1, 6, dtype=torch.bool), PAD)[0]
    assert torch.equal(ours == PAD, pattern == PAD)


def plain_states(encoder: AudioEncoder, ids: Tensor, depth: int) -> tuple[Tensor, ...]:
    """Hidden states of a full decoder of `depth` layers that shares this encoder's weights."""
    config = MusicgenDecoderConfig(**{**encoder.config.decoder, "num_hidden_layers": depth})
    full = MusicgenDecoder(config).eval()
    full.load_state_dict(encoder.decoder.state_dict(), strict=False)
    output = full(input_ids=ids, use_cache=False, output_hidden_states=True)
    states: tuple[Tensor, ...] = output.hidden_states
    return states


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
@torch.inference_mode()
def test_layers_are_those_of_the_full_decoder(layer: int) -> None:
    """Dropped layers, cross-attention and norms leave the states of the rest as they were."""
    torch.manual_seed(0)
    whole = AudioEncoder(tiny_config(layers=(3,))).eval()
    part = AudioEncoder(tiny_config(layers=(layer,))).eval()
    kept = {k: v for k, v in whole.state_dict().items() if k in part.state_dict()}
    part.load_state_dict(kept)
    codes, frames = torch.randint(0, 16, (2, 4, 9)), torch.tensor([9, 9])
    ids = delay_codes(codes, frame_mask(frames, 9), PAD).reshape(8, -1)
    expected = plain_states(whole, ids, 3)[layer][:, 4:]
    assert torch.allclose(part.hidden_states(codes, frames)[0], expected, atol=1e-5)


@torch.inference_mode()
def test_several_layers_are_mixed() -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(tiny_config(layers=(0, 1, 3))).eval()
    assert encoder.layer_logits is not None
    encoder.layer_logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
    codes, frames = torch.randint(0, 16, (2, 4, 9)), torch.tensor([9, 9])
    ids = delay_codes(codes, frame_mask(frames, 9), PAD).reshape(8, -1)
    states = plain_states(encoder, ids, 3)
    weights = encoder.layer_logits.softmax(0)
    mixed = sum(w * states[n][:, 4:] for w, n in zip(weights, (0, 1, 3), strict=True))
    assert torch.allclose(encoder.pool(codes, frames), torch.as_tensor(mixed).mean(1), atol=1e-5)


@torch.inference_mode()
def test_several_layers_side_by_side() -> None:
    encoder = build_tiny(layers=(0, 2), combine="concat", pooling="mean_std").audio_encoder
    codes, frames = torch.randint(0, 16, (2, 4, 9)), torch.tensor([9, 6])
    mask = frame_mask(frames, 9)
    ids = delay_codes(codes, mask, PAD).reshape(8, -1)
    states = plain_states(encoder, ids, 3)
    expected = [pool(states[n][:, 4:], mask, "mean_std") for n in (0, 2)]
    pooled = encoder.pool(codes, frames)
    assert pooled.shape == (2, encoder.pooled_size) == (2, 64)
    assert torch.allclose(pooled, torch.cat(expected, dim=1), atol=1e-5)


@torch.inference_mode()
def test_positions() -> None:
    """With `zero` and no delay, equal frames are told apart by nothing but what came before."""
    codes = torch.randint(0, 16, (1, 4, 1)).repeat(1, 1, 5)
    spread = []
    for positions in ("zero", "sinusoidal"):
        encoder = build_tiny(positions=positions, delay=False).audio_encoder
        states = encoder.hidden_states(codes, torch.tensor([5]))[0][0]
        spread.append((states - states[0]).abs().max().item())
    assert spread[0] < 1e-5 < spread[1]


@torch.inference_mode()
def test_codes_are_those_of_transformers_encode() -> None:
    torch.manual_seed(0)
    config = tiny_config(loudness="none")
    reference = EncodecModel(EncodecConfig(**config.codec)).eval()
    waveforms = torch.randn(3, 4000) * 0.1
    latents = reference.encoder(waveforms.unsqueeze(1)).transpose(1, 2).reshape(-1, 8)
    for n, layer in enumerate(reference.quantizer.layers):  # entries of the latents' own scale
        layer.codebook.embed.copy_(latents[n::4][:16] * 0.3**n)
    expected = reference.encode(waveforms.unsqueeze(1)).audio_codes[0]
    assert len(expected.unique()) > 4
    fold_weight_norm(reference)
    encoder = AudioEncoder(config).eval()
    ours = encoder.codec.state_dict()
    encoder.codec.load_state_dict({k: v for k, v in reference.state_dict().items() if k in ours})
    assert torch.equal(encoder.encode(waveforms, torch.tensor([4000] * 3)), expected)


def test_frame_count() -> None:
    counts = frame_count(torch.tensor([0, 1, 640, 641, 320000]), 640)
    assert counts.tolist() == [1, 1, 1, 2, 500]


def test_loudness() -> None:
    generator = torch.Generator().manual_seed(0)
    waveform = torch.zeros(1, 1000)
    waveform[:, :600] = torch.randn(600, generator=generator)
    samples = torch.tensor([600])
    loud = normalise_loudness(waveform, samples)
    assert loud[0, :600].square().mean().sqrt().item() == pytest.approx(TARGET_RMS, rel=1e-4)
    assert torch.allclose(normalise_loudness(waveform * 0.1, samples), loud, atol=1e-6)
    faint = normalise_loudness(waveform * 1e-6, samples)
    assert faint.abs().max() < 1e-3, "silence must not be raised to music"
    assert torch.equal(normalise_loudness(torch.zeros(1, 9), torch.tensor([9])), torch.zeros(1, 9))


def test_what_is_not_needed_is_not_kept(tiny: Any) -> None:
    names = " ".join(tiny.state_dict())
    for absent in (
        "codec.decoder",
        "encoder_attn",
        "layers.2.fc1",
        "embed_avg",
        "pooler",
        "weight_g",
    ):
        assert absent not in names, absent
    assert "audio_encoder.decoder.layers.1.fc1" in names
