"""A RoBERTa with its masked-language-modelling head: from transformers, or out of a checkpoint of ours.

Reading it, writing it as a folder that `AutoModel` and `AutoTokenizer` load, and taking its tower
out of that folder. Knows no captions and no training.

A text tower that was tuned can be put back. Its states have moved, so the projections need
training again; the tokenizer is the same::

    model = ClapMusicGen.from_pretrained("mini")
    model.text_encoder.roberta.load_state_dict(load_tuned_roberta("runs/text"))
    model.save_pretrained("runs/mini-with-tuned-text")   # from here, train the heads
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from clap_musicgen.errors import CheckpointError, TrainingError
from clap_musicgen.model import checkpoint
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.transformers_files import quietly

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

PREFIX = "roberta."
OF_OURS = f"text_encoder.{PREFIX}"
"""Where the weights of the text tower are in a checkpoint of ours."""
SPECIAL = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>"} | {
    name: f"<{name}>" for name in ("unk", "pad", "mask")
}


@dataclass(frozen=True)
class MaskedModel:
    """What is tuned."""

    model: Any
    """transformers' RobertaForMaskedLM, float32."""
    tokenizer: Any
    """A fast tokenizer of transformers with mask, pad, start and end."""
    window: int
    """Tokens that fit, start and end included."""
    head_is_new: bool
    """The head that guesses tokens was not in the checkpoint: it begins at random."""


def load_masked_model(name: str, *, seed: int) -> MaskedModel:
    """A transformers RoBERTa (folder or Hub id) or the text tower of ours (`mini`, folder, Hub id).

    Args:
        name: where it is; only a Hub id may use the network.
        seed: of a head that has to be made.

    Raises:
        CheckpointError: absent, damaged, or not RoBERTa.
    """
    torch.manual_seed(seed)
    loaded = _load_ours(name) if _is_ours(name) else _load_transformers(name)
    tokenizer, size = loaded.tokenizer, loaded.model.config.vocab_size
    if not tokenizer.is_fast or tokenizer.mask_token is None or tokenizer.pad_token is None:
        raise CheckpointError(
            f"the tokenizer of {name!r} is no fast RoBERTa tokenizer with <mask> and <pad>: give a "
            "checkpoint with tokenizer.json"
        )
    if len(tokenizer) > size:
        raise CheckpointError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens, its model {size}: they do not "
            "belong together"
        )
    return loaded


def save_masked_model(loaded: MaskedModel, folder: Path) -> None:
    """Write config, weights and tokenizer as transformers does; each file is whole or absent.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch, quietly():
            loaded.tokenizer.save_pretrained(scratch)
            loaded.model.save_pretrained(scratch)
            mode = (Path(scratch) / checkpoint.CONFIG).stat().st_mode
            for file in sorted(Path(scratch).iterdir()):
                file.chmod(mode)  # safetensors makes its files private
                file.replace(folder / file.name)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write the tuned model to {folder} ({error})") from error


def load_tuned_roberta(folder: Path | str) -> dict[str, Tensor]:
    """The weights of transformers' RobertaModel, without pooler and head, out of a tuned folder.

    The names are those of `TextEncoder.roberta`: see the module for how to put them back.

    Raises:
        CheckpointError: the folder has no such weights.
    """
    weights = checkpoint.read_weights(Path(folder).expanduser())
    found = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in weights.items()
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}pooler.")
    }
    if not found:
        raise CheckpointError(
            f"{Path(folder) / checkpoint.WEIGHTS} has no weights named {PREFIX}*: it is not a folder "
            "that tune-text wrote"
        )
    return found


def _is_ours(name: str) -> bool:
    """Whether the name stands for a checkpoint with our own config.json."""
    if name in checkpoint.BUNDLED:
        return True
    folder = Path(name).expanduser()
    path = folder / checkpoint.CONFIG
    if not folder.is_dir():
        path = _config_from_hub(name)
    try:
        return "format_version" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"cannot read {path} ({error}): a checkpoint is a folder with {checkpoint.CONFIG}"
        ) from error


def _config_from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if name.startswith((".", "/", "~")) or name.count("/") > 1 or Path(name).exists():
        raise CheckpointError(f"no checkpoint {name!r}: not a folder, and not a Hub id")
    try:
        return Path(hf_hub_download(name, checkpoint.CONFIG))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name!r} is no folder here, and the Hub did not give it ({type(error).__name__}); "
            "check the name and the network, or pass a folder"
        ) from error


def _load_ours(name: str) -> MaskedModel:
    folder = checkpoint.find_checkpoint(name)
    config = checkpoint.read_config(folder)
    weights = checkpoint.read_weights(folder)
    tower = {k.removeprefix(OF_OURS): v for k, v in weights.items() if k.startswith(OF_OURS)}
    model = RobertaForMaskedLM(RobertaConfig(**config.text))
    checkpoint.load_strictly(model.roberta, tower, source=str(folder / checkpoint.WEIGHTS))
    model.tie_weights()
    tokenizer = _as_fast_tokenizer(checkpoint.read_tokenizer(folder), config)
    return MaskedModel(model, tokenizer, config.max_tokens, head_is_new=True)


def _as_fast_tokenizer(tokenizer: Tokenizer, config: ModelConfig) -> Any:
    """transformers' face for our tokenizer; by itself it adds start and end, as RoBERTa's does."""
    start, end = SPECIAL["bos"], SPECIAL["eos"]
    numbers = {token: tokenizer.token_to_id(token) for token in SPECIAL.values()}
    if missing := [token for token, number in numbers.items() if number is None]:
        raise CheckpointError(f"the tokenizer has no {', '.join(missing)}: it cannot be tuned")
    tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} {end} $B {end}",
        special_tokens=[(start, numbers[start]), (end, numbers[end])],
    )
    tokens = {f"{name}_token": token for name, token in SPECIAL.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=config.max_tokens, **tokens
    )


def _load_transformers(name: str) -> MaskedModel:
    source = str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    try:
        with quietly():
            config = AutoConfig.from_pretrained(source)
            if config.model_type != "roberta":
                raise CheckpointError(
                    f"{name!r} is a model of type {config.model_type!r}; it must be roberta"
                )
            model, info = RobertaForMaskedLM.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True
            )
            tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {name!r} as RoBERTa: {error}") from error
    missing = sorted(info["missing_keys"])
    if lost := [key for key in missing if key.startswith(PREFIX)]:
        raise CheckpointError(f"{name!r} lacks {len(lost)} weights of RoBERTa, such as {lost[0]}")
    model.tie_weights()
    # RoBERTa's positions begin after the number of its padding token.
    room = config.max_position_embeddings - config.pad_token_id - 1
    return MaskedModel(model, tokenizer, room, head_is_new=bool(missing))
