"""ClapMusicGen: both towers and their projections behind two functions.

`embed_audio` takes files or waveforms of any length, `embed_text` takes texts; both give unit
vectors of one space, always the same for the same input. Knows nothing of libraries or training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_musicgen.embedding import Embeddings, Waveform
from clap_musicgen.errors import InputError
from clap_musicgen.model import checkpoint
from clap_musicgen.model.audio_encoder import AudioEncoder
from clap_musicgen.model.backbones import Choices, read_backbones
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.projection import Projection
from clap_musicgen.model.published import is_published, read_published
from clap_musicgen.model.runtime import (
    CPU_CLIPS,
    CUDA_CLIPS,
    PRECISIONS,
    Runtime,
    build_runtime,
    recipe,
)
from clap_musicgen.model.text_encoder import TextEncoder
from clap_musicgen.model.tracks import check_clips, check_texts, embed_tracks
from clap_musicgen.model.weight_files import Parts

TEXTS_PER_BATCH = 64


class ClapMusicGen(nn.Module):
    """A joint audio-text embedding model; an `Embedder`.

    Build one with `from_pretrained`; the constructor gives random weights.
    """

    def __init__(
        self, config: ModelConfig, tokenizer: Tokenizer, *, precision: str = "exact"
    ) -> None:
        super().__init__()
        self._runtime: Runtime | None = None
        self._packed_versions: list[Any] = []
        self._compiled = False
        self.config = config
        self.audio_encoder = AudioEncoder(config)
        self.text_encoder = TextEncoder(config, tokenizer)
        hidden, dim = config.projection_hidden, config.dim
        self.audio_projection = Projection(self.audio_encoder.pooled_size, hidden, dim)
        self.text_projection = Projection(self.text_encoder.hidden_size, hidden, dim)
        self.eval()
        self.use(precision)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        precision: str = "exact",
        tokenizer: str | os.PathLike[str] | None = None,
    ) -> ClapMusicGen:
        """Load `mini`, a checkpoint folder, or a Hub id; only a Hub id ever uses the network.

        Args:
            name: our own format, or that of the published `yuhuacheng/clap-musicgen`.
            device: where the weights go.
            precision: `exact` or `fast`; see `use`.
            tokenizer: for a published checkpoint without one: a folder or a Hub id that has it.

        Raises:
            CheckpointError: not found, damaged, or not what its config says.
            InputError: no such precision, or a tokenizer for a checkpoint that has its own.
        """
        folder = checkpoint.find_checkpoint(name)
        if is_published(folder):
            parts = read_published(folder, tokenizer=tokenizer)
        elif tokenizer is not None:
            raise InputError(
                f"{os.fspath(name)!r} has a tokenizer of its own: leave tokenizer={tokenizer!r} away"
            )
        else:
            parts = Parts(
                checkpoint.read_config(folder),
                checkpoint.read_weights(folder),
                checkpoint.read_tokenizer(folder),
            )
        return cls._from_parts(parts, source=str(folder), precision=precision).to(device)

    @classmethod
    def from_backbones(
        cls,
        musicgen: str | os.PathLike[str],
        text: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        precision: str = "exact",
        seed: int = 0,
        **choices: Unpack[Choices],
    ) -> ClapMusicGen:
        """A MusicGen and a RoBERTa as transformers saves them, under untrained projections.

        Its vectors mean nothing until it is trained; its towers are ready. Only what is used is
        read: the decoder up to the highest layer, the codec's encoder, no T5.

        Args:
            musicgen: a folder or a Hub id, such as `facebook/musicgen-small`.
            text: likewise, such as `FacebookAI/roberta-base`.
            device: where the weights go.
            precision: `exact` or `fast`; see `use`.
            seed: of the projections' random weights.
            choices: fields of `ModelConfig`: layers, combine, pooling, delay, dim and so on.

        Raises:
            CheckpointError: not found, damaged, stereo, or another kind of model.
            InputError, InputTypeError: a choice that cannot be.
        """
        parts = read_backbones(musicgen, text, seed=seed, **choices)
        return cls._from_parts(parts, source=f"{musicgen} and {text}", precision=precision).to(
            device
        )

    @classmethod
    def _from_parts(cls, parts: Parts, *, source: str, precision: str) -> ClapMusicGen:
        model = cls(parts.config, parts.tokenizer, precision=precision)
        checkpoint.load_strictly(model, parts.weights, source=source)
        return model

    def use(self, precision: str, *, compiled: bool = False) -> None:
        """Choose how audio is embedded from now on.

        Args:
            precision: `exact` is fp32, and a clip's vector has the same bits in every batch.
                `fast` rounds what costs most: the decoder's products to int8 on x86 processors,
                the decoder to bf16 on CUDA. docs/performance.md tells how far its vectors are
                from the exact ones. It is part of the fingerprint.
            compiled: compile the decoder on CUDA with `fast`; its first batches take minutes.
        """
        if precision not in PRECISIONS:
            raise InputError(f"precision is {precision!r}; it must be one of {PRECISIONS}")
        self.precision, self._compiled = precision, compiled
        self._runtime = None

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32
    ) -> None:
        """Write a checkpoint folder. `float16` halves it and changes vectors in the third digit."""
        checkpoint.write_checkpoint(
            Path(folder).expanduser(),
            config=self.config,
            module=self,
            tokenizer=self.text_encoder.tokenizer,
            dtype=dtype,
        )

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return self.config.dim

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.audio_encoder.sample_rate

    @property
    def clip_seconds(self) -> float:
        """The longest clip that `embed_clips` takes, in seconds."""
        return self.config.clip_seconds

    @property
    def fingerprint(self) -> str:
        """Hash of config, weights, tokenizer and preprocessing, as first asked for.

        `fast` adds what it rounds to.
        """
        rounded = recipe(self.audio_encoder, self.precision)
        return f"{self._exact_fingerprint}-{rounded}" if rounded else self._exact_fingerprint

    @cached_property
    def _exact_fingerprint(self) -> str:
        return checkpoint.fingerprint(self.config, self, self.text_encoder.tokenizer)

    @property
    def clips_at_once(self) -> int:
        """How many clips `embed_clips` is best given at once."""
        return CUDA_CLIPS if self.device.type == "cuda" else CPU_CLIPS

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def embed_audio(self, tracks: Sequence[str | os.PathLike[str] | Waveform]) -> Embeddings:
        """Whole tracks → (N, D) unit vectors, in order.

        Args:
            tracks: files of any format and length, or mono float waveforms (T,) at `sample_rate`.

        Each track is cut into clips that cover all of it; its vector is the mean of theirs,
        weighted by seconds.

        Raises:
            AudioError: a file that cannot be used; it names the file and the cause.
        """
        return embed_tracks(self, tracks)

    @torch.inference_mode()
    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """Clips of at most `clip_seconds`, mono float32 (T_i,) at `sample_rate` → (N, D)."""
        check_clips(self, waveforms)
        rows = []
        runtime = self._current_runtime()
        for start in range(0, len(waveforms), self.clips_at_once):
            some = waveforms[start : start + self.clips_at_once]
            pooled = runtime.pooled(some)
            # One by one: in a product of several rows their number can change the last bits.
            rows += [_to_numpy(self.audio_projection(row)) for row in pooled.unsqueeze(1)]
        return np.concatenate(rows) if rows else _stacked([], self.dim)

    def _current_runtime(self) -> Runtime:
        """The runtime for the weights as they are now: it holds copies, and they may be trained."""
        tower = self.audio_encoder
        versions: list[Any] = [part._version for part in (*tower.parameters(), *tower.buffers())]
        versions.append(self.device)
        if self._runtime is None or versions != self._packed_versions:
            self._runtime = build_runtime(tower, self.precision, compiled=self._compiled)
            self._packed_versions = versions
        return self._runtime

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but the packed copies of the weights."""
        return {**self.__dict__, "_runtime": None}

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Captions, queries or labels → (N, D) unit vectors, in order."""
        check_texts(texts)
        rows = []
        for start in range(0, len(texts), TEXTS_PER_BATCH):
            # A file name typed as a query may hold lone surrogates, which no tokenizer takes.
            batch = [
                t.encode("utf-8", "replace").decode()
                for t in texts[start : start + TEXTS_PER_BATCH]
            ]
            ids, mask, owners = (t.to(self.device) for t in self.text_encoder.tokenize(batch))
            pooled = self.text_encoder(ids, mask, owners, len(batch))
            rows.append(_to_numpy(self.text_projection(pooled)))
        return np.concatenate(rows) if rows else _stacked([], self.dim)


def _to_numpy(vectors: Tensor) -> Embeddings:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def _stacked(vectors: list[Embeddings], dim: int) -> Embeddings:
    return np.stack(vectors) if vectors else np.zeros((0, dim), dtype=np.float32)
