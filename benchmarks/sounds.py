"""Sounds and texts that the benchmarks make themselves: noise in clips, captions, audio files.

Seeded, so that every run and both sides of a comparison get the same. Knows numpy and PyAV's
encoders: no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Waveform

BLOCK = 65_536
"""Samples that are made and encoded at once, so that a file of any length needs little memory."""
LAYOUTS = ("mono", "stereo", "2.1", "quad", "5.0", "5.1", "6.1", "7.1")
EVERY_RATE = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000)
_MPEG_RATES = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclass(frozen=True, slots=True)
class Kind:
    """How to write one kind of audio file, and what its encoder takes.

    Attributes:
        suffix: of the file name.
        codec: FFmpeg's encoder.
        rates: in Hz.
        channels: how many.
        container: FFmpeg's muxer, where the suffix does not tell.
        options: of the encoder.
    """

    suffix: str
    codec: str
    rates: tuple[int, ...] = EVERY_RATE
    channels: tuple[int, ...] = tuple(range(1, 9))
    container: str | None = None
    options: dict[str, str] = field(default_factory=dict)


KINDS = {
    "wav": Kind(".wav", "pcm_s16le"),
    "wav, 8 bits": Kind(".wav", "pcm_u8"),
    "wav, 24 bits": Kind(".wav", "pcm_s24le"),
    "wav, 32 bits": Kind(".wav", "pcm_s32le"),
    "wav, floats": Kind(".wav", "pcm_f32le"),
    "wav, doubles": Kind(".wav", "pcm_f64le"),
    "aiff": Kind(".aiff", "pcm_s16be"),
    "au": Kind(".au", "pcm_s16be"),
    "caf": Kind(".caf", "pcm_s16be"),
    "w64": Kind(".w64", "pcm_s16le"),
    "flac": Kind(".flac", "flac"),
    "alac": Kind(".m4a", "alac", EVERY_RATE, (1, 2, 5, 6)),
    "wavpack": Kind(".wv", "wavpack"),
    "tta": Kind(".tta", "tta"),
    "matroska": Kind(".mka", "flac", container="matroska"),
    "mp3": Kind(".mp3", "libmp3lame", (8_000, 11_025, 12_000, *_MPEG_RATES), (1, 2)),
    "mp2": Kind(".mp2", "mp2", _MPEG_RATES, (1, 2)),
    "m4a": Kind(".m4a", "aac", EVERY_RATE[:-1], (1, 2, 3, 5, 6, 8)),
    "aac": Kind(".aac", "aac", EVERY_RATE[:-1], (1, 2, 3, 5, 6, 8), container="adts"),
    "ogg": Kind(".ogg", "vorbis", EVERY_RATE, (2,), options={"strict": "-2"}),
    "opus": Kind(
        ".opus", "libopus", (8_000, 12_000, 16_000, 24_000, 48_000), (1, 2, 4, 5, 6, 7, 8)
    ),
    "wma": Kind(".wma", "wmav2", (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000), (1, 2)),
    "ac3": Kind(".ac3", "ac3", (32_000, 44_100, 48_000), (1, 2, 3, 4, 5, 6)),
}
"""Every kind of file that the package reads and PyAV's wheels can write."""
_BIT_RATES = {"wmav2": 128_000, "mp2": 128_000, "ac3": 448_000, "vorbis": 128_000}
# The encoder would choose 8 bits, or a bit rate that it then refuses.
_SAMPLE_FORMATS = {"wavpack": "s16p", "tta": "s16", "flac": "s16", "alac": "s16p"}


def noise(seconds: float, *, rate: int, count: int, seed: int = 0) -> list[Waveform]:
    """`count` clips (T,) of decaying noise bursts: loud enough not to be skipped as silence."""
    generator = np.random.default_rng(seed)
    samples = round(seconds * rate)
    envelope = 0.3 * np.exp(-(np.arange(samples) % rate) / rate)
    return [
        (generator.standard_normal(samples, dtype=np.float32) * envelope).astype(np.float32)
        for _ in range(count)
    ]


def captions(count: int) -> list[str]:
    """Texts as people write them, 5 to 25 words, none twice in a row."""
    moods = ("dark", "dreamy", "energetic", "melancholic", "warm", "tense", "playful")
    genres = ("lofi hip hop", "drum and bass", "chamber music", "death metal", "bossa nova")
    sounds = ("a distorted guitar", "soft piano chords", "a brass section", "808 drums", "a choir")
    tails = (
        "",
        ", recorded live in a small club",
        " with a slow build-up, a sudden stop and a quiet ending that fades into rain",
    )
    return [
        f"{moods[n % 7]} {genres[n % 5]} with {sounds[(n // 5) % 5]}{tails[n % 3]}"
        for n in range(count)
    ]


def music(seconds: float, *, rate: int, channels: int = 1, seed: int = 0) -> Iterator[Waveform]:
    """Blocks (channels, T_i) of decaying tones over a little noise, in bounded memory."""
    generator = np.random.default_rng(seed)
    total = max(1, round(seconds * rate))
    pitches = 110.0 * 2 ** (generator.integers(0, 48, size=64) / 12)
    for start in range(0, total, BLOCK):
        time = np.arange(start, min(start + BLOCK, total)) / rate
        beat = time % 0.25
        pitch = pitches[(time // 0.25).astype(int) % len(pitches)]
        tone = 0.4 * np.exp(-8 * beat) * np.sin(2 * np.pi * pitch * beat)
        hiss = 0.01 * generator.standard_normal((channels, len(time)), dtype=np.float32)
        yield np.asarray(tone + hiss, dtype=np.float32)


def write_file(
    path: Path, blocks: Iterable[NDArray[np.float32]], *, kind: Kind, rate: int, channels: int
) -> None:
    """Encode blocks (channels, T_i) within ±1 to `path`, one block at a time.

    Raises:
        av.error.FFmpegError: the encoder does not take this rate or so many channels.
    """
    layout = LAYOUTS[channels - 1]
    with av.open(str(path), "w", format=kind.container) as container:
        stream: Any = container.add_stream(kind.codec, rate=rate, layout=layout)
        stream.options = dict(kind.options)
        if kind.codec in _BIT_RATES:
            stream.bit_rate = _BIT_RATES[kind.codec]
        if kind.codec in _SAMPLE_FORMATS:
            stream.format = _SAMPLE_FORMATS[kind.codec]
        # Packed and of the width that the encoder wants, PyAV's own resampler does the rest.
        wide = kind.codec == "pcm_f64le"
        position = 0
        for block in blocks:
            packed = np.ascontiguousarray(block.T, dtype=np.float64 if wide else np.float32)
            frame = av.AudioFrame.from_ndarray(
                packed.reshape(1, -1), format="dbl" if wide else "flt", layout=layout
            )
            frame.sample_rate, frame.pts = rate, position
            position += block.shape[1]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
