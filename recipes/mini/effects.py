"""What happens to a sound between the instrument and the listener: tone, drive, noise, level.

Pure functions of a mono waveform, float32 of shape (T,), plus one that draws a random chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Waveform = NDArray[np.float32]

_FLOOR = 1e-9


def rms(waveform: Waveform) -> float:
    """Root mean square; 0 for an empty waveform."""
    return float(np.sqrt(np.mean(np.square(waveform)))) if waveform.size else 0.0


def trim_leading_silence(
    waveform: Waveform, *, sample_rate: int, keep: float = 0.3, threshold: float = 1e-3
) -> Waveform:
    """Drop what comes more than `keep` seconds before the first sample above the threshold."""
    loud = np.flatnonzero(np.abs(waveform) > threshold)
    if loud.size == 0:
        return waveform[:0]
    return waveform[max(0, int(loud[0]) - int(keep * sample_rate)) :]


def tilt(
    waveform: Waveform,
    *,
    sample_rate: int,
    db_per_octave: float,
    low_cut: float = 0.0,
    high_cut: float = 0.0,
) -> Waveform:
    """Tone control around 1 kHz by one Fourier transform, with soft cuts where given (Hz)."""
    spectrum = np.fft.rfft(waveform)
    frequency = np.maximum(np.fft.rfftfreq(waveform.size, 1 / sample_rate), 20.0)
    octaves = np.log2(frequency / 1000.0)
    gain = 10.0 ** (np.clip(octaves * db_per_octave, -12.0, 12.0) / 20.0)
    if low_cut:
        gain = gain / np.sqrt(1.0 + (low_cut / frequency) ** 4)
    if high_cut:
        gain = gain / np.sqrt(1.0 + (frequency / high_cut) ** 8)
    return np.fft.irfft(spectrum * gain, waveform.size).astype(np.float32)


def saturate(waveform: Waveform, *, drive: float) -> Waveform:
    """Soft clipping of a waveform normalised to its peak; `drive` above 0, 1 is mild."""
    peak = float(np.max(np.abs(waveform), initial=_FLOOR))
    shaped = np.tanh(drive * waveform / peak) / np.tanh(drive) * peak
    return np.asarray(shaped, dtype=np.float32)


def add_noise(waveform: Waveform, *, snr_db: float, rng: np.random.Generator) -> Waveform:
    """White noise at a signal-to-noise ratio."""
    sigma = rms(waveform) * 10.0 ** (-snr_db / 20.0)
    noise = rng.standard_normal(waveform.size, dtype=np.float32) * np.float32(sigma)
    return np.asarray(waveform + noise, dtype=np.float32)


def level(waveform: Waveform, *, rms_db: float) -> Waveform:
    """Bring to a level in dB below full scale, lower if the peak would pass 0.98."""
    gain = 10.0 ** (rms_db / 20.0) / max(rms(waveform), _FLOOR)
    peak = float(np.max(np.abs(waveform), initial=_FLOOR))
    return np.asarray(waveform * np.float32(min(gain, 0.98 / peak)), dtype=np.float32)


def random_chain(waveform: Waveform, *, sample_rate: int, rng: np.random.Generator) -> Waveform:
    """Each effect on some of the pieces; every piece gets a random level."""
    if rng.random() < 0.5:
        narrow = rng.random() < 0.1  # a small loudspeaker or an old recording
        waveform = tilt(
            waveform,
            sample_rate=sample_rate,
            db_per_octave=float(rng.uniform(-1.5, 1.5)),
            low_cut=float(rng.uniform(100, 300)) if narrow else 0.0,
            high_cut=float(rng.uniform(3500, 8000)) if narrow else 0.0,
        )
    if rng.random() < 0.3:
        waveform = saturate(waveform, drive=float(rng.uniform(0.5, 3.0)))
    if rng.random() < 0.3:
        waveform = add_noise(waveform, snr_db=float(rng.uniform(30, 50)), rng=rng)
    return level(waveform, rms_db=float(rng.uniform(-28, -12)))
