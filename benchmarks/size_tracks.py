"""Made-up vectors as tracks of a library, for `library_size.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clap_musicgen.audio.files import Tags
from clap_musicgen.embedding import Embeddings, unit
from clap_musicgen.library.rows import Clips, NewTrack, Summary, clip_table, track_table
from synthetic import CLIP_SECONDS, CLIPS_PER_TRACK, Music


def groups(music: Music, *, new_from: int) -> Iterator[tuple[int, list[NewTrack]]]:
    """Tracks of the collection, some thousand at a time, named by number."""
    first = new_from
    for vectors in music.blocks():
        tracks = new_tracks(vectors, first)
        yield first, tracks
        first += len(tracks)


def new_tracks(vectors: Embeddings, first: int) -> list[NewTrack]:

    starts = CLIP_SECONDS * np.arange(CLIPS_PER_TRACK, dtype=np.float64)
    now, directions = datetime.now(UTC), means(vectors)
    return [
        NewTrack(
            f"/music/artist {number % 997}/album {number % 31}/{number:010}.mp3",
            tags=Tags(title=f"title {number}", artist=f"artist {number % 997}", year=2000),
            size=5_000_000 + number,
            mtime_ns=number,
            content=f"{number * 2654435761 % 2**32:08x}{number:024x}",
            summary=Summary(float(starts[-1]) + CLIP_SECONDS, "", now, mean),
            clips=Clips(starts, starts + CLIP_SECONDS, own),
            replaces=False,
        )
        for number, mean, own in zip(
            range(first, first + len(directions)), directions, by_track(vectors), strict=True
        )
    ]


def tables(tracks: list[NewTrack], dim: int) -> tuple[Any, Any]:

    return track_table(tracks, dim), clip_table(tracks, dim)


def by_track(vectors: Embeddings) -> Embeddings:

    return vectors.reshape(-1, CLIPS_PER_TRACK, vectors.shape[1])


def means(vectors: Embeddings) -> Embeddings:

    return unit(by_track(vectors).mean(axis=1))
