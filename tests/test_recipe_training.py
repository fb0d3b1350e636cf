"""Every stage of mini's recipe after the corpus, as a smoke run: programs, files, resuming, sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertModel, BertTokenizer

from clap_musicgen.model.clap import ClapMusicGen

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "mini"
GENRES = ("jazz", "metal", "ambient", "folk")


def write_corpus(folder: Path) -> None:
    """Windows of noise in four colours of loudness, rendered and real, train, val and test."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    samples: list[NDArray[np.int16]] = []
    for number in range(36):
        genre = GENRES[number % 4]
        split = "train" if number < 20 else "val" if number < 30 else "test"
        source = "music" if number % 3 == 0 else "mma"
        labels: dict[str, Any] = {
            "genre": [genre],
            "instruments": ["piano"],
            "complete": source == "mma",
        }
        if source == "music":
            labels |= {"caption": f"{genre} number {number}", "set": "noise2music"}
        sound = rng.standard_normal(2 * 32_000) * (1000 + 3000 * (number % 4))
        rows.append(
            {
                "item": f"{source}/{number}",
                "variant": 0,
                "shard": "shard_000.i16",
                "offset": sum(len(s) for s in samples),
                "samples": len(sound),
                "split": split,
                "source": source,
                "labels": labels,
            }
        )
        samples.append(sound.astype("<i2"))
    np.concatenate(samples).tofile(folder / "shard_000.i16")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "index.jsonl").write_text(lines)


def write_texts(path: Path) -> None:
    words = ["slow", "fast", "loud", "calm", "piano", "guitar", *GENRES]
    texts = [f"{a} {b} with {c}" for a in words for b in words for c in words]
    path.write_text("".join(json.dumps({"text": t, "source": "x"}) + "\n" for t in texts))


def write_teacher(folder: Path) -> None:
    """A sentence encoder of the teacher's layout, with random weights."""
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789"]
    words += [f"##{letter}" for letter in words[5:]]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words), intermediate_size=32, **sizes)).save_pretrained(
        folder
    )


RUN_ALL = """
import contextlib, io, json, runpy, sys
said = []
sys.path.insert(0, sys.argv[1])
for name, *arguments in json.loads(sys.argv[2]):
    sys.argv = [f"{sys.path[0]}/{name}.py", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(sys.argv[0], run_name="__main__")
    said.append(out.getvalue())
print(json.dumps(said))
"""


def stages(*commands: list[str]) -> list[str]:
    """Run stages one after the other, in one process since each would import torch anew."""
    command = [sys.executable, "-c", RUN_ALL, str(RECIPE), json.dumps(commands)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-3000:])
    said: list[str] = json.loads(done.stdout)
    return said


@pytest.mark.slow
def test_the_stages_end_in_a_checkpoint_of_minis_shape(tmp_path: Path) -> None:
    corpus, runs, teacher = tmp_path / "audio", tmp_path / "runs", str(tmp_path / "teacher")
    write_corpus(corpus)
    write_texts(tmp_path / "texts.jsonl")
    write_teacher(tmp_path / "teacher")
    audio, smoke = ["--corpus", str(corpus)], ["--profile", "smoke"]
    codec = ["--codec", str(runs / "codec"), "--device", "cpu"]
    language_model = ["audio_lm", *audio, *codec, "--out", str(runs / "audio_lm"), *smoke]
    texts = ["--texts", str(tmp_path / "texts.jsonl"), "--teacher", teacher, "--device", "cpu"]
    joined = [*audio, "--runs", str(runs), "--teacher", teacher]
    study = [*joined, "--out", str(runs / "study"), "--steps", "2", "--batch", "8", "--limit", "2"]
    page = tmp_path / "study.md"
    said = stages(
        ["codec", *audio, "--out", str(runs / "codec"), *smoke, "--device", "cpu"],
        language_model,
        language_model,
        ["text", *texts, "--out", str(runs / "text"), *smoke],
        ["contrastive", *joined, "--out", str(runs / "contrastive"), *smoke],
        ["assemble", "--runs", str(runs), "--out", str(tmp_path / "mini")],
        ["study", *study],
        ["study", *study, "--report", str(page)],
    )
    assert "resumed audio_lm at step 4" in said[2]
    model = ClapMusicGen.from_pretrained(tmp_path / "mini")
    assert model.embed_text(["slow jazz"]).shape == (1, 256)
    assert model.embed_audio([np.zeros(32_000, dtype=np.float32)]).shape == (1, 256)

    lines = (runs / "study" / "results.jsonl").read_text().splitlines()
    trials = [json.loads(line)["trial"] for line in lines]
    assert len(trials) == 4  # the second call went on
    assert len({json.dumps(trial) for trial in trials}) == 4
    assert "### Layer × pooling × delay" in page.read_text()
    assert (tmp_path / "images" / "study.png").exists()
