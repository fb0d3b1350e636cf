"""oneDNN's packed kernels against plain products, and what the library builds on: rows never mix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clap_musicgen.model import kernels
from clap_musicgen.model.kernels import Packed, PackedConv, Quantised, packed_kernels, rotation

pytestmark = pytest.mark.skipif(not packed_kernels(), reason="no packed kernels on this machine")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def without_gradients() -> object:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("rows", [1, 2, 17, 300])
@pytest.mark.parametrize("bias", [False, True])
def test_packed_is_a_linear_map(rows: int, bias: bool) -> None:
    x, weight, other = random(rows, 96), random(40, 96, seed=1), random(rows, 40, seed=2)
    offset = random(40, seed=3) if bias else None
    plain = nn.functional.linear(x, weight, offset)
    packed = Packed(weight, offset)
    torch.testing.assert_close(packed(x), plain, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(packed.plus(x, other), plain + other, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(packed.gelu(x), nn.functional.gelu(plain), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("size", [(64, 48), (256, 1024), (1024, 256)])
@pytest.mark.parametrize("kind", [Packed, Quantised])
def test_a_row_keeps_its_bits_in_any_company(
    size: tuple[int, int], kind: type[Packed] | type[Quantised]
) -> None:
    linear, x = kind(random(*size, seed=1)), random(520, size[1])
    whole = linear(x)
    for first, last in [(0, 1), (3, 5), (7, 24), (100, 131), (19, 520)]:
        assert torch.equal(linear(x[first:last].clone()), whole[first:last])


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "dilation"),
    [(1, 7, 1, 1), (16, 8, 4, 1), (24, 3, 1, 2), (8, 10, 5, 1)],
)
def test_packed_convolution(channels: int, kernel: int, stride: int, dilation: int) -> None:
    x, weight, bias = random(200, channels), random(20, channels, kernel, seed=1), random(20)
    plain = nn.functional.conv1d(x.t()[None], weight, bias, stride=stride, dilation=dilation)
    packed = PackedConv(weight, bias, stride=stride, dilation=dilation)(x)
    torch.testing.assert_close(packed, plain[0].t(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 32, 64])
def test_a_rotation_is_orthogonal(size: int) -> None:
    torch.testing.assert_close(rotation(size) @ rotation(size).t(), torch.eye(size))


def quantised_slowly(x: Tensor, weight: Tensor) -> Tensor:
    """The twin: rounds row by row, with the same rotation, and multiplies in float64."""
    size = min(kernels.ROTATED, x.shape[1] & -x.shape[1])
    blocks = [rotation(size)] * (x.shape[1] // size)
    turn = torch.kron(torch.eye(len(blocks)), blocks[0])

    def rounded(rows: Tensor) -> Tensor:
        kept = []
        for row in rows @ turn:
            step = row.abs().max() / 127
            kept.append(torch.round(row / step).double() * step.double())
        return torch.stack(kept)

    return (rounded(x) @ rounded(weight).t()).float()


@pytest.mark.parametrize("inputs", [64, 96, 6, 1024])
def test_quantised_against_its_twin(inputs: int) -> None:
    x, weight = random(30, inputs), random(16, inputs, seed=1)
    slow = quantised_slowly(x, weight)
    # A value half way between two steps may go either way: one step of one factor.
    assert (Quantised(weight)(x) - slow).abs().max() < 0.02 * slow.abs().max()
    assert (Quantised(weight)(x) - slow).abs().mean() < 1e-3 * slow.abs().mean()


def error(linear: Quantised, x: Tensor, weight: Tensor) -> float:
    plain = x @ weight.t()
    return float((linear(x) - plain).norm() / plain.norm())


def test_outlying_channels_leave_the_others_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A language model's states: a few channels outweigh the rest, whose weights are as large."""
    x, weight = random(50, 1024), random(64, 1024, seed=1)
    x[:, [3, 700]] *= 100
    weight[:, [3, 700]] *= 0.01
    rotated = error(Quantised(weight), x, weight)
    monkeypatch.setattr(kernels, "ROTATED", 1)
    assert rotated < 0.5 * error(Quantised(weight), x, weight)
    assert rotated < 0.12


def test_silence_and_a_zero_weight() -> None:
    assert not Quantised(torch.zeros(8, 64))(torch.zeros(3, 64)).any()


def test_they_are_said_to_be_absent_where_an_operator_is(monkeypatch: pytest.MonkeyPatch) -> None:
    packed_kernels.cache_clear()
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not packed_kernels()
    monkeypatch.undo()
    packed_kernels.cache_clear()
    assert packed_kernels()
