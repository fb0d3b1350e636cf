"""GET /api/tracks/{id}/peaks: the outline of a waveform, to be drawn.

It is found once for each content, by a decoder in another process, and kept in the user's cache
folder. Knows tracks by their ids only.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Annotated

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from platformdirs import user_cache_path
from pydantic import BaseModel, Field

from clap_musicgen.audio.pool import Decoded, Failed
from clap_musicgen.library.records import Track
from clap_musicgen.service.context import Here
from clap_musicgen.service.media import Media, Shared, opened
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import TrackId, problems

MOST_BINS = 2_000
"""Also how many are kept; fewer are made of them."""
DECODE_SECONDS = 120.0
"""How long decoding may take."""
_STEP = 80  # samples that are looked at together: a hundredth of a second
_LOUDEST = 255  # of what is kept

router = APIRouter(prefix="/api/tracks", tags=["media"])


class PeaksOut(BaseModel):
    """The outline of a waveform."""

    bins: int = Field(description="How many peaks there are.")
    duration: float = Field(description="Seconds they cover.")
    peaks: list[float] = Field(
        description="The loudest sample of each part, 0 to 1; the loudest of all is 1."
    )


@router.get(
    "/{id}/peaks",
    summary="The outline of a waveform",
    response_model=PeaksOut,
    responses=problems(404, 422, 503),
)
async def peaks(
    id: TrackId,  # noqa: A002 - the contract's name
    here: Here,
    shared: Shared,
    bins: Annotated[int, Query(ge=1, le=MOST_BINS, description="How many peaks.")] = 400,
) -> PeaksOut:
    """Tell how loud each part of a track is."""
    track = await anyio.to_thread.run_sync(here.track, id)
    place = await anyio.to_thread.run_sync(_place, track)
    kept = await anyio.to_thread.run_sync(_read, place)
    if kept is None:
        work = partial(_found, shared, track, place)
        kept = await anyio.to_thread.run_sync(work, limiter=shared.decoding)
    shown = outline(kept, bins) / _LOUDEST
    return PeaksOut(bins=bins, duration=track.duration, peaks=np.round(shown, 3).tolist())


def outline(loudness: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """The loudest of each of `bins` equal parts of (N,) values → (bins,); zeros if N is 0."""
    if not len(loudness):
        return np.zeros(bins, dtype=np.float32)
    edges = np.linspace(0, len(loudness), bins + 1)
    firsts = np.minimum(edges[:-1].astype(np.int64), len(loudness) - 1)
    lasts = np.maximum(np.ceil(edges[1:]).astype(np.int64), firsts + 1)
    # Where there are fewer values than bins, bins share them: reduceat on pairs allows that.
    pairs = np.stack([firsts, lasts], axis=1).ravel()
    padded = np.append(loudness, loudness[-1]).astype(np.float32)
    return np.asarray(np.maximum.reduceat(padded, pairs)[::2], dtype=np.float32)


def _place(track: Track) -> Path:
    """Where the outline of a track's file is kept; ProblemError 404 if that file is gone."""
    with opened(track) as file:
        status = os.fstat(file.fileno())
    state = f"{track.content} {status.st_size} {status.st_mtime_ns}"
    name = hashlib.blake2b(state.encode(), digest_size=16).hexdigest()
    return user_cache_path("clap-musicgen", appauthor=False) / "peaks" / name[:2] / name[2:]


def _read(place: Path) -> NDArray[np.float32] | None:
    try:
        content = place.read_bytes()
    except OSError:
        return None
    if len(content) != MOST_BINS:
        return None
    return np.frombuffer(content, dtype=np.uint8).astype(np.float32)


def _found(shared: Media, track: Track, place: Path) -> NDArray[np.float32]:
    """Decode, and keep what was found; somebody may have done so while we waited."""
    kept = _read(place)
    if kept is not None:
        return kept
    loudness = outline(_loudness(shared, track), MOST_BINS)
    top = float(loudness.max())
    scaled = np.rint(loudness * (_LOUDEST / top if top > 0 else 0.0)).astype(np.uint8)
    with suppress(OSError):  # a cache that cannot be written only costs time
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{token_hex(8)}.new")
        draft.write_bytes(scaled.tobytes())
        draft.replace(place)
    return np.asarray(scaled, dtype=np.float32)


def _loudness(shared: Media, track: Track) -> NDArray[np.float32]:
    """The loudest sample of each hundredth of a second of a track (N,).

    Raises:
        ProblemError: the file cannot be decoded (422), or not in time (503).
    """
    found: list[NDArray[np.float32]] = []
    deadline = time.monotonic() + DECODE_SECONDS
    with closing(shared.pool().decode([track.path])) as events:
        for event in events:
            if isinstance(event, Failed):
                raise ProblemError(422, f"{track.title!r} cannot be decoded: {event.reason}")
            if isinstance(event, Decoded):
                waveform = np.abs(event.clip.waveform)
                found.append(np.maximum.reduceat(waveform, np.arange(0, len(waveform), _STEP)))
            if time.monotonic() > deadline:
                raise ProblemError(
                    503, f"decoding {track.title!r} takes too long here", retry_after=60
                )
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)
