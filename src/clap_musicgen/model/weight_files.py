"""Weight files as transformers writes them: one file or shards with an index, safetensors or pickled.

Finding them (a folder or the Hugging Face Hub) and reading them into names and tensors. Pickles
are read with `weights_only=True` alone, so nothing in a file ever runs. Knows no tower: which key
belongs where is for the caller to say.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.config import ModelConfig

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLE_PATTERNS = (PICKLE, PICKLE_INDEX, "pytorch_model-*.bin")
LFS_POINTER = b"version https://git-lfs"
WEIGHT_NORMS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
"""Gain and vector as older and newer releases of torch spell them."""

SHOWN = 5
"""How many problems of a file an error lists."""


@dataclass(frozen=True)
class Parts:
    """What a `ClapMusicGen` is made of; `weights` has exactly the keys of its state dict."""

    config: ModelConfig
    weights: dict[str, Tensor]
    tokenizer: Tokenizer


def listed(problems: Sequence[str]) -> str:
    """The first few problems of a file on one line, and how many more there are."""
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + more


def is_hub_id(name: str) -> bool:
    """Whether a name that is no folder has the form owner/name."""
    return name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~"))


def fetch(name: str | os.PathLike[str], patterns: Sequence[str]) -> Path:
    """A local folder as it is, else a Hub id: the files of it that match, downloaded or cached.

    Raises:
        CheckpointError: neither a folder nor a Hub id, or the Hub did not give it.
    """
    text = os.fspath(name)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{text!r} is a file; give the folder it stands in")
    if not is_hub_id(text):
        raise CheckpointError(f"{text!r} is not a folder, and not a Hub id of the form owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, allow_patterns=list(patterns)))
    except Exception as error:  # its own, the system's, and those of the HTTP library below it
        raise CheckpointError(
            f"{text!r} is no folder here, and the Hub did not give it "
            f"({type(error).__name__}); check the name and the network, or pass a folder"
        ) from error


def everything(key: str) -> bool:  # noqa: ARG001 - a filter that lets all pass
    """Want each key."""
    return True


def fetch_with_weights(
    name: str | os.PathLike[str],
    patterns: Sequence[str],
    *,
    wanted: Callable[[str], bool] = everything,
) -> Path:
    """`fetch` those patterns and the weights: safetensors, or pickles where there are none.

    Many repositories hold both, so asking for all would download the weights twice. Of shards
    in safetensors only those with a wanted tensor are asked for.
    """
    folder = fetch(name, [*patterns, SINGLE, INDEX])
    if weights_file(folder) == folder / INDEX:
        folder = fetch(name, [*patterns, INDEX, *wanted_shards(folder / INDEX, wanted)])
    if weights_file(folder) is None:
        folder = fetch(name, [*patterns, *PICKLE_PATTERNS])
    return folder


def weights_file(folder: Path) -> Path | None:
    """The file that holds the weights or the index of their shards; safetensors come first."""
    found = (folder / name for name in (SINGLE, INDEX, PICKLE, PICKLE_INDEX))
    return next((path for path in found if path.is_file()), None)


def read_tensors(folder: Path, *, wanted: Callable[[str], bool] = everything) -> dict[str, Tensor]:
    """The wanted tensors of a folder, floats as float32; of safetensors only these are read.

    Raises:
        CheckpointError: no weights, a damaged file, a missing shard, a pickle with more than
            tensors in it, or an index that contradicts its shards. It names the file.
    """
    path = weights_file(folder)
    if path is None:
        raise CheckpointError(
            f"no weights in {folder}: there is neither {SINGLE} nor {PICKLE}, nor an index of shards"
        )
    if path.name in (INDEX, PICKLE_INDEX):
        return _read_shards(path, wanted)
    return dict(_read_file(path, wanted))


def _read_shards(index: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    places = _read_index(index)
    tensors: dict[str, Tensor] = {}
    found: dict[str, str] = {}
    for shard in wanted_shards(index, wanted):
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index} names the shard {shard!r}, which is not beside it")
        for key, tensor in _read_file(index.parent / shard, wanted):
            place = places.get(key, found.get(key, shard))
            if place != shard:
                raise CheckpointError(
                    f"{index}: {key} is in {shard!r}, and it should be in {place!r} alone"
                )
            found[key] = shard
            tensors[key] = tensor
    if lost := sorted(key for key in places if wanted(key) and key not in tensors):
        raise CheckpointError(
            f"{index} names {len(lost)} tensors that its shards do not hold, for example "
            f"{lost[0]} in {places[lost[0]]!r}"
        )
    return tensors


def wanted_shards(index: Path, wanted: Callable[[str], bool]) -> list[str]:
    """The files with a wanted tensor, by the index beside them; the others need not be there."""
    return sorted({shard for key, shard in _read_index(index).items() if wanted(key)})


def _read_index(path: Path) -> dict[str, str]:
    """Where each tensor is: its key → the name of a file beside the index."""
    places = read_json(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{path} has no weight_map: it is not an index of shards")
    suffix = ".safetensors" if path.name == INDEX else ".bin"
    for key, shard in places.items():
        plain = isinstance(shard, str) and not re.search(r"[/\\:\0]", shard)
        if not plain or not shard.endswith(suffix):
            raise CheckpointError(
                f"{path} puts {key} in {shard!r}; a shard is a {suffix} file beside the index"
            )
    return places


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: it cannot be read, or is something else; it names the file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot read {path} ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a JSON {type(values).__name__}, not an object")
    return values


def _read_file(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    _refuse_pointer(path)
    pairs = _safe_pairs if path.suffix == ".safetensors" else _pickle_pairs
    for key, tensor in pairs(path, wanted):
        yield key, tensor.float() if tensor.is_floating_point() else tensor


def _refuse_pointer(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error})") from error
    if start == LFS_POINTER:
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` in its folder"
        )


def _safe_pairs(path: Path, wanted: Callable[[str], bool]) -> Iterable[tuple[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            return [(key, file.get_tensor(key)) for key in file.keys() if wanted(key)]  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read {path} ({error}): the file is missing or damaged"
        ) from error


def _pickle_pairs(path: Path, wanted: Callable[[str], bool]) -> Iterable[tuple[str, Tensor]]:
    loaded = _load_pickle(path)
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path} holds a {type(loaded).__name__}, not names and tensors")
    kept = [
        (key, value) for key, value in loaded.items() if not isinstance(key, str) or wanted(key)
    ]
    for key, value in kept:
        if not isinstance(key, str) or not _is_plain(value):
            raise CheckpointError(f"{path}: {key!r} is a {_kind(value)}, not a plain tensor")
    return kept


def _load_pickle(path: Path) -> object:
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        guilty = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {guilty[1]}" if guilty else str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({reason}): a pickle can run code, so "
            "it is not loaded. Save the weights as safetensors"
        ) from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise CheckpointError(
            f"cannot read {path} ({type(error).__name__}: {error}): the file is damaged"
        ) from error


def _is_plain(value: object) -> bool:
    """Dense, in memory, and not a small storage stretched over a huge shape."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _kind(value: object) -> str:
    return (
        f"tensor of layout {value.layout} on {value.device}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )


def fold_weight_norm(tensors: Mapping[str, Tensor], *, prefix: str) -> dict[str, Tensor]:
    """Replace weight-normalised convolutions under `prefix` by the plain `weight` they stand for.

    Of both spellings, and exactly as torch computes it, so that codes stay the same to the bit.
    Weights that are plain already stay as they are.

    Raises:
        CheckpointError: a half of a pair is missing or of a wrong shape, or its vector is zero.
    """
    folded = dict(tensors)
    for gain_name, vector_name in WEIGHT_NORMS:
        stems = (
            key.removesuffix(name)
            for key in tensors
            for name in (gain_name, vector_name)
            if key.startswith(prefix) and key.endswith("." + name)
        )
        for stem in dict.fromkeys(stems):
            weight = _plain_weight(folded, stem + gain_name, stem + vector_name)
            if stem + "weight" in folded:
                raise CheckpointError(f"both {stem}weight and {stem}{vector_name} are there")
            folded[stem + "weight"] = weight
    return folded


def _plain_weight(tensors: dict[str, Tensor], gain_key: str, vector_key: str) -> Tensor:
    for key in (gain_key, vector_key):
        if key not in tensors:
            raise CheckpointError(f"missing {key}: weight normalisation needs both halves")
    gain, vector = tensors.pop(gain_key), tensors.pop(vector_key)
    if vector.ndim != 3:
        raise CheckpointError(
            f"{vector_key} has shape {tuple(vector.shape)}; a convolution's has three dimensions"
        )
    if gain.shape != (len(vector), 1, 1):
        raise CheckpointError(
            f"{gain_key} has shape {tuple(gain.shape)}, expected {(len(vector), 1, 1)} beside "
            f"{vector_key} of shape {tuple(vector.shape)}"
        )
    weight = torch._weight_norm(vector, gain, 0)
    if not torch.isfinite(weight).all():
        raise CheckpointError(f"{vector_key} holds a zero vector, or numbers too large to scale")
    return weight
