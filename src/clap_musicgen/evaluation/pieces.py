"""The music that is evaluated: which excerpt of which file, with what it is called, and its vectors.

Knows any Embedder and the audio layer: neither manifests nor benchmarks, which make pieces, nor
tasks, which score them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clap_musicgen.audio.files import AudioStream
from clap_musicgen.embedding import Embedder, Embeddings, Waveform
from clap_musicgen.errors import AudioError, EmptyAudioError, InputError
from clap_musicgen.model.tracks import embed_track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OnProgress: TypeAlias = "Callable[[int, int], None]"
"""Called after each piece with how many are done and how many there are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An excerpt of a file, from `start` to `end` in seconds, and what is known of it.

    Attributes:
        audio: the file.
        caption: a text that describes it; "" where there is none.
        labels: its classes (genres, tags); none where they are unknown.
        set: name of the subset it is reported with.
        group: pieces of one group are not independent (an artist, an album); "" is no group.
        start: where it begins, in seconds.
        end: where it ends; None is the end of the file, and so is anything behind it.
    """

    audio: Path
    caption: str = ""
    labels: tuple[str, ...] = ()
    set: str = ""
    group: str = ""
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.start < (np.inf if self.end is None else self.end):
            raise InputError(
                f"the piece {str(self.audio)!r} starts at {self.start} s and ends at {self.end} s: "
                "start must be 0 or more, and end behind it"
            )


@dataclass(frozen=True, slots=True)
class Embedded:
    """The pieces that could be embedded, their vectors (N, D), and what failed: (file, why)."""

    pieces: list[Piece]
    vectors: Embeddings
    failed: list[tuple[str, str]]


def embed_pieces(
    model: Embedder, pieces: Sequence[Piece], *, on_progress: OnProgress | None = None
) -> Embedded:
    """Embed each piece as a whole: the mean of the clips that cover it, weighted by seconds.

    A file that cannot be used, or that ends before its piece begins, is set aside with the reason.
    """
    kept: list[Piece] = []
    vectors: list[Embeddings] = []
    failed: list[tuple[str, str]] = []
    for done, piece in enumerate(pieces, 1):
        try:
            vectors.append(embed_track(model, excerpt(piece, sample_rate=model.sample_rate)))
            kept.append(piece)
        except AudioError as error:
            failed.append((str(piece.audio), error.reason))
        if on_progress is not None:
            on_progress(done, len(pieces))
    stacked = np.stack(vectors) if vectors else np.zeros((0, model.dim), dtype=np.float32)
    return Embedded(kept, stacked, failed)


def excerpt(piece: Piece, *, sample_rate: int) -> Iterator[Waveform]:
    """Decode the blocks (T_i,) of a piece; what lies behind it is not decoded.

    Raises:
        AudioError: the file cannot be used, or ends before the piece begins.
    """
    stream = AudioStream(piece.audio, sample_rate=sample_rate)
    first = round(piece.start * sample_rate)
    last = None if piece.end is None else max(round(piece.end * sample_rate), first + 1)
    position, given = 0, False
    for block in stream:
        part = block[max(first - position, 0) : None if last is None else max(last - position, 0)]
        position += len(block)
        if len(part):
            given = True
            yield part
        if last is not None and position >= last:
            break
    if not given:
        end = position / sample_rate
        reason = f"the piece starts at {piece.start:g} s, but the file ends at {end:.1f} s"
        raise EmptyAudioError(piece.audio, reason)
