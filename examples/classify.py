"""Choose among labels of your own, without training: zero-shot classification.

python examples/classify.py song.mp3 jazz metal waltz
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen
from clap_musicgen.evaluation.zero_shot import label_vectors

METAL = str(Path(__file__).parent / "music" / "heavy-metal.ogg")


def main(file: str = METAL, *labels: str) -> None:
    """Print the labels by how near they are; a list of files is embedded just as well."""
    names = labels or ("jazz", "heavy metal", "waltz", "trance", "church music", "tango")
    model = ClapMusicGen.from_pretrained("mini")
    music = model.embed_audio([file])  # (1, D), unit length
    cosines = (label_vectors(model, names) @ music.T)[:, 0]  # (C, D) @ (D, 1) → (C,)
    for place in cosines.argsort()[::-1]:
        print(f"{cosines[place]:6.3f}  {names[place]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
