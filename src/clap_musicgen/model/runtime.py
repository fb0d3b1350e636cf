"""How the audio tower is run for embedding: what this machine is quickest at, clip by clip apart.

`exact` is fp32, and a clip's bits depend on nothing but the clip. `fast` may round: its recipe,
here `int8` on x86 processors and `bf16` on CUDA, is part of the fingerprint. Where neither helps
(another processor, Apple's MPS) `fast` is `exact`. Training never comes here: it runs the towers
themselves. Knows the audio tower and the process, neither text nor files.
"""

from __future__ import annotations

import copy
import ctypes
import sys
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from clap_musicgen.audio.clips import pad_clips
from clap_musicgen.embedding import Waveform
from clap_musicgen.model.audio_encoder import AudioEncoder, frame_count, normalise_loudness
from clap_musicgen.model.kernels import Packed, Quantised, packed_kernels
from clap_musicgen.model.packed_codec import PackedCodec
from clap_musicgen.model.packed_decoder import PackedDecoder

PRECISIONS = ("exact", "fast")
CPU_CLIPS, CUDA_CLIPS = 16, 128
"""Clips at once: what fills the LSTM's products on a processor, and what fills a GPU."""

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of <malloc.h>
LARGE = 2**31 - 1


def keep_large_buffers() -> bool:
    """Make malloc reuse large buffers instead of giving them back at once; True where it took.

    glibc returns each activation of the codec to the system and faults it in again for the next
    clip, a third of the time of a long run. The numbers are untouched; the process keeps its peak
    memory. It changes the whole process, so programs call it (the command line does) and the
    library never does by itself. Only glibc has it; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGE)) and bool(mallopt(TRIM_THRESHOLD, LARGE))


class Runtime(Protocol):
    """One way to run an audio tower."""

    def pooled(self, clips: Sequence[Waveform]) -> Tensor:
        """Clips (T_i,) → pooled states (B, H), where the weights are."""
        ...


def recipe(encoder: AudioEncoder, precision: str) -> str:
    """What `fast` rounds to here: `int8`, `bf16`, or nothing."""
    if precision == "exact":
        return ""
    device = next(encoder.parameters()).device.type
    if device == "cuda":
        return "bf16"
    return "int8" if device == "cpu" and _packable(encoder) else ""


def build_runtime(encoder: AudioEncoder, precision: str, *, compiled: bool = False) -> Runtime:
    """Choose for the tower, its device and this machine; weights are taken as they are now."""
    rounded = recipe(encoder, precision)
    if rounded == "bf16":
        return Batched(encoder, compiled=compiled)
    if next(encoder.parameters()).device.type == "cpu" and _packable(encoder):
        return OnPackedKernels(encoder, int8=rounded == "int8")
    return Plain(encoder)


def _packable(encoder: AudioEncoder) -> bool:
    usual = encoder.codec.config.norm_type == "weight_norm"
    usual &= encoder.decoder.config.activation_function == "gelu"
    return usual and packed_kernels()


class Plain:
    """The tower as it is, a clip at a time, on any device."""

    def __init__(self, encoder: AudioEncoder) -> None:
        """Keep the tower."""
        self._encoder = encoder

    def pooled(self, clips: Sequence[Waveform]) -> Tensor:
        """Clips (T_i,) → (B, H)."""
        with torch.backends.cudnn.flags(allow_tf32=False, deterministic=True):
            return torch.cat([self._one(clip) for clip in clips])

    def _one(self, clip: Waveform) -> Tensor:
        device = next(self._encoder.parameters()).device
        waveforms, samples = padded([clip], self._encoder)
        pooled: Tensor = self._encoder(waveforms.to(device), samples.to(device))
        return pooled


class OnPackedKernels:
    """oneDNN's kernels on an x86 processor; with `int8` the decoder's products are rounded."""

    def __init__(self, encoder: AudioEncoder, *, int8: bool) -> None:
        """Pack the tower's weights, which takes their memory once more (a quarter with int8)."""
        self._encoder = encoder
        self._codec = PackedCodec(encoder.codec)
        self._decoder = PackedDecoder(encoder.decoder, linear=Quantised if int8 else Packed)

    def pooled(self, clips: Sequence[Waveform]) -> Tensor:
        """Clips (T_i,) → (B, H)."""
        encoder = self._encoder
        waveforms, samples = padded(clips, encoder)
        if encoder.config.loudness == "rms":
            waveforms = normalise_loudness(waveforms, samples)
        frames = frame_count(samples, encoder.hop)
        codes = self._codec.encode(encoder.unpadded(waveforms, samples), encoder.codebooks)
        return torch.cat([self._one(c, n) for c, n in zip(codes, frames, strict=True)])

    def _one(self, codes: Tensor, frames: Tensor) -> Tensor:
        codes, frames = codes.unsqueeze(0), frames.unsqueeze(0)
        inputs, skip = self._encoder.decoder_inputs(codes, frames)
        states = self._decoder.hidden_states(inputs[0], self._encoder.config.layers)
        return self._encoder.pool_states([s[skip:].unsqueeze(0) for s in states], frames)


class Batched:
    """Everything at once on a GPU: the codec in fp32, the decoder in bf16."""

    def __init__(self, encoder: AudioEncoder, *, compiled: bool = False) -> None:
        """Copy the decoder in half precision; `compiled` compiles it at its first use."""
        self._encoder = encoder
        self._decoder = copy.deepcopy(encoder.decoder).to(torch.bfloat16)
        if compiled:
            self._decoder.compile(dynamic=True)

    def pooled(self, clips: Sequence[Waveform]) -> Tensor:
        """Clips (T_i,) → (B, H)."""
        encoder = self._encoder
        device = next(encoder.parameters()).device
        waveforms, samples = padded(clips, encoder)
        if device.type == "cuda":
            waveforms = waveforms.pin_memory()
        waveforms, samples = waveforms.to(device, non_blocking=True), samples.to(device)
        frames = frame_count(samples, encoder.hop)
        codes = encoder.encode_together(waveforms, samples)
        states = encoder.hidden_states(codes, frames, decoder=self._decoder)
        return encoder.pool_states([state.float() for state in states], frames)


def padded(clips: Sequence[Waveform], encoder: AudioEncoder) -> tuple[Tensor, Tensor]:
    """Clips (T_i,) → (B, T) with zeros behind, and lengths (B,); T as the tower wants it."""
    whole = encoder.config.padding == "clip"
    length = encoder.clip_samples if whole else max(map(len, clips))
    waveforms, lengths = pad_clips(clips, length=length)
    return torch.from_numpy(waveforms), torch.from_numpy(lengths)
