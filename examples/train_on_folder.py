"""Train a model for your own music, with the genres and folders of your files as captions.

python examples/train_on_folder.py ~/Music runs/mine

A few hundred tracks of several genres are a sensible least. The run folder is a checkpoint.
"""

import sys
from pathlib import Path

from clap_musicgen import ClapMusicGen
from clap_musicgen.training.batches import Draw
from clap_musicgen.training.contrastive import Settings
from clap_musicgen.training.finetune import Recipe, finetune
from clap_musicgen.training.folder_manifest import from_folders
from clap_musicgen.training.manifest import write_manifest


def main(folder: str, out: str, steps: str = "200") -> None:
    """Write a manifest, train on it, and say whether the new model is better on held-out tracks."""
    found = from_folders([folder], group_by="file", folder_tags=True)
    print(f"{len(found.examples)} tracks with captions, {len(found.left_out)} without")
    manifest = Path(out).with_suffix(".jsonl")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, found.examples)
    recipe = Recipe(settings=Settings(steps=int(steps), learning_rate=3e-4, draw=Draw(batch=64)))
    result = finetune(manifest, start="mini", out=out, recipe=recipe)
    test = result.test
    print(f"{test.metric}: {test.before:.3f} → {test.after:.3f}, so it is {test.verdict}")
    print("loads as", ClapMusicGen.from_pretrained(out).fingerprint)


if __name__ == "__main__":
    main(*sys.argv[1:])
