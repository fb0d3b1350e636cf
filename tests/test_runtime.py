"""The allocator switch changes no number; each way to run the tower gives the tower's states."""

from __future__ import annotations

import copy
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import clap_musicgen.model.runtime as runtime_module
from audio_factory import melody
from clap_musicgen.embedding import Waveform
from clap_musicgen.errors import InputError
from clap_musicgen.model.clap import ClapMusicGen
from clap_musicgen.model.kernels import packed_kernels
from clap_musicgen.model.runtime import Batched, Plain, Runtime, build_runtime, recipe
from conftest import lively

CHILD = """
from clap_musicgen.model.runtime import keep_large_buffers
import torch
torch.manual_seed(0)
conv, x = torch.nn.Conv1d(1, 8, 7), torch.randn(1, 1, 400_000)
before = conv(x)
took = keep_large_buffers()
print(took, torch.equal(before, conv(x)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["True", "True"]


# How the tower is run


def clips_of(model: ClapMusicGen) -> list[Waveform]:
    """Whole clips and short ones, loud and quiet."""
    longest = model.audio_encoder.clip_samples
    lengths = [longest, longest // 3, 17, longest, longest - 1]
    sounds = [melody(1, sample_rate=model.sample_rate, seed=n) for n in range(len(lengths))]
    return [sound[:length] for sound, length in zip(sounds, lengths, strict=True)]


@pytest.fixture(params=["clip", "none"])
def model(request: pytest.FixtureRequest) -> ClapMusicGen:
    return lively(padding=request.param, layers=(1, 3), pooling="mean_std")


def pooled(runtime: Runtime, clips: list[Waveform]) -> Tensor:
    with torch.inference_mode():
        return runtime.pooled(clips)


def test_every_way_gives_the_tower_s_states(model: ClapMusicGen) -> None:
    tower, clips = model.audio_encoder, clips_of(model)
    plain = pooled(Plain(tower), clips)
    for clip, row in zip(clips, plain, strict=True):
        waveform = torch.zeros(1, tower.clip_samples)
        waveform[0, : len(clip)] = torch.tensor(clip)
        with torch.inference_mode():
            slow = tower(waveform, torch.tensor([len(clip)]))[0]
        torch.testing.assert_close(row, slow, atol=1e-5, rtol=1e-4)
    exact = pooled(build_runtime(tower, "exact"), clips)
    torch.testing.assert_close(exact, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_a_clip_has_the_same_bits_in_every_batch(model: ClapMusicGen, precision: str) -> None:
    model.use(precision)
    clips = clips_of(model)
    together = model.embed_clips(clips)
    assert not np.allclose(together[0], together[3], atol=1e-3)  # it does tell sounds apart
    alone = np.concatenate([model.embed_clips([clip]) for clip in clips])
    backwards = model.embed_clips(clips[::-1])[::-1]
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_fast_has_a_fingerprint_of_its_own(model: ClapMusicGen) -> None:
    exact = model.fingerprint
    model.use("fast")
    rounded = recipe(model.audio_encoder, "fast")
    assert rounded in {"int8", ""}
    assert model.fingerprint == (f"{exact}-{rounded}" if rounded else exact)
    model.use("exact")
    assert model.fingerprint == exact
    with pytest.raises(InputError, match="'quick'"):
        model.use("quick")


@pytest.mark.skipif(not packed_kernels(), reason="no packed kernels on this machine")
def test_fast_stays_near_on_music(mini: ClapMusicGen) -> None:
    clips = [melody(10, sample_rate=mini.sample_rate, seed=seed) for seed in range(6)]
    exact = mini.embed_clips(clips)
    fast = ClapMusicGen.from_pretrained("mini", precision="fast").embed_clips(clips)
    centred, rounded = exact - exact.mean(axis=0), fast - exact.mean(axis=0)
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(rounded, axis=1)
    cosines = (centred * rounded).sum(axis=1) / norms
    assert cosines.min() > 0.999
    assert not np.array_equal(exact, fast)


def test_trained_weights_are_packed_anew(model: ClapMusicGen) -> None:
    clips = clips_of(model)
    before = model.embed_clips(clips)
    with torch.no_grad():
        model.audio_encoder.decoder.layers[0].fc1.weight.mul_(200)
    after = model.embed_clips(clips)
    assert not np.allclose(before, after, atol=1e-4)
    assert np.array_equal(after, copy.deepcopy(model).embed_clips(clips))


def test_no_packed_kernels_no_difference(
    model: ClapMusicGen, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = clips_of(model)
    packed = model.embed_clips(clips)
    monkeypatch.setattr(runtime_module, "packed_kernels", lambda: False)
    model.use("fast")
    assert recipe(model.audio_encoder, "fast") == ""
    np.testing.assert_allclose(model.embed_clips(clips), packed, atol=1e-5)


def test_the_way_of_a_gpu_runs_here_too(model: ClapMusicGen) -> None:
    tower, clips = model.audio_encoder, clips_of(model)[:1]
    batched = pooled(Batched(tower), clips * 3)
    plain = pooled(Plain(tower), clips * 3)
    assert batched.dtype == torch.float32
    assert nn.functional.cosine_similarity(batched, plain).min() > 0.999
