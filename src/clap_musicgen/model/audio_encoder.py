"""The audio tower: waveforms → EnCodec's codes → MusicGen's hidden states → pooled states.

The one door to transformers' EncodecModel and MusicgenDecoder. Parts that an embedding never
needs are dropped: the codec's decoder, the cross-attention of every layer, layers above the
highest one in use. Knows nothing of files or of text.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import EncodecConfig, EncodecModel, MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.pooling import mix_layers, pool, pooled_size

TARGET_RMS = 0.1
"""-20 dBFS, a usual loudness of music."""
QUIETEST_RMS = 1e-3
"""-60 dBFS: what is quieter is not raised further, so that silence stays silence."""


def frame_count(samples: Tensor, hop: int) -> Tensor:
    """How many codec frames a clip of so many samples fills; at least one."""
    return torch.div(samples + hop - 1, hop, rounding_mode="floor").clamp(min=1)


def frame_mask(frames: Tensor, length: int) -> Tensor:
    """(B,) counts → (B, length) bool."""
    return torch.arange(length, device=frames.device) < frames.unsqueeze(1)


def normalise_loudness(waveforms: Tensor, samples: Tensor) -> Tensor:
    """Bring the real part of each clip to TARGET_RMS. (B, T) padded with zeros, (B,) → (B, T)."""
    precise = torch.float32 if waveforms.device.type == "mps" else torch.float64  # MPS has none
    energy = waveforms.to(precise).square().sum(dim=1) / samples.clamp(min=1)
    gain = TARGET_RMS / energy.sqrt().clamp(min=QUIETEST_RMS)
    return waveforms * gain.unsqueeze(1).to(waveforms.dtype)


def delay_codes(codes: Tensor, mask: Tensor, pad: int) -> Tensor:
    """MusicGen's delay pattern: (B, K, T), (B, T) → (B, K, T + K), padded with the id `pad`.

    Column 0 is the start token; codebook k of frame t stands in column t + 1 + k, so column
    t + K is the first that has seen the whole frame t. (Copet et al. 2023, section 2.2.)
    """
    batch, codebooks, frames = codes.shape
    kept = codes.masked_fill(~mask.unsqueeze(1), pad)
    delayed = codes.new_full((batch, codebooks, frames + codebooks), pad)
    for k in range(codebooks):
        delayed[:, k, k + 1 : k + 1 + frames] = kept[:, k]
    return delayed


class ZeroPositions(nn.Module):
    """Puts every frame at position 0, as the published proof of concept was trained."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        row = torch.cat([torch.ones(hidden_size // 2), torch.zeros(hidden_size - hidden_size // 2)])
        self.weights = nn.Buffer(row.unsqueeze(0), persistent=False)

    def forward(self, inputs: Tensor, past_length: int = 0) -> Tensor:  # noqa: ARG002
        """(B, K, T) → (1, H); cos 0 = 1 and sin 0 = 0 of the sinusoidal table."""
        return cast(Tensor, self.weights)


def build_codec(config: ModelConfig) -> EncodecModel:
    """EnCodec's encoder and quantiser, random weights, weight normalisation folded in."""
    codec = EncodecModel(EncodecConfig(**config.codec))
    del codec.decoder
    for layer in codec.quantizer.layers:  # the traces of its training
        del layer.codebook.inited, layer.codebook.cluster_size, layer.codebook.embed_avg
    fold_weight_norm(codec)
    return codec


def fold_weight_norm(module: nn.Module) -> None:
    """Replace each weight-normalised weight by the plain one it stands for (exact, and faster)."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight")


def build_decoder(config: ModelConfig) -> MusicgenDecoder:
    """MusicGen's decoder up to the highest layer in use, random weights, no cross-attention."""
    full = MusicgenDecoderConfig(**config.decoder)
    top = config.depth == full.num_hidden_layers
    full.num_hidden_layers = config.depth
    full._attn_implementation = "sdpa"  # 2 x faster than eager at 30 s, same numbers
    decoder = MusicgenDecoder(full)
    for layer in decoder.layers:
        layer.encoder_attn = None
        layer.encoder_attn_layer_norm = None
    if not top:  # a middle layer is taken as it is; only the last one has a norm of its own
        decoder.layer_norm = nn.Identity()
    if config.positions == "zero":
        decoder.embed_positions = ZeroPositions(full.hidden_size)
    return decoder


class AudioEncoder(nn.Module):
    """Waveforms (B, T) at `sample_rate` → pooled states (B, H)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.codec = build_codec(config)
        self.decoder = build_decoder(config)
        self.sample_rate: int = self.codec.config.sampling_rate
        self.hop: int = self.codec.config.hop_length
        self.clip_samples = round(config.clip_seconds * self.sample_rate)
        self.codebooks: int = self.decoder.config.num_codebooks
        self.pad: int = self.decoder.config.vocab_size
        self.hidden_size: int = self.decoder.config.hidden_size
        self.pooled_size = pooled_size(self.hidden_size, config.pooling)
        self.layer_logits: nn.Parameter | None = None
        if config.combine == "concat":
            self.pooled_size *= len(config.layers)
        elif len(config.layers) > 1:
            self.layer_logits = nn.Parameter(torch.zeros(len(config.layers)))

    def encode(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """Waveforms (B, T), zero-padded, and their true lengths (B,) → codes (B, K, frames).

        One clip at a time: a code is a nearest neighbour, so the last bit of a float can change
        it, and the last bit depends on the shape of the batch. This way it cannot.
        """
        if not len(waveforms):
            return torch.zeros((0, self.codebooks, 0), dtype=torch.long, device=waveforms.device)
        if self.config.loudness == "rms":
            waveforms = normalise_loudness(waveforms, samples)
        codes = [self._codes(w.unsqueeze(0))[0].t() for w in self.unpadded(waveforms, samples)]
        return nn.utils.rnn.pad_sequence(codes, batch_first=True).transpose(1, 2)

    def encode_together(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """As `encode`, the whole batch at once: faster on a GPU, and a code may depend on it.

        Clips are taken at the batch's length whatever `padding` says.
        """
        if self.config.loudness == "rms":
            waveforms = normalise_loudness(waveforms, samples)
        return self._codes(waveforms)

    def unpadded(self, waveforms: Tensor, samples: Tensor) -> list[Tensor]:
        """What the codec gets of each row: all of it, or with `padding` none its real part."""
        if self.config.padding == "clip":
            return list(waveforms)
        return [w[:n] for w, n in zip(waveforms, samples.tolist(), strict=True)]

    def _codes(self, waveforms: Tensor) -> Tensor:
        latents = self.codec.encoder(waveforms.unsqueeze(1))
        codes = self.codec.quantizer.encode(latents)[: self.codebooks]  # (K, B, frames)
        return cast(Tensor, codes.transpose(0, 1))

    def decoder_inputs(self, codes: Tensor, frames: Tensor) -> tuple[Tensor, int]:
        """Codes (B, K, T), frames (B,) → what the decoder reads (B, K, T'), and how many of its
        first states to skip, so that the next one has seen all of frame 0."""
        if not self.config.delay:
            return codes, 0
        return delay_codes(codes, frame_mask(frames, codes.shape[-1]), self.pad), self.codebooks

    def hidden_states(
        self, codes: Tensor, frames: Tensor, *, decoder: MusicgenDecoder | None = None
    ) -> list[Tensor]:
        """Codes (B, K, T), frames (B,) → the states of each layer in `config.layers`, (B, T, H).

        `decoder` stands in for the tower's own, for example a copy in another precision.
        """
        inputs, skip = self.decoder_inputs(codes, frames)
        several = len(self.config.layers) > 1
        output = (decoder or self.decoder)(
            input_ids=inputs.reshape(-1, inputs.shape[-1]),
            use_cache=False,
            output_hidden_states=several,
        )
        if not several:
            return [output.last_hidden_state[:, skip:]]
        return [output.hidden_states[n][:, skip:] for n in self.config.layers]

    def pool(self, codes: Tensor, frames: Tensor) -> Tensor:
        """Codes (B, K, T), frames (B,) → pooled states (B, H)."""
        return self.pool_states(self.hidden_states(codes, frames), frames)

    def pool_states(self, states: list[Tensor], frames: Tensor) -> Tensor:
        """The states of each layer in `config.layers`, (B, T, H), frames (B,) → (B, H)."""
        if self.layer_logits is not None:
            states = [mix_layers(states, self.layer_logits)]
        mask = frame_mask(frames, states[0].shape[1])
        return torch.cat([pool(s, mask, self.config.pooling) for s in states], dim=-1)

    def forward(self, waveforms: Tensor, samples: Tensor) -> Tensor:
        """Waveforms (B, T), zero-padded, and their true lengths (B,) → pooled states (B, H)."""
        return self.pool(self.encode(waveforms, samples), frame_count(samples, self.hop))
