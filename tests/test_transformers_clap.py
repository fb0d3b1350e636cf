"""A CLAP of transformers as an Embedder: transformers' own vectors, without its dice."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, ClapModel, ClapProcessor

import tiny_clap
from audio_factory import write_wav
from clap_musicgen.embedding import Embedder, Embeddings, Waveform, mean_direction
from clap_musicgen.errors import CheckpointError, InputError, InputTypeError
from clap_musicgen.model.transformers_clap import TransformersClap
from tiny_clap import RATE, sound

LENGTHS = (1.0, 0.3, 0.999, 0.05, 0.5, 1 / RATE)
KINDS = {"unfused": {}, "fused": {"fused": True}, "zeros": {"padding": "pad"}}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("claps")
    return {name: tiny_clap.save(base / name, **kind) for name, kind in KINDS.items()}  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, TransformersClap]:
    return {name: TransformersClap.from_pretrained(folder) for name, folder in folders.items()}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(folders["unfused"], tmp_path / "copy"))


@torch.inference_mode()
def transformers_audio(folder: Path, clips: list[Waveform]) -> tuple[Embeddings, list[bool]]:
    """What transformers gives, and which clips it declared longer than they are."""
    model, processor = ClapModel.from_pretrained(folder), ClapProcessor.from_pretrained(folder)
    inputs = processor(audio=clips, sampling_rate=RATE, return_tensors="pt")
    vectors = model.get_audio_features(**inputs).pooler_output
    return vectors.numpy(), inputs["is_longer"][:, 0].tolist()


def drop(folder: Path, *keys: str, **others: torch.Tensor) -> None:
    """Take tensors out of the weights, and put others in."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if name not in keys}
    save_file({**kept, **others}, folder / "model.safetensors", metadata={"format": "pt"})


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# The same vectors as transformers, wherever those are no accident


def test_it_is_an_embedder_with_the_extractors_window(models: dict[str, TransformersClap]) -> None:
    model: Embedder = models["unfused"]
    assert (model.dim, model.sample_rate, model.clip_seconds) == (12, RATE, 1.0)


@pytest.mark.parametrize("name", ["unfused", "zeros"])
def test_clips_equal_transformers(
    name: str, models: dict[str, TransformersClap], folders: dict[str, Path]
) -> None:
    clips = [sound(seconds, seed) for seed, seconds in enumerate(LENGTHS)]
    expected, _ = transformers_audio(folders[name], clips)
    own = models[name].embed_clips(clips)
    assert (own * expected).sum(axis=1).min() > 0.99999
    assert np.abs(own @ own.T - 1)[0, 1:].min() > 1e-3  # or any vector would do


def test_clips_of_a_fused_model_equal_those_that_transformers_leaves_in_peace(
    models: dict[str, TransformersClap], folders: dict[str, Path]
) -> None:
    clips = [sound(seconds, seed) for seed, seconds in enumerate(LENGTHS)]
    expected, longer = transformers_audio(folders["fused"], clips)
    own = models["fused"].embed_clips(clips)
    cosines = (own * expected).sum(axis=1)
    assert sum(longer) == 1  # its die
    assert cosines[~np.array(longer)].min() > 0.99999
    assert cosines[longer.index(True)] < 0.999


def test_padding_is_the_checkpoints_own(models: dict[str, TransformersClap]) -> None:
    repeated, padded = (models[name].embed_clips([sound(0.3)]) for name in ("unfused", "zeros"))
    assert (repeated * padded).sum() < 0.999
    full = [models[name].embed_clips([sound(1.0)]) for name in ("unfused", "zeros")]
    assert np.array_equal(full[0], full[1])


def test_texts_equal_transformers(
    models: dict[str, TransformersClap], folders: dict[str, Path]
) -> None:
    texts = ["jazz", "slow jazz with piano", "dark metal", "a"]
    processor = ClapProcessor.from_pretrained(folders["unfused"])
    inputs = processor(text=texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        reference = ClapModel.from_pretrained(folders["unfused"])
        expected = reference.get_text_features(**inputs).pooler_output.numpy()
    assert (models["unfused"].embed_text(texts) * expected).sum(axis=1).min() > 0.99999


def test_a_long_text_is_the_token_weighted_mean_of_its_windows(
    models: dict[str, TransformersClap], folders: dict[str, Path]
) -> None:
    text = "slow jazz with piano, dark metal " * 6
    ids = AutoTokenizer.from_pretrained(folders["unfused"])(text)["input_ids"][1:-1]
    size = 20 - 2 - 2  # the positions after the padding token's, without start and end
    assert len(ids) > 2 * size
    reference = ClapModel.from_pretrained(folders["unfused"])
    vectors, weights = [], []
    for start in range(0, len(ids), size):
        window = torch.tensor([[0, *ids[start : start + size], 2]])
        with torch.inference_mode():
            vectors.append(reference.get_text_features(window).pooler_output[0].numpy())
        weights.append(window.numel())
    expected = mean_direction(np.stack(vectors), np.array(weights))
    assert models["unfused"].embed_text([text])[0] @ expected > 0.99999
    last_word = models["unfused"].embed_text([text + "jazz"])[0]
    assert np.abs(last_word - expected).max() > 1e-4  # nothing is cut off


# Determinism


CLIPS = [sound(LENGTHS[seed % len(LENGTHS)], seed) for seed in range(10)]


@pytest.fixture(scope="session")
def alone(models: dict[str, TransformersClap]) -> dict[str, Embeddings]:
    return {
        name: np.concatenate([model.embed_clips([clip]) for clip in CLIPS])
        for name, model in models.items()
    }


@settings(max_examples=8)
@given(order=st.permutations(range(10)), cut=st.integers(1, 9))
def test_a_clip_has_one_vector_in_any_batch(
    models: dict[str, TransformersClap],
    alone: dict[str, Embeddings],
    order: list[int],
    cut: int,
) -> None:
    shuffled = [CLIPS[place] for place in order]
    for name in ("unfused", "fused"):
        parts = [models[name].embed_clips(shuffled[:cut]), models[name].embed_clips(shuffled[cut:])]
        assert np.abs(np.concatenate(parts) - alone[name][list(order)]).max() < 1e-5


def test_a_text_has_one_vector_in_any_batch(models: dict[str, TransformersClap]) -> None:
    texts = ["jazz", "slow " * 70, "dark metal with piano", "\udcff", "日本の音楽", "<pad> jazz"]
    together = models["unfused"].embed_text(texts)
    alone = np.concatenate([models["unfused"].embed_text([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-5


def test_vectors_are_unit_even_of_silence(kind: str, models: dict[str, TransformersClap]) -> None:
    clips = [np.zeros(RATE, np.float32), np.zeros(1, np.float32), sound(0.7)]
    vectors = models[kind].embed_clips(clips)
    assert vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


def test_a_track_is_covered_to_its_last_second(
    kind: str, models: dict[str, TransformersClap], tmp_path: Path
) -> None:
    model, track = models[kind], sound(25.3, 7)
    vector = model.embed_audio([track])[0]
    clips = [track[start : start + RATE] for start in range(0, len(track), RATE)]
    seconds = np.array([len(clip) / RATE for clip in clips])
    assert len(clips) == 26
    assert np.abs(vector - mean_direction(model.embed_clips(clips), seconds)).max() < 1e-5
    for second in (0, 13, 25):
        other = track.copy()
        other[second * RATE : (second + 1) * RATE] = 0
        assert np.abs(model.embed_audio([other])[0] - vector).max() > 1e-4
    path = write_wav(tmp_path / "track.wav", track, sample_rate=RATE)
    assert model.embed_audio([path])[0] @ vector > 0.9999


def test_nothing_gives_nothing(models: dict[str, TransformersClap]) -> None:
    model = models["unfused"]
    for vectors in (model.embed_clips([]), model.embed_text([]), model.embed_audio([])):
        assert vectors.shape == (0, 12)


# The fingerprint


def test_fingerprints_tell_models_apart(models: dict[str, TransformersClap]) -> None:
    prints = {model.fingerprint for model in models.values()}
    assert len(prints) == 3
    assert all(len(text) == 32 for text in prints)


def test_a_checkpoint_saved_anew_is_the_same_model(
    models: dict[str, TransformersClap], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders["unfused"]
    ClapModel.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="20kB")
    processor = ClapProcessor.from_pretrained(folder)
    processor.feature_extractor.save_pretrained(tmp_path)  # the older layout
    processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    change(tmp_path / "config.json", transformers_version="4.27.0.dev0", torch_dtype="float32")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert TransformersClap.from_pretrained(tmp_path).fingerprint == models["unfused"].fingerprint


def scale_weight(folder: Path) -> None:
    name = "audio_projection.linear2.bias"
    drop(folder, **{name: load_file(folder / "model.safetensors")[name] + 1e-4})


def change_features(folder: Path) -> None:
    path = folder / "processor_config.json"
    change(
        path,
        feature_extractor={**tiny_clap.FEATURES, "truncation": "rand_trunc", "frequency_min": 60},
    )


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["merges"].pop()
    path.write_text(json.dumps(values))


def change_config(folder: Path) -> None:
    path = folder / "config.json"
    audio = json.loads(path.read_text())["audio_config"]
    change(path, audio_config={**audio, "hidden_act": "relu"})


@pytest.mark.parametrize("spoil", [scale_weight, change_features, change_tokenizer, change_config])
def test_whatever_changes_vectors_changes_the_fingerprint(
    spoil: Callable[[Path], None], copy: Path, models: dict[str, TransformersClap]
) -> None:
    assert TransformersClap.from_pretrained(copy).fingerprint == models["unfused"].fingerprint
    spoil(copy)
    assert TransformersClap.from_pretrained(copy).fingerprint != models["unfused"].fingerprint


# Files


def test_pickled_weights_and_older_files_give_the_same_vectors(
    copy: Path, models: dict[str, TransformersClap], capfd: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(copy / "model.safetensors")
    for name in ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids"):
        del weights[name]
    halves = {
        name: tensor.double() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
    torch.save(halves, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    change(
        copy / "config.json",
        text_config={**tiny_clap.TEXT, "use_cache": True, "bad_words_ids": None},
    )
    capfd.readouterr()
    model = TransformersClap.from_pretrained(copy)
    assert capfd.readouterr() == ("", "")  # neither bars nor reports
    assert np.array_equal(
        model.embed_clips([sound(1.0)]), models["unfused"].embed_clips([sound(1.0)])
    )
    assert np.allclose(
        model.embed_text(["jazz"]), models["unfused"].embed_text(["jazz"]), atol=1e-6
    )


class Runs:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def pickle_with_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": Runs()}, folder / "pytorch_model.bin")


def half_a_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:3000])


def wrong_shape(folder: Path) -> None:
    drop(folder, **{"audio_projection.linear1.weight": torch.zeros(3, 4)})


def not_finite(folder: Path) -> None:
    drop(folder, **{"audio_projection.linear2.bias": torch.full((12,), torch.nan)})


def features(**values: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        stored = json.loads((folder / "processor_config.json").read_text())["feature_extractor"]
        change(folder / "processor_config.json", feature_extractor={**stored, **values})

    return spoil


def config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "config.json", **values)


def without(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("processor_config.json"), ["no preprocessor_config.json", "ClapProcessor"]),
        (without("model.safetensors"), ["no weights", "model.safetensors"]),
        (without("tokenizer.json"), ["no tokenizer", "vocab.json and merges.txt"]),
        (without("config.json"), ["config.json"]),
        (half_a_file, ["model.safetensors", "damaged"]),
        (pickle_with_code, ["pytorch_model.bin", "safetensors"]),
        (
            lambda folder: drop(folder, "text_projection.linear1.weight"),
            ["missing text_projection.linear1.weight (12, 16)"],
        ),
        (wrong_shape, ["audio_projection.linear1.weight", "(3, 4)", "(12, 16)"]),
        (not_finite, ["audio_projection.linear2.bias is not finite"]),
        (config(model_type="bert"), ["config.json", "'bert'"]),
        (config(audio_config={"depths": "deep"}), ["config.json", "depths"]),
        (config(text_config={**tiny_clap.TEXT, "num_attention_heads": 3}), ["no ClapModel"]),
        (config(text_config={**tiny_clap.TEXT, "vocab_size": 200}), ["vocabulary only 200"]),
        (features(feature_extractor_type="WhisperFeatureExtractor"), ["Whisper"]),
        (features(feature_size=20), ["20 mel bins", "takes 16"]),
        (features(max_length_s=2), ["401 frames", "at most 256"]),
        (features(max_length_s=0), ["0 samples"]),
        (features(hop_length=0), ["does not describe"]),
        (features(truncation="fusion"), ["4 spectrograms", "takes 1"]),
        (features(padding="mirror"), ["'mirror'"]),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), ["tokenizer"]),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(
    spoil: Callable[[Path], Any], words: list[str], copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy)
    spoil(copy)
    with pytest.raises(CheckpointError) as caught:
        TransformersClap.from_pretrained(copy)
    for word in [*words, str(copy)]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (copy / "ran").exists()


def test_a_tokenizer_without_the_tokens_of_roberta(copy: Path) -> None:
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace('"<s>"', '"[CLS]"'))
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(CheckpointError, match="no <s> token"):
        TransformersClap.from_pretrained(copy)


# Bad input


def test_only_exact(folders: dict[str, Path], models: dict[str, TransformersClap]) -> None:
    assert models["unfused"].precision == "exact"
    with pytest.raises(InputError, match=r"'fast'.*'exact'"):
        TransformersClap.from_pretrained(folders["unfused"], precision="fast")


def test_bad_input(models: dict[str, TransformersClap]) -> None:
    model = models["unfused"]
    with pytest.raises(InputTypeError, match=r"embed_text\(\['jazz'\]\)"):
        model.embed_text("jazz")
    with pytest.raises(InputError, match="text 1 is empty"):
        model.embed_text(["jazz", "  "])
    with pytest.raises(InputTypeError, match="text 0 is int"):
        model.embed_text([3])  # type: ignore[list-item]
    with pytest.raises(InputTypeError, match="list"):
        model.embed_audio("song.mp3")
    with pytest.raises(InputError, match="8001 samples; a clip has 1 to 8000"):
        model.embed_clips([np.zeros(RATE + 1, dtype=np.float32)])
    with pytest.raises(InputError, match="0 samples"):
        model.embed_clips([np.zeros(0, dtype=np.float32)])
    with pytest.raises(InputError, match="NaN"):
        model.embed_clips([np.full(100, np.nan, dtype=np.float32)])
