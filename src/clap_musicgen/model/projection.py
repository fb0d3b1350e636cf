"""The head of a tower: pooled states → a unit vector of the joint space."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """Linear, LayerNorm, ReLU, twice; Linear; unit length. (B, H) → (B, D).

    The structure is that of the published proof of concept, so its weights fit.
    """

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

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, H) → (B, D) of unit length."""
        return nn.functional.normalize(self.projection(pooled), dim=-1, eps=1e-6)

    @torch.no_grad()
    def fold_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Make `forward(x)` what `forward((x - mean) / std)` was, exactly; mean and std are (H,).

        Training standardises pooled states; a checkpoint must not need to.
        """
        first = cast(nn.Linear, self.projection[0])
        first.weight.div_(std)
        first.bias.sub_(first.weight @ mean)
