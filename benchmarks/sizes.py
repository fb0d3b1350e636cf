"""What each side of the benchmarks is made of, as plain configurations; the sizes are public facts.

Each comes in its own size and in a tiny one of the same structure, with which the tests run every
script. Knows configurations only: `peers.py` and `sides.py` build models from them, with random
weights, because speed and memory do not depend on what the weights are.
"""

from __future__ import annotations

from typing import Any

from transformers import ClapConfig, HubertConfig, Wav2Vec2ConformerConfig

from clap_musicgen.model.config import ModelConfig

CODEC: dict[str, Any] = {
    "sampling_rate": 32_000,
    "audio_channels": 1,
    "normalize": False,
    "num_filters": 64,
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 2048,
    "codebook_dim": 128,
    "hidden_size": 128,
    "num_lstm_layers": 2,
    "num_residual_layers": 1,
    "use_causal_conv": False,
    "use_conv_shortcut": False,
    "norm_type": "weight_norm",
    "target_bandwidths": [2.2],
}
"""facebook/encodec_32khz, the codec of MusicGen: 4 codebooks at 50 Hz."""

DECODER: dict[str, Any] = {
    "vocab_size": 2048,
    "num_codebooks": 4,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "ffn_dim": 4096,
    "activation_function": "gelu",
    "pad_token_id": None,
    "bos_token_id": None,
}
"""The decoder of facebook/musicgen-small."""

ROBERTA: dict[str, Any] = {
    "vocab_size": 50_265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
"""FacebookAI/roberta-base."""

TINY_CODEC = {
    **CODEC,
    "num_filters": 4,
    "codebook_size": 16,
    "codebook_dim": 8,
    "hidden_size": 8,
    "target_bandwidths": [0.8],  # kilobits a second of 4 codebooks of 4 bits at 50 Hz
}
TINY_DECODER = {
    **DECODER,
    "vocab_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "ffn_dim": 64,
}
TINY_ROBERTA = {
    **ROBERTA,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}

CLAP_EXTRACTOR = {"frequency_min": 50, "truncation": "rand_trunc", "padding": "repeatpad"}
"""Where laion/clap-htsat-unfused and the larger ones depart from ClapFeatureExtractor's defaults."""
CLAP_SECONDS = 10.0
"""CLAP's spectrogram is always of 10 seconds: shorter sounds are repeated, longer ones are cut."""
MERT_RATE = MUQ_RATE = 24_000
MUQ_MELS, MUQ_HOP, MUQ_FFT, MUQ_CHANNELS = 128, 240, 2048, 512


def codec_fields(*, tiny: bool) -> dict[str, Any]:
    """Fields of EncodecConfig."""
    return dict(TINY_CODEC if tiny else CODEC)


def decoder_fields(*, tiny: bool) -> dict[str, Any]:
    """Fields of MusicgenDecoderConfig."""
    return dict(TINY_DECODER if tiny else DECODER)


def published_config(*, whole: bool, clip_seconds: float, tiny: bool = False) -> ModelConfig:
    """The proof of concept's size: all decoder layers if `whole`, else the lower half of them.

    Like it: undelayed codes, every frame at position 0, the last frame; 512 → 1024 projections.
    """
    decoder = decoder_fields(tiny=tiny)
    depth = decoder["num_hidden_layers"]
    return ModelConfig(
        name="published size",
        clip_seconds=clip_seconds,
        loudness="none",
        padding="none",
        codec=codec_fields(tiny=tiny),
        decoder=decoder,
        layers=(depth if whole else depth // 2,),
        pooling="last",
        delay=False,
        positions="zero",
        text=dict(TINY_ROBERTA if tiny else ROBERTA),
        max_tokens=512,
        projection_hidden=16 if tiny else 512,
        dim=32 if tiny else 1024,
    )


def clap_config(*, large: bool, tiny: bool = False) -> ClapConfig:
    """laion/larger_clap_music (HTSAT-base) if `large`, else laion/clap-htsat-unfused (HTSAT-tiny).

    The latter is what ClapConfig's defaults describe.
    """
    audio: dict[str, Any] = {}
    if large:
        audio = {"depths": [2, 2, 12, 2], "hidden_size": 1024, "patch_embeds_hidden_size": 128}
    text: dict[str, Any] = {}
    if tiny:
        width = 16 if large else 8
        audio = {"depths": [1, 1, 1, 1], "hidden_size": 8 * width, "num_hidden_layers": 4}
        audio |= {"patch_embeds_hidden_size": width, "num_attention_heads": [1, 2, 4, 8]}
        text = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        text |= {"intermediate_size": 32}
    return ClapConfig(audio_config=audio, text_config=text, projection_dim=512)


def mert_config(*, tiny: bool = False) -> HubertConfig:
    """m-a-p/MERT-v1-95M: HuBERT-base as it is, on 24 kHz, hence 75 frames a second."""
    if not tiny:
        return HubertConfig()
    return HubertConfig(conv_dim=[8] * 7, num_feat_extract_layers=7, **_tiny_transformer())


def muq_config(*, tiny: bool = False) -> Wav2Vec2ConformerConfig:
    """OpenMuQ/MuQ-large-msd-iter, about 310 M: 12 Conformer layers of 1024, rotary positions."""
    sizes: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 12}
    sizes |= {"num_attention_heads": 16, "intermediate_size": 4096}
    if tiny:
        sizes = {**_tiny_transformer(), "conv_dim": [8] * 7}
    return Wav2Vec2ConformerConfig(
        **sizes,
        conv_depthwise_kernel_size=31,
        hidden_act="swish",
        position_embeddings_type="rotary",
        feat_extract_norm="layer",
        conv_bias=True,
    )


def _tiny_transformer() -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }
