"""Real audio files for tests: any format, rate and channel count, written through PyAV.

Knows nothing of the package under test.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "2.1",
    4: "quad",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}


@dataclass(frozen=True, slots=True)
class Format:
    """How to write one kind of file, and how faithful it is.

    `exact` formats give back every sample to within `tolerance`; the others only resemble it.
    """

    suffix: str
    codec: str
    exact: bool = False
    tolerance: float = 0.0
    channels: int | None = None  # the only channel count that the encoder takes
    sample_rate: int = 44_100
    container: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


FORMATS = {
    "wav": Format(".wav", "pcm_s16le", exact=True, tolerance=1 / 30_000),
    "wav-u8": Format(".wav", "pcm_u8", exact=True, tolerance=1 / 100),
    "wav-24": Format(".wav", "pcm_s24le", exact=True, tolerance=1e-6),
    "wav-32": Format(".wav", "pcm_s32le", exact=True, tolerance=1e-6),
    "wav-float": Format(".wav", "pcm_f32le", exact=True, tolerance=1e-6),
    "wav-double": Format(".wav", "pcm_f64le", exact=True, tolerance=1e-6),
    "aiff": Format(".aiff", "pcm_s16be", exact=True, tolerance=1 / 30_000),
    "flac": Format(".flac", "flac", exact=True, tolerance=1 / 30_000),
    "alac": Format(".m4a", "alac", exact=True, tolerance=1 / 30_000),
    "wavpack": Format(".wv", "wavpack", exact=True, tolerance=1 / 30_000),
    "mp3": Format(".mp3", "libmp3lame"),
    "m4a": Format(".m4a", "aac"),
    "aac": Format(".aac", "aac", container="adts"),
    "ogg": Format(".ogg", "vorbis", channels=2, options={"strict": "-2"}),
    "opus": Format(".opus", "libopus", sample_rate=48_000),
    "wma": Format(".wma", "wmav2", container="asf"),
}
"""The formats of the tests, by a short name; the plain suffix is the usual kind."""


@cache
def melody(seconds: float, *, sample_rate: int, seed: int = 0) -> NDArray[np.float32]:
    """Render a seeded row of decaying notes, (T,) float32 within ±0.5, below 2 kHz; read-only.

    Its envelope and pitches change all the time, so that a shift or a gap lowers the correlation.
    """
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * sample_rate))
    for onset in np.arange(0.0, max(seconds, 0.1), 0.17):
        pitch = 220.0 * 2 ** (rng.integers(0, 25) / 12)
        first = round(onset * sample_rate)
        age = np.arange(len(sound[first : first + sample_rate])) / sample_rate
        envelope = np.exp(-6.0 * age) * np.minimum(1.0, age * 200) * (1.0 - age)
        tone = np.sin(2 * np.pi * pitch * age) + 0.3 * np.sin(4 * np.pi * pitch * age)
        sound[first : first + sample_rate] += envelope * tone
    melody = np.asarray(0.25 * np.clip(sound, -2, 2), dtype=np.float32)
    melody.setflags(write=False)  # it is shared between the tests
    return melody


def write_audio(
    path: Path,
    waveform: NDArray[np.float32],
    *,
    sample_rate: int,
    format: str | None = None,  # noqa: A002 - the word of this module
    tags: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    cover: bool = False,
) -> Path:
    """Write (T,) or (C, T) samples within ±1 to `path`; the format follows its suffix unless named.

    `cover` adds a picture as a second stream, as music shops do.
    """
    kind = FORMATS[format if format is not None else path.suffix.lstrip(".")]
    channels = np.atleast_2d(waveform)
    if kind.channels is not None and len(channels) != kind.channels:
        channels = np.repeat(channels[:1], kind.channels, axis=0)
    muxer = "mp4" if cover and path.suffix == ".m4a" else kind.container
    with av.open(
        str(path), "w", format=muxer, container_options=dict(container_options or {})
    ) as container:
        container.metadata.update(tags or {})
        layout = LAYOUTS[len(channels)]
        stream: Any = container.add_stream(kind.codec, rate=sample_rate, layout=layout)
        stream.options = dict(kind.options)
        if kind.codec == "wmav2":
            stream.bit_rate = 128_000  # it has no default of its own
        if kind.codec == "wavpack":
            stream.format = "s16p"  # it would take 8 bits
        picture: Any = _cover_stream(container) if cover else None
        if picture is not None:
            _write_cover(container, picture)
        _encode(container, stream, channels, sample_rate, layout)
    return path


def _encode(
    container: Any, stream: Any, channels: NDArray[np.float32], sample_rate: int, layout: str
) -> None:
    step = 65_536
    position = 0
    double = stream.codec_context.name == "pcm_f64le"
    for start in range(0, channels.shape[1], step):
        block = channels[:, start : start + step]
        samples = np.ascontiguousarray(block.T, dtype=np.float64 if double else np.float32)
        frame = av.AudioFrame.from_ndarray(
            samples.reshape(1, -1), format="dbl" if double else "flt", layout=layout
        )
        frame.sample_rate = sample_rate
        frame.pts = position
        position += block.shape[1]
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)


def _cover_stream(container: Any) -> Any:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _write_cover(container: Any, stream: Any) -> None:
    picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, dtype=np.uint8), format="rgb24")
    for packet in stream.encode(picture.reformat(format="yuvj420p")):
        container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)


def write_wav(
    path: Path,
    samples: NDArray[Any],
    *,
    sample_rate: int,
    stated_bytes: int | None = None,
) -> Path:
    """Write a WAV by hand from (T,) or (T, C) samples as they are (uint8, int16, int32, floats).

    Unlike an encoder it lets anything through: NaN, no sample at all, a wrong size in the header.
    """
    frames = samples.reshape(-1, 1) if samples.ndim == 1 else samples
    width, channels = samples.dtype.itemsize, frames.shape[1]
    data = np.ascontiguousarray(frames).tobytes()
    size = len(data) if stated_bytes is None else stated_bytes
    kind = 3 if samples.dtype.kind == "f" else 1
    head = struct.pack(
        "<HHIIHH",
        kind,
        channels,
        sample_rate,
        sample_rate * width * channels,
        width * channels,
        8 * width,
    )
    riff = min(size + 36, 0xFFFFFFFF)
    path.write_bytes(
        b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", len(head)) + head
        + b"data" + struct.pack("<I", size) + data
    )  # fmt: skip
    return path


def write_streams(
    path: Path, waveforms: Sequence[NDArray[np.float32]], *, sample_rate: int
) -> Path:
    """Write several (T,) sounds as separate FLAC streams of one Matroska file."""
    with av.open(str(path), "w", format="matroska") as container:
        streams: list[Any] = [
            container.add_stream("flac", rate=sample_rate, layout="mono") for _ in waveforms
        ]
        for stream, waveform in zip(streams, waveforms, strict=True):
            _encode(container, stream, np.atleast_2d(waveform), sample_rate, "mono")
    return path


def best_correlation(
    heard: NDArray[np.float32], reference: NDArray[np.float32], *, max_shift: int
) -> float:
    """Highest correlation over shifts of up to `max_shift` samples, which lossy encoders add."""
    size = min(len(heard), len(reference)) - 2 * max_shift
    middle = reference[max_shift : max_shift + size]
    spectrum = np.conj(np.fft.rfft(middle, len(heard))) * np.fft.rfft(heard)
    shift = int(np.argmax(np.fft.irfft(spectrum, len(heard))[: 2 * max_shift + 1]))
    return float(np.corrcoef(heard[shift : shift + size], middle)[0, 1])
