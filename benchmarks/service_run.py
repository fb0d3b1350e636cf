"""A real service for measuring: `clap-musicgen serve` as a process, and questions to ask it.

The client is as small as HTTP allows, so that it takes little of the machine it shares.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import timing

MUSIC = Path(__file__).parents[1] / "examples" / "music"
_MOODS = ("calm", "dark", "happy", "sad", "wild", "dreamy", "tense", "warm", "cold", "proud")
_SOUNDS = ("piano", "guitar", "strings", "drums", "choir", "synth", "brass", "flute", "bass")
_KINDS = ("jazz", "metal", "ambient", "techno", "folk", "blues", "waltz", "hip hop", "tango")


def questions() -> Iterator[str]:
    """Give paths of searches; 810 texts differ, so that none is answered from a memory."""
    texts = (" ".join(words) for words in itertools.product(_MOODS, _SOUNDS, _KINDS))
    return (f"/api/search?{urlencode({'query': text, 'k': 20})}" for text in itertools.cycle(texts))


@contextmanager
def served(library: Path | None, *options: str) -> Iterator[str]:
    """Serve a library, or one of `examples/music` that is made first → its address."""
    with tempfile.TemporaryDirectory() as folder:
        if library is None:
            library = Path(folder) / "library"
            command = [sys.executable, "-m", "clap_musicgen"]
            index = [*command, "index", str(MUSIC), "--library", str(library)]
            subprocess.run(index, check=True, stdout=subprocess.DEVNULL)
        with _process(library, *options) as address:
            yield address


@contextmanager
def _process(library: Path, *options: str) -> Iterator[str]:
    command = [sys.executable, "-m", "clap_musicgen", "serve", "--port", "0"]
    command += ["--library", str(library), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            found = re.search(r"served at (http://\S+)", line)
            if found is None:
                raise RuntimeError(f"the service does not start: {line!r}")
            yield found[1]
        finally:
            process.terminate()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `retry_after` in seconds, None where it was not said."""

    status: int
    body: bytes
    retry_after: int | None


class Connection:
    """One connection that is kept; asks one thing after the other."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._host, self._port = host, int(port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> Answer:
        """Ask. Raises OSError or EOFError if the connection breaks."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n\r\n"
        self._writer.write(request.encode())
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if length is None:
            raise OSError("an answer without a length")
        body = await self._reader.readexactly(int(length[1]))
        after = re.search(rb"(?i)\r\nretry-after: (\d+)", head)
        return Answer(int(head.split()[1]), body, None if after is None else int(after[1]))

    async def close(self) -> None:
        """End the connection."""
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None


def machine() -> dict[str, object]:
    """What the figures were got on; client and service share it."""
    about = timing.machine(os.cpu_count() or 1)
    return {**about, "load": os.getloadavg()[0]}
