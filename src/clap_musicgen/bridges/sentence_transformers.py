"""sentence-transformers: `SentenceTransformer(folder).encode([...])` takes text and audio.

A checkpoint folder with `modules.json` beside our files: each of the two libraries loads it. Which
input is text and which is audio is decided here, all else by `ClapMusicGen`. For inference: what
`encode` gives has no gradients.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_musicgen.audio.files import AUDIO_SUFFIXES
from clap_musicgen.bridges.sounds import Track, as_track
from clap_musicgen.errors import CheckpointError, InputError, InputTypeError
from clap_musicgen.model.checkpoint import find_checkpoint
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.config import ModelConfig

try:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule
    from sentence_transformers.util import load_dir_path
except ImportError as error:  # an optional dependency
    raise InputError(
        "this bridge needs sentence-transformers 6 or later: "
        "pip install 'clap-musicgen[sentence-transformers]'"
    ) from error

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
CONFIG: dict[str, Any] = {
    "model_type": "SentenceTransformer",
    "similarity_fn_name": "cosine",
    "prompts": {},
    "default_prompt_name": None,
    "requirements": {
        "clap-musicgen": {
            "specifier": ">=0.1.0",
            "reason": "It holds the model: pip install 'clap-musicgen[sentence-transformers]'",
        }
    },
}
"""What a saved folder tells sentence-transformers, which checks the requirements first."""
LOADING = ("precision", "tokenizer")
"""What `SentenceTransformer(model_kwargs=...)` may pass on to `ClapMusicGen.from_pretrained`."""


@dataclass(frozen=True, slots=True)
class _Text:
    """An input that belongs to the text tower."""

    text: str


class ClapMusicGenModule(InputModule):  # type: ignore[misc]  # sentence-transformers has no types
    """Both towers of a `ClapMusicGen` as the only module of a `SentenceTransformer`."""

    def __init__(self, model: ClapMusicGen) -> None:
        super().__init__()
        self.model = model

    @property
    def modalities(self) -> list[str]:
        """What `encode` takes; "message" is how sentence-transformers spells a mixed list."""
        return ["text", "audio", "message"]

    @property
    def tokenizer(self) -> Tokenizer:
        """The text tower's."""
        return self.model.text_encoder.tokenizer

    def get_embedding_dimension(self) -> int:
        """Length D of an embedding."""
        return self.model.dim

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Tell texts from tracks.

        Args:
            inputs: of each kind that the documentation lists, in any order.
            prompt: put before each text.
            options: of sentence-transformers for other modules; only `task`, unused, is allowed.

        Raises:
            InputError, InputTypeError: an input of no such kind, or an empty text.
        """
        if options.get("processing_kwargs"):
            raise InputError("processing_kwargs do nothing here: leave them out")
        texts: dict[int, str] = {}
        tracks: dict[int, Track] = {}
        for number, value in enumerate(inputs):
            sorted_out = _text_or_track(value, sample_rate=self.model.sample_rate)
            if isinstance(sorted_out, _Text):
                if not sorted_out.text.strip():  # the number that embed_text gives would mislead
                    raise InputError("an input is an empty text: leave it out")
                texts[number] = (prompt or "") + sorted_out.text
            else:
                tracks[number] = sorted_out
        return {"texts": texts, "tracks": tracks}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Tensor]:
        """What `preprocess` gives → {"sentence_embedding": (N, D) unit vectors, in order}."""
        if self.training and torch.is_grad_enabled():
            raise InputError(
                "this module only embeds: train with `clap-musicgen train`, then save it anew"
            )
        texts, tracks = features["texts"], features["tracks"]
        rows = torch.empty(len(texts) + len(tracks), self.model.dim)
        if texts:
            rows[list(texts)] = torch.from_numpy(self.model.embed_text(list(texts.values())))
        if tracks:
            rows[list(tracks)] = torch.from_numpy(self.model.embed_audio(list(tracks.values())))
        return {"sentence_embedding": rows.to(self.model.device)}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Write the checkpoint, always as safetensors; called by `SentenceTransformer.save`."""
        self.model.save_pretrained(output_path)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ClapMusicGenModule:
        """Read the checkpoint from a folder or the Hub; called by `SentenceTransformer(...)`.

        Raises:
            CheckpointError: not found, damaged, or not what its config says.
            InputError: a `model_kwargs` that is none of `LOADING`.
        """
        loading = dict(model_kwargs or {})
        if unknown := sorted(set(loading) - set(LOADING)):
            raise InputError(f"model_kwargs has {unknown}; it takes {', '.join(LOADING)} alone")
        where = ("token", "cache_folder", "revision", "local_files_only")
        given = {name: options[name] for name in where if name in options}
        folder = load_dir_path(model_name_or_path, subfolder, **given)
        if folder is None:
            raise CheckpointError(f"no folder {subfolder!r} in {model_name_or_path!r}")
        return cls(ClapMusicGen.from_pretrained(folder, **loading))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as config, tokenizer and weights, for `encode` on several devices at once."""
        model = self.model
        if getattr(model, "precision", "exact") != "exact":
            raise InputError("a fast model stays in its process: load it with precision='exact'")
        return _unpickled, (model.config.to_json(), self.tokenizer.to_str(), model.state_dict())


def _unpickled(config: str, tokenizer: str, weights: dict[str, Tensor]) -> ClapMusicGenModule:
    model = ClapMusicGen(
        ModelConfig.from_json(config, source="a pickle"), Tokenizer.from_str(tokenizer)
    )
    model.load_state_dict(weights)
    return ClapMusicGenModule(model.to(next(iter(weights.values())).device))


def as_sentence_transformer(model: ClapMusicGen) -> SentenceTransformer:
    """The same weights behind the interface of sentence-transformers, on the same device."""
    return SentenceTransformer(
        modules=[ClapMusicGenModule(model)],
        device=str(model.device),
        similarity_fn_name="cosine",
    )


def save_sentence_transformer(
    model: ClapMusicGen | str | os.PathLike[str], folder: str | os.PathLike[str]
) -> None:
    """Write a folder for `SentenceTransformer(folder, trust_remote_code=True)`.

    `ClapMusicGen.from_pretrained(folder)` loads it as well.

    Args:
        model: a model, or the name of one: `mini`, a checkpoint folder or a Hub id.
        folder: created if absent. If it is the checkpoint itself, its files stay as they are and
            only those of sentence-transformers are added.

    Raises:
        CheckpointError: the model cannot be loaded, or the folder not be written.
    """
    target = Path(folder).expanduser()
    if not isinstance(model, ClapMusicGen):
        source = find_checkpoint(model)
        model = ClapMusicGen.from_pretrained(source)
        in_place = target.is_dir() and source.samefile(target)
    else:
        in_place = False
    if not in_place:
        model.save_pretrained(target)
    kind = f"{ClapMusicGenModule.__module__}.{ClapMusicGenModule.__qualname__}"
    _write_json(target / SETTINGS, CONFIG)
    _write_json(target / MODULES, [{"idx": 0, "name": "0", "path": "", "type": kind}])


def _write_json(path: Path, content: Any) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
            part = Path(scratch) / path.name
            part.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write {path} ({error})") from error


def _text_or_track(value: Any, *, sample_rate: int) -> _Text | Track:
    """Sort one input of `encode`; a dict with one key says what it is, else its type tells."""
    if isinstance(value, Mapping):
        if set(value) == {"text"} and isinstance(value["text"], str):
            return _Text(value["text"])
        if set(value) == {"audio"}:
            return as_track(value["audio"], sample_rate=sample_rate)
        if "array" not in value:
            raise InputError(
                f"an input is a dict with the keys {sorted(map(str, value))}; it must be "
                "{'text': text}, {'audio': sound} or {'array': samples, 'sampling_rate': hertz}"
            )
    if isinstance(value, str):
        return Path(value) if _names_audio(value) else _Text(value)
    if isinstance(value, list | tuple):
        raise InputTypeError(
            f"an input is a {type(value).__name__}; it must be one text or one sound. Samples go "
            "into a numpy array"
        )
    return as_track(value, sample_rate=sample_rate)


def _names_audio(text: str) -> bool:
    """Whether a text is the path of an existing audio file, as sentence-transformers has it."""
    if Path(text).suffix.lower() not in AUDIO_SUFFIXES:
        return False
    if text.startswith(("http://", "https://")) and " " not in text:
        raise InputError(f"{text!r} is an address: download it and give the file")
    return os.path.isfile(text)  # noqa: PTH113 - False, not an error, for a very long text
