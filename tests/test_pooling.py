"""Pooling against slow twins."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.model.pooling import (
    last_frame,
    masked_mean,
    masked_std,
    mix_layers,
    pool,
    pooled_size,
)


def random_case(seed: int, batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, length + 1, (batch,), generator=generator)
    mask = torch.arange(length) < counts.unsqueeze(1)
    return torch.randn(batch, length, 3, generator=generator), mask


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 9))
def test_against_loops(seed: int, batch: int, length: int) -> None:
    states, mask = random_case(seed, batch, length)
    for row in range(batch):
        real = states[row][mask[row]]
        assert torch.allclose(masked_mean(states, mask)[row], real.mean(0), atol=1e-6)
        expected = real.std(0, correction=0).clamp(min=1e-5)
        assert torch.allclose(masked_std(states, mask)[row], expected, atol=1e-4)
        assert torch.equal(last_frame(states, mask)[row], real[-1])


@pytest.mark.parametrize("pooling", ["mean", "last", "mean_std"])
def test_what_is_masked_never_counts(pooling: str) -> None:
    states, mask = random_case(1, 4, 7)
    spoilt = states.masked_fill(~mask.unsqueeze(-1), float("nan"))
    assert torch.equal(pool(spoilt, mask, pooling), pool(states, mask, pooling))
    assert pool(states, mask, pooling).shape == (4, pooled_size(3, pooling))


def test_an_empty_row_is_finite() -> None:
    states, mask = torch.randn(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(masked_mean(states, mask), torch.zeros(2, 4))
    assert torch.isfinite(pool(states, mask, "mean_std")).all()


def test_mix_of_layers() -> None:
    layers = [torch.randn(2, 3, 4) for _ in range(3)]
    logits = torch.tensor([0.5, -1.0, 2.0])
    weights = logits.exp() / logits.exp().sum()
    expected = sum(w * layer for w, layer in zip(weights, layers, strict=True))
    assert torch.allclose(mix_layers(layers, logits), torch.as_tensor(expected), atol=1e-6)
