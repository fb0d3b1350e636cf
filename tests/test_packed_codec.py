"""The packed codec gives the codes of transformers' EnCodec, at every length, in any company."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

from clap_musicgen.model.audio_encoder import fold_weight_norm
from clap_musicgen.model.kernels import packed_kernels
from clap_musicgen.model.packed_codec import PackedCodec

pytestmark = pytest.mark.skipif(not packed_kernels(), reason="no packed kernels on this machine")

SHAPES: dict[str, dict[str, Any]] = {
    "like the published": {"use_causal_conv": False, "upsampling_ratios": [5, 4, 4, 2]},
    "causal": {"use_causal_conv": True, "upsampling_ratios": [5, 4, 3, 2]},
    "shortcuts and three residuals": {
        "use_conv_shortcut": True,
        "num_residual_layers": 3,
        "use_causal_conv": False,
        "upsampling_ratios": [4, 2],
        "target_bandwidths": [40.0],
    },
    "no residuals": {"num_residual_layers": 0, "use_causal_conv": False},
    "zeros behind the ends": {"pad_mode": "constant", "use_causal_conv": False},
}


def build(**changes: Any) -> EncodecModel:
    torch.manual_seed(0)
    fields = {
        "sampling_rate": 8000, "num_filters": 8, "codebook_size": 64, "codebook_dim": 16,
        "hidden_size": 16, "num_lstm_layers": 2, "target_bandwidths": [3.2],
        "upsampling_ratios": [5, 4, 4, 2], "use_conv_shortcut": False,
    }  # fmt: skip
    codec = EncodecModel(EncodecConfig(**{**fields, **changes})).eval()
    fold_weight_norm(codec)
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_().mul_(0.1)
    return codec


def plain(codec: EncodecModel, waveform: Tensor) -> Tensor:
    codes: Tensor = codec.quantizer.encode(codec.encoder(waveform[None, None]))[:, 0]
    return codes


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
@torch.inference_mode()
def test_codes_at_every_length(changes: dict[str, Any]) -> None:
    codec = build(**changes)
    packed, books = PackedCodec(codec), len(codec.quantizer.layers)
    seen: set[int] = set()
    for length in [*range(1, 60), 159, 160, 161, 400, 1000, 8007]:
        waveform = torch.randn(length, generator=torch.Generator().manual_seed(length))
        (codes,) = packed.encode([waveform], books)
        assert torch.equal(codes, plain(codec, waveform)), length
        seen |= set(codes.flatten().tolist())
    assert len(seen) > 16  # of 64: the codes do tell sounds apart


@torch.inference_mode()
def test_clips_of_a_batch_do_not_touch_each_other() -> None:
    codec = build(num_filters=16)
    packed = PackedCodec(codec)
    waveforms = [torch.randn(n) for n in (8000, 31, 4000, 8000, 1, 7999)]
    together = packed.encode(waveforms, 4)
    for waveform, codes in zip(waveforms, together, strict=True):
        assert torch.equal(packed.encode([waveform], 4)[0], codes)
        assert codes.shape == (4, -(-len(waveform) // 160))


@torch.inference_mode()
def test_states_keep_their_bits_in_any_company() -> None:
    packed = PackedCodec(build(num_filters=16))
    states = [packed._convolve(torch.randn(n, 1)) for n in (8000, 31, 4000)]
    together = packed._recur(states)
    for alone, shared in zip(states, together, strict=True):
        assert torch.equal(packed._recur([alone])[0], shared)


@torch.inference_mode()
def test_fewer_codebooks_are_the_first_ones() -> None:
    packed, waveform = PackedCodec(build()), torch.randn(1600)
    assert torch.equal(packed.encode([waveform], 2)[0], packed.encode([waveform], 4)[0][:2])
