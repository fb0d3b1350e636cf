"""The sides of the benchmarks are what they are called, and the scripts about them run whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    ClapFeatureExtractor,
    EncodecConfig,
    EncodecModel,
    MusicgenDecoderConfig,
)
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import flops
import gpu
import peers
import roofline
import sides
import sizes
import sounds
from clap_musicgen import ClapMusicGen
from clap_musicgen.model.audio_encoder import fold_weight_norm
from clap_musicgen.model.config import ModelConfig
from clap_musicgen.model.projection import Projection

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = sides.Setting(tiny=True, longest=0.6)


def millions(build: Any, **given: Any) -> float:
    """Weights of a module, without making them."""
    with torch.device("meta"):
        return float(sum(p.numel() for p in build(**given).parameters())) / 1e6


def test_the_peers_have_their_sizes() -> None:
    assert millions(peers.Mert) == pytest.approx(95, rel=0.02)
    assert millions(peers.Muq) == pytest.approx(310, rel=0.06)
    assert millions(peers.Conformer) == pytest.approx(310, rel=0.06)
    large = millions(peers.ClapAudio, config=sizes.clap_config(large=True))
    small = millions(peers.ClapAudio, config=sizes.clap_config(large=False))
    assert large == pytest.approx(68, rel=0.02)  # HTSAT-base
    assert small == pytest.approx(28, rel=0.02)  # HTSAT-tiny


def test_the_peers_have_their_frame_rates() -> None:
    hop = int(np.prod(sizes.mert_config().conv_stride))
    assert sizes.MERT_RATE / hop == 75
    muq = peers.Muq(tiny=True).eval()
    second = muq.mels(torch.zeros(1, sizes.MUQ_RATE))
    assert second.shape == (1, 1, sizes.MUQ_MELS, 100)
    assert muq.stages(second).shape[-2:] == (sizes.MUQ_MELS // 4, 25)


def test_the_clap_configurations_are_those_of_the_checkpoints() -> None:
    audio = sizes.clap_config(large=True).audio_config
    assert (audio.patch_embeds_hidden_size, tuple(audio.depths)) == (128, (2, 2, 12, 2))
    assert (audio.hidden_size, tuple(audio.num_attention_heads)) == (1024, (4, 8, 16, 32))
    audio = sizes.clap_config(large=False).audio_config
    assert (audio.patch_embeds_hidden_size, tuple(audio.depths)) == (96, (2, 2, 6, 2))
    assert (audio.num_mel_bins, audio.spec_size, audio.hidden_size) == (64, 256, 768)
    assert not audio.enable_fusion
    extractor = ClapFeatureExtractor(**sizes.CLAP_EXTRACTOR)
    assert (extractor.sampling_rate, extractor.hop_length, extractor.feature_size) == (
        48_000,
        480,
        64,
    )


def test_every_side_embeds_and_takes_the_same_seconds() -> None:
    for key in sides.AUDIO_KEYS:
        if key.startswith("mini"):
            continue  # its own tests run it
        side = sides.build(key, TINY)
        clips = side.clips(0.6, 2)
        assert sum(map(len, clips)) == pytest.approx(2 * 0.6 * side.sample_rate)
        assert len(side.run(side.prepare(clips))) == 2


def test_the_published_size_gives_what_the_proof_of_concept_gives(tmp_path: Path) -> None:
    """Same weights, its way and ours: so both sides of the comparison do the same work."""
    sides.write_published(tmp_path, whole=True, setting=TINY)
    model = ClapMusicGen.from_pretrained(tmp_path)
    theirs = peers.ProofOfConcept(tiny=True).eval()
    fold_weight_norm(theirs.encodec)
    tower = model.audio_encoder
    codec: Any = tower.codec
    with torch.no_grad():  # untrained, all frames are alike: few codes, and all but positions small
        for layer in codec.quantizer.layers:
            layer.codebook.embed.mul_(0.02)
        for weight in tower.decoder.parameters():
            weight.mul_(20.0 if weight.dim() > 1 else 1.0)
    theirs.encodec.load_state_dict(tower.codec.state_dict(), strict=False)
    theirs.transformer.load_state_dict(tower.decoder.state_dict(), strict=False)
    theirs.projection.load_state_dict(model.audio_projection.state_dict())
    clips = sounds.noise(0.5, rate=32_000, count=2)
    with torch.inference_mode():
        waveforms = torch.from_numpy(np.stack(clips))
        codes = tower.encode(waveforms, torch.tensor([16_000] * 2))
        assert len(set(codes.flatten().tolist())) > 8
        expected = theirs(waveforms).numpy()
    np.testing.assert_allclose(model.embed_clips(clips), expected, atol=1e-4)


def test_pieces_cover_a_sound() -> None:
    side = sides.build("clap-tiny-mel", TINY)
    sound = np.arange(25 * side.sample_rate, dtype=np.float32)
    pieces = side.pieces(sound)
    assert [len(p) / side.sample_rate for p in pieces] == [10, 10, 5]
    np.testing.assert_array_equal(np.concatenate(pieces), sound)
    assert sides.padded(pieces[1:]).shape == (2, 10 * side.sample_rate)


# Operations ---------------------------------------------------------------------------------------


def counted(module: Any, *given: Any, **named: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*given, **named)
    return int(counter.get_total_flops())


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("samples", [32_000, 12_345])
def test_operations_are_those_that_the_counter_counts(samples: int, shortcut: bool) -> None:
    config = sizes.published_config(whole=True, clip_seconds=1.0, tiny=True)
    codec_fields = {**config.codec, "use_conv_shortcut": shortcut, "num_residual_layers": 2}
    config = ModelConfig(**{**config.__dict__, "codec": codec_fields})
    encodec = EncodecModel(EncodecConfig(**codec_fields)).eval()
    fold_weight_norm(encodec)
    found = flops.clip_flops(config, samples)
    waveform = torch.randn(1, 1, samples)
    assert found["convolutions"] == counted(encodec.encoder, waveform)  # it knows no LSTM
    frames = encodec.encode(waveform).audio_codes.shape[-1]
    assert found["quantiser"] == counted(encodec.quantizer.encode, torch.randn(1, 8, frames))


@pytest.mark.parametrize("delay", [False, True])
def test_operations_of_the_decoder_and_the_projection(delay: bool) -> None:
    config = sizes.published_config(whole=True, clip_seconds=1.0, tiny=True)
    config = ModelConfig(**{**config.__dict__, "delay": delay, "pooling": "mean_std"})
    fields = MusicgenDecoderConfig(**config.decoder, attn_implementation="eager")
    decoder = MusicgenDecoder(fields).eval()
    found = flops.clip_flops(config, 32_000)
    steps = 50 + (4 if delay else 0)
    whole = counted(decoder, input_ids=torch.zeros(4, steps, dtype=torch.long), use_cache=False)
    assert found["linear maps"] + found["attention"] == whole
    projection = Projection(2 * 32, 16, 32)
    assert found["projection"] == counted(projection, torch.randn(1, 64))


def test_operations_of_the_lstm_are_four_gates_of_two_products() -> None:
    config = EncodecConfig(**sizes.codec_fields(tiny=False))
    naive = 0
    for _frame in range(7):
        for _layer in range(2):
            for _gate in range(4):
                naive += 2 * (1024 * 1024) + 2 * (1024 * 1024)
    assert flops.lstm_flops(config, 7) == naive


def test_a_padded_clip_costs_all_that_it_is_padded_to() -> None:
    config = sizes.published_config(whole=True, clip_seconds=10.0)
    assert flops.samples_of(config, 2.0) == 64_000
    padded = ModelConfig(**{**config.__dict__, "padding": "clip"})
    assert flops.samples_of(padded, 2.0) == 320_000


# Scripts ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_roofline(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--tiny", "--batch", "1", "--seconds", "0.3", "--sizes", "32", "64", "--json"]
    assert roofline.main(["--sides", "published-12-fast", *small]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(rate["flops_per_second"] > 0 for rate in found["rates"])
    rows = {row["part"]: row for row in found["sides"]["published-12-fast"]}
    parts = sum(row["gflop"] for name, row in rows.items() if name != "whole")
    assert rows["whole"]["gflop"] == pytest.approx(parts)
    assert rows["linear maps"]["roof"] == "int8"
    for row in rows.values():
        assert row["milliseconds"] >= 0
        assert row["percent"] >= 0


def test_the_roof_is_the_best_rate_of_its_kind() -> None:
    rates = [
        {"size": n, "kind": kind, "flops_per_second": rate}
        for n, kind, rate in ((1, "fp32, a", 5.0), (2, "fp32, b", 7.0), (1, "int8, c", 9.0))
    ]
    assert roofline.roof(rates, "fp32") == 7.0
    assert roofline.roof(rates, "int8") == 9.0
    assert roofline.roof(rates[:2], "int8") == 7.0


def test_gpu_on_the_processor_takes_the_same_path(capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["published-12-fast", "proof", "clap-tiny", "mert", "muq"]
    small = ["--device", "cpu", "--tiny", "--rounds", "1", "--seconds", "0.5", "--json"]
    assert gpu.main(["--only", *keys, "--batches", "1", "2", "--peak-sizes", "16", *small]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["key"], row["batch"]) for row in rows] == [(k, b) for k in keys for b in (1, 2)]
    for row in rows:
        assert row["clips_per_second"] > 0
        assert row["gflop_per_clip"] > 0
        assert row["percent_of_peak"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_without_one_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 0
    assert capsys.readouterr().out == "no CUDA GPU here: nothing to measure\n"


PEAK = """
import memory
before = memory.peak_bytes()
block = bytearray(2**28)
for place in range(0, len(block), 4096):
    block[place] = 1
del block
print(before, memory.peak_bytes())
"""


def test_peak_memory_sees_what_was_freed_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before + 0.99 * 2**28 < after < before + 2**29


@pytest.mark.slow
def test_memory_measures_in_processes_of_their_own() -> None:
    command = [sys.executable, str(BENCHMARKS / "memory.py"), "--tiny", "--json"]
    command += ["--seconds", "0.5", "--track-seconds", "2"]
    command += ["--only", "published-12", "--tasks", "track"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["libraries"] < found["peaks"]["published-12"]["track"]
