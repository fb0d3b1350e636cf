"""oneDNN's packed kernels, the one door to them: linear maps and convolutions on x86 processors.

torch's own fp32 products go through MKL, which on some processors reaches two thirds of what
oneDNN's packed ones do, and whose rounding depends on how many rows are multiplied at once.
oneDNN's does not (a test holds it to that), so clips may share a batch and keep their bits.
torch has no public names for these operators (its compiler calls them), hence the one door.
Knows tensors only, no model.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor

ZERO_POINT = 128
"""What 0 is as an unsigned byte: oneDNN's fast int8 products take unsigned left-hand sides."""
LEVELS = 127
"""Steps of int8 on either side of 0."""
ROTATED = 32
"""Channels that one rotation mixes."""


class Linear(Protocol):
    """A linear map with weights of its own: (R, I) → (R, O)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Multiply each row."""
        ...


@cache
def packed_kernels() -> bool:
    """Whether this machine and this torch have them."""
    if not torch._C._has_mkldnn:
        return False
    try:
        rows = torch.ones(2, 4)
        packed = Packed(torch.ones(3, 4))(rows)
        quantised = Quantised(torch.ones(3, 64))(torch.ones(2, 64))
        kernel = PackedConv(torch.ones(3, 4, 2), torch.zeros(3), stride=1, dilation=1)(rows)
    except (AttributeError, NotImplementedError, RuntimeError):  # another build, another version
        return False
    return bool(packed.eq(4).all() and kernel.eq(8).all() and (quantised - 64).abs().max() < 1)


class Packed:
    """A linear map in fp32: x·Wᵀ + b, optionally with something added or GELU applied."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Pack weight (O, I) and bias (O,)."""
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        self._bias = bias

    def __call__(self, rows: Tensor) -> Tensor:
        """(R, I) → (R, O)."""
        return self._apply(rows, "none", "")

    def gelu(self, rows: Tensor) -> Tensor:
        """(R, I) → (R, O), then GELU by the error function."""
        return self._apply(rows, "gelu", "none")

    def plus(self, rows: Tensor, other: Tensor) -> Tensor:
        """(R, I) → (R, O) + other (R, O)."""
        result = torch.ops.mkldnn._linear_pointwise.binary(
            rows, other, self._weight, self._bias, "add"
        )
        return cast(Tensor, result)

    def _apply(self, rows: Tensor, after: str, algorithm: str) -> Tensor:
        result = torch.ops.mkldnn._linear_pointwise(
            rows, self._weight, self._bias, after, [], algorithm
        )
        return cast(Tensor, result)


@cache
def rotation(size: int) -> Tensor:
    """Sylvester's Hadamard matrix, orthogonal, (size, size); size is a power of 2."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix / math.sqrt(len(matrix))


class Quantised:
    """A linear map in int8 with fp32 in and out: x·Wᵀ.

    One scale per row and one per output channel (`quantize_dynamic`'s type). Before it is
    rounded, each row is rotated, 32 channels at a time, and the weights are too, which changes
    no product and spreads the few channels of a language model that outweigh all others and
    would leave the rest no steps (QuaRot: Ashkboos et al. 2024, arXiv:2404.00456).
    """

    def __init__(self, weight: Tensor) -> None:
        """Quantise weight (O, I)."""
        weight = weight.detach()
        self._rotation: Tensor = _rotation_of(weight.shape[1])
        weight = self._rotate(weight)
        self._scales = _scales(weight).flatten()
        integers = torch.round(weight / self._scales.unsqueeze(1)).to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(integers, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)

    def __call__(self, rows: Tensor) -> Tensor:
        """(R, I) → (R, O)."""
        rotated = self._rotate(rows)
        scales = _scales(rotated)
        bytes_ = rotated.div_(scales).round_().add_(ZERO_POINT).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            bytes_, 1.0, ZERO_POINT, self._weight, self._scales, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return cast(Tensor, product.mul_(scales))

    def _rotate(self, rows: Tensor) -> Tensor:
        size: int = len(self._rotation)
        return torch.mm(rows.reshape(-1, size), self._rotation).reshape(rows.shape)


def _rotation_of(channels: int) -> Tensor:
    size = ROTATED
    while channels % size:
        size //= 2
    return rotation(size)


def _scales(rows: Tensor) -> Tensor:
    return rows.abs().amax(dim=1, keepdim=True).div_(LEVELS).clamp_(min=1e-12)


class PackedConv:
    """A 1-D convolution in fp32 over rows of channels: (T, I) → (T', O), without padding."""

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int, dilation: int) -> None:
        """Pack weight (O, I, k) and bias (O,)."""
        plane = weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
        self._shape = ([0, 0], [1, stride], [1, dilation], 1)
        padding, strides, dilations, groups = self._shape
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(
            plane, padding, strides, dilations, groups, None
        )
        self._bias = bias.detach()

    def __call__(self, rows: Tensor) -> Tensor:
        """(T, I) → (T', O)."""
        plane = rows.t()[None, :, None]  # a view: rows of channels are what channels_last means
        result = torch.ops.mkldnn._convolution_pointwise(
            plane, self._weight, self._bias, *self._shape, "none", [], ""
        )
        return cast(Tensor, result[0, :, 0].t())
