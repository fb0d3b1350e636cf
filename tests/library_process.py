"""Processes around one library, to be disturbed by a test, or to disturb.

    python library_process.py add LIBRARY MUSIC GROUP_TRACKS
    python library_process.py read LIBRARY TRACKS

`add` adds music, slowly, and prints `done N` after every event, so that the test knows when to
strike. `read` searches again and again until there are so many tracks; it ends with an error if
the library ever has fewer than before, or an answer that is not whole.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from clap_musicgen.library import Library, Progress, adding
from fake_embedder import FakeEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.embedding import Embeddings, Waveform


class SlowEmbedder(FakeEmbedder):
    """Takes 20 ms for a clip."""

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        time.sleep(0.02 * len(waveforms))
        return super().embed_clips(waveforms)


def add(library: str, music: str, group: str) -> None:
    """Add, in groups of so many tracks."""
    adding.GROUP_TRACKS = int(group)

    def tell(progress: Progress) -> None:
        print("done", progress.done, flush=True)

    with Library.open(library, SlowEmbedder()) as opened:
        opened.add(music, on_progress=tell)


def read(library: str, tracks: str) -> None:
    """Search until all tracks are there."""
    seen: set[str] = set()
    with Library.open(library, FakeEmbedder(), create=False) as opened:
        print("done 1", flush=True)
        while len(seen) < int(tracks):
            matches = opened.search("440", k=int(tracks), fold=False)
            found = {match.track.path for match in matches}
            if not seen <= found or len(found) != len(matches):
                sys.exit(f"{seen - found} vanished")
            if any(not 0 <= match.start < match.end for match in matches):
                sys.exit("a track without clips")
            seen = found
    print(len(seen), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "add":
        add(*sys.argv[2:])
    else:
        read(*sys.argv[2:])
