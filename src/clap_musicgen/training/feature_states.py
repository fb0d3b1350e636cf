"""Codes → the states of every layer, pooled over the frames in three ways; and back to one choice.

Pure functions of a frozen audio encoder, so that layer and pooling can be chosen after the costly
part is done. Knows neither files nor audio.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from clap_musicgen.errors import InputError
from clap_musicgen.model.audio_encoder import delay_codes, frame_mask
from clap_musicgen.model.checkpoint import PREPROCESSING
from clap_musicgen.model.pooling import last_frame, masked_mean, masked_std

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from clap_musicgen.model.audio_encoder import AudioEncoder

STATISTICS = ("mean", "last", "std")
"""Order of the third axis of the states."""
BATCH = 16
"""Clips in one run of the decoder."""


@torch.no_grad()  # what inference_mode gives could not be trained on
def pooled_states(
    encoder: AudioEncoder, codes: Tensor, frames: Tensor, *, batch: int = BATCH
) -> Tensor:
    """Codes (N, K, T), frames (N,) → (N, L + 1, 3, H) float32 on the CPU.

    Layers from the decoder's input (0) to the highest that the encoder keeps (L, `config.depth`),
    by `STATISTICS` over the real frames. The encoder must be in `eval` mode.
    """
    parts = [torch.zeros((0, encoder.config.depth + 1, len(STATISTICS), encoder.hidden_size))]
    device = next(encoder.parameters()).device
    for first in range(0, len(codes), batch):
        some, real = codes[first : first + batch], frames[first : first + batch]
        parts.append(_pooled(encoder, some.to(device).long(), real.to(device)).float().cpu())
    return torch.cat(parts)


def _pooled(encoder: AudioEncoder, codes: Tensor, frames: Tensor) -> Tensor:
    mask = frame_mask(frames, codes.shape[-1])
    inputs = delay_codes(codes, mask, encoder.pad) if encoder.config.delay else codes
    output = encoder.decoder(
        input_ids=inputs.reshape(-1, inputs.shape[-1]), use_cache=False, output_hidden_states=True
    )
    skip = encoder.codebooks if encoder.config.delay else 0
    statistics = (masked_mean, last_frame, masked_std)
    layers = [
        torch.stack([of(states[:, skip:], mask) for of in statistics], dim=1)
        for states in output.hidden_states
    ]
    return torch.stack(layers, dim=1)


def select(states: Tensor, *, layers: Sequence[int], pooling: str) -> Tensor:
    """States (N, L + 1, 3, H) → (N, H') float32, as `AudioEncoder.pool` gives for `concat`.

    Args:
        states: what `pooled_states` gave.
        layers: which, side by side in this order.
        pooling: `mean`, `last`, or `mean_std` (mean and deviation of a layer side by side).

    Raises:
        InputError: a layer that is not stored, or another pooling.
    """
    chosen = {"mean": (0,), "last": (1,), "mean_std": (0, 2)}
    if pooling not in chosen:
        raise InputError(f"pooling is {pooling!r}; it must be one of {tuple(chosen)}")
    stored = states.shape[1]
    if not layers or not all(0 <= layer < stored for layer in layers):
        raise InputError(f"layers are {list(layers)}; stored are the layers 0 to {stored - 1}")
    picked = states[:, list(layers)][:, :, list(chosen[pooling])]
    return picked.float().flatten(1)


def encoder_fingerprint(encoder: AudioEncoder) -> str:
    """32 hex digits over what decides the states: codec, decoder, their inputs, the clip length.

    Which of the kept layers are used, and how they are pooled, is left out: all are stored.
    """
    config = encoder.config
    choices = {
        "preprocessing": PREPROCESSING,
        "clip_seconds": config.clip_seconds,
        "loudness": config.loudness,
        "padding": config.padding,
        "codec": config.codec,
        "decoder": config.decoder,
        "delay": config.delay,
        "positions": config.positions,
    }
    digest = hashlib.blake2b(json.dumps(choices, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(encoder.state_dict().items()):
        if name == "layer_logits":
            continue
        digest.update(f"\0{name} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
