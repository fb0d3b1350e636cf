"""The sizes of a published checkpoint, read from the shapes of its tensors.

Where several tensors speak of one size the majority decides, so that a tensor of a wrong shape
stands out by itself. What no shape tells is a constant here, with its source. Knows names and
shapes, neither tensors nor files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from math import ceil, log2, prod
from typing import Any

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.config import ModelConfig

CODEC, DECODER = "audio_encoder.encodec.", "audio_encoder.transformer."
ROBERTA = "text_encoder.text_encoder."
AUDIO_HEAD, TEXT_HEAD = "audio_encoder.projection.", "text_encoder.projection."

HEAD_SIZE = 64
"""Of both transformers: MusicGen (small, medium, large) and RoBERTa (base, large)."""
CLIP_SECONDS = 15.0
"""What the published demonstration cuts its tracks into."""
ENCODEC_32KHZ: dict[str, Any] = {
    "sampling_rate": 32000,
    "use_causal_conv": False,
    "norm_type": "weight_norm",
    "pad_mode": "reflect",
    "dilation_growth_rate": 2,
    "normalize": False,
    "chunk_length_s": None,
}
"""The config of facebook/encodec_32khz, the codec of every MusicGen."""
MUSICGEN: dict[str, Any] = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "pad_token_id": None,
    "bos_token_id": None,
}
"""The decoder of facebook/musicgen-small; no frame is ever padded here, so it needs no pad id."""
ROBERTA_BASE: dict[str, Any] = {
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
"""The config of FacebookAI/roberta-base. Its positions are counted from pad_token_id + 1."""
NOT_TOKENS = 2
"""Rows of RoBERTa's position table that no token uses: 0 to pad_token_id."""

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Key → shape, weight normalisation folded in."""


def read_sizes(shapes: Shapes) -> ModelConfig:
    """The config of the model that has these shapes, as the published code would run it.

    Raises:
        CheckpointError: a tensor that decides a size is missing or impossible; it names the key.
    """
    decoder, text = _decoder(shapes), _text(shapes)
    codec = _codec(shapes, codebooks=decoder["num_codebooks"])
    _require_codes_fit(shapes, codec, decoder)
    head = "^(audio|text)_encoder.projection.projection."
    return ModelConfig(
        name="clap-musicgen",
        clip_seconds=CLIP_SECONDS,
        loudness="none",
        padding="none",
        codec=codec,
        decoder=decoder,
        layers=(decoder["num_hidden_layers"],),
        pooling="last",
        delay=False,
        positions="zero",  # it gets its inputs as embeddings, whose frames are all counted as 0
        text=text,
        max_tokens=text["max_position_embeddings"] - NOT_TOKENS,
        projection_hidden=_vote(
            shapes, (head + "[03].weight$", 2, 0), (head + "[0134].bias$", 1, 0)
        ),
        dim=_vote(shapes, (head + "6.weight$", 2, 0), (head + "6.bias$", 1, 0)),
    )


def _vote(shapes: Shapes, *evidence: tuple[str, int, int]) -> int:
    """The most frequent size; evidence is (pattern of keys, number of dimensions, which of them)."""
    votes = Counter(
        shape[axis]
        for pattern, dimensions, axis in evidence
        for key, shape in shapes.items()
        if len(shape) == dimensions and re.search(pattern, key)
    )
    if not votes:
        pattern, dimensions, _ = evidence[0]
        key = pattern.strip("^$").replace(r"\d+", "0")
        raise CheckpointError(
            f"{key} is {shapes[key]}; it must have {dimensions} dimensions"
            if key in shapes
            else f"missing {key}"
        )
    return votes.most_common(1)[0][0]


def _count(shapes: Shapes, prefix: str, *, typical: str) -> int:
    """How many numbered parts there are. `prefix` is the pattern of what stands before a number.

    `typical` is a key that each part has, with {} for its number.
    """
    found = re.compile(prefix + r"(\d{1,4})(?=\.|$)")
    numbers = {int(match[1]): key for key in shapes if (match := found.match(key))}
    lost = next((n for n in range(max(len(numbers), 1)) if n not in numbers), None)
    if lost is not None:
        seen = f", and there is {numbers[max(numbers)]}" if numbers else ""
        raise CheckpointError(f"missing {typical.format(lost)}{seen}")
    return len(numbers)


def _heads(hidden: int, shapes: Shapes, key: str) -> int:
    if hidden % HEAD_SIZE:
        raise CheckpointError(
            f"the hidden size {hidden} is not a multiple of the head size {HEAD_SIZE}: "
            f"{key} is {shapes.get(key)}"
        )
    return hidden // HEAD_SIZE


def _decoder(shapes: Shapes) -> dict[str, Any]:
    """Fields of MusicgenDecoderConfig."""
    tables, layer = "^" + DECODER + r"embed_tokens.\d+.weight$", "^" + DECODER + r"layers.\d+."
    hidden = _vote(shapes, (tables, 2, 1), (layer + "self_attn_layer_norm.weight$", 1, 0))
    return {
        **MUSICGEN,
        "vocab_size": _vote(shapes, (tables, 2, 0)) - 1,
        "num_codebooks": _count(
            shapes, DECODER + "embed_tokens.", typical=DECODER + "embed_tokens.{}.weight"
        ),
        "hidden_size": hidden,
        "num_hidden_layers": _count(
            shapes, DECODER + "layers.", typical=DECODER + "layers.{}.fc1.weight"
        ),
        "num_attention_heads": _heads(hidden, shapes, DECODER + "embed_tokens.0.weight"),
        "ffn_dim": _vote(shapes, (layer + "fc1.weight$", 2, 0), (layer + "fc2.weight$", 2, 1)),
    }


def _text(shapes: Shapes) -> dict[str, Any]:
    """Fields of RobertaConfig."""
    tables, layer = ROBERTA + "embeddings.", "^" + ROBERTA + r"encoder.layer.\d+."
    hidden = _vote(
        shapes,
        ("^" + tables + r"\w+_embeddings.weight$", 2, 1),
        ("^" + tables + r"LayerNorm.\w+$", 1, 0),
        (layer + "output.LayerNorm.weight$", 1, 0),
    )
    rows = {
        name: _vote(shapes, (f"^{tables}{name}_embeddings.weight$", 2, 0))
        for name in ("word", "position", "token_type")
    }
    for name, least in (("word", 4), ("position", 4 + NOT_TOKENS), ("token_type", 1)):
        if rows[name] < least:
            raise CheckpointError(
                f"{tables}{name}_embeddings.weight has {rows[name]} rows; it needs {least} or more"
            )
    return {
        **ROBERTA_BASE,
        "vocab_size": rows["word"],
        "max_position_embeddings": rows["position"],
        "type_vocab_size": rows["token_type"],
        "hidden_size": hidden,
        "num_hidden_layers": _count(
            shapes,
            ROBERTA + "encoder.layer.",
            typical=ROBERTA + "encoder.layer.{}.output.dense.weight",
        ),
        "num_attention_heads": _heads(hidden, shapes, tables + "word_embeddings.weight"),
        "intermediate_size": _vote(
            shapes,
            (layer + "intermediate.dense.weight$", 2, 0),
            (layer + "intermediate.dense.bias$", 1, 0),
            (layer + "output.dense.weight$", 2, 1),
        ),
    }


def _codec(shapes: Shapes, *, codebooks: int) -> dict[str, Any]:
    """Fields of EncodecConfig."""
    layers, books = CODEC + "encoder.layers.", "^" + CODEC + r"quantizer.layers.\d+.codebook.embed$"
    last, downs, residual = _encoder_plan(shapes)
    first, end = f"{layers}0.conv.", f"{layers}{last + 2}.conv."
    ratios = [_ratio(shapes, f"{layers}{down}.conv.weight") for down in downs]
    entries = _vote(shapes, (books, 2, 0))
    size = _vote(shapes, (books, 2, 1), (end + "weight$", 3, 0), (end + "bias$", 1, 0))
    return {
        **ENCODEC_32KHZ,
        "audio_channels": _channels(shapes, first + "weight"),
        "num_filters": _vote(
            shapes,
            (first + "weight$", 3, 0),
            (first + "bias$", 1, 0),
            (f"{layers}{downs[0]}.conv.weight$", 3, 1),
        ),
        "kernel_size": _conv(shapes, first + "weight")[2],
        "last_kernel_size": _conv(shapes, end + "weight")[2],
        "hidden_size": size,
        "codebook_dim": size,
        "codebook_size": _power_of_two(entries),
        "upsampling_ratios": ratios[::-1],  # named after the decoder, which goes the other way
        "num_lstm_layers": _count(
            shapes,
            rf"{layers}{last}.lstm.\w+_l",
            typical=f"{layers}{last}.lstm.weight_ih_l{{}}",
        ),
        "num_residual_layers": residual,
        **(_residual_sizes(shapes, layers) if residual else {}),
        "use_conv_shortcut": any(re.match(layers + r"\d+\.shortcut\.", key) for key in shapes),
        "target_bandwidths": [_bandwidth(codebooks, prod(ratios), entries)],
    }


def _channels(shapes: Shapes, key: str) -> int:
    shape = _conv(shapes, key)
    if shape[1] != 1:
        raise CheckpointError(
            f"{key} is {shape}: a codec of {shape[1]} channels; only mono ones are supported"
        )
    return 1


def _power_of_two(entries: int) -> int:
    if entries < 2 or entries & (entries - 1):
        raise CheckpointError(
            f"{CODEC}quantizer.layers.0.codebook.embed has {entries} entries; EnCodec's codebooks "
            "have a power of 2"
        )
    return entries


def _residual_sizes(shapes: Shapes, layers: str) -> dict[str, int]:
    """How much narrower a residual block is inside, and its kernel."""
    block = "^" + layers + r"\d+.block."
    ratios = Counter(
        shape[wide] // shape[1 - wide]
        for pattern, wide in ((block + "1.conv.weight$", 1), (block + "3.conv.weight$", 0))
        for key, shape in shapes.items()
        if len(shape) == 3 and re.search(pattern, key) and shape[wide] >= shape[1 - wide]
    )
    return {
        "compress": ratios.most_common(1)[0][0] if ratios else 2,
        "residual_kernel_size": _vote(shapes, (block + "1.conv.weight$", 3, 2)),
    }


def _encoder_plan(shapes: Shapes) -> tuple[int, list[int], int]:
    """Where the LSTM stands, where the strided convolutions stand, and R, the blocks before each.

    EnCodec's encoder is layer 0, then S times (R blocks, ELU, strided convolution), the LSTM, ELU
    and a last convolution: strided ones are at multiples of R + 2, the LSTM at S (R + 2) + 1.
    """
    layers = re.escape(CODEC) + r"encoder\.layers\.(\d{1,4})\."
    lstm = Counter(int(m[1]) for key in shapes if (m := re.match(layers + "lstm", key)))
    if not lstm:
        raise CheckpointError(f"missing {CODEC}encoder.layers.*.lstm.weight_ih_l0")
    last = lstm.most_common(1)[0][0]
    found = {int(m[1]) for key in shapes if (m := re.match(layers + "conv", key))}
    plans = [list(range(step, last, step)) for step in range(2, last) if (last - 1) % step == 0]
    if not plans:
        raise CheckpointError(
            f"{CODEC}encoder.layers.{last}.lstm comes too early: no strided convolution before it"
        )
    downs = min(plans, key=lambda plan: len({0, *plan, last + 2} ^ found))
    return last, downs, downs[0] - 2


def _conv(shapes: Shapes, key: str) -> Shape:
    """(out, in, kernel) of a convolution."""
    if key not in shapes:
        raise CheckpointError(f"missing {key}, in any form of weight normalisation or without it")
    if len(shapes[key]) != 3:
        raise CheckpointError(f"{key} is {shapes[key]}; a convolution has three dimensions")
    return shapes[key]


def _ratio(shapes: Shapes, key: str) -> int:
    """The stride of a convolution; EnCodec's kernels are twice as long."""
    shape = _conv(shapes, key)
    if shape[2] % 2:
        raise CheckpointError(f"{key} is {shape}; a strided kernel is twice its ratio, so even")
    return shape[2] // 2


def _bandwidth(codebooks: int, hop: int, entries: int) -> float:
    """A bandwidth in kbit/s from which EncodecConfig computes this number of quantisers.

    It rounds down, so half a quantiser is added.
    """
    rate = ceil(int(ENCODEC_32KHZ["sampling_rate"]) / hop)
    return (codebooks + 0.5) * rate * ceil(log2(entries)) / 1000


def _require_codes_fit(
    shapes: Shapes, codec: Mapping[str, Any], decoder: Mapping[str, Any]
) -> None:
    """As many codebooks on both sides, and an embedding for each of their entries."""
    tables = int(decoder["num_codebooks"])
    quantisers = _count(
        shapes, CODEC + "quantizer.layers.", typical=CODEC + "quantizer.layers.{}.codebook.embed"
    )
    lost = (
        f"{CODEC}quantizer.layers.{quantisers}.codebook.embed"
        if quantisers < tables
        else f"{DECODER}embed_tokens.{tables}.weight"
    )
    if tables == 2 * quantisers:
        raise CheckpointError(
            f"{tables} embed_tokens for {quantisers} quantisers: a stereo MusicGen, or {lost} is "
            "missing. Only mono ones are supported: their two channels are coded apart"
        )
    if tables != quantisers:
        raise CheckpointError(f"missing {lost}: {tables} embed_tokens, {quantisers} quantisers")
    if codec["codebook_size"] > decoder["vocab_size"] + 1:
        raise CheckpointError(
            f"{DECODER}embed_tokens.0.weight has {decoder['vocab_size'] + 1} rows for the "
            f"{codec['codebook_size']} entries of {CODEC}quantizer.layers.0.codebook.embed"
        )
