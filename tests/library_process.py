"""Add music to a library in a process of its own, slowly, to be disturbed by a test.

    python library_process.py LIBRARY MUSIC GROUP_TRACKS

Prints `done N` after every event, so that the test knows when to strike.
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


def main() -> None:
    library, music, group = sys.argv[1:]
    adding.GROUP_TRACKS = int(group)

    def tell(progress: Progress) -> None:
        print("done", progress.done, flush=True)

    with Library.open(library, SlowEmbedder()) as opened:
        opened.add(music, on_progress=tell)


if __name__ == "__main__":
    main()
