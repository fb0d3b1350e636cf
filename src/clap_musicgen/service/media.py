"""What the routes of music share: files of tracks, a decoder for waveforms, files made for browsers.

Decoding happens in other processes, one file at a time for each purpose: whoever waits for it waits
in the event loop and takes no thread from others. Knows tracks and files; not HTTP's ranges.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated
from weakref import finalize

import anyio
from fastapi import Depends, Request

from clap_musicgen.audio.decode import open_regular
from clap_musicgen.audio.playing import make_wav
from clap_musicgen.errors import InputError, UnreadableAudioError
from clap_musicgen.service.problems import ProblemError

if TYPE_CHECKING:
    from typing import BinaryIO

    from clap_musicgen.audio.pool import DecodePool
    from clap_musicgen.library.records import Track

MOST_BYTES = 512 * 2**20
"""What converted files may take together."""
CONVERT_SECONDS = 120.0
"""How long a conversion may take."""
PEAKS_RATE = 8_000
"""Hz at which waveforms are looked at."""
PATIENCE = 15.0
"""Seconds without a sound before the decoder counts as hung."""
MEMORY = 2 * 2**30
"""Bytes of address space for the decoder."""


class Media:
    """Decoders and temporary files of one service; each begins when it is first needed."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        """Prepare; `most_bytes` is what converted files may take together."""
        self.decoding = anyio.CapacityLimiter(1)
        self.converting = anyio.CapacityLimiter(1)
        self._most_bytes = most_bytes
        self._stack, self._lock = ExitStack(), Lock()
        self._pool: DecodePool | None = None
        self._folder: Path | None = None
        self._closing = finalize(self, self._stack.close)

    def close(self) -> None:
        """End the decoder and delete the temporary files; happens at the end by itself."""
        self._closing()

    def pool(self) -> DecodePool:
        """Return the decoder for waveforms; only who holds `decoding` may use it."""
        from clap_musicgen.audio.pool import DecodePool

        if self._pool is None:
            self._pool = self._stack.enter_context(
                DecodePool(
                    sample_rate=PEAKS_RATE, clip_seconds=10.0, patience=PATIENCE, memory=MEMORY
                )
            )
        return self._pool

    def converted(self, track: Track) -> BinaryIO:
        """Open a track as WAV, made anew if need be; only who holds `converting` may ask.

        Raises:
            ProblemError: it is gone (404), too long (413), or cannot be decoded (422).
        """
        found = self.kept(track)
        if found is None:
            self._convert(track, self._target(track))
            found = self.kept(track)
        if found is None:
            raise ProblemError(
                503, f"the file of {track.title!r} is just being changed", retry_after=2
            )
        return found

    def kept(self, track: Track) -> BinaryIO | None:
        """Open a track as WAV if it has been converted; ProblemError 404 if it is gone."""
        target = self._target(track)
        try:
            found = target.open("rb")
        except FileNotFoundError:
            return None
        with suppress(OSError):  # used just now; it may have had to make room meanwhile
            os.utime(target, ns=(time.time_ns(), target.stat().st_mtime_ns))
        return found

    def _target(self, track: Track) -> Path:
        """Where the WAV of a track's file belongs, as that file is now."""
        with opened(track) as file:
            status = os.fstat(file.fileno())
        name = f"{track.content}-{status.st_size:x}-{status.st_mtime_ns:x}.wav"
        return self._temporary() / name

    def _convert(self, track: Track, target: Path) -> None:
        draft = target.with_name("draft")
        draft.unlink(missing_ok=True)  # of an attempt that failed
        try:
            make_wav(
                track.path,
                draft,
                duration=track.duration,
                most_bytes=self._most_bytes,
                timeout=CONVERT_SECONDS,
            )
        except InputError as error:
            raise ProblemError(413, str(error)) from error
        except UnreadableAudioError as error:
            raise ProblemError(
                422, f"{track.title!r} cannot be converted: {error.reason}"
            ) from error
        self._make_room(draft.stat().st_size)
        # A validator is made of this time: the same file gives the same WAV.
        os.utime(draft, ns=(time.time_ns(), int(target.stem.rpartition("-")[2], 16)))
        draft.replace(target)

    def _make_room(self, size: int) -> None:
        """Delete what was not used for longest; who is reading it still can."""
        kept = [(path, path.stat()) for path in self._temporary().glob("*.wav")]
        total = size + sum(status.st_size for _, status in kept)
        for path, status in sorted(kept, key=lambda entry: entry[1].st_atime_ns):
            if total <= self._most_bytes:
                return
            with suppress(OSError):
                path.unlink()
                total -= status.st_size

    def _temporary(self) -> Path:
        with self._lock:
            if self._folder is None:
                folder = tempfile.TemporaryDirectory(prefix="clap-musicgen-")
                self._folder = Path(self._stack.enter_context(folder))
            return self._folder


def opened(track: Track) -> BinaryIO:
    """Open the file of a track.

    Raises:
        ProblemError: 404, it is gone or cannot be read.
    """
    try:
        return open_regular(Path(track.path))
    except UnreadableAudioError as error:
        raise ProblemError(
            404,
            f"the file of {track.title!r} cannot be opened ({error.reason}): was it moved, or is "
            "its drive not connected? Adding its folder again brings the library up to date",
        ) from error


def media(request: Request) -> Media:
    """Return the application's Media."""
    held: Media = request.app.state.media
    return held


Shared = Annotated[Media, Depends(media)]
"""What a route takes to get it."""
