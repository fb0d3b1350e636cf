"""Full-size towers: the parts that an embedding needs of a MusicGen and of a RoBERTa checkpoint.

Of MusicGen these are the codec's encoder and the decoder up to the highest layer in use; its T5,
its cross-attention, its heads and the codec's decoder are never read. The projections are new:
such a model knows music and knows words, and nothing of what joins them before it is trained.
Knows the names of keys and of config fields; no tower and no file format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_musicgen.errors import CheckpointError, ClapMusicGenError, InputError, InputTypeError
from clap_musicgen.model.audio_encoder import AudioEncoder
from clap_musicgen.model.checkpoint import CONFIG
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.projection import Projection
from clap_musicgen.model.renaming import read_renamed
from clap_musicgen.model.roberta_tokenizer import (
    TOKENIZER_PATTERNS,
    read_roberta_tokenizer,
    require_rows,
)
from clap_musicgen.model.text_encoder import TextEncoder
from clap_musicgen.model.weight_files import Parts, fetch, read_json

MUSICGEN = "facebook/musicgen-small"
ROBERTA = "FacebookAI/roberta-base"
MAX_TOKENS = 128

# The fields that shape a tower or that training reads; what else a config holds is of no use here.
CODEC_FIELDS = (
    "sampling_rate", "audio_channels", "normalize", "chunk_length_s", "overlap",
    "target_bandwidths", "codebook_size", "codebook_dim", "hidden_size", "num_filters",
    "num_residual_layers", "num_lstm_layers", "upsampling_ratios", "kernel_size",
    "last_kernel_size", "residual_kernel_size", "dilation_growth_rate", "compress",
    "use_causal_conv", "use_conv_shortcut", "pad_mode", "norm_type",
)  # fmt: skip
DECODER_FIELDS = (
    "vocab_size", "num_codebooks", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "ffn_dim", "activation_function", "scale_embedding", "max_position_embeddings", "dropout",
    "attention_dropout", "activation_dropout", "layerdrop", "pad_token_id", "bos_token_id",
)  # fmt: skip
TEXT_FIELDS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps",
    "max_position_embeddings", "type_vocab_size", "pad_token_id", "bos_token_id", "eos_token_id",
)  # fmt: skip


class Choices(TypedDict, total=False):
    """What may be chosen; the words and the limits are those of `ModelConfig`."""

    name: str
    layers: Sequence[int] | None
    """None: the middle one, `num_hidden_layers // 2`."""
    combine: str
    pooling: str
    delay: bool
    positions: str
    loudness: str
    padding: str
    clip_seconds: float
    max_tokens: int
    projection_hidden: int
    dim: int


@dataclass(frozen=True)
class _Source:
    """A checkpoint of others: what it was called, its folder, its `config.json`."""

    name: str
    folder: Path
    values: dict[str, Any]

    @property
    def config(self) -> str:
        return str(self.folder / CONFIG)


def read_backbones(
    musicgen: str | os.PathLike[str],
    text: str | os.PathLike[str],
    *,
    seed: int = 0,
    **choices: Unpack[Choices],
) -> Parts:
    """The towers of two checkpoints as transformers saves them, under new projections.

    Args:
        musicgen: a mono MusicGen, `facebook/musicgen-small`, `-medium` or `-large`, or a folder.
        text: a RoBERTa with its tokenizer, such as `FacebookAI/roberta-base`, or a folder.
        seed: of the projections.
        choices: fields of `ModelConfig`. By default the middle layer, the mean over frames,
            delayed codebooks, neither loudness nor padding changed, clips of 10 s, D = 512.

    Raises:
        CheckpointError: not found, damaged, of another kind or of other shapes than its config
            says; it names the key and the shapes.
        InputError, InputTypeError: a choice that is unknown or out of range.
    """
    if unknown := sorted(choices.keys() - Choices.__annotations__.keys()):
        raise InputTypeError(
            f"unknown {', '.join(unknown)}; one may choose {', '.join(Choices.__annotations__)}"
        )
    music, words = _find_musicgen(musicgen), _find_roberta(text)
    config = _configure(music, words, choices)
    tokenizer = read_roberta_tokenizer(words.folder)
    towers = _build(music, words, config, tokenizer)
    shapes = {
        key: {k: tuple(v.shape) for k, v in tower.state_dict().items() if k != "layer_logits"}
        for key, tower in towers.items()
    }
    weights = _new_projections(towers, config, seed=seed)
    for key, source, names_of in (
        ("audio_encoder", music, in_musicgen),
        ("text_encoder", words, in_roberta),
    ):
        found = read_renamed(source.name, shapes[key], names_of)
        weights |= {f"{key}.{k}": v for k, v in found.items()}
    return Parts(config, weights, tokenizer)


# --- what the two checkpoints are -------------------------------------------------------------


def _find_musicgen(name: str | os.PathLike[str]) -> _Source:
    text = os.fspath(name)
    folder = fetch(text, [CONFIG])
    source = _Source(text, folder, read_json(folder / CONFIG))
    kind = source.values.get("model_type")
    if kind == "musicgen_melody":
        raise CheckpointError(
            f"{text!r} is MusicGen Melody, whose decoder reads a melody in front of the codes: use "
            f"{_plain_name(text)!r}, which has the same size"
        )
    if kind != "musicgen":
        raise CheckpointError(
            f"{source.config} has model_type {kind!r}, not 'musicgen': give a MusicGen checkpoint, "
            f"for example {MUSICGEN!r}"
        )
    codec, decoder = source.values.get("audio_encoder"), source.values.get("decoder")
    if not isinstance(codec, dict) or not isinstance(decoder, dict):
        raise CheckpointError(f"{source.config} lacks audio_encoder or decoder, its nested configs")
    if decoder.get("audio_channels", 1) != 1 or decoder.get("num_codebooks") == 8:
        raise CheckpointError(
            f"{text!r} is stereo MusicGen: its {decoder.get('num_codebooks')} codebooks are those "
            "of a left and a right channel, and a clip here is the mean of its channels: use "
            f"{_plain_name(text)!r}"
        )
    _check_codec(source, codec)
    return source


def _check_codec(source: _Source, codec: Mapping[str, Any]) -> None:
    """What transformers' EnCodec does around its encoder, the audio tower does not."""
    wanted = {"model_type": "encodec", "audio_channels": 1, "normalize": False}
    for field, value in {**wanted, "chunk_length_s": None}.items():
        if (found := codec.get(field, value)) != value:
            raise CheckpointError(
                f"{source.config} has audio_encoder.{field} {found!r}; only {value!r} is supported, "
                "as in MusicGen's own EnCodec"
            )


def _plain_name(name: str) -> str:
    """The mono, melody-free model of the same size, as far as the name tells."""
    plain = name.replace("stereo-", "").replace("melody-large", "large").replace("melody", "medium")
    known = [f"facebook/musicgen-{size}" for size in ("small", "medium", "large")]
    return plain if plain in known else MUSICGEN


def _find_roberta(name: str | os.PathLike[str]) -> _Source:
    text = os.fspath(name)
    folder = fetch(text, [CONFIG, *TOKENIZER_PATTERNS])
    source = _Source(text, folder, read_json(folder / CONFIG))
    kind = source.values.get("model_type")
    if kind != "roberta":
        raise CheckpointError(
            f"{source.config} has model_type {kind!r}, not 'roberta': the text tower is a RoBERTa "
            f"with its byte-level tokenizer, for example {ROBERTA!r} or a folder of `clap-musicgen "
            "tune-text`"
        )
    positions = source.values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise CheckpointError(
            f"{source.config} has position_embedding_type {positions!r}; only 'absolute' is "
            "supported"
        )
    return source


def _whole(values: Mapping[str, Any], field: str, default: int, *, config: str) -> int:
    """A count out of a config that may hold anything."""
    value = values.get(field, default)
    if not isinstance(value, int) or not 0 <= value <= 10**9:
        raise CheckpointError(f"{config} has {field} {value!r}, which is no count")
    return value


def _configure(music: _Source, words: _Source, choices: Choices) -> ModelConfig:
    codec, decoder = music.values["audio_encoder"], music.values["decoder"]
    text = words.values
    depth = _whole(decoder, "num_hidden_layers", 24, config=music.config)
    # RoBERTa's positions begin after the number of its padding token.
    room = _whole(text, "max_position_embeddings", 512, config=words.config)
    room -= _whole(text, "pad_token_id", 1, config=words.config) + 1
    chosen: dict[str, Any] = {
        "name": f"musicgen-{depth}x{decoder.get('hidden_size', 1024)}"
        f"+roberta-{text.get('num_hidden_layers', 12)}x{text.get('hidden_size', 768)}",
        "loudness": "none",
        "padding": "none",
        "projection_hidden": 512,
        "dim": 512,
        "max_tokens": min(MAX_TOKENS, room),
        **choices,
    }
    if chosen["max_tokens"] > room:
        raise InputError(f"max_tokens is {chosen['max_tokens']}; {words.name!r} reads {room}")
    if chosen.get("layers") is None:
        chosen["layers"] = (depth // 2,)
    try:
        return ModelConfig(
            codec={field: codec[field] for field in CODEC_FIELDS if field in codec},
            decoder={field: decoder[field] for field in DECODER_FIELDS if field in decoder},
            text={field: text[field] for field in TEXT_FIELDS if field in text},
            **chosen,
        )
    except TypeError as error:  # such as layers=12 instead of [12]
        raise InputTypeError(f"a choice has the wrong type ({error}): {chosen}") from error


# --- from their keys to ours ------------------------------------------------------------------


def _build(
    music: _Source, words: _Source, config: ModelConfig, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Both towers without memory behind them, for the names and shapes of their weights."""
    towers: dict[str, Any] = {}
    for key, source, build in (
        ("audio_encoder", music, lambda: AudioEncoder(config)),
        ("text_encoder", words, lambda: TextEncoder(config, tokenizer)),
    ):
        try:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                towers[key] = build()
        except ClapMusicGenError:
            raise
        except Exception as error:  # transformers and torch raise anything
            raise CheckpointError(
                f"{source.config} describes no model that can be built "
                f"({type(error).__name__}: {error})"
            ) from error
    _check_vocabularies(music, words, towers, tokenizer)
    return towers


def _check_vocabularies(
    music: _Source, words: _Source, towers: Mapping[str, Any], tokenizer: Tokenizer
) -> None:
    """What one part writes, the next one must be able to read."""
    codec, decoder = towers["audio_encoder"].codec, towers["audio_encoder"].decoder.config
    given = (len(codec.quantizer.layers), codec.config.codebook_size)
    read = (decoder.num_codebooks, decoder.vocab_size)
    if given[0] < read[0] or given[1] != read[1]:
        raise CheckpointError(
            f"{music.config}: the codec writes {given[0]} codebooks of {given[1]} entries, the "
            f"decoder reads {read[0]} of {read[1]}"
        )
    require_rows(
        tokenizer, towers["text_encoder"].roberta.config.vocab_size, source=str(words.folder)
    )


def in_musicgen(key: str) -> list[str]:
    """What a key of our audio tower is called in MusicGen's checkpoints."""
    if key.startswith("decoder."):
        return [f"decoder.model.{key}"]
    return [key.replace("codec.", "audio_encoder.", 1)]


def in_roberta(key: str) -> list[str]:
    """What a key of our text tower is called in RoBERTa's checkpoints, with a head or without."""
    key = key.removeprefix("roberta.")
    older = key.replace("LayerNorm.weight", "LayerNorm.gamma")
    older = older.replace("LayerNorm.bias", "LayerNorm.beta")
    return [prefix + one for prefix in ("roberta.", "") for one in (key, older)]


def _new_projections(
    towers: Mapping[str, Any], config: ModelConfig, *, seed: int
) -> dict[str, Tensor]:
    """Seeded random projections, and equal weights of the layers where these are mixed."""
    weights: dict[str, Tensor] = {}
    hidden, dim = config.projection_hidden, config.dim
    sizes = {
        "audio_projection": towers["audio_encoder"].pooled_size,
        "text_projection": towers["text_encoder"].hidden_size,
    }
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for name, size in sizes.items():
            projection = Projection(size, hidden, dim)
            weights |= {f"{name}.{k}": v for k, v in projection.state_dict().items()}
    if towers["audio_encoder"].layer_logits is not None:
        weights["audio_encoder.layer_logits"] = torch.zeros(len(config.layers))
    return weights
