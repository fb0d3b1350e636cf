"""Stage 2: a small EnCodec-type codec, 32 kHz, 50 Hz, 4 codebooks of 1,024.

    python recipes/mini/codec.py --corpus corpus/audio --out runs/mini/codec --profile gpu

Reconstruction loss on the waveform and on mel spectrograms of several resolutions; residual
codebooks learn by exponential moving averages, straight through, and dead entries are drawn anew
from the batch (van den Oord et al. 2017, arXiv:1711.00937; Défossez et al. 2022,
arXiv:2210.13438). The decoder exists for training only and is not shipped.
Writes `codec.safetensors` (encoder and codebooks, rounded to half precision as they ship).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import Corpus, Trainer, pick_device, step_generator
from safetensors.torch import save_file
from settings import CODEBOOK_SIZE, CODEBOOKS, CODEC, PROFILES, SAMPLE_RATE, SEED, model_config
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EncodecConfig, EncodecModel
from transformers.audio_utils import mel_filter_bank

from clap_musicgen.model.audio_encoder import TARGET_RMS, build_codec, fold_weight_norm

DECAY = 0.99
DEAD = 0.05
"""An entry that a batch's moving average uses less than this is drawn anew."""


class ResidualQuantizer(nn.Module):
    """Codebooks (K, V, D) that follow the latents by exponential moving averages."""

    embed: Tensor
    used: Tensor
    total: Tensor
    ready: Tensor

    def __init__(self, codebooks: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("embed", torch.randn(codebooks, size, dim))
        self.register_buffer("used", torch.ones(codebooks, size))
        self.register_buffer("total", torch.zeros(codebooks, size, dim))
        self.register_buffer("ready", torch.zeros(codebooks, dtype=torch.bool))

    def forward(self, latents: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, T) → quantised (B, D, T), commitment loss, perplexity of the first codebook.

        `depth` is how many codebooks are used; 0 passes the latents through.
        """
        if depth == 0:
            return latents, latents.new_zeros(()), latents.new_zeros(())
        flat = latents.transpose(1, 2).reshape(-1, latents.shape[1])
        residual, summed = flat, torch.zeros_like(flat)
        commitment = flat.new_zeros(())
        perplexity = flat.new_zeros(())
        for k in range(depth):
            codes = self._nearest(residual.detach(), k)
            if self.training:
                self._follow(residual.detach(), codes, k)
            chosen = self.embed[k][codes]
            commitment = commitment + F.mse_loss(residual, chosen)
            if k == 0:
                share = torch.bincount(codes, minlength=self.embed.shape[1]) / len(codes)
                perplexity = torch.exp(-(share * (share + 1e-10).log()).sum())
            residual, summed = residual - chosen, summed + chosen
        through = flat + (summed - flat).detach()
        return (
            through.view(len(latents), -1, latents.shape[1]).transpose(1, 2),
            commitment,
            perplexity,
        )

    def _nearest(self, residual: Tensor, k: int) -> Tensor:
        if not self.ready[k]:
            self._draw(residual, k, torch.ones_like(self.used[k], dtype=torch.bool))
            self.ready[k] = True
        return torch.cdist(residual, self.embed[k]).argmin(dim=1)

    def _follow(self, residual: Tensor, codes: Tensor, k: int) -> None:
        counts = torch.bincount(codes, minlength=self.embed.shape[1]).to(residual.dtype)
        sums = torch.zeros_like(self.total[k]).index_add_(0, codes, residual)
        self.used[k].mul_(DECAY).add_(counts, alpha=1 - DECAY)
        self.total[k].mul_(DECAY).add_(sums, alpha=1 - DECAY)
        self.embed[k] = self.total[k] / self.used[k].clamp(min=1e-5).unsqueeze(1)
        dead = self.used[k] < DEAD
        if dead.any():
            self._draw(residual, k, dead)

    def _draw(self, residual: Tensor, k: int, where: Tensor) -> None:
        drawn = residual[torch.randint(len(residual), (int(where.sum()),), device=residual.device)]
        self.embed[k, where] = drawn
        self.used[k, where] = 1.0
        self.total[k, where] = drawn


class Codec(nn.Module):
    """Encoder, quantiser and a decoder of half the width, which is for training only."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = EncodecModel(EncodecConfig(**CODEC)).encoder
        self.decoder = EncodecModel(
            EncodecConfig(**{**CODEC, "num_filters": CODEC["num_filters"] // 2})
        ).decoder
        self.quantizer = ResidualQuantizer(CODEBOOKS, CODEBOOK_SIZE, CODEC["hidden_size"])

    def forward(self, waveforms: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T) → reconstruction (B, T), commitment loss, perplexity."""
        latents, commitment, perplexity = self.quantizer(
            self.encoder(waveforms.unsqueeze(1)), depth
        )
        return self.decoder(latents)[:, 0, : waveforms.shape[1]], commitment, perplexity


class MelLoss(nn.Module):
    """L1 on mel magnitudes plus L2 on their logarithms at three window lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.windows = (512, 1024, 2048)
        for n in self.windows:
            bank = mel_filter_bank(n // 2 + 1, n // 16, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE)
            self.register_buffer(f"bank{n}", torch.tensor(bank, dtype=torch.float32))
            self.register_buffer(f"window{n}", torch.hann_window(n))

    def _mel(self, waveforms: Tensor, n: int) -> Tensor:
        window, bank = self.get_buffer(f"window{n}"), self.get_buffer(f"bank{n}")
        spectrum = torch.stft(waveforms, n, n // 4, window=window, return_complex=True).abs()
        return spectrum.transpose(1, 2) @ bank

    def forward(self, target: Tensor, output: Tensor) -> Tensor:
        """(B, T), (B, T) → scalar."""
        loss = target.new_zeros(())
        for n in self.windows:
            wanted, got = self._mel(target, n), self._mel(output, n)
            logs = (wanted + 1e-3).log() - (got + 1e-3).log()
            loss = (
                loss
                + F.l1_loss(got, wanted)
                + logs.square().mean(dim=2).clamp(min=1e-8).sqrt().mean()
            )
        return loss / len(self.windows)


class Crops:
    """Random crops of the corpus, near one loudness; the whole corpus on the GPU where it fits."""

    def __init__(self, corpus: Corpus, seconds: float, device: torch.device, most: float) -> None:
        self.length = round(seconds * SAMPLE_RATE)
        order = np.random.default_rng(SEED).permutation(len(corpus.rows))
        rows, size, weights = [], 0, corpus.weights()
        for n in order:
            row = corpus.rows[n]
            if row.samples >= self.length and size + row.samples * 2 < most:
                rows.append(n)
                size += row.samples * 2
        pieces = [corpus.samples(corpus.rows[n]) for n in rows]
        lengths = np.array([len(p) for p in pieces])
        self.spans = torch.from_numpy(lengths - self.length)
        self.starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]))
        rms = [max(float(np.sqrt(np.mean(np.square(p[::7] / 32768.0)))), 1e-3) for p in pieces]
        self.gains = torch.tensor([TARGET_RMS / r / 32768.0 for r in rms])
        self.audio = torch.from_numpy(np.concatenate(pieces)).to(device)
        self.weights = torch.from_numpy(weights[rows])
        self.device = device

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """(batch, length) float32."""
        rows = torch.multinomial(self.weights, batch, replacement=True, generator=generator)
        where = (torch.rand(batch, generator=generator) * (self.spans[rows] + 1)).long()
        jitter = 10 ** (torch.rand(batch, generator=generator) * 0.6 - 0.3)  # -6 to +6 dB
        index = (self.starts[rows] + where).unsqueeze(1) + torch.arange(self.length)
        gain = (self.gains[rows] * jitter).unsqueeze(1)
        return self.audio[index.to(self.device)].float() * gain.to(self.device)


def train(corpus: Path, out: Path, profile_name: str, device: torch.device) -> Codec:
    """Run or resume the stage."""
    profile = PROFILES[profile_name]
    crops = Crops(Corpus(corpus, split="train"), profile.codec_seconds, device, most=16e9)
    codec, mel = Codec().to(device), MelLoss().to(device)
    optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-3, betas=(0.8, 0.99), weight_decay=0.0)

    # Latents of random weights are all alike: codebooks drawn from them would collapse.
    unquantised = profile.codec_steps // 12

    def loss_of(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        waveforms = crops.draw(profile.codec_batch, generator)
        depth = CODEBOOKS if step % 4 else 1 + step // 4 % CODEBOOKS  # so that fewer work as well
        depth = 0 if step < unquantised else depth
        output, commitment, perplexity = codec(waveforms, depth)
        spectral = mel(waveforms, output)
        loss = spectral + 0.5 * F.l1_loss(output, waveforms) / TARGET_RMS + 0.25 * commitment
        if step % 20:
            return loss, {}
        return loss, {
            "mel": spectral.item(),
            "commit": commitment.item(),
            "used": perplexity.item(),
        }

    codec.train()
    Trainer(out, codec, optimizer, profile.codec_steps, save_every=500).run(loss_of)
    validate(
        codec, mel, Crops(Corpus(corpus, split="val"), profile.codec_seconds, device, 1e9), out
    )
    return codec.eval()


@torch.no_grad()
def validate(codec: Codec, mel: MelLoss, crops: Crops, out: Path) -> None:
    """Mel loss and signal-to-noise ratio on the validation split, with 1 to 4 codebooks."""
    codec.eval()
    report: dict[str, float] = {}
    waveforms = crops.draw(64, step_generator(-1))
    for depth in range(1, CODEBOOKS + 1):
        output, _, perplexity = codec(waveforms, depth)
        noise = (output - waveforms).square().mean(dim=1).clamp(min=1e-9)
        ratio = 10 * torch.log10(waveforms.square().mean(dim=1).clamp(min=1e-9) / noise)
        report[f"mel_{depth}"] = mel(waveforms, output).item()
        report[f"snr_db_{depth}"] = ratio.mean().item()
        report["perplexity_first"] = perplexity.item()
    (out / "validation.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report), flush=True)


def export(codec: Codec, out: Path) -> None:
    """Encoder and codebooks under the names of the shipped model, in half precision."""
    fold_weight_norm(codec.encoder)
    shipped = build_codec(model_config())
    weights = {f"encoder.{k}": v for k, v in codec.encoder.state_dict().items()}
    for k in range(CODEBOOKS):
        weights[f"quantizer.layers.{k}.codebook.embed"] = codec.quantizer.embed[k]
    shipped.load_state_dict(weights)
    half = {k: v.cpu().half().contiguous() for k, v in shipped.state_dict().items()}
    save_file(half, out / "codec.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profile", choices=PROFILES, default="cpu")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    codec = train(args.corpus, args.out, args.profile, pick_device(args.device))
    export(codec, args.out)


if __name__ == "__main__":
    main()
