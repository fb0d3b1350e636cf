"""Names of models → models, and the command line with a CLAP of transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_clap
from audio_factory import melody, write_audio
from clap_musicgen.cli import run
from clap_musicgen.cli.options import model_of, options_of
from clap_musicgen.errors import CheckpointError, InputError, LibraryModelError
from clap_musicgen.library import Library
from clap_musicgen.library.calibration import Correction
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.loading import load_embedder
from clap_musicgen.model.transformers_clap import TransformersClap
from fake_embedder import FakeEmbedder


@pytest.fixture(scope="session")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clap.save(tmp_path_factory.mktemp("model") / "clap")


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for place, name in enumerate(["one.wav", "two.flac", "three.mp3"]):
        sound = melody(2.3, sample_rate=22_050, seed=place)
        write_audio(folder / name, sound, sample_rate=22_050)
    return folder


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("LIBRARY", "PRECISION"):
        monkeypatch.delenv(f"CLAP_MUSICGEN_{name}", raising=False)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


# load_embedder


def test_each_kind_by_its_config(clap_folder: Path, tiny: ClapMusicGen, tmp_path: Path) -> None:
    tiny.save_pretrained(tmp_path / "tiny")
    own = load_embedder(tmp_path / "tiny")
    assert isinstance(own, ClapMusicGen)
    assert own.fingerprint == tiny.fingerprint
    assert isinstance(load_embedder("mini"), ClapMusicGen)
    assert isinstance(load_embedder(clap_folder), TransformersClap)
    assert isinstance(load_embedder(str(clap_folder)), TransformersClap)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bert", "hidden_size": 8}, ["config.json", "'bert'", "laion/"]),
        ({"model_type": "musicgen"}, ["'musicgen'"]),
        ({"hidden_size": 8}, ["config.json"]),
        ([], ["config.json"]),
        (None, ["config.json"]),
    ],
)
def test_a_folder_of_neither_kind(config: Any, words: list[str], tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        load_embedder(tmp_path)
    for word in [*words, str(tmp_path)]:
        assert word in str(caught.value)


def test_names_that_are_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="mini"):
        load_embedder("absent")
    with pytest.raises(CheckpointError, match="file"):
        load_embedder("file")


def test_a_hub_id_that_is_in_the_cache(
    clap_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real huggingface_hub, told to stay offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--laion--tiny_clap"
    shutil.copytree(clap_folder, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    model = load_embedder("laion/tiny_clap")
    assert isinstance(model, TransformersClap)
    assert model.fingerprint == load_embedder(clap_folder).fingerprint
    with pytest.raises(CheckpointError, match=r"laion/absent.*network"):
        load_embedder("laion/absent")


def test_precisions(clap_folder: Path) -> None:
    with pytest.raises(InputError, match=r"'quick'.*exact or fast"):
        load_embedder("mini", precision="quick")
    with pytest.raises(InputError, match=r"'fast'.*models of transformers"):
        load_embedder(clap_folder, precision="fast")


@pytest.mark.slow
def test_ours_is_loaded_without_the_modules_of_clap() -> None:
    script = (
        "import sys\n"
        "from clap_musicgen.model.loading import load_embedder\n"
        "load_embedder('mini')\n"
        "assert not any('models.clap' in name for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# The library, by hand and through the command line


def test_a_library_answers_as_the_vectors_do(
    clap_folder: Path, music: Path, tmp_path: Path
) -> None:
    model = load_embedder(clap_folder)
    with Library.open(tmp_path / "library", model) as library:
        assert len(library.add([music]).added) == 3
        files = [Path(track.path) for track in library.tracks()]
        words, vectors = model.embed_text(["dark metal"])[0], model.embed_audio(files)
        scores = Correction.fit(vectors).music(vectors) @ words
        expected = {str(path): float(score) for path, score in zip(files, scores, strict=True)}
        matches = library.search("dark metal", fold=False)
    assert {match.track.path: match.score for match in matches} == pytest.approx(expected, abs=2e-3)


def test_every_command_takes_it(cli: Any, clap_folder: Path, music: Path, tmp_path: Path) -> None:
    given = ("--model", clap_folder, "--library", tmp_path / "library")
    code, out, err = cli("index", music, *given, "--json")
    assert (code, len(json.loads(out)["added"]), err) == (0, 3, "")
    code, out, err = cli("search", "dark metal", *given, "--no-fold", "--json")
    assert (code, len(json.loads(out)), err) == (0, 3, "")
    code, out, err = cli("similar", music / "one.wav", *given, "--no-fold", "--json")
    assert (code, len(json.loads(out)), err) == (0, 2, "")
    code, out, err = cli("info", *given, "--precision", "exact", "--json")
    facts = json.loads(out)
    assert facts["library_fits_model"] is True
    assert facts["model"]["sample_rate"] == tiny_clap.RATE
    assert facts["library"]["made_with"] == options_of(str(clap_folder), "exact")
    code, out, err = cli(
        "classify", music / "one.wav", "--labels", "jazz", "metal", "--model", clap_folder, "--json"
    )
    assert (code, len(json.loads(out)[0]["labels"]), err) == (0, 2, "")


def test_embed_writes_its_vectors(cli: Any, clap_folder: Path, music: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    files = sorted(music.iterdir())
    code, _, err = cli("embed", *files, "--text", "jazz", "--out", out, "--model", clap_folder)
    assert (code, err) == (0, "")
    model = TransformersClap.from_pretrained(clap_folder)
    expected = np.concatenate([model.embed_audio(files), model.embed_text(["jazz"])])
    assert np.allclose(np.load(out), expected, atol=1e-5)


def test_evaluate_takes_it(cli: Any, clap_folder: Path, music: Path, tmp_path: Path) -> None:
    rows = [
        {"audio": str(path), "caption": word, "tags": [word], "split": "test"}
        for path, word in zip(sorted(music.iterdir()), ("jazz", "metal", "piano"), strict=True)
    ]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = cli("evaluate", clap_folder, "--manifest", manifest, "--json")
    assert (code, err) == (0, "")
    about = json.loads(out)["about"]
    assert about["pieces"] == 3
    assert about["precision"] == "exact"
    assert about["fingerprint"] == TransformersClap.from_pretrained(clap_folder).fingerprint


def test_a_precision_it_does_not_offer_is_one_line(
    cli: Any, clap_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = ("embed", "--text", "jazz", "--out", tmp_path / "a.npy", "--model", clap_folder)
    code, out, err = cli(*given, "--precision", "fast")
    assert (code, out) == (1, "")
    assert err.startswith("error: precision 'fast'")
    assert err.count("\n") == 1
    monkeypatch.setenv("CLAP_MUSICGEN_PRECISION", "quick")
    code, out, err = cli(*given)
    assert (code, out) == (1, "")
    assert err == "error: precision is 'quick'; it must be exact or fast\n"
    assert not (tmp_path / "a.npy").exists()


# What a library says to another model


def test_a_library_tells_how_it_was_made(
    cli: Any, clap_folder: Path, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clap_folder.parent)
    library = tmp_path / "library"
    assert cli("index", music, "--library", library, "--model", clap_folder.name)[0] == 0
    assert cli("search", "jazz", "--library", library)[0] == 0  # the library knows its model
    code, out, err = cli("search", "jazz", "--library", library, "--model", "mini")
    assert (code, out) == (1, "")
    assert f"made with (--model {clap_folder})" in err
    code, out, err = cli("info", "--library", library, "--model", "mini")
    assert f"another model: --model {clap_folder}" in out
    _, hint = err, out.rpartition("--model ")[2].strip()
    assert cli("search", "jazz", "--library", library, "--model", hint)[0] == 0


@pytest.mark.parametrize(
    "made_with", ["", "my own model", "--model", "--model 'open", "--precision --model"]
)
def test_what_a_program_has_written_there_is_no_option(tmp_path: Path, made_with: str) -> None:
    Library.open(tmp_path / "library", FakeEmbedder(), made_with=made_with).close()
    model, precision = model_of(tmp_path / "library", None, None)
    assert (model, precision) in {("mini", "exact"), ("mini", "--model")}
    assert model_of(tmp_path / "library", "x", "fast") == ("x", "fast")
    assert model_of(tmp_path / "absent", None, None) == ("mini", "exact")


def test_a_library_of_fast_vectors_is_asked_with_fast_ones_only(
    cli: Any, tiny: ClapMusicGen, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.save_pretrained(tmp_path / "tiny")
    given = ("--library", tmp_path / "library", "--model", tmp_path / "tiny")
    assert cli("index", music, *given, "--precision", "fast")[0] == 0
    assert cli("search", "jazz", *given)[0] == 0
    assert cli("search", "jazz", *given[:2])[0] == 0
    code, out, err = cli("search", "jazz", *given, "--precision", "exact")
    assert (code, out) == (1, "")
    assert f"made with (--model {tmp_path / 'tiny'} --precision fast)" in err
    monkeypatch.setenv("CLAP_MUSICGEN_PRECISION", "fast")
    assert cli("search", "jazz", *given)[0] == 0
    assert f"{tmp_path / 'tiny'}, fast" in cli("info", *given)[1]


def test_the_options_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "my model").mkdir()
    assert options_of("mini", "exact") == "--model mini"
    assert options_of("laion/larger_clap_general", "exact") == "--model laion/larger_clap_general"
    assert options_of("mini", "fast") == "--model mini --precision fast"
    assert options_of(str(tmp_path / "my model"), "exact") == f"--model '{tmp_path}/my model'"


def test_libraries_that_do_not_know_how_they_were_made(tmp_path: Path) -> None:
    library = tmp_path / "library"
    Library.open(library, FakeEmbedder()).close()
    assert "made_with" not in json.loads((library / "library.json").read_text())
    assert Library.inspect(library).made_with == ""
    with pytest.raises(LibraryModelError, match="the precision it was made with, or make a new"):
        Library.open(library, FakeEmbedder("fake-2"))
    shutil.rmtree(library)
    Library.open(library, FakeEmbedder(), made_with="--model fake").close()
    with pytest.raises(LibraryModelError, match=r"made with \(--model fake\)"):
        Library.open(library, FakeEmbedder("fake-2"))
    assert len(Library.open(library, FakeEmbedder(), made_with="something else")) == 0
    assert Library.inspect(library).made_with == "--model fake"
