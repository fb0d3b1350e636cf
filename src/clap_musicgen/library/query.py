"""Words and sounds → one direction to search in.

Knows models only as an Embedder, and audio as files and waveforms; not what is in a library.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embedder, Waveform, unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.model.tracks import embed_track

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Sound: TypeAlias = str | os.PathLike[str] | Waveform
"""An audio file, or (T,) float samples at the model's rate."""

WITHOUT_WEIGHT = 0.5
"""How much of the unwanted direction is subtracted; see `compose`."""
_SHORTEST = 1e-3  # of a composed vector: below it the parts have cancelled out


def compose(
    wanted: Sequence[NDArray[np.float32]],
    unwanted: Sequence[NDArray[np.float32]] = (),
    *,
    weight: float = WITHOUT_WEIGHT,
) -> NDArray[np.float32]:
    """Combine unit vectors (D,) into one: mean of the wanted minus `weight` x mean of the unwanted.

    A cosine is linear in the question, so a track x ranks by `wanted·x - weight · unwanted·x`: a
    step towards the unwanted costs `weight` of a step towards the wanted. A projection (the wanted
    without its part along the unwanted) would do nothing just where it matters, when the two are
    independent, as "piano" and "vocals" are. At 0.5 the wanted keeps the upper hand.

    Raises:
        InputError: nothing is wanted, or the parts cancel out.
    """
    if not wanted:
        raise InputError("nothing to search for: give a query, a sound (like=...), or both")
    direction = np.mean(np.asarray(wanted, dtype=np.float64), axis=0)
    if unwanted:
        direction = direction - weight * np.mean(np.asarray(unwanted, dtype=np.float64), axis=0)
    if np.linalg.norm(direction) < _SHORTEST:
        raise InputError("what is wanted and what is not cancel out: change one of them")
    return unit(direction)


def embed_words(model: Embedder, text: str, *, name: str) -> NDArray[np.float32]:
    """Return the unit vector (D,) of a text; `name` is what an error calls the argument."""
    if not isinstance(text, str):
        raise InputTypeError(f"{name} must be a string, not {type(text).__name__}")
    if not text.strip():
        raise InputError(f"{name} is empty: describe the music in a few words")
    return unit(model.embed_text([text])[0])


def embed_sound(model: Embedder, sound: Sound) -> NDArray[np.float32]:
    """Return the mean direction (D,) of a file's or waveform's clips, as a track's in a library.

    Raises:
        AudioError: the file cannot be used.
        InputError, InputTypeError: the waveform cannot be used.
    """
    blocks: Iterable[Waveform]
    if isinstance(sound, (str, os.PathLike)):
        blocks = AudioStream(os.fspath(sound), sample_rate=model.sample_rate)
    else:
        blocks = [_checked(sound)]
    return embed_track(model, blocks)


def _checked(waveform: Waveform) -> Waveform:
    if not isinstance(waveform, np.ndarray) or not np.issubdtype(waveform.dtype, np.floating):
        kind = getattr(waveform, "dtype", type(waveform).__name__)
        raise InputTypeError(f"a sound is a path or an array of float samples, not {kind}")
    if waveform.ndim != 1 or not len(waveform) or not np.isfinite(waveform).all():
        raise InputError(
            f"a waveform is one row of finite samples (T,), not of shape {waveform.shape}"
            f"{'' if np.isfinite(waveform).all() else ' with NaN or infinity'}"
        )
    return waveform.astype(np.float32)
