"""The sides of a comparison under one face: ours through the public API, the peers as modules.

A side takes mono clips at its own rate. `prepare` is what is not measured (nothing but stacking,
except where a side says otherwise), `run` is what is. Knows what each side is; not how it is timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ClapFeatureExtractor

import peers
import sizes
from clap_musicgen import ClapMusicGen
from clap_musicgen.embedding import Waveform
from clap_musicgen.model.checkpoint import find_checkpoint, read_tokenizer
from sounds import noise

TEXTS_PER_BATCH = 64


@dataclass(frozen=True, slots=True)
class Setting:
    """How sides are built.

    Attributes:
        tiny: small stand-ins of the same structure, for tests; their speed means nothing.
        longest: the longest clip that will be given, in seconds, where a side takes any length.
        device: where they run.
        half: peers in bfloat16; ours choose for themselves.
        mini: the checkpoint that stands for mini.
        checkpoints: folder with those of `write_published`; without it each side makes its own.
    """

    tiny: bool = False
    longest: float = 10.0
    device: str = "cpu"
    half: bool = False
    mini: str = "mini"
    checkpoints: Path | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One thing that turns clips into vectors.

    Attributes:
        key: for `--only`.
        name: for people.
        sample_rate: of the clips it takes, in Hz.
        longest: seconds that it takes at once; what is longer comes in pieces.
        module: its weights.
        prepare: clips (T_i,) → what `run` takes; not measured.
        run: → (B, D); measured.
    """

    key: str
    name: str
    sample_rate: int
    longest: float
    module: nn.Module
    prepare: Callable[[Sequence[Waveform]], Any]
    run: Callable[[Any], Any]

    def clips(self, seconds: float, count: int) -> list[Waveform]:
        """`count` sounds of `seconds`, in pieces that the side takes."""
        return [
            piece
            for sound in noise(seconds, rate=self.sample_rate, count=count)
            for piece in self.pieces(sound)
        ]

    def pieces(self, sound: Waveform) -> list[Waveform]:
        """A sound (T,) of any length, cut into clips that cover it."""
        step = round(self.longest * self.sample_rate)
        return [sound[start : start + step] for start in range(0, len(sound), step)]


# Ours ---------------------------------------------------------------------------------------------


def write_published(folder: Path, *, whole: bool, setting: Setting) -> None:
    """Write a checkpoint of the published size with random weights and mini's tokenizer."""
    torch.manual_seed(0)
    config = sizes.published_config(whole=whole, clip_seconds=setting.longest, tiny=setting.tiny)
    model = ClapMusicGen(config, read_tokenizer(find_checkpoint("mini")))
    peers.fill_codebooks(model.audio_encoder.codec)
    model.save_pretrained(folder)


def published_folder(*, whole: bool) -> str:
    """What `write_published`'s folder is called inside `Setting.checkpoints`."""
    return "whole" if whole else "half"


@contextmanager
def published_checkpoint(setting: Setting, *, whole: bool) -> Iterator[Path]:
    """Use the checkpoint that is there, or one that is gone afterwards."""
    if setting.checkpoints is not None:
        yield setting.checkpoints / published_folder(whole=whole)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "published"
        write_published(folder, whole=whole, setting=setting)
        yield folder


def published(setting: Setting, *, whole: bool, precision: str) -> ClapMusicGen:
    """A model of the published size, loaded as anybody loads one."""
    with published_checkpoint(setting, whole=whole) as folder:
        return load(folder, precision=precision, device=setting.device)


def load(name: str | Path, *, precision: str, device: str = "cpu") -> ClapMusicGen:
    """A checkpoint in a precision."""
    return ClapMusicGen.from_pretrained(name, device=device, precision=precision)


def our_side(key: str, name: str, model: ClapMusicGen) -> Side:
    """Clips → `embed_clips`."""
    return Side(
        key,
        name,
        model.sample_rate,
        model.clip_seconds,
        model,
        list,
        model.embed_clips,
    )


# Peers --------------------------------------------------------------------------------------------


def padded(clips: Sequence[Waveform]) -> Tensor:
    """Clips (T_i,) → (B, T), zeros behind the short ones."""
    batch = np.zeros((len(clips), max(map(len, clips))), dtype=np.float32)
    for row, clip in enumerate(clips):
        batch[row, : len(clip)] = clip
    return torch.from_numpy(batch)


def peer_side(
    key: str, name: str, module: nn.Module, *, sample_rate: int, setting: Setting
) -> Side:
    """A module on waveforms, whatever their length."""
    forward = placed(module, setting)
    return Side(key, name, sample_rate, setting.longest, module, padded, forward)


def placed(module: nn.Module, setting: Setting) -> Callable[[Tensor], Tensor]:
    """Move a module to its device and width; what is returned moves the batch and runs it."""
    dtype = torch.bfloat16 if setting.half else torch.float32
    module.eval().to(setting.device, dtype)

    @torch.inference_mode()
    def forward(batch: Tensor) -> Tensor:
        vectors: Tensor = module(batch.to(setting.device, dtype))
        return vectors.float().cpu()

    return forward


def clap_side(key: str, name: str, setting: Setting, *, large: bool, mel_given: bool) -> Side:
    """CLAP's audio tower with its front end measured, or with the spectrograms given."""
    torch.manual_seed(0)
    extractor = ClapFeatureExtractor(**sizes.CLAP_EXTRACTOR)
    module = peers.ClapAudio(sizes.clap_config(large=large, tiny=setting.tiny))
    forward, rate = placed(module, setting), extractor.sampling_rate

    def mels(clips: Sequence[Waveform]) -> Tensor:
        found = extractor(list(clips), sampling_rate=rate, return_tensors="pt")
        spectrograms: Tensor = found["input_features"]
        return spectrograms

    prepare: Callable[[Sequence[Waveform]], Any] = mels if mel_given else list
    run: Callable[[Any], Any] = forward if mel_given else lambda clips: forward(mels(clips))
    return Side(key, name, rate, sizes.CLAP_SECONDS, module, prepare, run)


# All of them --------------------------------------------------------------------------------------


def _published(key: str, name: str, setting: Setting, *, whole: bool, precision: str) -> Side:
    return our_side(key, name, published(setting, whole=whole, precision=precision))


def _mini(key: str, name: str, setting: Setting, *, precision: str) -> Side:
    return our_side(key, name, load(setting.mini, precision=precision, device=setting.device))


def _peer(
    key: str, name: str, setting: Setting, *, build: Callable[..., nn.Module], rate: int
) -> Side:
    torch.manual_seed(0)
    return peer_side(key, name, build(tiny=setting.tiny), sample_rate=rate, setting=setting)


_BUILDERS: dict[str, tuple[str, Callable[..., Side]]] = {
    "published-12": (
        "published size, 12 of 24 layers, exact",
        partial(_published, whole=False, precision="exact"),
    ),
    "published-12-fast": (
        "published size, 12 of 24 layers, fast",
        partial(_published, whole=False, precision="fast"),
    ),
    "published-24": (
        "published size, all 24 layers, exact",
        partial(_published, whole=True, precision="exact"),
    ),
    "published-24-fast": (
        "published size, all 24 layers, fast",
        partial(_published, whole=True, precision="fast"),
    ),
    "proof": (
        "the proof of concept's own way",
        partial(_peer, build=peers.ProofOfConcept, rate=32_000),
    ),
    "mini": ("mini, exact", partial(_mini, precision="exact")),
    "mini-fast": ("mini, fast", partial(_mini, precision="fast")),
    "clap-base-mel": (
        "CLAP larger_clap_music (HTSAT-base)",
        partial(clap_side, large=True, mel_given=False),
    ),
    "clap-base": (
        "CLAP larger_clap_music, mel given",
        partial(clap_side, large=True, mel_given=True),
    ),
    "clap-tiny-mel": (
        "CLAP htsat-unfused (HTSAT-tiny)",
        partial(clap_side, large=False, mel_given=False),
    ),
    "clap-tiny": (
        "CLAP htsat-unfused, mel given",
        partial(clap_side, large=False, mel_given=True),
    ),
    "mert": ("MERT-95M's shape", partial(_peer, build=peers.Mert, rate=sizes.MERT_RATE)),
    "muq": ("MuQ's shape, 25 Hz", partial(_peer, build=peers.Muq, rate=sizes.MUQ_RATE)),
    "conformer": (
        "Wav2Vec2-Conformer of MuQ's size, 75 Hz",
        partial(_peer, build=peers.Conformer, rate=sizes.MUQ_RATE),
    ),
}
AUDIO_KEYS = tuple(_BUILDERS)
MEL_GIVEN = ("clap-base", "clap-tiny")
"""Sides that start from spectrograms: of no meaning where files are read."""
OURS = tuple(key for key in AUDIO_KEYS if key.startswith(("published", "mini")))


def build(key: str, setting: Setting) -> Side:
    """The side of a key of AUDIO_KEYS."""
    name, builder = _BUILDERS[key]
    return builder(key, name, setting)


def name_of(key: str) -> str:
    """What a side is called, without building it."""
    return _BUILDERS[key][0]


# Texts --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextSide:
    """One thing that turns texts into vectors."""

    key: str
    name: str
    run: Callable[[list[str]], Any]


TEXT_KEYS = ("published-text", "published-text-fast", "mini-text", "mini-text-fast", "clap-text")


def build_text(key: str, setting: Setting) -> TextSide:
    """The side of a key of TEXT_KEYS. All read mini's tokens, hence equally many of them."""
    if key == "clap-text":
        return _clap_text(setting)
    precision = "fast" if key.endswith("fast") else "exact"
    if key.startswith("mini"):
        model = load(setting.mini, precision=precision, device=setting.device)
        return TextSide(key, f"mini's text tower, {precision}", model.embed_text)
    model = published(setting, whole=False, precision=precision)
    return TextSide(key, f"RoBERTa-base (published), {precision}", model.embed_text)


def _clap_text(setting: Setting) -> TextSide:
    torch.manual_seed(0)
    tokenizer = read_tokenizer(find_checkpoint("mini"))
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")  # noqa: S106 - a word, not a secret
    module = peers.ClapText(sizes.clap_config(large=False, tiny=setting.tiny))
    module.eval().to(setting.device)

    @torch.inference_mode()
    def run(texts: list[str]) -> list[Tensor]:
        vectors = []
        for start in range(0, len(texts), TEXTS_PER_BATCH):
            batch = [f"<s>{t}</s>" for t in texts[start : start + TEXTS_PER_BATCH]]
            encoded = tokenizer.encode_batch(batch, add_special_tokens=False)
            ids = torch.tensor([e.ids for e in encoded], device=setting.device)
            mask = torch.tensor([e.attention_mask for e in encoded], device=setting.device)
            vectors.append(module(ids, mask).float().cpu())
        return vectors

    return TextSide("clap-text", "CLAP's text tower (RoBERTa-base)", run)
