"""Whole tracks → one unit vector each, for any `Embedder`: files or waveforms, of any length.

Knows clips and means; neither a model's insides nor a library.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from clap_musicgen.audio.clips import clip_length, split_clips
from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embedder, Embeddings, Waveform, mean_direction
from clap_musicgen.errors import InputError, InputTypeError


def embed_tracks(
    model: Embedder, tracks: Sequence[str | os.PathLike[str] | Waveform]
) -> Embeddings:
    """Whole tracks → (N, D) unit vectors, in order.

    Args:
        model: what embeds the clips.
        tracks: files of any format and length, or mono float waveforms (T,) at the model's rate.

    Each track is cut into clips that cover all of it; its vector is the mean of theirs, weighted
    by seconds.

    Raises:
        AudioError: a file that cannot be used; it names the file and the cause.
        InputError, InputTypeError: a waveform that cannot be used.
    """
    if isinstance(tracks, str | os.PathLike | np.ndarray):
        raise InputTypeError(
            f"embed_audio takes a list; for one track write embed_audio([track]), not {type(tracks).__name__}"
        )
    rows = [embed_track(model, _blocks(track, model.sample_rate)) for track in tracks]
    return np.stack(rows) if rows else np.zeros((0, model.dim), dtype=np.float32)


def embed_track(model: Embedder, blocks: Iterable[Waveform]) -> Embeddings:
    """One unit vector (D,) of a track given as blocks (T_i,), in bounded memory.

    Raises:
        InputError: no samples at all.
    """
    clips = split_clips(blocks, sample_rate=model.sample_rate, clip_seconds=model.clip_seconds)
    vectors: list[Embeddings] = []
    seconds: list[float] = []
    while group := list(islice(clips, model.clips_at_once)):
        vectors.append(model.embed_clips([clip.waveform for clip in group]))
        seconds += [clip.end - clip.start for clip in group]
    if not vectors:
        raise InputError("a track without a single sample has no vector")
    return mean_direction(np.concatenate(vectors), np.array(seconds))


def _blocks(track: str | os.PathLike[str] | Waveform, sample_rate: int) -> Iterable[Waveform]:
    if isinstance(track, np.ndarray):
        return [checked(track)]
    return AudioStream(Path(track), sample_rate=sample_rate)


def checked(waveform: Waveform) -> Waveform:
    """Return a waveform that can be embedded: (T,) finite floats; anything else is an error."""
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


def check_clips(model: Embedder, waveforms: Sequence[Waveform]) -> None:
    """Raise an error that names the first clip that `model` cannot embed."""
    longest = clip_length(sample_rate=model.sample_rate, clip_seconds=model.clip_seconds)
    for number, waveform in enumerate(waveforms):
        if not 0 < len(checked(waveform)) <= longest:
            raise InputError(
                f"clip {number} has {len(waveform)} samples; a clip has 1 to {longest} "
                f"({model.clip_seconds:g} s at {model.sample_rate} Hz). embed_audio cuts longer audio"
            )


def check_texts(texts: Sequence[str]) -> None:
    """Raise an error that names the first text that cannot be embedded."""
    if isinstance(texts, str):
        raise InputTypeError(f"embed_text takes a list of texts: write embed_text([{texts!r}])")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputTypeError(f"text {number} is {type(text).__name__}, not str")
        if not text.strip():
            raise InputError(f"text {number} is empty")
