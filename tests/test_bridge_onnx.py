"""ONNX: onnxruntime, given the exported folder alone, computes what the model does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from clap_musicgen.bridges import onnx, onnx_parity
from clap_musicgen.bridges.onnx import AudioGraph, export_onnx
from clap_musicgen.bridges.onnx_parity import (
    Closeness,
    Parity,
    closeness,
    probe_clips,
    shortest_clip,
    wrong_codes,
)
from clap_musicgen.embedding import Embeddings, Waveform
from clap_musicgen.errors import CheckpointError, InputError
from clap_musicgen.model.clap import ClapMusicGen
from conftest import lively

TEXTS = ["dark metal", "slow jazz", "a", "Ü"]
FILES = {"audio.onnx", "text.onnx", "tokenizer.json", "onnx.json"}
SAME = Closeness(1.0, 1.0, 0.0)
GOOD = Parity(SAME, SAME, SAME, codes=1.0, wrong=0.0, clips=6, texts=4)


@pytest.fixture(scope="module")
def model() -> ClapMusicGen:
    return lively()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def exported(model: ClapMusicGen, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parity]:
    folder = tmp_path_factory.mktemp("onnx") / "new" / "tiny"
    return folder, export_onnx(model, folder)


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def embed_clips(folder: Path, clips: list[Waveform]) -> Embeddings:
    """What docs/bridges.md tells a reader to write, with numpy alone."""
    config = json.loads((folder / "onnx.json").read_text())
    padded = np.zeros((len(clips), config["clip_samples"]), np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    samples = np.array([len(clip) for clip in clips])
    given = {"waveform": padded, "samples": samples}
    found: Embeddings = session(folder / "audio.onnx").run(["embedding"], given)[0]
    return found


def embed_text(folder: Path, texts: list[str]) -> Embeddings:
    encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(texts)
    ids = np.array([text.ids for text in encoded])
    mask = np.array([text.attention_mask for text in encoded])
    found: Embeddings = session(folder / "text.onnx").run(None, {"ids": ids, "mask": mask})[0]
    return found


def centred_cosines(a: Embeddings, b: Embeddings) -> list[float]:
    """The slow, obvious way."""
    mean = b.astype(np.float64).mean(axis=0)
    pairs = [(x - mean, y - mean) for x, y in zip(a, b, strict=True)]
    return [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in pairs]


def test_the_report_says_how_close_it_comes(exported: tuple[Path, Parity]) -> None:
    folder, parity = exported
    assert parity.faults() == []
    for found in (parity.audio, parity.same_codes, parity.text):
        assert min(found.cosine, found.centred_cosine) > 0.99999
        assert found.deviation < 1e-4
    assert parity.codes >= 0.99
    assert parity.wrong == 0.0
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]  # no scratch is left


def test_clips_of_any_length_and_number(
    exported: tuple[Path, Parity], model: ClapMusicGen, rng: np.random.Generator
) -> None:
    longest = model.audio_encoder.clip_samples
    lengths = [longest, longest - 1, longest // 2, 1234, 160, 1]
    clips = [(0.2 * rng.standard_normal(n)).astype(np.float32) for n in lengths]
    clips.append(np.zeros(longest, np.float32))
    wanted = model.embed_clips(clips)
    found = embed_clips(exported[0], clips)
    assert (found * wanted).sum(axis=1).min() >= 0.9999
    assert min(centred_cosines(found, wanted)) >= 0.9999
    alone = np.concatenate([embed_clips(exported[0], [clip]) for clip in clips])
    np.testing.assert_allclose(alone, found, atol=1e-5)


def test_texts_by_the_tokenizer_in_the_folder(
    exported: tuple[Path, Parity], model: ClapMusicGen
) -> None:
    wanted = model.embed_text(TEXTS)
    found = embed_text(exported[0], TEXTS)
    assert min(centred_cosines(found, wanted)) >= 0.9999
    np.testing.assert_allclose(embed_text(exported[0], TEXTS[:1]), found[:1], atol=1e-5)
    long = "slow jazz with piano " * 20  # cut at a window, where the model reads several
    assert np.isfinite(embed_text(exported[0], [long])).all()


def test_the_config_says_what_to_feed(exported: tuple[Path, Parity], model: ClapMusicGen) -> None:
    config = json.loads((exported[0] / "onnx.json").read_text())
    assert config["fingerprint"] == model.fingerprint
    assert (config["sample_rate"], config["clip_samples"], config["dim"]) == (8000, 4000, 8)
    assert config["zero_padded"]
    assert config["shortest_samples"] == 1
    assert config["parity"]["codes"] >= 0.99
    assert set(config["files"]) == FILES - {"onnx.json"}


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": (1, 3), "pooling": "mean_std", "loudness": "none"},
        {"layers": (0, 2), "combine": "concat"},
        {"layers": (3,), "pooling": "last", "delay": False, "positions": "zero"},
    ],
)
def test_every_kind_of_audio_tower(changes: dict[str, Any], tmp_path: Path) -> None:
    assert export_onnx(lively(**changes), tmp_path / "out").faults() == []


def test_clips_at_their_own_length(tmp_path: Path) -> None:
    """The graph of a model that does not pad takes any length from the shortest up."""
    model = lively(padding="none")
    path = tmp_path / "audio.onnx"
    onnx._export_audio(model, path)
    run, graph = session(path), AudioGraph(model)
    shortest, longest = shortest_clip(model), model.audio_encoder.clip_samples
    assert shortest == 3 * model.audio_encoder.hop + 1
    sound = onnx_parity.music_like(longest, model.sample_rate)
    for length in (longest, longest - 1, 1777, shortest + 1, shortest):
        given = {"waveform": sound[None, :length], "samples": np.array([length])}
        found, codes = run.run(None, given)
        with torch.inference_mode():
            wanted = graph(torch.from_numpy(given["waveform"]), torch.tensor([length]))
        np.testing.assert_array_equal(codes, wanted[1].numpy())
        np.testing.assert_allclose(found, wanted[0].numpy(), atol=1e-5)
    short = {"waveform": sound[None, : shortest - 1], "samples": np.array([shortest - 1])}
    with pytest.raises(Exception, match="Pad"):  # onnxruntime's own, and never a wrong vector
        run.run(None, short)


def test_a_folder_that_fails_is_not_left(
    model: ClapMusicGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AudioGraph, "forward", lambda self, w, n: _other_audio(self, w.flip(1), n))
    with pytest.raises(CheckpointError, match="have a wrong code"):
        export_onnx(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


_other_audio = AudioGraph.forward


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio": Closeness(0.998, 1.0, 0.0)}, "audio: cosine 0.998"),
        ({"same_codes": Closeness(1.0, 0.9998, 0.0)}, "audio with the same codes: cosine 0.9998"),
        ({"text": Closeness(float("nan"), 1.0, 0.0)}, "text: cosine nan"),
        ({"wrong": 0.02}, "2.00% of the frames"),
        ({"wrong": float("nan")}, "nan% of the frames"),
    ],
)
def test_each_fault_is_named(change: dict[str, Any], words: str) -> None:
    assert GOOD.faults() == []
    (fault,) = replace(GOOD, **change).faults()
    assert fault.startswith(words)


def test_a_tie_is_not_a_fault() -> None:
    tied = replace(GOOD, audio=Closeness(0.9995, 0.99, 1e-3), codes=0.9)
    assert tied.faults() == []


def test_closeness_against_the_obvious_way(rng: np.random.Generator) -> None:
    a = rng.standard_normal((7, 5)).astype(np.float32)
    b = (a + 0.1 * rng.standard_normal((7, 5))).astype(np.float32)
    found = closeness(a, b)
    slow = [float(x @ y / np.sqrt((x @ x) * (y @ y))) for x, y in zip(a, b, strict=True)]
    assert found.cosine == pytest.approx(min(slow), abs=1e-6)
    assert found.centred_cosine == pytest.approx(min(centred_cosines(a, b)), abs=1e-6)
    assert found.deviation == np.abs(a - b).max()


def test_wrong_codes_against_the_obvious_way(model: ClapMusicGen) -> None:
    """The codec's own codes are right; another entry is wrong unless it is as near."""
    generator = torch.Generator().manual_seed(3)
    books = [torch.randn(9, 4, generator=generator) for _ in range(2)]
    books[0][5] = books[0][2] * (1 + 1e-6)  # a tie wherever 2 is nearest
    latents = torch.randn(3, 8, 4, generator=generator)
    codes = torch.randint(0, 9, (3, 2, 8), generator=generator)
    for row, frame in np.ndindex(3, 7):  # all but the last frame: the nearest, slowly
        rest = latents[row, frame]
        for k, book in enumerate(books):
            codes[row, k, frame] = min(range(9), key=lambda n: float((rest - book[n]).norm()))
            rest = rest - book[codes[row, k, frame]]
    codes[:, 0][codes[:, 0] == 2] = 5
    found = wrong_codes(codes, latents, books)
    assert not found[:, :7].any()
    assert found[:, 7].any()


def test_what_all_rows_share_cannot_be_centred_away() -> None:
    a = np.ones((3, 4), np.float32)
    assert closeness(a + 1e-7, a).centred_cosine == pytest.approx(1.0, abs=1e-6)
    b = np.eye(4, dtype=np.float32)
    assert closeness(b[::-1], b).centred_cosine < 0.0


def test_an_earlier_export_is_replaced_and_nothing_else(
    model: ClapMusicGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(model: ClapMusicGen, part: Path) -> Parity:
        for name in ("audio.onnx", "text.onnx", "tokenizer.json"):
            (part / name).write_text("new")
        return GOOD

    monkeypatch.setattr(onnx, "_build", build)
    export_onnx(model, tmp_path / "out")
    (tmp_path / "out" / "audio.onnx").write_text("old")
    export_onnx(model, tmp_path / "out")
    assert (tmp_path / "out" / "audio.onnx").read_text() == "new"
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        export_onnx(model, other)
    with pytest.raises(InputError, match="is a file"):
        export_onnx(model, other / "mine.txt")
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_without_the_extra(
    model: ClapMusicGen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "find_spec", lambda _: None)
    with pytest.raises(
        InputError, match=r"onnx and onnxruntime: pip install 'clap-musicgen\[onnx\]'"
    ):
        export_onnx(model, tmp_path / "out")


def test_probes_are_the_same_every_time(model: ClapMusicGen) -> None:
    first, second = probe_clips(model), probe_clips(model)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert any(not clip.any() for clip in first)
    assert min(map(len, first)) == 1


@pytest.mark.slow
def test_mini(mini: ClapMusicGen, tmp_path: Path) -> None:
    parity = export_onnx(mini, tmp_path / "mini")
    assert parity.faults() == []
    assert min(parity.audio.centred_cosine, parity.text.centred_cosine) >= 0.9999
