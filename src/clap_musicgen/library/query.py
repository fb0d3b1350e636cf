"""Phrases and sounds → one direction to search in.

Knows models only as an Embedder, and audio as files and waveforms; not what is in a library.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embedder, Embeddings, Waveform, unit
from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.library.phrases import Phrase, Question, parse
from clap_musicgen.model.tracks import embed_track

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = [
    "WITHOUT_WEIGHT",
    "Heard",
    "Phrase",
    "Query",
    "Question",
    "Sound",
    "as_phrases",
    "as_sounds",
    "compose",
    "embed_sound",
    "embed_words",
    "parse",
]


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A sound that has been embedded already.

    Attributes:
        vector: (D,) unit vector, the mean direction of its clips, from the library's model.
        label: what an error calls it.
    """

    vector: NDArray[np.float32]
    label: str = "the sound"


Sound: TypeAlias = str | os.PathLike[str] | Waveform | Heard
"""An audio file, (T,) float samples at the model's rate, or what was embedded before."""
Query: TypeAlias = str | Phrase | Sequence[str | Phrase]
"""Words: a text in the query language, or phrases, taken as they are."""

WITHOUT_WEIGHT = 0.5
"""How much of the unwanted direction is subtracted; see `compose`."""
_SOUNDS = (str, os.PathLike, np.ndarray, Heard)
_SHORTEST = 1e-3  # of a composed vector: below it the parts have cancelled out


def as_phrases(given: Query | None, *, name: str) -> list[Phrase]:
    """Take a text, a phrase or several; a text is taken as it is, not as the query language.

    Args:
        given: None stands for none.
        name: what an error calls the argument.

    Raises:
        InputError, InputTypeError: a text is empty, or something else is given.
    """
    if given is None:
        return []
    several = [given] if isinstance(given, (str, Phrase)) else given
    if not isinstance(several, Sequence):
        raise InputTypeError(
            f"{name} must be a string, a Phrase or a list of them, not {type(given).__name__}"
        )
    return [_as_phrase(one, name) for one in several]


def _as_phrase(one: str | Phrase, name: str) -> Phrase:
    if isinstance(one, Phrase):
        return one
    if not isinstance(one, str):
        raise InputTypeError(f"{name} must be a string or a Phrase, not {type(one).__name__}")
    if not one.strip():
        raise InputError(f"{name} is empty: describe the music in a few words")
    return Phrase(one)


def as_sounds(given: Sound | Sequence[Sound] | None, *, name: str) -> list[Sound]:
    """Take a sound or several; None stands for none.

    Raises:
        InputTypeError: something else is given; `name` is what it calls the argument.
    """
    if given is None:
        return []
    several = [given] if isinstance(given, _SOUNDS) else given
    for sound in several if isinstance(several, Sequence) else [several]:
        if not isinstance(sound, _SOUNDS):
            raise InputTypeError(
                f"{name} must be a path, an array of samples or a list of them, not "
                f"{type(sound).__name__}"
            )
    return list(several)


def embed_words(model: Embedder, phrases: Sequence[Phrase]) -> Embeddings:
    """Return the unit vectors (n, D) of phrases, embedded in one batch."""
    if not phrases:
        return np.zeros((0, model.dim), dtype=np.float32)
    return unit(model.embed_text([phrase.text for phrase in phrases]))


def embed_sound(model: Embedder, sound: Sound) -> NDArray[np.float32]:
    """Return the mean direction (D,) of a sound's clips, as a track's in a library.

    Raises:
        AudioError: the file cannot be used.
        InputError, InputTypeError: the waveform, or the vector of a Heard, cannot be used.
    """
    if isinstance(sound, Heard):
        return _fitting(sound, model)
    blocks: Iterable[Waveform]
    if isinstance(sound, (str, os.PathLike)):
        blocks = AudioStream(os.fspath(sound), sample_rate=model.sample_rate)
    else:
        blocks = [_checked(sound)]
    return embed_track(model, blocks)


def compose(
    wanted: Sequence[tuple[NDArray[np.float32], float]],
    unwanted: Sequence[tuple[NDArray[np.float32], float]] = (),
    *,
    weight: float = WITHOUT_WEIGHT,
) -> NDArray[np.float32]:
    """Combine vectors (D,) and their weights into one unit vector (D,).

    The direction is `Σ wᵢ·wantedᵢ / Σ wᵢ - weight · Σ uⱼ·unwantedⱼ / J`: the weights of what is
    wanted count among each other, those of what is not say how strongly it is avoided.

    A cosine is linear in the question, so a track x ranks by `wanted·x - weight · unwanted·x`: a
    step towards the unwanted costs `weight` of a step towards the wanted. A projection (the wanted
    without its part along the unwanted) would do nothing just where it matters, when the two are
    independent, as "piano" and "vocals" are. At 0.5 the wanted keeps the upper hand.

    Raises:
        InputError: nothing is wanted, a weight is not positive and finite, or the parts cancel out.
    """
    if not wanted:
        only = ", only what is not wanted is given" if unwanted else ""
        raise InputError(f"nothing to search for{only}: give words, a sound (like=...), or both")
    for _, factor in (*wanted, *unwanted):
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"a weight must be a finite number above 0, not {factor!r}")
    direction = _sum(wanted) / sum(factor for _, factor in wanted)
    if unwanted:
        direction = direction - weight * _sum(unwanted) / len(unwanted)
    if np.linalg.norm(direction) < _SHORTEST:
        raise InputError("what is wanted and what is not cancel out: change one of them")
    return unit(direction)


def _sum(weighted: Sequence[tuple[NDArray[np.float32], float]]) -> NDArray[np.float64]:
    vectors = np.asarray([vector for vector, _ in weighted], dtype=np.float64)
    return np.asarray(np.array([factor for _, factor in weighted]) @ vectors, dtype=np.float64)


def _fitting(sound: Heard, model: Embedder) -> NDArray[np.float32]:
    vector = np.asarray(sound.vector, dtype=np.float32)
    if vector.shape != (model.dim,) or not np.isfinite(vector).all():
        raise InputError(
            f"the vector of {sound.label} must be {model.dim} finite numbers, as the library's "
            f"model gives them, not of shape {vector.shape}"
        )
    return unit(vector)


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
