"""Write a playlist that leads from one track to another, and one for a theme.

python examples/make_playlist.py calm.mp3 wild.mp3 evening.m3u8
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen, Library
from clap_musicgen.library.m3u import m3u8

MUSIC = Path(__file__).parent / "music"
CALM, WILD = str(MUSIC / "string-ballad.ogg"), str(MUSIC / "heavy-metal.ogg")


def main(first: str = CALM, last: str = WILD, out: str = "evening.m3u8") -> None:
    """Every step of the way is a small one; the file opens in any player."""
    model = ClapMusicGen.from_pretrained("mini")
    with Library.open("examples.clap", model) as library:
        library.add([MUSIC, first, last])
        way = library.playlist(between=(first, last), k=5)
        theme = library.playlist("dance music", minutes=1)
    print("the way: ", " → ".join(track.title for track in way))
    print("to dance:", ", ".join(track.title for track in theme))
    Path(out).write_text(m3u8(way), encoding="utf-8")
    print(f"written: {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
