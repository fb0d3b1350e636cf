"""Full-size towers, on tiny checkpoints that transformers itself has written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MusicgenForConditionalGeneration, RobertaModel

from backbone_factory import (
    CODEBOOKS,
    LAYERS,
    PAD,
    RATE,
    build_musicgen,
    build_roberta,
    change_config,
    clip,
    write_musicgen,
    write_pickle,
    write_roberta,
)
from clap_musicgen.errors import CheckpointError, InputError, InputTypeError
from clap_musicgen.model.backbones import read_backbones
from clap_musicgen.model.checkpoint import load_strictly
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.weight_files import Parts
from conftest import tiny_tokenizer
from loopback_hub import Hub, Repository, loopback_hub

TEXTS = ["dark metal", "slow jazz with piano"]
SAFE = "model.safetensors"


@pytest.fixture(scope="module")
def musicgen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_musicgen(tmp_path_factory.mktemp("music") / "tinygen")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_roberta(tmp_path_factory.mktemp("text") / "roberta")


@pytest.fixture(scope="module")
def plain(musicgen: Path, roberta: Path) -> Parts:
    """With every part that may be read: the top layer."""
    return read_backbones(musicgen, roberta, layers=[LAYERS])


@pytest.fixture
def other_music(musicgen: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(musicgen, tmp_path / "music"))


@pytest.fixture
def other_text(roberta: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(roberta, tmp_path / "text"))


def build(parts: Parts) -> ClapMusicGen:
    model = ClapMusicGen(parts.config, parts.tokenizer)
    load_strictly(model, parts.weights, source="backbones")
    return model


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# --- against transformers -----------------------------------------------------------------------


@torch.inference_mode()
def transformers_states(folder: Path, waveform: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Codes (1, K, T) and the states of each layer (1, T, H), with nothing of ours between."""
    whole: Any = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    codes = whole.audio_encoder.encode(waveform.unsqueeze(1)).audio_codes[0]
    frames = codes.shape[-1]
    ids = torch.full((CODEBOOKS, frames + CODEBOOKS), PAD)
    for k in range(CODEBOOKS):
        for t in range(frames):
            ids[k, t + 1 + k] = codes[0, k, t]
    output = whole.decoder.model.decoder(
        input_ids=ids, use_cache=False, output_hidden_states=True, output_attentions=False
    )
    return codes, tuple(states[:, CODEBOOKS:] for states in output.hidden_states)


@pytest.mark.parametrize("layer", range(LAYERS + 1))
@torch.inference_mode()
def test_each_layer_is_that_of_transformers(musicgen: Path, roberta: Path, layer: int) -> None:
    encoder = build(read_backbones(musicgen, roberta, layers=[layer])).audio_encoder
    waveform = clip(0.7, seed=3)
    samples = torch.tensor([waveform.shape[1]])
    codes, states = transformers_states(musicgen, waveform)
    assert all(len(set(codes[0, k].tolist())) > 4 for k in range(CODEBOOKS)), (
        "the test says nothing"
    )
    assert torch.equal(encoder.encode(waveform, samples), codes)
    ours = encoder.hidden_states(codes, torch.tensor([codes.shape[-1]]))
    assert torch.allclose(ours[0], states[layer], atol=1e-5)
    assert torch.allclose(encoder(waveform, samples), states[layer].mean(dim=1), atol=1e-5)
    assert len(encoder.decoder.layers) == layer


@torch.inference_mode()
def test_no_field_of_a_config_is_lost(tmp_path: Path) -> None:
    """What no shape tells: the stride of a dilation, an activation, an epsilon, a padding."""
    codec = {
        "kernel_size": 5, "last_kernel_size": 3, "residual_kernel_size": 5, "compress": 4,
        "num_residual_layers": 2, "dilation_growth_rate": 3, "pad_mode": "constant",
        "use_conv_shortcut": False, "num_lstm_layers": 2, "use_causal_conv": True,
    }  # fmt: skip
    music = write_musicgen(
        tmp_path / "music", model=build_musicgen(codec, activation_function="relu")
    )
    text = write_roberta(
        tmp_path / "text", model=build_roberta(hidden_act="relu", layer_norm_eps=0.1)
    )
    model = build(read_backbones(music, text, layers=[LAYERS]))
    waveform = clip(0.7, seed=5)
    codes, states = transformers_states(music, waveform)
    samples = torch.tensor([waveform.shape[1]])
    assert torch.equal(model.audio_encoder.encode(waveform, samples), codes)
    ours = model.audio_encoder(waveform, samples)
    assert torch.allclose(ours, states[LAYERS].mean(dim=1), atol=1e-5)
    expected = transformers_text_states(text, TEXTS[0])
    assert torch.allclose(model.text_encoder.encode(TEXTS[:1]), expected, atol=1e-5)


@torch.inference_mode()
def test_several_layers(musicgen: Path, roberta: Path) -> None:
    waveform = clip(0.5, seed=4)
    samples = torch.tensor([waveform.shape[1]])
    _, states = transformers_states(musicgen, waveform)
    mixed = build(read_backbones(musicgen, roberta, layers=[1, 3]))
    expected = (states[1] + states[3]).mean(dim=1) / 2
    assert torch.allclose(mixed.audio_encoder(waveform, samples), expected, atol=1e-5)
    side_by_side = build(
        read_backbones(musicgen, roberta, layers=[1, 3], combine="concat", pooling="mean_std")
    )
    parts = [part for n in (1, 3) for part in (states[n].mean(1), states[n].std(1, correction=0))]
    ours = side_by_side.audio_encoder(waveform, samples)
    assert torch.allclose(ours, torch.cat(parts, dim=1), atol=1e-5)


@torch.inference_mode()
def transformers_text_states(folder: Path, text: str) -> Tensor:
    """The mean over the states of one text, (1, H), with nothing of ours between."""
    whole: Any = RobertaModel.from_pretrained(folder).eval()
    ids = [0, *tiny_tokenizer().encode(text, add_special_tokens=False).ids, 2]
    states: Tensor = whole(input_ids=torch.tensor([ids])).last_hidden_state
    return states.mean(dim=1)


def test_text_states_are_those_of_transformers(roberta: Path, plain: Parts) -> None:
    ours = build(plain).text_encoder.encode(TEXTS)
    expected = torch.cat([transformers_text_states(roberta, text) for text in TEXTS])
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_middle_layer_is_the_default_and_audio_is_left_as_it_is(
    musicgen: Path, roberta: Path
) -> None:
    config = read_backbones(musicgen, roberta).config
    assert config.layers == (LAYERS // 2,)
    assert (config.pooling, config.delay, config.positions) == ("mean", True, "sinusoidal")
    assert (config.loudness, config.padding, config.clip_seconds) == ("none", "none", 10.0)
    assert config.max_tokens == 18, "twenty positions, of which two come before the first token"


def test_choices_reach_the_config(musicgen: Path, roberta: Path) -> None:
    chosen: dict[str, Any] = {
        "name": "mine", "layers": (1, 2), "combine": "concat", "pooling": "last", "delay": False,
        "positions": "zero", "loudness": "rms", "padding": "clip", "clip_seconds": 0.5,
        "max_tokens": 8, "projection_hidden": 6, "dim": 5,
    }  # fmt: skip
    parts = read_backbones(musicgen, roberta, **chosen)
    assert {name: getattr(parts.config, name) for name in chosen} == chosen
    vectors = build(parts).embed_audio([clip(1.2)[0].numpy()])
    assert vectors.shape == (1, 5)


# --- layouts ------------------------------------------------------------------------------------


def older_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As checkpoints of 2023 have it."""
    renamed = {
        k.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): v
        for k, v in weights.items()
    }
    return {**renamed, "decoder.model.decoder.embed_positions.weights": torch.zeros(3, 2)}


def test_music_layouts_give_the_same_weights(roberta: Path, plain: Parts, tmp_path: Path) -> None:
    model = build_musicgen()
    folders = [write_musicgen(tmp_path / "shards", model=model, shards="20KB")]
    assert len(list(folders[0].glob("model-*.safetensors"))) > 3
    for name, change in (("newer", dict), ("older", older_names)):
        folders.append(write_musicgen(tmp_path / name, model=model))
        write_pickle(folders[-1], change(model.state_dict()))
    folders.append(write_musicgen(tmp_path / "older, safe", model=model))
    save_file(older_names(load_file(folders[-1] / SAFE)), folders[-1] / SAFE)
    for folder in folders:
        assert same(read_backbones(folder, roberta, layers=[LAYERS]).weights, plain.weights), folder


def test_weights_without_normalisation(other_music: Path, roberta: Path, plain: Parts) -> None:
    """As a checkpoint has them whose weight normalisation was removed before it was saved."""
    weights = load_file(other_music / SAFE)
    for key in [k for k in weights if k.endswith("original0")]:
        stem = key.removesuffix("parametrizations.weight.original0")
        g, v = (weights.pop(f"{stem}parametrizations.weight.original{n}") for n in (0, 1))
        weights[f"{stem}weight"] = torch._weight_norm(v, g, 0)
    save_file(weights, other_music / SAFE)
    assert same(read_backbones(other_music, roberta, layers=[LAYERS]).weights, plain.weights)


def test_text_layouts_give_the_same_weights(musicgen: Path, plain: Parts, tmp_path: Path) -> None:
    model = build_roberta()
    folders = [write_roberta(tmp_path / "bare", model=model.roberta)]
    folders.append(write_roberta(tmp_path / "pickle", model=model))
    write_pickle(folders[-1], model.state_dict())
    folders.append(write_roberta(tmp_path / "tensorflow's names", model=model))
    weights = load_file(folders[-1] / SAFE)
    save_file(
        {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): v
            for k, v in weights.items()
        },
        folders[-1] / SAFE,
    )
    for folder in folders:
        assert same(read_backbones(musicgen, folder, layers=[LAYERS]).weights, plain.weights), (
            folder
        )


def test_tokenizer_of_two_files(musicgen: Path, other_text: Path, plain: Parts) -> None:
    (other_text / "tokenizer.json").unlink()
    tiny_tokenizer().model.save(str(other_text))
    (other_text / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    model, expected = build(read_backbones(musicgen, other_text, layers=[LAYERS])), build(plain)
    assert np.array_equal(model.embed_text(TEXTS), expected.embed_text(TEXTS))


def test_half_precision_is_read_as_float32(other_music: Path, roberta: Path, plain: Parts) -> None:
    half = {k: v.half() for k, v in load_file(other_music / SAFE).items()}
    save_file(half, other_music / SAFE)
    weights = read_backbones(other_music, roberta, layers=[LAYERS]).weights
    assert {v.dtype for v in weights.values()} == {torch.float32}
    worst = max((weights[k] - plain.weights[k]).abs().max().item() for k in weights)
    assert 0 < worst < 2e-3


# --- only what is needed ------------------------------------------------------------------------


def test_the_rest_is_not_even_read(other_music: Path, roberta: Path, tmp_path: Path) -> None:
    """T5, the heads, the codec's decoder, cross-attention and upper layers may be nonsense."""
    expected = read_backbones(other_music, roberta, layers=[1, 2], combine="concat").weights
    needed = ("audio_encoder.encoder.", "audio_encoder.quantizer.", "decoder.model.decoder.embed")
    layers = tuple(f"decoder.model.decoder.layers.{n}." for n in range(2))
    weights = load_file(other_music / SAFE)
    spoilt = 0
    for key, value in weights.items():
        training = any(part in key for part in ("inited", "cluster_size", "embed_avg"))
        if training or "encoder_attn" in key or not key.startswith(needed + layers):
            weights[key] = torch.full((3,), torch.nan) if value.numel() != 3 else torch.zeros(1)
            spoilt += 1
    assert spoilt > len(weights) / 2
    save_file(weights, other_music / SAFE)
    found = read_backbones(other_music, roberta, layers=[1, 2], combine="concat").weights
    assert same(found, expected)


def test_shards_of_t5_may_be_absent(roberta: Path, plain: Parts, tmp_path: Path) -> None:
    folder = write_musicgen(tmp_path / "shards", shards="8KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    of_t5 = {shard for key, shard in index.items() if key.startswith("text_encoder.")}
    of_t5 -= {shard for key, shard in index.items() if not key.startswith("text_encoder.")}
    assert of_t5
    for shard in of_t5:
        (folder / shard).unlink()
    assert same(read_backbones(folder, roberta, layers=[LAYERS]).weights, plain.weights)


def test_the_keys_are_those_of_the_model(plain: Parts) -> None:
    model = ClapMusicGen(plain.config, plain.tokenizer)
    assert {k: v.shape for k, v in plain.weights.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert all(not v.is_meta and v.is_contiguous() for v in plain.weights.values())


# --- from the Hub -------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The real client speaks to a Hub on loopback, and caches in a folder of the test."""
    constants = "huggingface_hub.constants"
    with loopback_hub() as server:
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.ENDPOINT", server.url)
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def served(folder: Path, *, also: Sequence[str] = ()) -> Repository:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Repository(branches={"main": {**files, **dict.fromkeys(also, b"not to be asked for")}})


def downloaded(hub: Hub) -> list[str]:
    return [line.split("/")[-1] for line in hub.requests if line.startswith("GET /facebook/")]


def test_of_the_hub_only_the_files_in_use_are_downloaded(
    hub: Hub, roberta: Path, plain: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once they are here, it works without a network."""
    music = write_musicgen(tmp_path / "music", shards="8KB")
    others = ("pytorch_model.bin", "state_dict.bin", "compression_state_dict.bin", "README.md")
    hub.repositories["facebook/tinygen"] = served(music, also=others)
    hub.repositories["facebook/roberta"] = served(roberta, also=others)
    names = ("facebook/tinygen", "facebook/roberta")
    assert same(read_backbones(*names, layers=[LAYERS]).weights, plain.weights)
    given = downloaded(hub)
    assert {"config.json", "tokenizer.json", "model.safetensors"} < set(given)
    assert set(given).isdisjoint(others)
    index = json.loads((music / "model.safetensors.index.json").read_text())["weight_map"]
    unused = {key for key, shard in index.items() if shard not in given}
    assert any(key.startswith("text_encoder.") for key in unused)
    assert any(key.startswith("decoder.lm_heads.") for key in unused)
    assert same(read_backbones(*names, layers=[LAYERS]).weights, plain.weights)
    assert downloaded(hub) == given, "what is in the cache is not asked for again"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert same(read_backbones(*names, layers=[LAYERS]).weights, plain.weights)


def test_pickles_of_the_hub_where_there_is_nothing_else(
    hub: Hub, musicgen: Path, roberta: Path, plain: Parts, tmp_path: Path
) -> None:
    music = Path(shutil.copytree(musicgen, tmp_path / "music"))
    write_pickle(music, load_file(music / SAFE))
    hub.repositories["facebook/tinygen"] = served(music)
    parts = read_backbones("facebook/tinygen", roberta, layers=[LAYERS])
    assert same(parts.weights, plain.weights)
    with pytest.raises(CheckpointError, match=r"'facebook/absent'.*check the name"):
        read_backbones("facebook/absent", roberta)


# --- stable, seeded, stored ---------------------------------------------------------------------


def test_fingerprint_is_stable_and_follows_the_seed(musicgen: Path, roberta: Path) -> None:
    before = torch.random.get_rng_state()
    one, two, three = (read_backbones(musicgen, roberta, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before), "another's randomness was disturbed"
    assert build(one).fingerprint == build(two).fingerprint != build(three).fingerprint
    differing = {k for k in one.weights if not torch.equal(one.weights[k], three.weights[k])}
    assert differing
    assert all("_projection." in key for key in differing)


def test_the_folder_a_checkpoint_was_read_from_leaves_no_trace(
    other_music: Path, musicgen: Path, roberta: Path
) -> None:
    here, there = (build(read_backbones(folder, roberta)) for folder in (musicgen, other_music))
    assert here.fingerprint == there.fingerprint


def test_saved_and_loaded_it_gives_the_same_vectors(plain: Parts, tmp_path: Path) -> None:
    model = build(plain)
    model.save_pretrained(tmp_path / "ours")
    again = ClapMusicGen.from_pretrained(tmp_path / "ours")
    track = clip(1.3)[0].numpy()
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(again.embed_audio([track]), model.embed_audio([track]))
    assert np.array_equal(again.embed_text(TEXTS), model.embed_text(TEXTS))
    assert model.sample_rate == RATE


# --- what cannot be used ------------------------------------------------------------------------


def drop(key: str) -> Callable[[dict[str, Tensor]], None]:
    return lambda weights: weights.__delitem__(key)


def put(key: str, value: Tensor) -> Callable[[dict[str, Tensor]], None]:
    return lambda weights: weights.__setitem__(key, value)


def spoil(key: str) -> Callable[[dict[str, Tensor]], None]:
    def damage(weights: dict[str, Tensor]) -> None:
        weights[key].flatten()[-1] = torch.inf

    return damage


CONV = "audio_encoder.encoder.layers.0.conv"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("decoder.model.decoder.layers.1.fc1.weight"), r"missing \S+fc1\.weight \(40, 24\)"),
        (
            put("decoder.model.decoder.layers.1.fc2.weight", torch.zeros(24, 41)),
            r"decoder\.model\.\S+fc2\.weight has shape \(24, 41\), the config wants \(24, 40\)",
        ),
        (spoil("decoder.model.decoder.embed_tokens.2.weight"), r"tokens\.2\.weight is not finite"),
        (
            put("decoder.model.decoder.layers.0.fc1.weight", torch.zeros(40, 24).to(torch.int8)),
            r"fc1\.weight holds int8, not floats",
        ),
        (
            drop(f"{CONV}.parametrizations.weight.original1"),
            r"missing \S+original1: .*both halves",
        ),
        (
            put(f"{CONV}.parametrizations.weight.original0", torch.ones(4)),
            r"original0 has shape \(4,\), expected \(4, 1, 1\)",
        ),
        (
            put(f"{CONV}.parametrizations.weight.original1", torch.ones(4, 1, 5)),
            r"conv\.weight has shape \(4, 1, 5\), the config wants \(4, 1, 7\)",
        ),
        (
            put(f"{CONV}.parametrizations.weight.original1", torch.zeros(4, 1, 7)),
            r"original1 holds a zero vector",
        ),
        (
            drop("audio_encoder.quantizer.layers.3.codebook.embed"),
            r"missing audio_encoder\.quantizer\.layers\.3\.codebook\.embed \(16, 8\)",
        ),
        (lambda weights: weights.clear() or weights.update(x=torch.ones(1)), r"; and \d+ more"),
    ],
)
def test_music_weights_are_checked_one_by_one(
    other_music: Path,
    roberta: Path,
    damage: Callable[[dict[str, Tensor]], None],
    message: str,
) -> None:
    weights = load_file(other_music / SAFE)
    damage(weights)
    save_file(weights, other_music / SAFE)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_backbones(other_music, roberta)
    assert str(other_music) in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop("roberta.embeddings.LayerNorm.bias"), r"missing roberta\.\S+Norm\.bias \(16,\)"),
        (
            put("roberta.encoder.layer.1.output.dense.weight", torch.zeros(16, 31)),
            r"output\.dense\.weight has shape \(16, 31\), the config wants \(16, 32\)",
        ),
        (spoil("roberta.embeddings.word_embeddings.weight"), r"word_embeddings\.weight is not"),
    ],
)
def test_text_weights_are_checked_one_by_one(
    musicgen: Path,
    other_text: Path,
    damage: Callable[[dict[str, Tensor]], None],
    message: str,
) -> None:
    weights = load_file(other_text / SAFE)
    damage(weights)
    save_file(weights, other_text / SAFE)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_backbones(musicgen, other_text)
    assert str(other_text) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "inside", "message"),
    [
        ({"model_type": "musicgen_melody"}, None, "Melody.*facebook/musicgen-"),
        ({"model_type": "encodec"}, None, "'encodec', not 'musicgen'"),
        ({"model_type": None}, None, "None, not 'musicgen'"),
        ({"decoder": None}, None, "lacks audio_encoder or decoder"),
        ({"audio_encoder": 3}, None, "lacks audio_encoder or decoder"),
        ({"audio_channels": 2}, "decoder", "stereo.*use 'facebook/musicgen-small'"),
        ({"num_codebooks": 8}, "decoder", "stereo.*8 codebooks"),
        ({"num_codebooks": 5}, "decoder", "writes 4 codebooks of 16 entries.*reads 5 of 16"),
        ({"vocab_size": 17}, "decoder", "reads 4 of 17"),
        ({"num_attention_heads": 5}, "decoder", "describes no model"),
        ({"num_attention_heads": "many"}, "decoder", "describes no model"),
        ({"num_hidden_layers": "many"}, "decoder", "'many', which is no count"),
        ({"hidden_size": 18}, "decoder", r"shape \(17, 24\), the config wants \(17, 18\)"),
        ({"model_type": "dac"}, "audio_encoder", "audio_encoder.model_type 'dac'"),
        ({"normalize": True}, "audio_encoder", "audio_encoder.normalize True"),
        ({"chunk_length_s": 1.0}, "audio_encoder", "audio_encoder.chunk_length_s 1.0"),
        ({"audio_channels": 2}, "audio_encoder", "audio_encoder.audio_channels 2"),
    ],
)
def test_other_kinds_of_music_models(
    other_music: Path,
    roberta: Path,
    change: dict[str, Any],
    inside: str | None,
    message: str,
) -> None:
    change_config(other_music, change, inside=inside)
    with pytest.raises(CheckpointError, match=message):
        read_backbones(other_music, roberta)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("musicgen-stereo-small", "musicgen-small"),
        ("musicgen-stereo-medium", "musicgen-medium"),
        ("musicgen-stereo-large", "musicgen-large"),
        ("musicgen-stereo-melody", "musicgen-medium"),
        ("musicgen-stereo-melody-large", "musicgen-large"),
        ("musicgen-melody", "musicgen-medium"),
        ("musicgen-melody-large", "musicgen-large"),
    ],
)
def test_which_name_to_use_instead(
    name: str, instead: str, roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a Hub id, found before its weights are asked for: here only the config is there."""
    folder = tmp_path / "facebook" / name
    folder.mkdir(parents=True)
    kind = "musicgen" if "stereo" in name else "musicgen_melody"
    config = {"model_type": kind, "decoder": {"audio_channels": 2}, "audio_encoder": {}}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"use 'facebook/{instead}'"):
        read_backbones(f"facebook/{name}", roberta)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "'bert', not 'roberta'.*FacebookAI/roberta-base"),
        ({"model_type": "xlm-roberta"}, "'xlm-roberta', not 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"max_position_embeddings": -1}, "max_position_embeddings -1, which is no count"),
        ({"max_position_embeddings": 4}, "max_tokens"),
        ({"hidden_size": 17}, "describes no model"),
        ({"vocab_size": 100}, "ids up to|tokens"),
    ],
)
def test_other_kinds_of_text_models(
    musicgen: Path, other_text: Path, change: dict[str, Any], message: str
) -> None:
    change_config(other_text, change)
    with pytest.raises((CheckpointError, InputError), match=message):
        read_backbones(musicgen, other_text)


def test_missing_and_damaged_files_are_named(
    other_music: Path, other_text: Path, tmp_path: Path
) -> None:
    for folder, name in (
        (other_text, "tokenizer.json"),
        (other_text, SAFE),
        (other_text, "config.json"),
        (other_music, SAFE),
        (other_music, "config.json"),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            read_backbones(other_music, other_text)
        (folder / name).unlink()
        with pytest.raises(CheckpointError, match=str(folder)):
            read_backbones(other_music, other_text)
        (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="nowhere"):
        read_backbones(tmp_path / "nowhere", other_text)
    with pytest.raises(CheckpointError, match="nowhere"):
        read_backbones(other_music, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"layer": 2}, InputTypeError, "unknown layer; one may choose name, layers"),
        ({"codec": {}}, InputTypeError, "unknown codec"),
        ({"layers": 2}, InputTypeError, "wrong type"),
        ({"dim": "wide"}, InputTypeError, "wrong type"),
        ({"layers": [LAYERS + 1]}, InputError, "between 0 and the decoder's 4 layers"),
        ({"layers": []}, InputError, "at least one"),
        ({"pooling": "median"}, InputError, "pooling"),
        ({"padding": "silence"}, InputError, "padding"),
        ({"max_tokens": 19}, InputError, "max_tokens is 19.*18"),
        ({"dim": 0}, InputError, "dim"),
    ],
)
def test_choices_are_checked(
    musicgen: Path, roberta: Path, choices: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_backbones(musicgen, roberta, **choices)
