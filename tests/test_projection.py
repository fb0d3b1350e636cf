"""The head: unit length, and standardisation folded into it."""

from __future__ import annotations

import torch

from clap_musicgen.model.projection import Projection


def test_unit_length() -> None:
    torch.manual_seed(0)
    vectors = Projection(6, 5, 4)(torch.randn(9, 6) * 100)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(9), atol=1e-6)


def test_folding_changes_nothing() -> None:
    torch.manual_seed(0)
    head, states = Projection(6, 5, 4), torch.randn(9, 6) * 7 + 3
    mean, std = states.mean(0), states.std(0)
    before = head((states - mean) / std)
    head.fold_standardisation(mean, std)
    assert torch.allclose(head(states), before, atol=1e-5)
