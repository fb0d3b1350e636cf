"""How many floating-point operations a clip costs, part by part, from the sizes alone.

A product and a sum count as two, as is usual; biases, norms and activations are left out. The same
work is counted however it is carried out: in int8, in fewer steps, or on another machine. Knows
configurations and arithmetic only; the tests hold it against PyTorch's own counter.
"""

from __future__ import annotations

from itertools import pairwise

from transformers import EncodecConfig, MusicgenDecoderConfig

from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.pooling import pooled_size

PARTS = ("convolutions", "LSTM", "quantiser", "linear maps", "attention", "projection")


def clip_flops(config: ModelConfig, samples: int) -> dict[str, int]:
    """Operations for one clip of so many samples, by PARTS."""
    codec = EncodecConfig(**config.codec)
    decoder = MusicgenDecoderConfig(**config.decoder)
    convolutions, frames = convolution_flops(codec, samples)
    steps = frames + (decoder.num_codebooks if config.delay else 0)
    return {
        "convolutions": convolutions,
        "LSTM": lstm_flops(codec, frames),
        "quantiser": quantiser_flops(codec, frames, decoder.num_codebooks),
        "linear maps": linear_flops(decoder, steps, config.depth),
        "attention": attention_flops(decoder, steps, config.depth),
        "projection": projection_flops(config, decoder.hidden_size),
    }


def samples_of(config: ModelConfig, seconds: float) -> int:
    """How many samples the codec gets of a clip of so many seconds."""
    padded = config.padding == "clip" or seconds > config.clip_seconds
    return round((config.clip_seconds if padded else seconds) * int(config.codec["sampling_rate"]))


def convolution_flops(codec: EncodecConfig, samples: int) -> tuple[int, int]:
    """The codec's encoder without its LSTM → operations, frames."""
    width, length = codec.num_filters, samples
    total = 2 * length * codec.audio_channels * width * codec.kernel_size
    for stride in reversed(codec.upsampling_ratios):
        narrow = width // codec.compress
        block = width * narrow * codec.residual_kernel_size + narrow * width
        if codec.use_conv_shortcut:
            block += width * width
        total += 2 * length * block * codec.num_residual_layers
        length = -(-length // stride)  # the last stride is filled up
        total += 2 * length * width * (2 * width) * (2 * stride)
        width *= 2
    total += 2 * length * width * codec.hidden_size * codec.last_kernel_size
    return total, length


def lstm_flops(codec: EncodecConfig, frames: int) -> int:
    """Four gates from the input and the last state, in each layer and frame."""
    width = codec.num_filters * 2 ** len(codec.upsampling_ratios)
    return int(2 * frames * codec.num_lstm_layers * 4 * width * (width + width))


def quantiser_flops(codec: EncodecConfig, frames: int, codebooks: int) -> int:
    """Each frame against each entry of each codebook."""
    return int(2 * frames * codec.codebook_dim * codec.codebook_size * codebooks)


def linear_flops(decoder: MusicgenDecoderConfig, steps: int, depth: int) -> int:
    """Queries, keys, values, their output, and the feed-forward layers."""
    hidden = decoder.hidden_size
    return int(2 * steps * depth * (4 * hidden * hidden + 2 * hidden * decoder.ffn_dim))


def attention_flops(decoder: MusicgenDecoderConfig, steps: int, depth: int) -> int:
    """Scores and weighted sums, counted in full although half of them are masked."""
    return int(2 * 2 * steps * steps * decoder.hidden_size * depth)


def projection_flops(config: ModelConfig, hidden: int) -> int:
    """Three linear maps on the pooled states."""
    pooled = pooled_size(hidden, config.pooling)
    if config.combine == "concat":
        pooled *= len(config.layers)
    widths = (pooled, config.projection_hidden, config.projection_hidden, config.dim)
    return sum(2 * a * b for a, b in pairwise(widths))
