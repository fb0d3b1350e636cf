"""A run folder with everything that `train` and `evaluate --out` leave, without training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clap_musicgen.evaluation import report
from clap_musicgen.evaluation.compare import Comparison
from clap_musicgen.evaluation.figures import Figure, Result
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.training.finetune import Recipe

TEST = Comparison(
    "text→music MRR", 0.212, 0.345, 0.133, 0.021, 0.25, "better", queries=17, chance=0.101
)
FOUND = Result(
    "text→music",
    17,
    20,
    (
        Figure("R@10", 0.61, 0.35, 0.52, 0.7, 17),
        Figure("median rank", 4.0, 9.5, 3.0, 6.5, 17, lower_is_better=True, digits=1),
        Figure("MRR", 0.345, 0.101, 0.09, 0.41, 17),
    ),
    note="captions that are alike count as one",
)
NAMED = Result("zero-shot", 20, 4, (Figure("accuracy", 0.5, 0.25, float("nan"), 0.7, 20),))
CHANGED = {"gain -20 dB": Result("robustness", 5, 5, (Figure("cosine", 0.99, 0.1, 0.98, 1.0, 5),))}


def write_run(
    folder: Path, model: ClapMusicGen, *, start: str = "mini", measured: bool = True
) -> Path:
    """Write the checkpoint, `report.json`, `run.json`, and with `measured` two evaluations."""
    model.save_pretrained(folder)
    content: dict[str, Any] = {
        "start": start,
        "recipe": asdict(Recipe(teacher="/home/somebody/teachers/minilm")),
        "examples": {"train": 80, "val": 10, "test": 20},
        "failed": [{"audio": "/home/somebody/broken.mp3", "why": "not audio"}],
        "validation": {
            "best_step": 60,
            "best": {"score": 0.4, "chance": 0.1},
            "first": {"score": 0.2, "chance": 0.1},
            "steps": 100,
        },
        "test": asdict(TEST),
    }
    (folder / "report.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"clips": 240, "captions": 75}), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("{}\n", encoding="utf-8")
    if measured:
        write_results(folder / "test", model.fingerprint)
        write_results(folder / "old", "0" * 32)
    return folder


def write_results(folder: Path, fingerprint: str, **about: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "model": "/home/somebody/runs/mine",
        "fingerprint": fingerprint,
        "split": "test",
        "pieces": 20,
        "failed": [{"audio": "/home/somebody/gone.wav", "reason": "missing"}],
        "prompts": ["{} music"],
        **about,
    }
    results = {"drums": [FOUND, NAMED], "voices": [FOUND]}
    text = report.to_json(results, about=facts, robustness=CHANGED)
    (folder / "results.json").write_text(text, encoding="utf-8")
