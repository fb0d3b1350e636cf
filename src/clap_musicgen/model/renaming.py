"""Weights of other people's checkpoints under our names, checked one by one.

One of our weights may be called in several ways there, and may stand under weight normalisation.
Knows no checkpoint in particular: what a key may be called is for the caller to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.weight_files import (
    WEIGHT_NORMS,
    fetch_with_weights,
    fold_weight_norm,
    listed,
    read_tensors,
)


def read_renamed(
    name: str | os.PathLike[str],
    shapes: Mapping[str, tuple[int, ...]],
    names_of: Callable[[str], Sequence[str]],
) -> dict[str, Tensor]:
    """Exactly the weights of these shapes, float32, from a folder or a Hub id; no other is read.

    Args:
        name: where the weight files are.
        shapes: our keys and what shape each must have.
        names_of: one of our keys → what it may be called there; of several the first that is there.

    Raises:
        CheckpointError: a weight is missing, not finite, or of another shape or kind; it names
            the folder, the key as it stands there, and the shapes.
    """
    names = {key: names_of(key) for key in shapes}
    wanted = {part for some in names.values() for one in some for part in _parts(one)}
    folder = fetch_with_weights(name, [], wanted=wanted.__contains__)
    tensors = read_tensors(folder, wanted=wanted.__contains__)
    _refuse([p for key, tensor in tensors.items() if (p := _unsound(key, tensor))], folder)
    try:
        plain = fold_weight_norm(tensors, prefix="")
    except CheckpointError as error:
        raise CheckpointError(f"the weights in {folder}: {error}") from error
    found = {key: next((n for n in names[key] if n in plain), names[key][0]) for key in shapes}
    _refuse([p for key, shape in shapes.items() if (p := _unfit(found[key], shape, plain))], folder)
    return {key: plain[found[key]] for key in shapes}


def _parts(name: str) -> list[str]:
    """A key and, where it is a convolution's weight, the halves it may be stored in."""
    stem = name.removesuffix("weight")
    halves = [stem + half for pair in WEIGHT_NORMS for half in pair]
    return [name, *halves] if name.endswith("conv.weight") else [name]


def _unsound(key: str, tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return f"{key} holds {str(tensor.dtype).removeprefix('torch.')}, not floats"
    return "" if torch.isfinite(tensor).all() else f"{key} is not finite"


def _unfit(name: str, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> str:
    if name not in tensors:
        return f"missing {name} {shape}"
    found = tuple(tensors[name].shape)
    return "" if found == shape else f"{name} has shape {found}, the config wants {shape}"


def _refuse(problems: list[str], folder: Path) -> None:
    if problems:
        raise CheckpointError(
            f"the weights in {folder} do not fit their config: {listed(problems)}"
        )
