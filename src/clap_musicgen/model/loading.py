"""A name → the model it stands for, whatever kind it is: ours or a CLAP of transformers.

The one place where `--model NAME` is understood. Knows both kinds by the words of `config.json`;
how each is read is for themselves.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.checkpoint import BUNDLED, CONFIG
from clap_musicgen.model.runtime import PRECISIONS
from clap_musicgen.model.weight_files import fetch, is_hub_id, read_json

if TYPE_CHECKING:
    import torch

    from clap_musicgen.model.clap import ClapMusicGen
    from clap_musicgen.model.transformers_clap import TransformersClap

    LoadedModel: TypeAlias = ClapMusicGen | TransformersClap

OWN_FIELDS = ("format_version", "audio_encoder_config")
"""One of these is in each config that `ClapMusicGen` reads: ours, and the proof of concept's."""


def load_embedder(
    name: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    precision: str = "exact",
) -> LoadedModel:
    """Load `mini`, a folder, or a Hub id: one of our checkpoints, or a CLAP of transformers.

    Args:
        name: only a Hub id ever uses the network.
        device: where the weights go.
        precision: `exact`, or `fast` where the model offers it.

    Raises:
        CheckpointError: not found, damaged, of a kind that gives no embeddings of text and music,
            or not what its config says.
        InputError: a precision that the model does not offer.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}; it must be {' or '.join(PRECISIONS)}")
    if _is_transformers_clap(name):
        from clap_musicgen.model.transformers_clap import TransformersClap

        return TransformersClap.from_pretrained(name, device=device, precision=precision)
    from clap_musicgen.model.clap import ClapMusicGen

    return ClapMusicGen.from_pretrained(name, device=device, precision=precision)


def _is_transformers_clap(name: str | os.PathLike[str]) -> bool:
    """Whether `config.json` says so; CheckpointError if it is of a model that is neither kind."""
    text = os.fspath(name)
    if text in BUNDLED or not (Path(text).expanduser().is_dir() or is_hub_id(text)):
        return False
    path = fetch(text, [CONFIG]) / CONFIG
    if not path.is_file():
        return False
    config = read_json(path)
    kind = config.get("model_type")
    if kind is None or any(field in config for field in OWN_FIELDS):
        return False
    if kind != "clap":
        raise CheckpointError(
            f"{path} is of the model type {kind!r}, which gives no common vectors of text and "
            "music: name a checkpoint of clap-musicgen, or a CLAP of transformers such as "
            "laion/larger_clap_general"
        )
    return True
