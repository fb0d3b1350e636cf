"""MusicGen's decoder on packed kernels, one clip at a time: in fp32, or its products in int8.

Follows transformers' MusicgenDecoder without cross-attention (Copet et al. 2023,
arXiv:2306.05284). Knows that module's parts, nothing of waveforms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from clap_musicgen.model.kernels import Linear, Packed

ATTENDING_ROWS = 64
"""Rows whose attention is computed at once."""


class PackedDecoder:
    """Codes → hidden states, from the weights that `decoder` has now."""

    def __init__(self, decoder: MusicgenDecoder, *, linear: Callable[[Tensor], Linear]) -> None:
        """Pack each layer; `linear` makes a map of a weight: `Packed` or `Quantised`."""
        self._decoder = decoder
        self._layers = [_Layer(layer, linear) for layer in decoder.layers]

    def hidden_states(self, codes: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """One clip's codes (K, T) → its states (T, H) after each of `layers`; 0 is the input."""
        rows = self._embedded(codes)
        kept = {0: rows}
        for number, layer in enumerate(self._layers, start=1):
            rows = layer(rows)
            kept[number] = rows
        top = len(self._layers)
        if top:  # as transformers has it, the last state is normed, the others are not
            kept[top] = self._decoder.layer_norm(rows)
        return [kept[number] for number in layers]

    def _embedded(self, codes: Tensor) -> Tensor:
        decoder = self._decoder
        tokens = [table(row) for table, row in zip(decoder.embed_tokens, codes, strict=True)]
        return cast(Tensor, sum(tokens) + decoder.embed_positions(codes.unsqueeze(0)))


class _Layer:
    def __init__(self, layer: Any, linear: Callable[[Tensor], Linear]) -> None:
        attention = layer.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._before, self._between = layer.self_attn_layer_norm, layer.final_layer_norm
        self._heads, self._scaling = attention.num_heads, attention.scaling
        self._qkv = linear(torch.cat([p.weight for p in projections]))
        self._out = linear(attention.out_proj.weight)
        self._widen, self._narrow = linear(layer.fc1.weight), linear(layer.fc2.weight)

    def __call__(self, rows: Tensor) -> Tensor:
        """(T, H) → (T, H)."""
        rows = _add(self._out, self._attend(_norm(self._before, rows)), rows)
        return _add(self._narrow, _gelu(self._widen, _norm(self._between, rows)), rows)

    def _attend(self, rows: Tensor) -> Tensor:
        parts = self._qkv(rows).view(len(rows), 3, self._heads, -1).permute(1, 2, 0, 3)
        q, k, v = parts.unbind(0)
        mixed = causal_attention(q * self._scaling, k, v)
        return mixed.transpose(0, 1).reshape(len(rows), -1)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of each row to itself and those before it: three times (heads, T, D) → one.

    In blocks of rows, so that most of what the mask would hide is never computed; on one core a
    third faster than torch's own.
    """
    mixed = []
    for start in range(0, q.shape[1], ATTENDING_ROWS):
        stop = min(start + ATTENDING_ROWS, q.shape[1])
        later = torch.full((stop - start, stop), -torch.inf).triu(start + 1)
        scores = torch.baddbmm(later, q[:, start:stop], k[:, :stop].transpose(1, 2))
        mixed.append(torch.bmm(scores.softmax(dim=-1), v[:, :stop]))
    return torch.cat(mixed, dim=1)


def _norm(norm: Any, rows: Tensor) -> Tensor:
    return layer_norm(rows, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _gelu(linear: Linear, rows: Tensor) -> Tensor:
    return linear.gelu(rows) if isinstance(linear, Packed) else gelu(linear(rows))


def _add(linear: Linear, rows: Tensor, other: Tensor) -> Tensor:
    return linear.plus(rows, other) if isinstance(linear, Packed) else linear(rows).add_(other)
