"""Find recordings that are twice in a library, in whatever format, and say which copy to keep.

python examples/find_duplicates.py ~/Music
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen, Library

MUSIC = Path(__file__).parent / "music"


def main(folder: str = str(MUSIC)) -> None:
    """Print each group, the best copy first; nothing happens to the files."""
    model = ClapMusicGen.from_pretrained("mini")
    with Library.open("examples.clap", model) as library:
        library.add(folder)
        groups = library.duplicates()
    print(f"{len(groups)} recordings are there more than once")
    for best, *others in groups:
        print(f"keep {best.track.path}")
        for other in others:
            kind = "the same bytes" if other.same_bytes else "the same recording"
            print(f"  {kind}: {other.track.path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
