"""The published layout: equal to transformers' own modules, and every way a file can be wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.published import UNUSED, is_published, read_published
from loopback_hub import Repository, loopback_hub
from published_checkpoint import (
    CONFIG,
    PublishedModel,
    Vectors,
    build_published,
    music,
    reference_tokenizer,
    spelled,
    write_published,
    write_vocabulary,
)

Weights = dict[str, Tensor]
CODEC, DECODER = "audio_encoder.encodec.", "audio_encoder.transformer."
ROBERTA = "text_encoder.text_encoder."
TEXTS = ["dark metal", "slow jazz with piano", "x", "  two spaces, ÆØ 🎵", "a <mask> and </s>"]


@pytest.fixture(scope="module")
def reference() -> PublishedModel:
    return build_published()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, reference: PublishedModel) -> Path:
    return write_published(tmp_path_factory.mktemp("published"), spelled(reference))


@pytest.fixture(scope="module")
def model(folder: Path) -> ClapMusicGen:
    return ClapMusicGen.from_pretrained(folder)


def cosines(ours: Vectors, theirs: Vectors) -> Vectors:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / norms)


def codes(model: ClapMusicGen, waveform: Vectors) -> Tensor:
    samples = torch.tensor([len(waveform)])
    with torch.inference_mode():
        return model.audio_encoder.encode(torch.from_numpy(waveform)[None], samples)


def assert_same(model: ClapMusicGen, reference: PublishedModel, folder: Path) -> None:
    """Codes to the bit and vectors of both towers."""
    for waveform in (music(1.0), music(0.37, seed=1)):
        assert torch.equal(codes(model, waveform), reference.codes(waveform))
        theirs = reference.embed_clip(waveform)
        assert cosines(model.embed_clips([waveform])[0], theirs) > 1 - 1e-9
    theirs = reference.embed_texts(reference_tokenizer(folder), TEXTS)
    assert cosines(model.embed_text(TEXTS), theirs).min() > 1 - 1e-9


# --- the same numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [15.0, 1.0, 0.05, 1 / 32000])
def test_clips_of_any_length(
    model: ClapMusicGen, reference: PublishedModel, seconds: float
) -> None:
    waveform = music(seconds)
    theirs = reference.codes(waveform)
    assert torch.equal(codes(model, waveform), theirs)
    assert (
        seconds < 1 or len(set(theirs.flatten().tolist())) > 30
    )  # else equal codes would prove nothing
    ours = model.embed_clips([waveform])[0]
    assert cosines(ours, reference.embed_clip(waveform)) > 1 - 1e-9
    assert np.abs(ours - reference.embed_clip(waveform)).max() < 5e-6


def test_silence(model: ClapMusicGen, reference: PublishedModel) -> None:
    waveform = np.zeros(32000, dtype=np.float32)
    assert torch.equal(codes(model, waveform), reference.codes(waveform))
    ours = model.embed_clips([waveform])[0]
    assert cosines(ours, reference.embed_clip(waveform)) > 1 - 1e-9


def test_clips_in_one_batch_do_not_touch_each_other(
    model: ClapMusicGen, reference: PublishedModel
) -> None:
    waveforms = [music(s, seed=n) for n, s in enumerate([1.0, 0.05, 2.0, 0.3])]
    ours = model.embed_clips(waveforms)
    theirs = np.stack([reference.embed_clip(waveform) for waveform in waveforms])
    assert cosines(ours, theirs).min() > 1 - 1e-9
    assert (ours @ ours.T)[~np.eye(4, dtype=bool)].max() < 0.999


def test_texts(model: ClapMusicGen, reference: PublishedModel, folder: Path) -> None:
    theirs = reference.embed_texts(reference_tokenizer(folder), TEXTS)
    ours = model.embed_text(TEXTS)
    assert cosines(ours, theirs).min() > 1 - 1e-9
    assert (ours @ ours.T)[~np.eye(len(TEXTS), dtype=bool)].max() < 0.999


def test_a_text_is_the_same_up_to_its_window_and_read_on_after_it(
    model: ClapMusicGen, reference: PublishedModel, folder: Path
) -> None:
    tokenizer = reference_tokenizer(folder)
    fits, longer = "x" * 36, "x" * 36 + " dark metal"
    theirs = reference.embed_texts(tokenizer, [fits, longer])
    assert np.allclose(theirs[0], theirs[1], atol=1e-6)  # it stops at 38 tokens
    ours = model.embed_text([fits, longer])
    assert cosines(ours[0], theirs[0]) > 1 - 1e-9
    assert cosines(ours[1], theirs[1]) < 0.9999


@pytest.mark.parametrize(
    ("form", "norm"),
    [
        ("safetensors", "old"),
        ("safetensors", "plain"),
        ("safetensors-shards", "new"),
        ("bin", "old"),
        ("bin-shards", "new"),
    ],
)
def test_each_form_and_spelling(
    tmp_path: Path, reference: PublishedModel, form: str, norm: str
) -> None:
    write_published(tmp_path, spelled(reference, norm), form=form)
    assert_same(ClapMusicGen.from_pretrained(tmp_path), reference, tmp_path)


def test_half_precision_weights_are_read_as_single(
    tmp_path: Path, reference: PublishedModel
) -> None:
    half = {k: v.half() for k, v in spelled(reference).items()}
    write_published(tmp_path, half)
    rounded = build_published()
    rounded.load_state_dict({k: v.float() for k, v in half.items()})
    assert_same(ClapMusicGen.from_pretrained(tmp_path), rounded, tmp_path)


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden": 128, "depth": 4, "text_hidden": 192, "text_depth": 3},
        {"codec": {"upsampling_ratios": [5, 4, 2], "use_conv_shortcut": True, "compress": 4}},
        {"codec": {"num_residual_layers": 2, "num_lstm_layers": 1, "num_filters": 8}},
        {"codec": {"num_residual_layers": 0, "kernel_size": 5, "last_kernel_size": 3}},
        {"codec": {"target_bandwidths": [0.6]}, "decoder": {"num_codebooks": 2}},
        {"decoder": {"vocab_size": 70}},
    ],
    ids=["wider", "ratios", "residual", "kernels", "codebooks", "vocabulary"],
)
def test_sizes_come_from_shapes(tmp_path: Path, sizes: dict[str, Any]) -> None:
    if "upsampling_ratios" in sizes.get("codec", {}):  # a hop of 40: 800 Hz, four times 6 bits
        sizes["codec"]["target_bandwidths"] = [19.2]
    reference = build_published(**sizes)
    write_published(tmp_path, spelled(reference))
    assert_same(ClapMusicGen.from_pretrained(tmp_path), reference, tmp_path)


def test_nothing_that_is_unused_is_needed(tmp_path: Path, reference: PublishedModel) -> None:
    weights = {k: v for k, v in spelled(reference).items() if not UNUSED.fullmatch(k)}
    assert len(weights) < len(spelled(reference))
    write_published(tmp_path, weights)
    assert_same(ClapMusicGen.from_pretrained(tmp_path), reference, tmp_path)


def test_unused_parts_may_be_damaged_and_older_tables_may_be_there(
    tmp_path: Path, reference: PublishedModel
) -> None:
    weights = spelled(reference)
    weights[f"{ROBERTA}pooler.dense.weight"] = torch.full((3,), torch.nan)
    weights[f"{ROBERTA}embeddings.position_ids"] = torch.arange(40)[None]
    weights[f"{DECODER}embed_positions.weights"] = torch.zeros(2048, 64)
    write_published(tmp_path, weights)
    assert_same(ClapMusicGen.from_pretrained(tmp_path), reference, tmp_path)


def test_the_full_size_config() -> None:
    """Sizes of the real thing, of shapes alone."""
    from clap_musicgen.model.published_sizes import read_sizes

    with torch.device("meta"):
        model = build_shapes()
    shapes = {}
    for key, tensor in model.state_dict().items():
        plain = key.replace("parametrizations.weight.original1", "weight")
        if not key.endswith("original0") and not UNUSED.fullmatch(key):
            shapes[plain] = tuple(tensor.shape)
    config = read_sizes(shapes)
    assert config.codec["upsampling_ratios"] == [8, 5, 4, 4]
    assert config.decoder["num_attention_heads"] == 16
    assert (config.layers, config.max_tokens, config.dim) == ((24,), 512, 1024)
    assert config.projection_hidden == 512
    assert config.text["num_attention_heads"] == 12


def build_shapes() -> PublishedModel:
    from transformers import (
        EncodecConfig,
        EncodecModel,
        MusicgenDecoderConfig,
        RobertaConfig,
        RobertaModel,
    )
    from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

    from published_checkpoint import AudioTower, Head, TextTower

    codec = EncodecConfig(
        sampling_rate=32000,
        num_filters=64,
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
        target_bandwidths=[2.2],
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    text = RobertaConfig(max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    return PublishedModel(
        AudioTower(
            EncodecModel(codec), MusicgenDecoder(MusicgenDecoderConfig()), Head(1024, 512, 1024)
        ),
        TextTower(RobertaModel(text), Head(768, 512, 1024)),
    )


# --- what is refused --------------------------------------------------------------------------


def refused(folder: Path, weights: Weights, **options: Any) -> str:
    """The message with which a checkpoint is refused, on one line."""
    write_published(folder, weights, **options)
    with pytest.raises(CheckpointError) as caught:
        read_published(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


HEAD = "text_encoder.projection.projection.6.weight"
FIRST_CONV = f"{CODEC}encoder.layers.0.conv."
NEW = "parametrizations.weight.original"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (HEAD, None, f"missing {HEAD} (32, 24)"),
        ("surplus.weight", torch.zeros(2), "unexpected surplus.weight (2,)"),
        (HEAD, torch.zeros(31, 24), f"{HEAD} is (31, 24), expected (32, 24)"),
        (HEAD, torch.zeros(32, 24, dtype=torch.long), f"{HEAD} is torch.int64"),
        (HEAD, torch.zeros(0), f"{HEAD} is empty, of shape (0,)"),
        (HEAD, torch.full((32, 24), torch.inf), f"{HEAD} is not finite"),
        (f"{FIRST_CONV}{NEW}0", None, f"missing {FIRST_CONV}{NEW}0"),
        (f"{FIRST_CONV}{NEW}1", None, f"missing {FIRST_CONV}{NEW}1"),
        (f"{FIRST_CONV}{NEW}0", torch.ones(3, 1, 1), f"{NEW}0 has shape (3, 1, 1), expected (4, 1"),
        (f"{FIRST_CONV}{NEW}1", torch.ones(7), f"{NEW}1 has shape (7,)"),
        (f"{FIRST_CONV}{NEW}1", torch.zeros(4, 1, 7), f"{NEW}1 holds a zero vector"),
        (f"{FIRST_CONV}weight", torch.ones(4, 1, 7), f"both {FIRST_CONV}weight and"),
        (f"{FIRST_CONV}{NEW}1", torch.ones(4, 2, 7), "only mono"),
        (f"{CODEC}encoder.layers.3.conv.{NEW}1", torch.ones(8, 4, 9), "(8, 4, 9); a strided"),
        (f"{DECODER}embed_tokens.3.weight", None, f"missing {DECODER}embed_tokens.3.weight"),
        (f"{DECODER}embed_tokens.1.weight", None, f"missing {DECODER}embed_tokens.1.weight"),
        (f"{DECODER}layers.7.fc1.weight", torch.zeros(96, 64), f"there is {DECODER}layers.7.fc1"),
        (f"{ROBERTA}encoder.layer.00.a", torch.zeros(1), f"unexpected {ROBERTA}encoder.layer.00.a"),
        (f"{ROBERTA}embeddings.word_embeddings.weight", torch.ones(64), "must have 2 dimensions"),
        (f"{ROBERTA}embeddings.position_embeddings.weight", torch.ones(5, 64), "has 5 rows"),
        (f"{CODEC}quantizer.layers.3.codebook.embed", None, "quantizer.layers.3.codebook.embed"),
    ],
)  # fmt: skip
def test_each_fault_is_named(
    tmp_path: Path, reference: PublishedModel, key: str, value: Tensor | None, message: str
) -> None:
    weights = spelled(reference)
    if value is None:
        del weights[key]
    else:
        weights[key] = value
    assert message in refused(tmp_path, weights)


def test_a_whole_part_that_is_missing(tmp_path: Path, reference: PublishedModel) -> None:
    for number, (prefix, message) in enumerate(
        [
            (f"{CODEC}encoder.layers.13.lstm", "lstm.weight_ih_l0"),
            (f"{CODEC}quantizer", "quantizer.layers.0.codebook.embed"),
            (DECODER, f"{DECODER}embed_tokens.0.weight"),
            (ROBERTA, f"{ROBERTA}embeddings"),
            ("text_encoder.projection", "missing text_encoder.projection.projection.0.weight"),
        ]
    ):
        weights = {k: v for k, v in spelled(reference).items() if not k.startswith(prefix)}
        assert message in refused(tmp_path / str(number), weights)


def test_another_kind_of_checkpoint(tmp_path: Path) -> None:
    assert "missing" in refused(tmp_path, {"weight": torch.zeros(3)})


def test_only_a_few_of_many_faults_are_listed(tmp_path: Path, reference: PublishedModel) -> None:
    weights = spelled(reference) | {f"surplus.{n}": torch.zeros(1) for n in range(9)}
    assert refused(tmp_path, weights).endswith("; and 4 more")


def test_stereo(tmp_path: Path) -> None:
    stereo = build_published(decoder={"num_codebooks": 8})
    assert "stereo" in refused(tmp_path, spelled(stereo))


def test_another_head_size(tmp_path: Path) -> None:
    other = build_published(decoder={"hidden_size": 96, "num_attention_heads": 2})
    weights = spelled(other)
    for key in ("0.weight",):
        weights[f"audio_encoder.projection.projection.{key}"] = torch.zeros(24, 96)
    message = refused(tmp_path, weights)
    assert "96 is not a multiple of the head size 64" in message
    assert f"{DECODER}embed_tokens.0.weight" in message


def test_codes_that_the_decoder_does_not_know(tmp_path: Path) -> None:
    small = build_published(decoder={"vocab_size": 32})
    assert "33 rows for the 64 entries" in refused(tmp_path, spelled(small))


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("audio_encoder_config", {"projection_dim": 1024}, "projection_dim is 1024, the weights"),
        ("text_encoder_config", {"hidden_dim": -3}, "text_encoder_config.hidden_dim is -3"),
        ("text_encoder_config", {"hidden_dim": "wide"}, "hidden_dim is 'wide'"),
        ("text_encoder_config", {"projection_dim": math.nan}, "projection_dim is nan"),
        ("text_encoder_config", {"projection_dim": 10**400}, "projection_dim is 1000"),
        ("audio_encoder_config", {"projection_dim": {"a": []}}, "projection_dim is {'a': []}"),
        ("audio_encoder_config", 3, "audio_encoder_config is 3, not an object"),
        ("text_encoder_config", None, "text_encoder_config is None"),
    ],
)
def test_a_config_that_contradicts_the_weights(
    tmp_path: Path, reference: PublishedModel, section: str, value: object, message: str
) -> None:
    changed = {**CONFIG[section], **value} if isinstance(value, dict) else value
    assert message in refused(tmp_path, spelled(reference), config={**CONFIG, section: changed})


def test_sizes_that_the_config_does_not_mention_are_fine(
    tmp_path: Path, reference: PublishedModel
) -> None:
    config = {"audio_encoder_config": {}, "text_encoder_config": {"hidden_dim": None}}
    write_published(tmp_path, spelled(reference), config=config)
    assert_same(ClapMusicGen.from_pretrained(tmp_path), reference, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b"[" * 100_000, b"{}", b"3"])
def test_only_its_config_makes_it_a_published_checkpoint(tmp_path: Path, content: bytes) -> None:
    assert not is_published(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    assert not is_published(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert is_published(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "format_version": 1}))
    assert not is_published(tmp_path)


KEYS = sorted(k for k in spelled(build_published()) if not UNUSED.fullmatch(k))


def delete(weights: Weights, key: str) -> None:
    del weights[key]


def rename(weights: Weights, key: str) -> None:
    weights[f"{key}s"] = weights.pop(key)


def renumber(weights: Weights, key: str) -> None:
    weights[re.sub(r"\d+", lambda m: str(int(m[0]) + 1), key, count=1) + "_"] = weights.pop(key)


def lengthen(weights: Weights, key: str) -> None:
    shape = weights[key].shape
    weights[key] = torch.ones([n + 1 for n in shape])


def deepen(weights: Weights, key: str) -> None:
    weights[key] = weights[key][None].clone()


def flatten(weights: Weights, key: str) -> None:
    weights[key] = torch.cat([weights[key].flatten(), torch.ones(1)])


def spoil(weights: Weights, key: str) -> None:
    weights[key].view(-1)[-1] = torch.nan


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(KEYS),
    damage=st.sampled_from([delete, rename, renumber, lengthen, deepen, flatten, spoil]),
    norm=st.sampled_from(["new", "old", "plain"]),
)
def test_any_damaged_tensor_is_named(
    tmp_path: Path,
    reference: PublishedModel,
    key: str,
    damage: Callable[[Weights, str], None],
    norm: str,
) -> None:
    weights = spelled(reference, norm)
    if key not in weights:
        key = key.replace(f"{NEW}0", "weight_g" if norm == "old" else "weight")
        key = key.replace(f"{NEW}1", "weight_v" if norm == "old" else "weight")
    damage(weights, key)
    assert key in refused(tmp_path, weights)


# --- its tokenizer ----------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path, reference: PublishedModel) -> Path:
    return write_published(tmp_path / "bare", spelled(reference), tokenizer=False)


def test_a_tokenizer_from_elsewhere(bare: Path, tmp_path: Path, reference: PublishedModel) -> None:
    elsewhere = write_vocabulary(tmp_path / "elsewhere")
    by_folder = read_published(bare, tokenizer=elsewhere).tokenizer
    (tmp_path / "one.json").write_text(by_folder.to_str())
    by_file = read_published(bare, tokenizer=str(tmp_path / "one.json")).tokenizer
    for text in TEXTS:
        expected = reference_tokenizer(elsewhere)(text)["input_ids"]
        assert by_folder.encode(text).ids == by_file.encode(text).ids == expected


def test_the_given_tokenizer_is_preferred(folder: Path, tmp_path: Path) -> None:
    beside = read_published(folder).tokenizer
    spaced = write_vocabulary(tmp_path)
    (spaced / "tokenizer_config.json").write_text('{"add_prefix_space": true}')
    given = read_published(folder, tokenizer=spaced).tokenizer
    assert given.encode("jazz").ids == beside.encode(" jazz").ids != beside.encode("jazz").ids
    assert given.encode("jazz").ids == reference_tokenizer(spaced)("jazz")["input_ids"]


def test_without_a_tokenizer_and_a_network(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match=r"clap-roberta-finetuned.*pass its folder as token"):
        read_published(bare)
    with pytest.raises(CheckpointError, match=r"'some/one'.*network"):
        read_published(bare, tokenizer="some/one")
    with pytest.raises(CheckpointError, match="not a folder, and not a Hub id"):
        read_published(bare, tokenizer="nowhere")


def test_a_tokenizer_with_more_words_than_the_tower(
    tmp_path: Path, reference: PublishedModel
) -> None:
    weights = spelled(reference)
    key = f"{ROBERTA}embeddings.word_embeddings.weight"
    weights[key] = weights[key][:280].clone()
    write_published(tmp_path, weights)
    with pytest.raises(CheckpointError, match=r"ids up to \d+ .*280 word embeddings"):
        read_published(tmp_path)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
@pytest.mark.parametrize("content", [None, b"\x00\xff", b"[1]"])
def test_half_a_tokenizer_is_named(
    bare: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    write_vocabulary(bare)
    (bare / name).unlink()
    if content is not None:
        (bare / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(name)):
        read_published(bare)


def test_another_kind_of_tokenizer(bare: Path) -> None:
    from tokenizers import Tokenizer, models

    (bare / "tokenizer.json").write_text(Tokenizer(models.WordLevel({"[CLS]": 0}, "x")).to_str())
    with pytest.raises(CheckpointError, match="no <s> and no </s>: not RoBERTa's"):
        read_published(bare)
    (bare / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json as a tokenizer"):
        read_published(bare)


# --- our own format ---------------------------------------------------------------------------


def test_saving_it_gives_an_ordinary_checkpoint(
    model: ClapMusicGen, tmp_path: Path, reference: PublishedModel, folder: Path
) -> None:
    model.save_pretrained(tmp_path)
    assert not is_published(tmp_path)
    again = ClapMusicGen.from_pretrained(tmp_path)
    assert again.fingerprint == model.fingerprint
    assert_same(again, reference, folder)


HUB = "huggingface_hub.constants"


def test_from_the_hub_and_then_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: PublishedModel
) -> None:
    """The real client and a Hub on loopback: only what is needed is downloaded, and once."""
    weights = write_published(
        tmp_path / "weights", spelled(reference), form="safetensors-shards", tokenizer=False
    )
    (weights / "pytorch_model.bin").write_bytes(b"not to be asked for")
    words = write_vocabulary(tmp_path / "words")
    (words / "model.safetensors").write_bytes(b"not to be asked for")
    monkeypatch.setattr(f"{HUB}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{HUB}.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback_hub() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{HUB}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(f"{HUB}.ENDPOINT", hub.url)
        monkeypatch.setattr(f"{HUB}.HF_HUB_OFFLINE", False)
        for name, folder in (("clap-musicgen", weights), ("clap-roberta-finetuned", words)):
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            hub.repositories[f"yuhuacheng/{name}"] = Repository(branches={"main": files})
        first = ClapMusicGen.from_pretrained("yuhuacheng/clap-musicgen")
        asked = {line.split("/")[-1] for line in hub.requests if line.startswith("GET /yuhuacheng")}
    unneeded = {"pytorch_model.bin", "model.safetensors"}
    served = {path.name for folder in (weights, words) for path in folder.iterdir()}
    assert asked == served - unneeded
    monkeypatch.setattr(f"{HUB}.HF_HUB_OFFLINE", True)
    again = ClapMusicGen.from_pretrained("yuhuacheng/clap-musicgen")
    assert again.fingerprint == first.fingerprint
    assert_same(again, reference, words)
