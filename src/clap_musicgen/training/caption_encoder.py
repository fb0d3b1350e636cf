"""Captions → vectors of a frozen text encoder, from which training takes which captions are alike.

Reads sentence-transformers folders (without that package), plain transformers checkpoints such as
RoBERTa, and checkpoints of this package. The vectors are pooled states, not scaled to unit length:
`relevance.caption_cosine` centres and scales them. Knows nothing of audio or of losses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from clap_musicgen.errors import CheckpointError, InputError, InputTypeError
from clap_musicgen.model.checkpoint import BUNDLED, CONFIG, find_checkpoint
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.pooling import masked_mean
from clap_musicgen.model.transformers_files import quietly

if TYPE_CHECKING:
    pass

POOLINGS = ("mean", "cls")
BATCH = 64
LONGEST = 8192
"""Tokens of a text where a checkpoint names no limit; a caption has far fewer."""
_MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
"""Modules of sentence-transformers that are understood; the last two change no direction."""
_OLD_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
_WEIGHTS = ("*.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Layout:
    """What a checkpoint folder says of itself: where its parts are and how they are used.

    Attributes:
        transformer: folder of the transformer and its tokenizer.
        pooling: one of `POOLINGS`.
        max_tokens: None where nothing is said.
        lower: texts are put in lower case first.
        prompt: put before each text.
    """

    transformer: Path
    pooling: str = "mean"
    max_tokens: int | None = None
    lower: bool = False
    prompt: str = ""


def encode_captions(
    captions: Sequence[str], *, model: str | os.PathLike[str], batch: int = BATCH
) -> Tensor:
    """Captions → (N, D) float32 pooled states of a frozen text encoder, in order.

    Args:
        captions: none empty.
        model: `mini`, a checkpoint folder of this package, of sentence-transformers or of
            transformers, or a Hub id of one (the only one that may download).
        batch: captions at once; does not change the vectors.

    A text longer than the encoder's window is cut there, as sentence-transformers does; the text
    tower of this package reads it in several windows.

    Raises:
        CheckpointError: not found, damaged, or with parts that are not understood.
        InputError, InputTypeError: a caption is empty or no text.
    """
    return CaptionEncoder(model).encode(captions, batch=batch)


class CaptionEncoder:
    """A frozen text encoder; see `encode_captions`."""

    def __init__(
        self, model: str | os.PathLike[str], *, device: str | torch.device = "cpu"
    ) -> None:
        """Load it; raises CheckpointError."""
        self.device = torch.device(device)
        self._own: ClapMusicGen | None = None
        folder = _find(model)
        if _is_own(folder):
            self._own = ClapMusicGen.from_pretrained(folder, device=self.device)
            self.dim = self._own.text_encoder.hidden_size
            return
        self._layout = read_layout(folder)
        self._tokenizer, self._transformer = _load(self._layout.transformer)
        self._transformer.to(self.device)
        self._window = _window(self._layout, self._tokenizer, self._transformer)
        self.dim = int(self._transformer.config.hidden_size)

    @torch.no_grad()  # what inference_mode gives could not be trained on
    def encode(self, captions: Sequence[str], *, batch: int = BATCH) -> Tensor:
        """Captions → (N, D) float32 on the CPU."""
        _check(captions)
        if batch < 1:
            raise InputError(f"batch is {batch}; it must be 1 or more")
        # Texts of like length together: less padding.
        order = sorted(range(len(captions)), key=lambda row: len(captions[row]))
        vectors = torch.zeros((len(captions), self.dim))
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            texts = [captions[row].encode("utf-8", "replace").decode() for row in rows]
            pooled = self._encode(texts) if self._own is None else self._own_states(texts)
            vectors[rows] = pooled.float().cpu()
        return vectors

    def _encode(self, texts: list[str]) -> Tensor:
        layout = self._layout
        texts = [layout.prompt + (text.lower() if layout.lower else text) for text in texts]
        inputs = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._window, return_tensors="pt"
        ).to(self.device)
        states = self._transformer(**inputs).last_hidden_state
        mask = inputs["attention_mask"].bool()
        if layout.pooling == "mean":
            return masked_mean(states, mask)
        first = mask.int().argmax(dim=1)  # 0, unless the tokenizer pads on the left
        return torch.as_tensor(states[torch.arange(len(texts), device=first.device), first])

    def _own_states(self, texts: list[str]) -> Tensor:
        assert self._own is not None
        return self._own.text_encoder.encode(texts, batch=len(texts))


def read_layout(folder: Path) -> Layout:
    """What the files of a sentence-transformers or plain transformers folder say.

    Raises:
        CheckpointError: a file is damaged, or asks for what is not understood.
    """
    modules = _read_json(folder / "modules.json", [])
    try:
        parts = {str(part["type"]).rsplit(".", 1)[-1]: str(part["path"]) for part in modules}
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{folder / 'modules.json'} is no list of modules") from error
    if unknown := sorted(parts.keys() - set(_MODULES)):
        raise CheckpointError(
            f"{folder} has a module {unknown[0]!r}, which is not understood; known are {_MODULES}"
        )
    if modules and "Transformer" not in parts:
        raise CheckpointError(f"{folder / 'modules.json'} names no Transformer")
    inner = "0_Transformer" if (folder / "0_Transformer").is_dir() else ""
    transformer = folder / parts.get("Transformer", inner)
    if not (transformer / CONFIG).is_file():
        raise CheckpointError(
            f"{transformer / CONFIG} is not there: {str(folder)!r} is no checkpoint of a text encoder"
        )
    # Where no pooling is named, as in a plain RoBERTa, it is the mean.
    pooling = folder / parts.get("Pooling", "1_Pooling") / CONFIG
    settings = _read_json(transformer / "sentence_bert_config.json", {})
    limit = settings.get("max_seq_length")
    return Layout(
        transformer,
        pooling=_pooling(pooling),
        max_tokens=None if limit is None else int(limit),
        lower=bool(settings.get("do_lower_case", False)),
        prompt=_prompt(folder / "config_sentence_transformers.json"),
    )


def _pooling(path: Path) -> str:
    settings = _read_json(path, {"pooling_mode": "mean"})
    mode = settings.get("pooling_mode")
    if mode is None:  # before sentence-transformers 6: a flag for each
        chosen = [
            key for key, value in settings.items() if key.startswith("pooling_mode") and value
        ]
        mode = "+".join(_OLD_FLAGS.get(key, key) for key in chosen)
    if mode not in POOLINGS or not settings.get("include_prompt", True):
        raise CheckpointError(
            f"{path} asks for pooling {mode!r}"
            f"{'' if settings.get('include_prompt', True) else ' without the prompt'}; "
            f"understood are {POOLINGS}"
        )
    return str(mode)


def _prompt(path: Path) -> str:
    settings = _read_json(path, {})
    name = settings.get("default_prompt_name")
    prompts = settings.get("prompts") or {}
    if name is not None and name not in prompts:
        raise CheckpointError(f"{path} has default_prompt_name {name!r}, but no such prompt")
    return "" if name is None else str(prompts[name])


def _read_json(path: Path, default: Any) -> Any:
    """The content of a file that may be absent; it must be of the default's type."""
    if not path.is_file():
        return default
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({error})") from error
    if not isinstance(value, type(default)):
        raise CheckpointError(f"{path} must hold a JSON {type(default).__name__}")
    return value


def _load(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and transformer, whole: nothing but a pooler that we do not use may be missing."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if getattr(config, "is_encoder_decoder", False):
            raise CheckpointError(
                f"{folder} is an encoder-decoder ({config.model_type}), no encoder"
            )
        with quietly():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            transformer, found = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except CheckpointError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise anything
        why = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"cannot load a text encoder from {folder} ({why[0]})") from error
    missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    missing += sorted(str(key) for key in found["mismatched_keys"])
    if tokenizer.pad_token is None:
        raise CheckpointError(f"the tokenizer in {folder} has no padding token: it is no encoder's")
    if missing:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config: {len(missing)} are missing or of "
            f"another shape, the first is {missing[0]}"
        )
    return tokenizer, transformer.eval().requires_grad_(requires_grad=False)


def _window(layout: Layout, tokenizer: Any, transformer: Any) -> int:
    """How many tokens a text may have."""
    limits = [int(tokenizer.model_max_length), LONGEST]
    positions = getattr(transformer.config, "max_position_embeddings", None)
    if positions:  # RoBERTa and its kin count from behind the padding token
        embeddings = getattr(transformer, "embeddings", None)
        offset = getattr(embeddings, "padding_idx", None)
        limits.append(positions - (0 if offset is None else offset + 1))
    if layout.max_tokens is not None:
        limits.append(layout.max_tokens)
    return min(limits)


def _find(model: str | os.PathLike[str]) -> Path:
    text = os.fspath(model)
    if text in BUNDLED:
        return find_checkpoint(text)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists() or text.count("/") != 1 or text.startswith((".", "~", "/")):
        raise CheckpointError(
            f"no text encoder {text!r}: not bundled ({', '.join(BUNDLED)}), not a folder, and not "
            "a Hub id of the form owner/name"
        )
    return _download(text)


def _download(repository: str) -> Path:
    """Of the formats of the weights one is enough, the safe one where there is a choice."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    small = ["*.json", "*.txt", "*.model"]
    folder = Path()
    try:
        for weights in _WEIGHTS:
            folder = Path(snapshot_download(repository, allow_patterns=[*small, weights]))
            if any(folder.rglob(weights)):
                return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{repository!r} is no folder here, and the Hub did not give it "
            f"({type(error).__name__}); check the name and the network, or pass a folder"
        ) from error
    raise CheckpointError(f"{repository!r} on the Hub has no weights that PyTorch reads")


def _is_own(folder: Path) -> bool:
    return "format_version" in _read_json(folder / CONFIG, {})


def _check(captions: Sequence[str]) -> None:
    if isinstance(captions, str):
        raise InputTypeError(f"captions is the string {captions!r}: give a list, [caption, …]")
    for number, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputTypeError(f"caption {number} is {type(caption).__name__}, not str")
        if not caption.strip():
            raise InputError(f"caption {number} is empty")
