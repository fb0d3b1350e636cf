"""The proof of concept's published checkpoint (`yuhuacheng/clap-musicgen`) as parts of our model.

All its weights are inside, so no base model is fetched. Its keys are renamed, its weight
normalisation is folded in, and its way of computing becomes a config: the codes undelayed, every
frame at position 0, the last frame of the last layer, clips at their own length. Only a text
longer than its window is treated otherwise: there it was cut, here it is read in several windows.
Knows nothing of files beyond their names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import RobertaConfig, RobertaModel

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.audio_encoder import AudioEncoder
from clap_musicgen.model.checkpoint import CONFIG
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.projection import Projection
from clap_musicgen.model.published_sizes import (
    AUDIO_HEAD,
    CODEC,
    DECODER,
    ROBERTA,
    TEXT_HEAD,
    read_sizes,
)
from clap_musicgen.model.roberta_tokenizer import (
    TOKENIZER_PATTERNS,
    has_tokenizer,
    read_roberta_tokenizer,
    require_rows,
)
from clap_musicgen.model.weight_files import (
    Parts,
    fetch,
    fold_weight_norm,
    listed,
    read_json,
    read_tensors,
    weights_file,
)

AUDIO, TEXT = "audio_encoder_config", "text_encoder_config"
PUBLISHED_TOKENIZER = "yuhuacheng/clap-roberta-finetuned"
"""Where the published text tower's tokenizer is; it is RoBERTa's."""
PREFIXES = {
    "audio_encoder.codec.": CODEC,
    "audio_encoder.decoder.": DECODER,
    "audio_projection.": AUDIO_HEAD,
    "text_encoder.roberta.": ROBERTA,
    "text_projection.": TEXT_HEAD,
}
"""Our names and theirs."""
UNUSED = re.compile(
    r"logit_scale_[at]"
    r"|audio_encoder\.encodec\.decoder\..+"
    r"|audio_encoder\.encodec\.quantizer\.layers\.\d+\.codebook\.(inited|cluster_size|embed_avg)"
    r"|audio_encoder\.transformer\.layers\.\d+\.encoder_attn(_layer_norm)?\..+"
    r"|audio_encoder\.transformer\.embed_positions\.weights"
    r"|text_encoder\.text_encoder\.pooler\..+"
    r"|text_encoder\.text_encoder\.embeddings\.(position|token_type)_ids"
)
"""What an embedding never needs: the codec's decoder and the traces of its training, MusicGen's
cross-attention, RoBERTa's pooler, tables that are computed, the scales of the loss."""


def is_published(folder: Path) -> bool:
    """Whether a folder's `config.json` is of the published layout; an unreadable one is not."""
    try:
        values = read_json(folder / CONFIG)
    except CheckpointError:
        return False
    return (AUDIO in values or TEXT in values) and "format_version" not in values


def read_published(folder: Path, *, tokenizer: str | os.PathLike[str] | None = None) -> Parts:
    """Config, weights and tokenizer of a checkpoint in the published layout.

    Args:
        folder: `config.json` and the weights, in one file or in shards.
        tokenizer: a folder, a Hub id or a `tokenizer.json`; by default the files beside the
            weights, else the published one from the Hub.

    Raises:
        CheckpointError: a file is missing, damaged or of another shape; it names the key as it
            stands in the file.
    """
    declared = read_json(folder / CONFIG)
    stored = read_tensors(folder, wanted=_is_used)
    source = weights_file(folder) or folder
    try:
        _require_sound(stored)
        plain = fold_weight_norm(stored, prefix=CODEC + "encoder.")
        config = read_sizes({key: tuple(tensor.shape) for key, tensor in plain.items()})
        weights = _renamed(plain, stored, expected=_expected_shapes(config))
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    _require_declared(declared, config, source=folder / CONFIG)
    return Parts(config, weights, _find_tokenizer(folder, tokenizer, config))


def _is_used(key: str) -> bool:
    return not UNUSED.fullmatch(key)


def _require_sound(tensors: Mapping[str, Tensor]) -> None:
    problems = []
    for key, tensor in tensors.items():
        if not tensor.is_floating_point():
            problems.append(f"{key} is {tensor.dtype}, not floating point")
        elif not tensor.numel():
            problems.append(f"{key} is empty, of shape {tuple(tensor.shape)}")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{key} is not finite")
    _refuse(problems)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise CheckpointError(listed(problems))


def _expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Our keys and shapes, from modules without storage."""
    with torch.device("meta"):
        audio = AudioEncoder(config)
        text = RobertaModel(RobertaConfig(**config.text), add_pooling_layer=False)
        hidden, dim = config.projection_hidden, config.dim
        modules = {
            "audio_encoder": audio,
            "text_encoder.roberta": text,
            "audio_projection": Projection(audio.pooled_size, hidden, dim),
            "text_projection": Projection(text.config.hidden_size, hidden, dim),
        }
    return {
        f"{name}.{key}": tuple(tensor.shape)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def _renamed(
    plain: Mapping[str, Tensor],
    stored: Mapping[str, Tensor],
    *,
    expected: Mapping[str, tuple[int, ...]],
) -> dict[str, Tensor]:
    """Their tensors under our keys, all of them and no others; errors speak of their keys."""
    theirs = {key: _their_key(key) for key in expected}
    missing, wrong = [], []
    for key, name in theirs.items():
        if name not in plain:
            missing.append(f"missing {name} {expected[key]}")
        elif tuple(plain[name].shape) != expected[key]:
            shape = tuple(plain[name].shape)
            wrong.append(f"{_stored_key(name, stored)} is {shape}, expected {expected[key]}")
    extra = [
        f"unexpected {_stored_key(name, stored)} {tuple(plain[name].shape)}"
        for name in plain.keys() - set(theirs.values())
    ]
    _refuse([*missing, *wrong, *sorted(extra)])
    return {key: plain[name] for key, name in theirs.items()}


def _their_key(key: str) -> str:
    ours = next(prefix for prefix in PREFIXES if key.startswith(prefix))
    return PREFIXES[ours] + key.removeprefix(ours)


def _stored_key(name: str, stored: Mapping[str, Tensor]) -> str:
    """The key in the file: a folded weight has the shape of its vector."""
    spellings = (
        name,
        f"{name}_v",
        f"{name.removesuffix('weight')}parametrizations.weight.original1",
    )
    return next((key for key in spellings if key in stored), name)


def _require_declared(declared: Mapping[str, Any], config: ModelConfig, *, source: Path) -> None:
    """Refuse a `config.json` whose sizes contradict the weights."""
    actual = {"projection_dim": config.dim, "hidden_dim": config.projection_hidden}
    for section in (AUDIO, TEXT):
        values = declared.get(section)
        if not isinstance(values, dict):
            raise CheckpointError(f"{source}: {section} is {values!r:.80}, not an object")
        for name, size in actual.items():
            if values.get(name) is not None and values[name] != size:
                raise CheckpointError(
                    f"{source}: {section}.{name} is {values[name]!r:.80}, the weights have {size}"
                )


def _find_tokenizer(
    folder: Path, given: str | os.PathLike[str] | None, config: ModelConfig
) -> Tokenizer:
    place = _tokenizer_place(folder, given)
    tokenizer = read_roberta_tokenizer(place)
    require_rows(tokenizer, int(config.text["vocab_size"]), source=str(place))
    return tokenizer


def _tokenizer_place(folder: Path, given: str | os.PathLike[str] | None) -> Path:
    if given is not None:
        path = Path(given).expanduser()
        return path if path.is_file() else fetch(given, TOKENIZER_PATTERNS)
    if has_tokenizer(folder):
        return folder
    try:
        return fetch(PUBLISHED_TOKENIZER, TOKENIZER_PATTERNS)
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder} has no tokenizer beside its weights, and {error}. Put RoBERTa's "
            "tokenizer.json, or vocab.json and merges.txt, beside the weights, or pass its folder "
            "as tokenizer="
        ) from error
