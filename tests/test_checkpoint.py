"""Checkpoints: round trip, fingerprint, and every way a folder can be wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.clap import ClapMusicGen
from conftest import build_tiny

TEXTS = ["dark metal", "slow jazz"]


@pytest.fixture
def folder(tmp_path: Path, tiny: ClapMusicGen) -> Path:
    tiny.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_round_trip_is_exact(folder: Path, tiny: ClapMusicGen) -> None:
    again = ClapMusicGen.from_pretrained(folder)
    assert again.fingerprint == tiny.fingerprint
    assert np.array_equal(again.embed_text(TEXTS), tiny.embed_text(TEXTS))
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_half_precision_is_close_and_has_a_fingerprint_of_its_own(
    tmp_path: Path, tiny: ClapMusicGen
) -> None:
    tiny.save_pretrained(tmp_path, dtype=torch.float16)
    again = ClapMusicGen.from_pretrained(tmp_path)
    assert np.abs(again.embed_text(TEXTS) - tiny.embed_text(TEXTS)).max() < 2e-2
    assert again.fingerprint != tiny.fingerprint
    again.save_pretrained(tmp_path / "b", dtype=torch.float16)
    assert ClapMusicGen.from_pretrained(tmp_path / "b").fingerprint == again.fingerprint


def test_fingerprint_sees_weights_config_and_tokenizer(tiny: ClapMusicGen) -> None:
    assert build_tiny().fingerprint == tiny.fingerprint
    other = build_tiny()
    with torch.no_grad():
        next(other.text_projection.parameters()).add_(1e-3)
    assert other.fingerprint != tiny.fingerprint
    assert build_tiny(loudness="none").fingerprint != tiny.fingerprint
    from tokenizers import normalizers

    lower = build_tiny()
    lower.text_encoder.tokenizer.normalizer = normalizers.Lowercase()
    assert lower.fingerprint != tiny.fingerprint


def drop(weights: dict[str, Tensor]) -> None:
    del weights["text_projection.projection.0.bias"]


def add(weights: dict[str, Tensor]) -> None:
    weights["surplus.weight"] = torch.zeros(2)


def reshape(weights: dict[str, Tensor]) -> None:
    weights["text_projection.projection.0.bias"] = torch.zeros(5)


def spoil(weights: dict[str, Tensor]) -> None:
    weights["text_projection.projection.0.bias"][0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, r"missing text_projection\.projection\.0\.bias \(12,\)"),
        (add, r"unexpected surplus\.weight \(2,\)"),
        (reshape, r"bias has shape \(5,\), the config wants \(12,\)"),
        (spoil, "bias is not finite"),
    ],
)
def test_loading_is_strict(
    folder: Path, damage: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    damage(weights)
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=message):
        ClapMusicGen.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"\x00\xff garbage"])
def test_missing_or_damaged_file_is_named(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        ClapMusicGen.from_pretrained(folder)


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        ClapMusicGen.from_pretrained(folder)


def test_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not bundled"):
        ClapMusicGen.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"):
        ClapMusicGen.from_pretrained(tmp_path / "file")


def test_hub_id_without_a_network_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real huggingface_hub, told to stay offline, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"'someone/something'.*network"):
        ClapMusicGen.from_pretrained("someone/something")


def test_writing_where_one_may_not(tmp_path: Path, tiny: ClapMusicGen) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        tiny.save_pretrained(tmp_path / "file" / "inside")


def test_an_overwritten_checkpoint_is_whole(folder: Path) -> None:
    other = build_tiny(dim=4)
    other.save_pretrained(folder)
    assert ClapMusicGen.from_pretrained(folder).dim == 4
    shutil.rmtree(folder)
