"""The folder of a transformers CLAP checkpoint → its config, features, tokenizer and model.

transformers mends what is missing or does not fit: it fills weights with random numbers, makes an
empty tokenizer, takes another model's config. Here each of these is an error that names the file.
Knows nothing of audio or of embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, ClapConfig, ClapFeatureExtractor, ClapModel
from transformers.utils import logging

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.checkpoint import CONFIG
from clap_musicgen.model.weight_files import read_json, read_tensors, weights_file

MODEL_TYPE = "clap"
"""What `config.json` of such a checkpoint calls itself."""
EXTRACTOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
PADDINGS = ("repeatpad", "repeat", "pad")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")
PATTERNS = (
    CONFIG,
    EXTRACTOR,
    PROCESSOR,
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def read_config(folder: Path) -> ClapConfig:
    """The checked `config.json`."""
    path = folder / CONFIG
    values = read_json(path)
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{path} is of the model type {values.get('model_type')!r}, not {MODEL_TYPE!r}: it is "
            "not a ClapModel of transformers"
        )
    try:
        return ClapConfig.from_dict(values)
    except Exception as error:  # its checks raise errors of many kinds
        raise CheckpointError(f"{path} does not describe a ClapModel ({_line(error)})") from error


def read_extractor(folder: Path, config: ClapConfig) -> ClapFeatureExtractor:
    """The feature extractor, whose settings are in either of two files, and which fits the model."""
    path, values = _extractor_settings(folder)
    kind = values.get("feature_extractor_type", "ClapFeatureExtractor")
    if kind != "ClapFeatureExtractor":
        raise CheckpointError(f"{path} is of a {kind}, not of a ClapFeatureExtractor")
    try:
        extractor = ClapFeatureExtractor(**values)
        samples = extractor.max_length_s * extractor.sampling_rate
        frames = samples // extractor.hop_length + 1
    except Exception as error:  # wrong types end anywhere in its arithmetic
        raise CheckpointError(
            f"{path} does not describe a ClapFeatureExtractor ({_line(error)})"
        ) from error
    audio = config.audio_config
    widest = audio.spec_size * (audio.spec_size // audio.num_mel_bins)
    channels = 4 if extractor.truncation == "fusion" else 1
    wanted = channels if audio.enable_fusion else audio.patch_embed_input_channels
    problems = {
        f"makes clips of {samples} samples": samples != int(samples) or samples < 1,
        f"makes {extractor.feature_size} mel bins, the model takes {audio.num_mel_bins}": (
            extractor.feature_size != audio.num_mel_bins
        ),
        f"makes {frames} frames, the model takes at most {widest}": frames > widest,
        f"makes {channels} spectrograms of a clip (truncation {extractor.truncation!r}), the model "
        f"takes {wanted}": channels != wanted,
        f"pads by {extractor.padding!r}": extractor.padding not in PADDINGS,
    }
    if found := [text for text, holds in problems.items() if holds]:
        raise CheckpointError(f"{path} does not fit {CONFIG} beside it: it {found[0]}")
    extractor.nb_max_samples = int(samples)
    return extractor


def _extractor_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Where they stand, and what they are; transformers looks in this order."""
    path = folder / PROCESSOR
    if path.is_file():
        values = read_json(path).get("feature_extractor")
        if isinstance(values, dict):
            return path, values
    path = folder / EXTRACTOR
    if path.is_file():
        return path, read_json(path)
    raise CheckpointError(
        f"no {EXTRACTOR} in {folder}, nor a feature_extractor in {PROCESSOR}: without it the mel "
        "spectrograms are unknown. Copy it from where the weights came from, or save it with "
        "ClapProcessor.save_pretrained"
    )


def read_tokenizer(folder: Path, config: ClapConfig) -> Tokenizer:
    """The tokenizer, from one file or from vocabulary and merges."""
    whole, *parts = (folder / name for name in TOKENIZER_FILES)
    if not whole.is_file() and not all(part.is_file() for part in parts):
        # transformers would make an empty one without a word
        raise CheckpointError(
            f"no tokenizer in {folder}: there is neither {whole.name} nor "
            f"{' and '.join(part.name for part in parts)}. Copy it from where the weights came from"
        )
    try:
        with quietly():
            loaded = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    except Exception as error:  # tokenizers raises plain Exception
        raise CheckpointError(f"cannot read the tokenizer in {folder} ({_line(error)})") from error
    size, room = tokenizer.get_vocab_size(), config.text_config.vocab_size
    if size > room:
        raise CheckpointError(
            f"the tokenizer in {folder} has {size} tokens, the model's vocabulary only {room}"
        )
    return tokenizer


def read_model(folder: Path, config: ClapConfig) -> ClapModel:
    """The weights as float32, each where it belongs."""
    weights = read_tensors(folder)
    source = str(weights_file(folder))
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{source}: {name} is not finite")
    try:
        with quietly():
            model, info = ClapModel.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported below, with their shapes
            )
    except Exception as error:  # a config that contradicts itself ends anywhere
        raise CheckpointError(f"{folder / CONFIG} gives no ClapModel ({_line(error)})") from error
    _check_complete(model, info, source)
    return cast(ClapModel, model)


def _check_complete(model: ClapModel, info: Mapping[str, Any], source: str) -> None:
    """CheckpointError where transformers only warns: it would fill the gaps with random numbers."""
    wanted = model.state_dict()
    problems = [
        f"{name} has shape {tuple(stored)}, the config wants {tuple(own)}"
        for name, stored, own in sorted(info["mismatched_keys"])
    ]
    problems += [
        f"missing {name} {tuple(wanted[name].shape)}"
        for name in sorted(info["missing_keys"])
        if wanted[name].is_floating_point()  # counters and tables of positions are made anew
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if problems[5:] else ""
        raise CheckpointError(f"{source} does not fit its config: {'; '.join(problems[:5])}{more}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars and loading reports: what matters is said by us."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
