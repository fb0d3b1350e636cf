"""TransformersClap: any CLAP checkpoint of transformers (`ClapModel`) as an `Embedder`.

For example `laion/larger_clap_general` or `laion/clap-htsat-unfused` (Wu et al. 2023,
arXiv:2211.06687). Its features, padding and weights are transformers' own; what is different is
that nothing is left to chance: a track is read in windows that cover all of it instead of one
random crop, and a text longer than the model's positions is read in several windows. Knows nothing
of libraries; a checkpoint of our own is not for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import ClapFeatureExtractor, ClapModel

from clap_musicgen.embedding import Embeddings, Waveform, mean_direction, unit
from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model import transformers_files
from clap_musicgen.model.checkpoint import PREPROCESSING, digest
from clap_musicgen.model.tracks import check_clips, check_texts, embed_tracks
from clap_musicgen.model.weight_files import fetch_with_weights

CLIPS_PER_BATCH = 8
WINDOWS_PER_BATCH = 64
FEATURES = "ClapFeatureExtractor of clips that are never longer; text in whole windows; 1"
"""Ours between a file and a tensor, beside `checkpoint.PREPROCESSING`; part of the fingerprint."""

# What decides a vector and is not seen in a weight's shape. Named one by one, so that a release of
# transformers that adds a field, or a checkpoint saved anew, does not make another model of it.
AUDIO_FIELDS = (
    "depths", "enable_fusion", "flatten_patch_embeds", "fusion_type", "hidden_act",
    "layer_norm_eps", "num_attention_heads", "num_mel_bins", "patch_size", "patch_stride",
    "projection_hidden_act", "spec_size", "window_size",
)  # fmt: skip
TEXT_FIELDS = (
    "hidden_act", "layer_norm_eps", "max_position_embeddings", "num_attention_heads",
    "pad_token_id", "projection_hidden_act",
)  # fmt: skip
EXTRACTOR_FIELDS = (
    "feature_size", "fft_window_size", "frequency_max", "frequency_min", "hop_length",
    "max_length_s", "padding", "sampling_rate", "truncation",
)  # fmt: skip


class TransformersClap(nn.Module):
    """A `ClapModel` of transformers with its features and its tokenizer; an `Embedder`.

    Build one with `from_pretrained`. A clip that is shorter than `clip_seconds` is repeated or
    padded as the checkpoint's own feature extractor says. Of a model with feature fusion, every
    clip is taken as what it is, not longer than the window: the other three mels never count.
    (transformers declares one clip of such a batch longer at random.)

    The published `laion/larger_clap_music` is known to give all texts nearly the same vector
    (embeddings-benchmark/mteb#5069), so it finds music by sound only; its sibling
    `laion/larger_clap_general` knows words.
    """

    def __init__(
        self, model: ClapModel, extractor: ClapFeatureExtractor, tokenizer: Tokenizer
    ) -> None:
        super().__init__()
        self.model = model
        self.extractor = extractor
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.start, self.end = (self._special(token) for token in ("<s>", "</s>"))
        text = model.config.text_config
        # RoBERTa's positions begin after the number of its padding token.
        self.max_tokens: int = text.max_position_embeddings - text.pad_token_id - 1
        self.eval()

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        precision: str = "exact",
    ) -> TransformersClap:
        """Load a folder that transformers saved, or a Hub id; only a Hub id uses the network.

        Raises:
            CheckpointError: not found, damaged, of another kind, or not what its config says.
            InputError: a precision other than `exact`.
        """
        if precision != "exact":
            raise InputError(
                f"precision {precision!r} is not offered for models of transformers such as "
                f"{os.fspath(name)!r}: leave it away, or take 'exact'"
            )
        folder = fetch_with_weights(name, transformers_files.PATTERNS)
        config = transformers_files.read_config(folder)
        extractor = transformers_files.read_extractor(folder, config)
        tokenizer = transformers_files.read_tokenizer(folder, config)
        model = transformers_files.read_model(folder, config)
        return cls(model, extractor, tokenizer).to(device)

    def _special(self, token: str) -> int:
        number = self.tokenizer.token_to_id(token)
        if number is None:
            raise CheckpointError(
                f"the tokenizer has no {token} token: it is not a RoBERTa tokenizer"
            )
        return int(number)

    @property
    def precision(self) -> str:
        """Always `exact`: float32."""
        return "exact"

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return int(self.model.config.projection_dim)

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return int(self.extractor.sampling_rate)

    @property
    def clip_seconds(self) -> float:
        """The longest clip that `embed_clips` takes, in seconds: the model's window."""
        return float(self.extractor.max_length_s)

    @property
    def clips_at_once(self) -> int:
        """How many clips `embed_clips` is best given at once."""
        return CLIPS_PER_BATCH

    @cached_property
    def fingerprint(self) -> str:
        """Hash of config, weights, tokenizer and preprocessing, as first asked for."""
        config = self.model.config
        chosen = {
            "audio": {name: getattr(config.audio_config, name) for name in AUDIO_FIELDS},
            "text": {name: getattr(config.text_config, name) for name in TEXT_FIELDS},
            "features": {name: getattr(self.extractor, name) for name in EXTRACTOR_FIELDS},
        }
        settings = json.dumps(chosen, sort_keys=True)
        texts = (PREPROCESSING, FEATURES, settings, self.tokenizer.to_str())
        tensors = self.model.state_dict().items()  # some are counters and tables of positions
        return digest(texts, {name: t for name, t in tensors if t.is_floating_point()})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def embed_audio(self, tracks: Sequence[str | os.PathLike[str] | Waveform]) -> Embeddings:
        """Whole tracks → (N, D) unit vectors, in order.

        Args:
            tracks: files of any format and length, or mono float waveforms (T,) at `sample_rate`.

        Each track is cut into windows that cover all of it; its vector is the mean of theirs,
        weighted by seconds.

        Raises:
            AudioError: a file that cannot be used; it names the file and the cause.
        """
        return embed_tracks(self, tracks)

    @torch.inference_mode()
    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """Clips of at most `clip_seconds`, mono float32 (T_i,) at `sample_rate` → (N, D)."""
        check_clips(self, waveforms)
        rows = [np.zeros((0, self.dim), dtype=np.float32)]
        for start in range(0, len(waveforms), CLIPS_PER_BATCH):
            mels = self._mels(waveforms[start : start + CLIPS_PER_BATCH]).to(self.device)
            longer = torch.zeros((len(mels), 1), dtype=torch.bool, device=self.device)
            output = self.model.get_audio_features(input_features=mels, is_longer=longer)
            rows.append(_unit_rows(output.pooler_output))
        return np.concatenate(rows)

    def _mels(self, waveforms: Sequence[Waveform]) -> Tensor:
        """Clips → log-mel spectrograms (B, C, frames, mels), one by one, as transformers makes them."""
        made = [
            self.extractor(waveform, sampling_rate=self.sample_rate)["input_features"][0]
            for waveform in waveforms
        ]
        mels = torch.from_numpy(np.stack(made).astype(np.float32))
        # Four equal mels; those behind the first are read of longer clips only.
        return mels[:, :1] if self.model.config.audio_config.enable_fusion else mels

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Captions, queries or labels → (N, D) unit vectors, in order.

        A text with more tokens than the model has positions is read in windows; its vector is the
        mean of theirs, weighted by tokens.
        """
        check_texts(texts)
        windows = [self._windows(text) for text in texts]
        flat = [window for of_text in windows for window in of_text]
        vectors = [
            self._embed_windows(flat[start : start + WINDOWS_PER_BATCH])
            for start in range(0, len(flat), WINDOWS_PER_BATCH)
        ]
        rows = iter(np.concatenate(vectors) if vectors else ())
        means = [
            mean_direction(np.stack([next(rows) for _ in of_text]), np.array([*map(len, of_text)]))
            for of_text in windows
        ]
        return np.stack(means) if means else np.zeros((0, self.dim), dtype=np.float32)

    def _windows(self, text: str) -> list[list[int]]:
        """Token ids of a text, cut to what fits between start and end token."""
        # A file name typed as a query may hold lone surrogates, which no tokenizer takes.
        plain = text.encode("utf-8", "replace").decode()
        ids = self.tokenizer.encode(plain, add_special_tokens=False).ids
        size = self.max_tokens - 2
        return [
            [self.start, *ids[start : start + size], self.end]
            for start in range(0, max(len(ids), 1), size)
        ]

    def _embed_windows(self, windows: Sequence[Sequence[int]]) -> Embeddings:
        pad = self.model.config.text_config.pad_token_id
        ids = torch.full((len(windows), max(map(len, windows))), pad)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.tensor(window)
            mask[row, : len(window)] = 1
        output = self.model.get_text_features(
            input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
        )
        return _unit_rows(output.pooler_output)


def _unit_rows(vectors: Tensor) -> Embeddings:
    return unit(vectors.float().cpu().numpy())
