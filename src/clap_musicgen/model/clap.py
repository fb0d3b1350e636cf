"""ClapMusicGen: both towers and their projections behind two functions.

`embed_audio` takes files or waveforms of any length, `embed_text` takes texts; both give unit
vectors of one space, always the same for the same input. Knows nothing of libraries or training.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_musicgen.audio.clips import pad_clips, split_clips
from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embeddings, Waveform, mean_direction
from clap_musicgen.errors import EmptyAudioError, InputError, InputTypeError
from clap_musicgen.model import checkpoint
from clap_musicgen.model.audio_encoder import AudioEncoder
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.projection import Projection
from clap_musicgen.model.text_encoder import TextEncoder

CLIPS_PER_BATCH = 8
"""Enough to fill two cores; more only costs memory."""
TEXTS_PER_BATCH = 64


class ClapMusicGen(nn.Module):
    """A joint audio-text embedding model; an `Embedder`.

    Build one with `from_pretrained`; the constructor gives random weights.
    """

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.audio_encoder = AudioEncoder(config)
        self.text_encoder = TextEncoder(config, tokenizer)
        hidden, dim = config.projection_hidden, config.dim
        self.audio_projection = Projection(self.audio_encoder.pooled_size, hidden, dim)
        self.text_projection = Projection(self.text_encoder.hidden_size, hidden, dim)
        self.eval()

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, device: str | torch.device = "cpu"
    ) -> ClapMusicGen:
        """Load `mini`, a checkpoint folder, or a Hub id; only a Hub id ever uses the network.

        Raises:
            CheckpointError: not found, damaged, or not what its config says.
        """
        folder = checkpoint.find_checkpoint(name)
        model = cls(checkpoint.read_config(folder), checkpoint.read_tokenizer(folder))
        weights = checkpoint.read_weights(folder)
        checkpoint.load_strictly(model, weights, source=str(folder / checkpoint.WEIGHTS))
        return model.to(device)

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

    @cached_property
    def fingerprint(self) -> str:
        """Hash of config, weights, tokenizer and preprocessing, as first asked for."""
        return checkpoint.fingerprint(self.config, self, self.text_encoder.tokenizer)

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
        if isinstance(tracks, str | os.PathLike | np.ndarray):
            raise InputTypeError(
                f"embed_audio takes a list; for one track write embed_audio([track]), not {type(tracks).__name__}"
            )
        return _stacked([self._embed_track(track) for track in tracks], self.dim)

    def _embed_track(self, track: str | os.PathLike[str] | Waveform) -> Embeddings:
        if isinstance(track, np.ndarray):
            blocks = iter([_checked(track)])
        else:
            blocks = iter(AudioStream(Path(track), sample_rate=self.sample_rate))
        vectors: list[Embeddings] = []
        seconds: list[float] = []
        group: list[Waveform] = []
        for clip in split_clips(
            blocks, sample_rate=self.sample_rate, clip_seconds=self.clip_seconds
        ):
            seconds.append(clip.end - clip.start)
            group.append(clip.waveform)
            if len(group) == CLIPS_PER_BATCH:
                vectors.append(self.embed_clips(group))
                group = []
        if group:
            vectors.append(self.embed_clips(group))
        if not vectors:
            raise EmptyAudioError("" if isinstance(track, np.ndarray) else track, "no samples")
        return mean_direction(np.concatenate(vectors), np.array(seconds))

    @torch.inference_mode()
    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """Clips of at most `clip_seconds`, mono float32 (T_i,) at `sample_rate` → (N, D)."""
        longest = self.audio_encoder.clip_samples
        for number, waveform in enumerate(waveforms):
            if not 0 < len(_checked(waveform)) <= longest:
                raise InputError(
                    f"clip {number} has {len(waveform)} samples; a clip has 1 to {longest} "
                    f"({self.clip_seconds:g} s at {self.sample_rate} Hz). embed_audio cuts longer audio"
                )
        rows = []
        for start in range(0, len(waveforms), CLIPS_PER_BATCH):
            padded, lengths = pad_clips(waveforms[start : start + CLIPS_PER_BATCH], length=longest)
            samples = torch.from_numpy(lengths).to(self.device)
            pooled = self.audio_encoder(torch.from_numpy(padded).to(self.device), samples)
            rows.append(_to_numpy(self.audio_projection(pooled)))
        return np.concatenate(rows) if rows else _stacked([], self.dim)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Captions, queries or labels → (N, D) unit vectors, in order."""
        if isinstance(texts, str):
            raise InputTypeError(f"embed_text takes a list of texts: write embed_text([{texts!r}])")
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputTypeError(f"text {number} is {type(text).__name__}, not str")
            if not text.strip():
                raise InputError(f"text {number} is empty")
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


def _checked(waveform: Waveform) -> Waveform:
    if waveform.ndim != 1:
        raise InputError(
            f"a waveform has shape {waveform.shape}; it must be (T,) mono: take the mean of the channels"
        )
    if not np.issubdtype(waveform.dtype, np.floating):
        raise InputTypeError(
            f"a waveform is {waveform.dtype}; it must be float in -1..1, not integers"
        )
    if not np.isfinite(waveform).all():
        raise InputError("a waveform holds NaN or infinity; replace them, for example by 0")
    return waveform


def _to_numpy(vectors: Tensor) -> Embeddings:
    return np.asarray(vectors.float().cpu().numpy(), dtype=np.float32)


def _stacked(vectors: list[Embeddings], dim: int) -> Embeddings:
    return np.stack(vectors) if vectors else np.zeros((0, dim), dtype=np.float32)
