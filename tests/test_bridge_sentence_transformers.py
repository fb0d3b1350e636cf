"""`SentenceTransformer` over our checkpoints: the same vectors, whatever form the input has."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from audio_factory import melody, write_audio
from clap_musicgen.bridges.sentence_transformers import (
    ClapMusicGenModule,
    as_sentence_transformer,
    save_sentence_transformer,
)
from clap_musicgen.bridges.sounds import as_track
from clap_musicgen.errors import (
    CheckpointError,
    InputError,
    InputTypeError,
    UnreadableAudioError,
)
from clap_musicgen.model.clap import ClapMusicGen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE = 44_100
TEXTS = ["slow jazz with piano", "dark metal", "a", "x" * 300]


class Decoder:
    """What torchcodec's AudioDecoder and the `datasets` library hand over."""

    def __init__(self, samples: NDArray[np.float32], sample_rate: int) -> None:
        self.data, self.sample_rate = torch.from_numpy(samples), sample_rate

    def get_all_samples(self) -> Decoder:
        return self


@pytest.fixture(scope="module")
def folder(tiny: ClapMusicGen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "tiny"
    save_sentence_transformer(tiny, path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> SentenceTransformer:
    return load(folder)


@pytest.fixture(scope="module")
def stereo() -> NDArray[np.float32]:
    """1.3 s: nearly three clips of the tiny model."""
    return np.stack([melody(1.3, sample_rate=RATE), melody(1.3, sample_rate=RATE, seed=1)])


@pytest.fixture(scope="module")
def song(stereo: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "song.wav"
    return write_audio(path, stereo, sample_rate=RATE, format="wav-float")


def load(folder: Path, **options: Any) -> SentenceTransformer:
    return SentenceTransformer(
        str(folder), trust_remote_code=True, local_files_only=True, device="cpu", **options
    )


def encode(model: SentenceTransformer, inputs: Any, **options: Any) -> Any:
    return model.encode(inputs, show_progress_bar=False, **options)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_texts_get_the_vectors_of_embed_text(
    loaded: SentenceTransformer, tiny: ClapMusicGen, batch_size: int
) -> None:
    found = encode(loaded, TEXTS, batch_size=batch_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tiny.embed_text(TEXTS), atol=1e-6)


def test_each_form_of_sound_gets_the_vector_of_its_file(
    loaded: SentenceTransformer, tiny: ClapMusicGen, song: Path, stereo: NDArray[np.float32]
) -> None:
    here = as_track({"array": stereo, "sampling_rate": RATE}, sample_rate=tiny.sample_rate)
    forms: list[Any] = [
        song,
        str(song),
        {"audio": song},
        {"audio": str(song)},
        {"array": stereo, "sampling_rate": RATE},
        {"array": stereo.astype(np.float64).tolist(), "sampling_rate": float(RATE)},
        {"audio": {"array": torch.from_numpy(stereo), "sampling_rate": RATE}},
        {"audio": Decoder(stereo, RATE)},
        Decoder(stereo, RATE),
        here,
        {"audio": torch.from_numpy(np.asarray(here))},
    ]
    wanted = tiny.embed_audio([song])
    for form in forms:
        np.testing.assert_allclose(encode(loaded, [form]), wanted, atol=1e-6)
    together = encode(loaded, forms, batch_size=4)
    np.testing.assert_allclose(together, np.repeat(wanted, len(forms), axis=0), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_mixed_list_keeps_its_order(
    loaded: SentenceTransformer, tiny: ClapMusicGen, song: Path, batch_size: int
) -> None:
    sound = melody(0.3, sample_rate=tiny.sample_rate)
    found = encode(
        loaded, ["dark metal", song, {"text": "jazz"}, sound, "piano"], batch_size=batch_size
    )
    words, music = tiny.embed_text(["dark metal", "jazz", "piano"]), tiny.embed_audio([song, sound])
    wanted = np.stack([words[0], music[0], words[1], music[1], words[2]])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_one_input_gives_one_vector(loaded: SentenceTransformer, song: Path) -> None:
    for single in ("jazz", song, {"audio": song}, melody(0.3, sample_rate=8_000)):
        found = encode(loaded, single)
        assert found.shape == (8,)
        np.testing.assert_array_equal(found, encode(loaded, [single])[0])


def test_a_text_is_a_file_only_if_it_names_an_existing_audio_file(
    loaded: SentenceTransformer,
    tiny: ClapMusicGen,
    song: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "piano").write_bytes(song.read_bytes())
    (tmp_path / "take five.aiff").write_bytes(song.read_bytes())
    texts = ["piano", "absent.mp3", "y" * 5_000 + ".wav", "null\0byte.wav"]
    np.testing.assert_allclose(encode(loaded, texts), tiny.embed_text(texts), atol=1e-6)
    np.testing.assert_allclose(
        encode(loaded, ["take five.aiff", {"audio": "piano"}, {"text": "take five.aiff"}]),
        np.concatenate([tiny.embed_audio([song, song]), tiny.embed_text(["take five.aiff"])]),
        atol=1e-6,
    )


def test_the_other_outputs_of_encode_work(loaded: SentenceTransformer, song: Path) -> None:
    plain = encode(loaded, ["jazz", song])
    tensors = encode(loaded, ["jazz", song], convert_to_tensor=True)
    np.testing.assert_array_equal(tensors.numpy(), plain)
    short = encode(loaded, ["jazz", song], truncate_dim=3, normalize_embeddings=True)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    assert short.shape == (2, 3)
    np.testing.assert_array_equal(encode(loaded, ["jazz"], prompt="slow "), encode_slow(loaded))
    assert encode(loaded, []).shape == (0,)


def encode_slow(loaded: SentenceTransformer) -> Any:
    return encode(loaded, ["slow jazz"])


def test_dimension_similarity_and_modalities_are_told(
    loaded: SentenceTransformer, tiny: ClapMusicGen
) -> None:
    assert loaded.get_embedding_dimension() == tiny.dim
    assert loaded.similarity_fn_name == "cosine"
    assert loaded.supports("text")
    assert loaded.supports("audio")
    assert not loaded.supports("image")
    assert loaded.max_seq_length is None
    assert loaded.tokenizer is loaded[0].model.text_encoder.tokenizer
    vectors = encode(loaded, TEXTS)
    similar = loaded.similarity(vectors, vectors).numpy()
    np.testing.assert_allclose(similar, vectors @ vectors.T, atol=1e-6)


def test_our_own_loader_reads_the_folder_too(folder: Path, tiny: ClapMusicGen) -> None:
    assert ClapMusicGen.from_pretrained(folder).fingerprint == tiny.fingerprint


def test_saving_what_was_loaded_gives_the_same_model(
    loaded: SentenceTransformer, tiny: ClapMusicGen, tmp_path: Path
) -> None:
    loaded.save(str(tmp_path / "again"), create_model_card=False)
    again = load(tmp_path / "again")
    np.testing.assert_array_equal(encode(again, TEXTS), encode(loaded, TEXTS))
    assert ClapMusicGen.from_pretrained(tmp_path / "again").fingerprint == tiny.fingerprint


def test_a_checkpoint_can_be_extended_in_place(tiny: ClapMusicGen, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path, dtype=torch.float16)
    before = (tmp_path / "model.safetensors").read_bytes()
    save_sentence_transformer(tmp_path, f"{tmp_path}/.")
    assert (tmp_path / "model.safetensors").read_bytes() == before
    wanted = ClapMusicGen.from_pretrained(tmp_path).embed_text(TEXTS)
    np.testing.assert_allclose(encode(load(tmp_path), TEXTS), wanted, atol=1e-6)


def test_another_checkpoint_is_copied_by_its_name(
    tiny: ClapMusicGen, folder: Path, tmp_path: Path
) -> None:
    save_sentence_transformer(str(folder), tmp_path / "copy")
    np.testing.assert_allclose(
        encode(load(tmp_path / "copy"), TEXTS), tiny.embed_text(TEXTS), atol=1e-6
    )
    assert not list(tmp_path.glob("**/.writing-*"))


def test_a_model_in_memory_is_not_copied(tiny: ClapMusicGen) -> None:
    wrapped = as_sentence_transformer(tiny)
    assert wrapped[0].model is tiny
    assert wrapped.similarity_fn_name == "cosine"
    np.testing.assert_allclose(encode(wrapped, TEXTS), tiny.embed_text(TEXTS), atol=1e-6)


def test_a_pickled_module_embeds_alike(tiny: ClapMusicGen, song: Path) -> None:
    copy = pickle.loads(pickle.dumps(as_sentence_transformer(tiny)))
    np.testing.assert_array_equal(encode(copy, TEXTS), tiny.embed_text(TEXTS))
    np.testing.assert_array_equal(encode(copy, [song]), tiny.embed_audio([song]))


def test_loading_needs_trust(folder: Path) -> None:
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        SentenceTransformer(str(folder), local_files_only=True)


def test_the_folder_names_the_package_it_needs(folder: Path, tmp_path: Path) -> None:
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    settings["requirements"]["clap-musicgen"]["specifier"] = ">=999"
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    with pytest.raises(ImportError, match=r"clap-musicgen\[sentence-transformers\]"):
        load(tmp_path)


def test_an_unknown_loading_option_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"torch_dtype.*precision"):
        load(folder, model_kwargs={"torch_dtype": "float16"})


def test_a_missing_part_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="absent"):
        ClapMusicGenModule.load(str(tmp_path), "absent", local_files_only=True)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        ClapMusicGenModule.load(str(tmp_path))


def test_a_folder_that_cannot_be_written_is_told(tiny: ClapMusicGen, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file"):
        save_sentence_transformer(tiny, tmp_path / "file")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("", InputError, "empty text"),
        ({"text": " "}, InputError, "empty text"),
        ("https://example.org/song.mp3", InputError, "download"),
        (Path("absent.mp3"), UnreadableAudioError, "absent.mp3"),
        ({"audio": "absent.mp3"}, UnreadableAudioError, "absent.mp3"),
        ({"audio": None}, InputTypeError, "NoneType"),
        ({"audio": {"array": [0.1]}}, InputError, "sampling_rate"),
        ({"sound": "a.mp3"}, InputError, "'sound'"),
        ({"text": "jazz", "audio": "a.mp3"}, InputError, "'audio', 'text'"),
        ({"role": "user", "content": "jazz"}, InputError, "'content', 'role'"),
        ({"text": 3}, InputError, "'text'"),
        ([0.1, 0.2], InputTypeError, "numpy array"),
        (3, InputTypeError, "int"),
        (b"jazz", InputTypeError, "bytes"),
        (np.zeros(0, np.float32), InputError, "without a single sample"),
        (np.zeros(9, np.int16), InputTypeError, "int16"),
        (np.full(9, np.nan, np.float32), InputError, "NaN"),
        (np.zeros((9, 2), np.float32), InputError, "channels first"),
        ({"array": np.zeros(9), "sampling_rate": 0}, InputError, "sample rate 0"),
        ({"array": np.zeros(9), "sampling_rate": -8000}, InputError, "-8000"),
        ({"array": np.zeros(9), "sampling_rate": 8000.5}, InputError, "8000.5"),
        ({"array": np.zeros(9), "sampling_rate": float("nan")}, InputError, "nan"),
        ({"array": np.zeros(9), "sampling_rate": "high"}, InputError, "'high'"),
    ],
)
def test_what_is_neither_text_nor_sound_is_refused(
    loaded: SentenceTransformer, value: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        encode(loaded, ["jazz", value])


def test_pictures_are_refused(loaded: SentenceTransformer) -> None:
    with pytest.raises(ValueError, match="image"):
        encode(loaded, [np.zeros((3, 4, 5), np.float32)])


def test_options_of_other_modules_are_refused(loaded: SentenceTransformer) -> None:
    with pytest.raises(InputError, match="processing_kwargs"):
        encode(loaded, ["jazz"], processing_kwargs={"text": {"max_length": 8}})


def test_training_is_refused(folder: Path) -> None:
    model = load(folder).train()
    with pytest.raises(InputError, match="clap-musicgen train"):
        model(model.preprocess(["jazz"]))


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "clap_musicgen.bridges.sentence_transformers")
    monkeypatch.setitem(sys.modules, "sentence_transformers.base.modules", None)
    yield
    monkeypatch.undo()


@pytest.mark.usefixtures("forgotten")
def test_without_the_library_the_error_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"clap-musicgen\[sentence-transformers\]"):
        __import__("clap_musicgen.bridges.sentence_transformers")
