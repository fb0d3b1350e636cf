"""Find what sounds like a file, which need not be in the library, and turn the question with words.

python examples/search_by_sound.py song.mp3 "with strings" "drums"
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen, Library

MUSIC = Path(__file__).parent / "music"


def main(sound: str = str(MUSIC / "tango.ogg"), more: str = "violin", less: str = "drums") -> None:
    """Print what is similar, then what is similar but has more of one thing and less of another."""
    model = ClapMusicGen.from_pretrained("mini")
    with Library.open("examples.clap", model) as library:
        library.add(MUSIC)
        print(f"sounds like {Path(sound).stem}:")
        for match in library.similar(sound, k=3):
            print(f"  {match.calibrated:.2f}  {match.track.title}")
        print(f"the same with more {more} and less {less}:")
        for match in library.search(more, like=sound, without=less, k=3):
            print(f"  {match.calibrated:.2f}  {match.track.title}")


if __name__ == "__main__":
    main(*sys.argv[1:])
