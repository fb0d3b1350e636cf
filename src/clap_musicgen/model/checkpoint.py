"""A checkpoint is a folder: `config.json`, `model.safetensors`, `tokenizer.json`.

Finding it (bundled, a folder, or the Hugging Face Hub), reading it strictly, writing it whole or
not at all, and its fingerprint. Knows no tower: it moves names and tensors.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.roberta_tokenizer import TOKENIZER_PATTERNS
from clap_musicgen.model.weight_files import fetch_with_weights, is_hub_id, listed

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
BUNDLED = ("mini",)
PREPROCESSING = "mean of channels; soxr HQ; clips from 0, zero-padded tail; 1"
"""Everything between a file and a tensor that changes vectors; part of each fingerprint."""


def find_checkpoint(name: str | os.PathLike[str]) -> Path:
    """The folder of a bundled name, a local folder, or a Hub id (the only one that may download)."""
    text = os.fspath(name)
    if text in BUNDLED:
        return Path(str(files("clap_musicgen").joinpath(text)))
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{text!r} is a file; a checkpoint is a folder with {CONFIG}")
    if is_hub_id(text):
        return fetch_with_weights(text, (CONFIG, *TOKENIZER_PATTERNS))
    raise CheckpointError(
        f"no checkpoint {text!r}: not bundled ({', '.join(BUNDLED)}), not a folder, "
        "and not a Hub id of the form owner/name"
    )


def read_config(folder: Path) -> ModelConfig:
    """The checked `config.json` of a checkpoint."""
    path = folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): it is not a checkpoint") from error
    return ModelConfig.from_json(text, source=str(path))


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a checkpoint."""
    path = folder / TOKENIZER
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain Exception
        raise CheckpointError(f"cannot read {path} ({error})") from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors as float32, whatever precision they are stored in."""
    path = folder / WEIGHTS
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read {path} ({error}): the file is missing or damaged"
        ) from error
    return {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Fill `module`; a missing, extra, wrong-shaped or non-finite tensor is an error that names it."""
    wanted = module.state_dict()
    problems = [f"missing {k} {tuple(v.shape)}" for k, v in wanted.items() if k not in weights]
    problems += [f"unexpected {k} {tuple(v.shape)}" for k, v in weights.items() if k not in wanted]
    problems += [
        f"{k} has shape {tuple(v.shape)}, the config wants {tuple(wanted[k].shape)}"
        for k, v in weights.items()
        if k in wanted and v.shape != wanted[k].shape
    ]
    problems += [f"{k} is not finite" for k, v in weights.items() if not torch.isfinite(v).all()]
    if problems:
        raise CheckpointError(f"{source} does not fit its config: {listed(problems)}")
    module.load_state_dict(dict(weights))


def write_checkpoint(
    folder: Path,
    *,
    config: ModelConfig,
    module: nn.Module,
    tokenizer: Tokenizer,
    dtype: torch.dtype,
) -> None:
    """Write the three files; each appears whole or not at all."""
    weights = {k: v.detach().cpu().to(dtype).contiguous() for k, v in module.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
            part = Path(scratch)
            save_file(weights, part / WEIGHTS, metadata={"format": "pt"})
            (part / TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
            (part / CONFIG).write_text(config.to_json() + "\n", encoding="utf-8")
            (part / WEIGHTS).chmod((part / CONFIG).stat().st_mode)  # safetensors makes it private
            for name in (WEIGHTS, TOKENIZER, CONFIG):
                (part / name).replace(folder / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write a checkpoint to {folder} ({error})") from error


def fingerprint(config: ModelConfig, module: nn.Module, tokenizer: Tokenizer) -> str:
    """32 hex digits over all that decides a vector: config, weights, tokenizer, preprocessing."""
    texts = (PREPROCESSING, config.to_json(), tokenizer.to_str())
    return digest(texts, module.state_dict())


def digest(texts: Iterable[str], tensors: Mapping[str, Tensor]) -> str:
    """32 hex digits over texts and named tensors, whatever order and device these are in."""
    hashed = hashlib.blake2b(digest_size=16)
    for text in texts:
        hashed.update(text.encode() + b"\0")
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tuple(tensor.shape)}\0".encode())
        hashed.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()
