"""Hidden states of many frames or tokens → one vector. Pure functions, torch only.

A mask is (B, T) bool, True where a frame or token is real. What stands under False never
counts, not even as NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real frames: (B, T, H), (B, T) → (B, H); all-False rows give zeros."""
    kept = states.masked_fill(~mask.unsqueeze(-1), 0.0)
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def masked_std(states: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation over the real frames: (B, T, H), (B, T) → (B, H)."""
    centred = states - masked_mean(states, mask).unsqueeze(1)
    return masked_mean(centred.square(), mask).clamp(min=1e-10).sqrt()


def last_frame(states: Tensor, mask: Tensor) -> Tensor:
    """State of the last real frame: (B, T, H), (B, T) → (B, H); all-False rows give frame 0."""
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = positions.mul(mask).amax(dim=1)
    return states[torch.arange(len(states), device=states.device), last]


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """`mean` and `last` give (B, H), `mean_std` gives (B, 2H)."""
    if pooling == "mean":
        return masked_mean(states, mask)
    if pooling == "last":
        return last_frame(states, mask)
    return torch.cat([masked_mean(states, mask), masked_std(states, mask)], dim=-1)


def pooled_size(hidden_size: int, pooling: str) -> int:
    """Width of what `pool` returns."""
    return 2 * hidden_size if pooling == "mean_std" else hidden_size


def mix_layers(layers: list[Tensor], logits: Tensor) -> Tensor:
    """Softmax-weighted sum of L layers, each (B, T, H), by logits (L,) → (B, T, H).

    As in ELMo (Peters et al. 2018, arXiv:1802.05365), without its overall scale.
    """
    return torch.einsum("lbth,l->bth", torch.stack(layers), logits.softmax(dim=0))
