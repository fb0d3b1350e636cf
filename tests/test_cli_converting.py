"""`convert` on a tiny published checkpoint and on one of ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from clap_musicgen.cli.converting import convert
from clap_musicgen.errors import ClapMusicGenError, InputError
from clap_musicgen.model.clap import ClapMusicGen
from conftest import build_tiny
from published_checkpoint import build_published, music, spelled, write_published, write_vocabulary

app = typer.Typer()
app.command()(convert)

TEXTS = ["dark metal", "slow jazz"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("convert"), spelled(build_published()))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_result_gives_the_same_vectors(published: Path, tmp_path: Path) -> None:
    result = call(published, tmp_path / "out")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["read", "written", "weights", "vectors", "model"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    before, after = (ClapMusicGen.from_pretrained(f) for f in (published, tmp_path / "out"))
    assert after.fingerprint == before.fingerprint
    assert after.fingerprint in result.stdout
    assert np.array_equal(after.embed_text(TEXTS), before.embed_text(TEXTS))
    assert np.array_equal(after.embed_audio([music(16.0)]), before.embed_audio([music(16.0)]))


def test_half_is_half_as_large_and_says_which_model_it_is(published: Path, tmp_path: Path) -> None:
    whole = json.loads(call(published, tmp_path / "whole", "--json").stdout)
    half = json.loads(call(published, tmp_path / "half", "--half", "--json").stdout)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("half", "whole")]
    assert 0.49 < sizes[0] / sizes[1] < 0.55
    assert half["stored_as"] == "float16"
    assert half["fingerprint"] != whole["fingerprint"]
    again = ClapMusicGen.from_pretrained(tmp_path / "half")
    assert again.fingerprint == half["fingerprint"]
    assert (half["dim"], half["clip_seconds"], half["sample_rate"]) == (32, 15.0, 32000)
    assert half["weights"] == sum(tensor.numel() for tensor in again.state_dict().values())


def test_a_weight_that_half_precision_cannot_hold(published: Path, tmp_path: Path) -> None:
    model = ClapMusicGen.from_pretrained(published)
    next(model.text_projection.parameters()).data[0, 0] = 1e5
    model.save_pretrained(tmp_path / "large")
    result = call(tmp_path / "large", tmp_path / "half", "--half")
    assert isinstance(result.exception, InputError)
    assert "text_projection.projection.0.weight holds 1e+05" in str(result.exception)
    assert not (tmp_path / "half").exists()


def test_one_of_ours_is_copied(tmp_path: Path) -> None:
    tiny = build_tiny()
    tiny.save_pretrained(tmp_path / "tiny")
    (tmp_path / "out").mkdir()  # empty, so it may be filled
    assert call(tmp_path / "tiny", tmp_path / "out").exit_code == 0
    assert ClapMusicGen.from_pretrained(tmp_path / "out").fingerprint == tiny.fingerprint
    words = write_vocabulary(tmp_path / "words")
    result = call(tmp_path / "tiny", tmp_path / "other", "--tokenizer", words)
    assert "has its own tokenizer" in str(result.exception)


def test_a_tokenizer_from_elsewhere(tmp_path: Path) -> None:
    bare = write_published(tmp_path / "bare", spelled(build_published()), tokenizer=False)
    words = write_vocabulary(tmp_path / "words")
    assert call(bare, tmp_path / "out", "--tokenizer", words).exit_code == 0
    assert ClapMusicGen.from_pretrained(tmp_path / "out").embed_text(TEXTS).shape == (2, 32)


@pytest.mark.parametrize("name", ["file", "full", "link"])
def test_nothing_that_is_there_is_overwritten(published: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.json").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    result = call(published, tmp_path / name)
    assert isinstance(result.exception, InputError)
    assert "is already there: name a new folder" in str(result.exception)
    assert (tmp_path / "full" / "config.json").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_source_onto_itself_is_refused(published: Path) -> None:
    before = {file.name: file.read_bytes() for file in published.iterdir()}
    assert isinstance(call(published, published).exception, InputError)
    assert {file.name: file.read_bytes() for file in published.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("nowhere", "out"), "'nowhere'"), (("{published}", "file/inside"), "file/inside")],
)
def test_what_cannot_be_done_is_said_in_one_line(
    published: Path, tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    (tmp_path / "file").touch()
    source = arguments[0].format(published=published)
    result = call(source, tmp_path / arguments[1])
    assert isinstance(result.exception, ClapMusicGenError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
