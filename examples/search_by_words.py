"""Index a folder of music and search it by words.

python examples/search_by_words.py ~/Music "slow piano -drums"

The second run indexes nothing: what the library knows costs no time.
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen, Library

MUSIC = Path(__file__).parent / "music"


def main(folder: str = str(MUSIC), words: str = "church organ and choir") -> None:
    """Print the five tracks that fit the words best, and the best moment of each."""
    model = ClapMusicGen.from_pretrained("mini")
    with Library.open("examples.clap", model) as library:
        report = library.add(folder)
        print(f"{len(report.added)} added, {len(report.unchanged)} known, {len(library)} in all")
        for path, reason in report.failed:
            print(f"left out {path}: {reason}")
        for match in library.search(words, k=5):
            moment = f"{match.start:.0f}–{match.end:.0f} s"
            print(f"{match.calibrated:.2f}  {match.track.title}  {moment}")


if __name__ == "__main__":
    main(*sys.argv[1:])
