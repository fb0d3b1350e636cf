"""Sound as other libraries hand it over → what `embed_audio` takes: a file, or mono samples.

Files, arrays, arrays with their sample rate, torchcodec's decoders. Everything is mixed and
resampled by the audio layer, so that an array gives the vector of the file it came from. Knows
no model and none of those libraries.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from clap_musicgen.audio.decode import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from clap_musicgen.audio.files import resample
from clap_musicgen.embedding import Waveform
from clap_musicgen.errors import InputError, InputTypeError

Track: TypeAlias = Path | Waveform


def as_track(sound: object, *, sample_rate: int) -> Track:
    """One sound → a path as it is, or mono float32 samples (T,) at `sample_rate`, in Hz.

    Args:
        sound: a path; floats (T,) or (channels, T) at `sample_rate`, as a numpy array or a
            tensor; {"array": such floats, "sampling_rate": theirs}; or a decoder of torchcodec.
        sample_rate: the model's.

    Raises:
        InputError, InputTypeError: it is none of these, or holds NaN or infinity.
    """
    if isinstance(sound, str | os.PathLike):
        return Path(os.fspath(sound))
    if isinstance(sound, Mapping):
        if "array" not in sound or "sampling_rate" not in sound:
            raise InputError(
                f"a sound is a dict with the keys {sorted(map(str, sound))}; it needs 'array' and "
                "'sampling_rate'"
            )
        return _mono(sound["array"], source=sound["sampling_rate"], target=sample_rate)
    decoder: Any = sound
    if hasattr(decoder, "get_all_samples"):
        samples = decoder.get_all_samples()
        return _mono(samples.data, source=samples.sample_rate, target=sample_rate)
    if isinstance(sound, np.ndarray) or hasattr(sound, "detach"):
        return _mono(sound, source=sample_rate, target=sample_rate)
    raise InputTypeError(
        f"a sound is {type(sound).__name__}; it must be a path, an array, or a dict with 'array' "
        "and 'sampling_rate'"
    )


def _mono(samples: Any, *, source: Any, target: int) -> Waveform:
    """Mix (T,) or (channels, T) floats to their mean and bring them from one rate to another."""
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu().numpy()
    sound = np.asarray(samples)
    if not np.issubdtype(sound.dtype, np.floating):
        raise InputTypeError(f"a sound is {sound.dtype}; it must be float in -1..1")
    if sound.ndim not in (1, 2) or (sound.ndim == 2 and sound.shape[0] > sound.shape[1]):
        raise InputError(
            f"a sound has shape {sound.shape}; it must be (T,) or (channels, T), channels first"
        )
    if not np.isfinite(sound).all():
        raise InputError("a sound holds NaN or infinity; replace them, for example by 0")
    rate = _whole_rate(source)
    mean = sound.mean(axis=0, dtype=np.float64) if sound.ndim == 2 else sound
    blocks = list(resample([(rate, mean.astype(np.float32))], sample_rate=target))
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _whole_rate(value: Any) -> int:
    try:
        rate = int(value)
        if rate == float(value) and MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            return rate
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(
        f"a sound has the sample rate {value!r}; it must be a whole number of Hz, from "
        f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
    )
