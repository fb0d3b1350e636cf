"""`assemble` on tiny checkpoints, and the training that follows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner, Result

from backbone_factory import LAYERS, change_config, clip, write_musicgen, write_roberta
from clap_musicgen.cli.assembling import assemble
from clap_musicgen.cli.training import train
from clap_musicgen.errors import CheckpointError, ClapMusicGenError, InputError
from clap_musicgen.model.backbones import read_backbones
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.training import features
from clap_musicgen.training.manifest import read_manifest
from training_music import write_music

app = typer.Typer()
app.command()(assemble)
app.command()(train)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assemble")
    write_musicgen(folder / "musicgen")
    write_roberta(folder / "roberta")
    return folder


def call(folder: Path, out: Path, *arguments: str) -> Result:
    given = ["assemble", out, "--musicgen", folder / "musicgen", "--text", folder / "roberta"]
    return CliRunner().invoke(app, [*map(str, given), *arguments])


def test_it_writes_the_parts_and_says_that_they_are_untrained(folder: Path, tmp_path: Path) -> None:
    result = call(folder, tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert "UNTRAINED" in result.stdout
    assert f"--from {tmp_path / 'new'} --fresh" in result.stdout
    assert "CC BY-NC 4.0" in result.stderr
    model = ClapMusicGen.from_pretrained(tmp_path / "new")
    parts = read_backbones(folder / "musicgen", folder / "roberta")
    assert model.config == parts.config
    weights = model.state_dict()
    assert all(np.array_equal(weights[k].numpy(), v.numpy()) for k, v in parts.weights.items())


def test_each_option_reaches_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    options = (
        "--layers", "1", "--layers", str(LAYERS), "--pooling", "mean_std", "--combine", "concat",
        "--no-delay", "--positions", "zero", "--dim", "7", "--clip-seconds", "0.5", "--seed", "3",
        "--json",
    )  # fmt: skip
    report = json.loads(call(folder, tmp_path / "one", *options).stdout)
    model = ClapMusicGen.from_pretrained(tmp_path / "one")
    config = model.config
    assert config.layers == (1, LAYERS)
    assert (config.pooling, config.combine, config.positions) == ("mean_std", "concat", "zero")
    assert (config.delay, config.dim, config.clip_seconds) == (False, 7, 0.5)
    assert report == {
        "folder": str(tmp_path / "one"),
        "name": config.name,
        "trained": False,
        "layers": [1, LAYERS],
        "dim": 7,
        "parameters": sum(p.numel() for p in model.parameters()),
        "fingerprint": model.fingerprint,
    }
    again = json.loads(call(folder, tmp_path / "two", *options).stdout)
    assert again["fingerprint"] == report["fingerprint"]
    other = json.loads(call(folder, tmp_path / "three", *options, "--seed", "4").stdout)
    assert other["fingerprint"] != report["fingerprint"]


def test_what_is_there_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        result = call(folder, tmp_path / name)
        assert isinstance(result.exception, InputError)
        assert "no empty folder" in str(result.exception)
    assert (tmp_path / "full" / "diary.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert call(folder, tmp_path / "empty").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--musicgen", "absent"), "'absent'"),
        (("--text", "absent"), "'absent'"),
        (("--layers", "9"), "between 0 and the decoder's 4 layers"),
        (("--pooling", "median"), "pooling"),
        (("--clip-seconds", "0"), "clip_seconds"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    folder: Path, tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    result = call(folder, tmp_path / "new", *arguments)
    assert isinstance(result.exception, ClapMusicGenError)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "new").exists()


def test_stereo_is_answered(folder: Path, tmp_path: Path) -> None:
    write_musicgen(tmp_path / "stereo")
    change_config(tmp_path / "stereo", {"num_codebooks": 8, "audio_channels": 2}, inside="decoder")
    result = call(folder, tmp_path / "new", "--musicgen", str(tmp_path / "stereo"))
    assert isinstance(result.exception, CheckpointError)
    assert "stereo" in str(result.exception)
    assert "facebook/musicgen-small" in str(result.exception)


@pytest.mark.slow
def test_assembled_then_trained(folder: Path, tmp_path: Path) -> None:
    """The whole journey: two checkpoints of others, a manifest, a model that has learned."""
    start, run = tmp_path / "start", tmp_path / "run"
    assert call(folder, start, "--clip-seconds", "0.5", "--dim", "16").exit_code == 0
    manifest = write_music(tmp_path / "music")
    result = CliRunner().invoke(
        app,
        [
            "train", str(manifest), "--from", str(start), "--fresh", "--out", str(run),
            "--steps", "60", "--batch", "32", "--learning-rate", "0.003", "--json",
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["failed"] == 0
    assert report["after"] > report["chance"]
    assert report["verdict"] == "better"
    model, before = ClapMusicGen.from_pretrained(run), ClapMusicGen.from_pretrained(start)
    assert model.fingerprint != before.fingerprint
    kept, given = model.audio_encoder.state_dict(), before.audio_encoder.state_dict()
    assert all(np.array_equal(kept[k].numpy(), given[k].numpy()) for k in given)
    vectors = model.embed_audio([clip(1.0)[0].numpy()])
    assert vectors.shape == (1, 16)


@pytest.mark.slow
def test_tracks_shorter_than_a_clip_train_as_they_will_be_embedded(
    folder: Path, tmp_path: Path
) -> None:
    """Each is read at its own length; what training saw is what the checkpoint computes."""
    start, run = tmp_path / "start", tmp_path / "run"
    assert call(folder, start, "--clip-seconds", "2", "--dim", "8").exit_code == 0
    manifest = write_music(tmp_path / "music", each=6)
    short = tmp_path / "music" / "low 0.wav"
    samples, rate = soundfile.read(short)
    soundfile.write(short, samples[: len(samples) // 3], rate)
    arguments = ["--from", str(start), "--fresh", "--out", str(run), "--steps", "4"]
    result = CliRunner().invoke(app, ["train", str(manifest), *arguments, "--json"])
    assert result.exit_code == 0, result.output
    model = ClapMusicGen.from_pretrained(start)
    examples = read_manifest(manifest)
    stored = features.load(examples, model, run / "features")
    seen = features.select(stored.states, layers=model.config.layers, pooling=model.config.pooling)
    for row, number in enumerate(stored.example.tolist()):
        waveform, _ = soundfile.read(examples[number].audio, dtype="float32")
        clip_of_it = torch.from_numpy(waveform).unsqueeze(0)
        with torch.no_grad():
            ours = model.audio_encoder(clip_of_it, torch.tensor([len(waveform)]))
        assert torch.allclose(seen[row], ours[0], atol=5e-3, rtol=2e-3), examples[number].audio
