"""The packed decoder gives the states of transformers' MusicgenDecoder, at every layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from clap_musicgen.model.kernels import Packed, Quantised, packed_kernels
from clap_musicgen.model.packed_decoder import ATTENDING_ROWS, PackedDecoder, causal_attention

pytestmark = pytest.mark.skipif(not packed_kernels(), reason="no packed kernels on this machine")
LAYERS = (0, 1, 2, 3)


@pytest.fixture(scope="module")
def decoder() -> MusicgenDecoder:
    torch.manual_seed(0)
    config = MusicgenDecoderConfig(
        vocab_size=32, hidden_size=128, num_hidden_layers=3, num_attention_heads=2, ffn_dim=256,
        num_codebooks=4, pad_token_id=None, bos_token_id=None, initializer_factor=0.1,
    )  # fmt: skip
    return MusicgenDecoder(config).eval()


def plain(decoder: MusicgenDecoder, codes: Tensor) -> list[Tensor]:
    output = decoder(input_ids=codes, use_cache=False, output_hidden_states=True)
    return [output.hidden_states[n][0] for n in LAYERS]


@pytest.mark.parametrize("frames", [1, 5, ATTENDING_ROWS, ATTENDING_ROWS + 1, 200])
@torch.inference_mode()
def test_every_layer(decoder: MusicgenDecoder, frames: int) -> None:
    codes = torch.randint(0, 33, (4, frames))
    packed = PackedDecoder(decoder, linear=Packed)
    for own, theirs in zip(packed.hidden_states(codes, LAYERS), plain(decoder, codes), strict=True):
        torch.testing.assert_close(own, theirs, atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_int8_stays_near(decoder: MusicgenDecoder) -> None:
    codes = torch.randint(0, 33, (4, 100))
    states = PackedDecoder(decoder, linear=Quantised).hidden_states(codes, LAYERS)
    exact = plain(decoder, codes)
    assert torch.equal(states[0], exact[0])  # nothing is rounded before the first layer
    for own, theirs in zip(states[1:], exact[1:], strict=True):
        assert 1e-4 < (own - theirs).norm() / theirs.norm() < 0.03


@torch.inference_mode()
def test_only_what_comes_before_is_seen(decoder: MusicgenDecoder) -> None:
    codes = torch.randint(0, 33, (4, 150))
    other = codes.clone()
    other[:, 90:] = torch.randint(0, 33, (4, 60))
    packed = PackedDecoder(decoder, linear=Packed)
    (one,), (two,) = packed.hidden_states(codes, [3]), packed.hidden_states(other, [3])
    torch.testing.assert_close(one[:90], two[:90], atol=1e-5, rtol=1e-5)
    assert (one[90:] - two[90:]).abs().max() > 1e-3


@pytest.mark.parametrize("rows", [1, 2, ATTENDING_ROWS, 3 * ATTENDING_ROWS + 7])
def test_attention_against_its_twin(rows: int) -> None:
    q, k, v = torch.randn(3, 2, rows, 8, generator=torch.Generator().manual_seed(rows))
    found = causal_attention(q, k, v)
    for head in range(2):
        for row in range(rows):
            weights = [math.exp(q[head, row] @ k[head, n]) for n in range(row + 1)]
            slow = sum(w * v[head, n] for n, w in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(found[head, row], slow, atol=1e-5, rtol=1e-4)
