"""Find moments instead of tracks, with filters and an SQL condition on the files' tags.

python examples/find_moments.py "guitar solo"
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen, Library
from clap_musicgen.library.filters import Filters

MUSIC = Path(__file__).parent / "music"


def main(words: str = "brass and piano") -> None:
    """Print the best moments of all tracks, then of those that two kinds of filter let through."""
    model = ClapMusicGen.from_pretrained("mini")
    with Library.open("examples.clap", model) as library:
        library.add(MUSIC)
        questions = {
            "anywhere": library.segments(words, k=4),
            "in latin music and tango": library.segments(
                words, k=2, filters=Filters(genre=("latin", "tango"))
            ),
            "not in metal": library.segments(words, k=2, where="genre != 'Metal'"),
        }
        for name, moments in questions.items():
            print(name)
            for moment in moments:
                print(f"  {moment.score:.2f}  {moment.track.title} at {moment.start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
