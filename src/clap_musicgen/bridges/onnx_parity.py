"""Whether ONNX graphs compute what the model does: test inputs through both, and how far apart.

Knows the graphs' files and the model; `bridges.onnx` writes them. The test inputs are made here, the
same every time: the figures say that the graphs are right, not how a model behaves on real music.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from clap_musicgen.audio.clips import pad_clips
from clap_musicgen.embedding import Embeddings, Waveform
from clap_musicgen.errors import CheckpointError
from clap_musicgen.model.audio_encoder import frame_count, normalise_loudness
from clap_musicgen.model.clap import ClapMusicGen

AUDIO, TEXT, TOKENIZER = "audio.onnx", "text.onnx", "tokenizer.json"
LEAST_COSINE = 0.9999
LEAST_WITH_TIES = 0.999
MOST_WRONG = 0.01
TIE = 1e-4
"""A code is a nearest neighbour, by squared distance. Where another is further by less than this share
of the squared lengths, rounding decides, among PyTorch's own kernels as well: silence, and codecs
without training, are full of such ties."""
NEGLIGIBLE = 1e-3
"""Distance from the mean of the test inputs, of unit vectors whose rounding is some 1e-6."""
WORDS = ("music", "dark metal", "slow jazz with piano", "Café, naïve: 90 bpm", "a")


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close vectors come to those wanted: the worst over all of them.

    Attributes:
        cosine: of whole vectors.
        centred_cosine: without what all wanted ones share, so that only differences count.
        deviation: of a single number.
    """

    cosine: float
    centred_cosine: float
    deviation: float

    def fault(self, what: str) -> str:
        """What is too far off, in words; "" where all is well."""
        lowest = min(self.cosine, self.centred_cosine)
        if lowest >= LEAST_COSINE:  # NaN is not
            return ""
        return f"{what}: cosine {lowest:.6f}, at least {LEAST_COSINE} is asked for"


@dataclass(frozen=True, slots=True)
class Parity:
    """How close onnxruntime comes to PyTorch on test inputs.

    Attributes:
        audio: vectors of clips, from the waveform on.
        same_codes: the same, where PyTorch is given the codes that onnxruntime found.
        text: vectors of texts.
        codes: share of the codec's codes that agree.
        wrong: share of frames that have a code which is neither PyTorch's nor as near as that.
        clips: how many were compared; silence and a short one are among them.
        texts: how many were compared.
    """

    audio: Closeness
    same_codes: Closeness
    text: Closeness
    codes: float
    wrong: float
    clips: int
    texts: int

    def faults(self) -> list[str]:
        """What is too far off, in words; empty where all is well."""
        found = [self.same_codes.fault("audio with the same codes"), self.text.fault("text")]
        if not self.wrong <= MOST_WRONG:
            found.append(f"{self.wrong:.2%} of the frames have a wrong code")
        if not self.audio.cosine >= LEAST_WITH_TIES:
            found.append(f"audio: cosine {self.audio.cosine:.6f}, at least {LEAST_WITH_TIES}")
        return [fault for fault in found if fault]


@dataclass(frozen=True, slots=True)
class Run:
    """What onnxruntime made of clips, and PyTorch of its codes, one row or entry per clip.

    Attributes:
        vectors: (N, D) by onnxruntime.
        same_codes: (N, D) by PyTorch, of the codes that onnxruntime found.
        agree: per code, whether it is PyTorch's.
        wrong: per frame, see `wrong_codes`.
    """

    vectors: Embeddings
    same_codes: Embeddings
    agree: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def measure(model: ClapMusicGen, folder: Path, *, music: Embeddings, words: Embeddings) -> Parity:
    """Run what lies in the folder on the probes.

    Args:
        model: what the graphs were made of.
        folder: holds both graphs and the tokenizer.
        music: the model's own embeddings of `probe_clips`.
        words: its own of `probe_texts`.
    """
    clips, texts = probe_clips(model), probe_texts(model)
    run = run_audio(model, folder / AUDIO, clips)
    return Parity(
        audio=closeness(run.vectors, music),
        same_codes=closeness(run.vectors, run.same_codes),
        text=closeness(run_text(folder, texts), words),
        codes=float(run.agree.mean()),
        wrong=float(run.wrong.mean()),
        clips=len(clips),
        texts=len(texts),
    )


def zero_padded(model: ClapMusicGen) -> bool:
    """Whether each clip is padded to full length, or encoded as long as it is."""
    return model.config.padding == "clip"


def shortest_clip(model: ClapMusicGen) -> int:
    """Samples that a clip must have; below, EnCodec pads by other rules than those in the graph.

    Its last convolution reflects half its kernel (all of it, if causal) of the frames.
    """
    if zero_padded(model):
        return 1
    codec = model.audio_encoder.codec.config
    kernel = int(codec.last_kernel_size)
    return (kernel - 1 if codec.use_causal_conv else kernel // 2) * model.audio_encoder.hop + 1


def probe_clips(model: ClapMusicGen) -> list[Waveform]:
    """Sounds like music, noise, silence, and short ones, always the same."""
    longest, shortest = model.audio_encoder.clip_samples, shortest_clip(model)
    generator = np.random.default_rng(0)
    noise = (0.05 * generator.standard_normal(longest)).astype(np.float32)
    sound = music_like(longest, model.sample_rate)
    tenth = max(longest // 10, shortest)
    return [sound, noise, np.zeros(longest, np.float32), sound[: longest // 2], noise[:tenth],
            sound[:shortest]]  # fmt: skip


def music_like(length: int, sample_rate: int) -> Waveform:
    """Struck chords with overtones that fade, over a little noise: (T,) float32."""
    time = np.arange(length) / sample_rate
    generator = np.random.default_rng(1)
    sound = 0.005 * generator.standard_normal(length)
    for start in np.arange(0.0, length / sample_rate, 0.25):
        since = np.clip(time - start, 0.0, None)
        for pitch in 110.0 * 2.0 ** (generator.integers(0, 36, size=3) / 12.0):
            tones = sum(np.sin(2 * np.pi * n * pitch * since) / n**2 for n in (1, 2, 3))
            sound += 0.1 * np.exp(-6.0 * since) * (time >= start) * tones
    return sound.astype(np.float32)


def probe_texts(model: ClapMusicGen) -> list[str]:
    """Texts that fill one window each."""
    return [text for text in WORDS if len(model.text_encoder.tokenize([text])[2]) == 1]


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors derive from Exception alone
        raise CheckpointError(
            f"onnxruntime {onnxruntime.__version__} cannot load {path.name} "
            f"({str(error).strip().splitlines()[0]})"
        ) from error


def run_audio(model: ClapMusicGen, path: Path, clips: Sequence[Waveform]) -> Run:
    """Clips through the graph: in one batch if they are padded, else one by one."""
    session = _session(path)
    groups = [clips] if zero_padded(model) else [[clip] for clip in clips]
    parts = []
    for group in groups:
        length = model.audio_encoder.clip_samples if zero_padded(model) else len(group[0])
        waveform, samples = pad_clips(group, length=length)
        vectors, codes = session.run(None, {"waveform": waveform, "samples": samples})
        parts.append(
            _compared(
                model,
                vectors,
                torch.from_numpy(codes),
                waveforms=torch.from_numpy(waveform),
                samples=torch.from_numpy(samples),
            )
        )
    return Run(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.same_codes for part in parts]),
        np.concatenate([part.agree for part in parts]),
        np.concatenate([part.wrong for part in parts]),
    )


@torch.inference_mode()
def _compared(
    model: ClapMusicGen, vectors: Embeddings, codes: Tensor, *, waveforms: Tensor, samples: Tensor
) -> Run:
    encoder = model.audio_encoder
    agree = codes == encoder.encode(waveforms, samples)
    pooled = encoder.pool(codes, frame_count(samples, encoder.hop))
    if encoder.config.loudness == "rms":
        waveforms = normalise_loudness(waveforms, samples)
    latents = encoder.codec.encoder(waveforms.unsqueeze(1)).transpose(1, 2)
    books = [layer.codebook.embed for layer in encoder.codec.quantizer.layers]
    return Run(
        vectors,
        model.audio_projection(pooled).numpy(),
        agree.numpy().ravel(),
        wrong_codes(codes, latents, books[: encoder.codebooks]).numpy().ravel(),
    )


def wrong_codes(codes: Tensor, latents: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
    """Which frames are quantised wrongly: (B, K, T), (B, T, C), K × (entries, C) → (B, T) bool.

    Each codebook takes the nearest entry to what those before it left over (residual quantisation:
    Zeghidour et al. 2021, arXiv:2107.03312, section 3.3), so after a tie another rest is quantised.
    """
    wrong = torch.zeros(codes.shape[0], codes.shape[2], dtype=torch.bool)
    rest = latents.double()
    for chosen, book in zip(codes.unbind(dim=1), codebooks, strict=True):
        entries = book.double()
        entry = entries[chosen]
        nearest = torch.cdist(rest, entries.expand(len(rest), -1, -1)).amin(dim=2).square()
        further = (rest - entry).square().sum(dim=2) - nearest
        wrong |= further > TIE * (rest.square().sum(dim=2) + entry.square().sum(dim=2))
        rest = rest - entry
    return wrong


def run_text(folder: Path, texts: Sequence[str]) -> Embeddings:
    """Embeddings of texts by what lies in the folder alone."""
    encoded = Tokenizer.from_file(str(folder / TOKENIZER)).encode_batch(list(texts))
    given = {
        "ids": np.array([text.ids for text in encoded], dtype=np.int64),
        "mask": np.array([text.attention_mask for text in encoded], dtype=np.int64),
    }
    return cast(Embeddings, _session(folder / TEXT).run(None, given)[0])


def closeness(own: Embeddings, wanted: Embeddings) -> Closeness:
    """Compare rows (N, D).

    A row that hardly differs from the mean has no direction left but rounding, and does not count
    as centred; where none has one, the centred cosine is the other.
    """
    mean = wanted.mean(axis=0, dtype=np.float64)
    whole = _cosines(own, wanted)
    far = np.linalg.norm(wanted - mean, axis=1) > NEGLIGIBLE
    centred = _cosines(own[far] - mean, wanted[far] - mean) if far.any() else whole
    return Closeness(float(whole.min()), float(centred.min()), float(np.abs(own - wanted).max()))


def _cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(scale, 1e-12))
