"""The peers beside which the package is measured, as modules: waveforms (B, T) → vectors (B, D).

Random weights throughout: what is measured does not depend on them, and nothing is downloaded.
Each is transformers' own code in its default settings, evaluated eagerly, as its users run it. The
quality of these models is no subject here.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import (
    ClapAudioModelWithProjection,
    ClapConfig,
    ClapTextModelWithProjection,
    EncodecConfig,
    EncodecModel,
    HubertModel,
    MusicgenDecoderConfig,
    Wav2Vec2ConformerModel,
)
from transformers.audio_utils import mel_filter_bank
from transformers.models.musicgen.modeling_musicgen import MusicgenDecoder
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
    Wav2Vec2ConformerEncoder,
)

import sizes
from clap_musicgen.model.projection import Projection


class ProofOfConcept(nn.Module):
    """The published model's own way to an embedding: all that its code does, and how it does it.

    The codec as loaded (weight norm is worked out anew in every call), the embeddings of the codes
    summed by hand and given as `inputs_embeds`, all layers with a cache nobody reads, the last
    frame, the projection.
    """

    def __init__(self, *, tiny: bool = False) -> None:
        super().__init__()
        self.encodec = EncodecModel(EncodecConfig(**sizes.codec_fields(tiny=tiny)))
        decoder = MusicgenDecoderConfig(**sizes.decoder_fields(tiny=tiny))
        self.transformer = MusicgenDecoder(decoder)
        fill_codebooks(self.encodec)
        hidden, dim = (16, 32) if tiny else (512, 1024)
        self.projection = Projection(decoder.hidden_size, hidden, dim)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T) at 32 kHz → (B, D)."""
        codes = self.encodec.encode(waveforms.unsqueeze(1)).audio_codes[0]  # (B, K, frames)
        tables = self.transformer.embed_tokens
        embedded = sum(tables[k](codes[:, k]) for k in range(codes.shape[1]))
        states = self.transformer(inputs_embeds=embedded).last_hidden_state
        return cast(Tensor, self.projection(states[:, -1]))


def fill_codebooks(codec: EncodecModel) -> None:
    """Give an untrained codec's codebooks, which transformers leaves at zero, random entries."""
    for layer in codec.quantizer.layers:
        nn.init.normal_(layer.codebook.embed)


class Mert(nn.Module):
    """The shape of MERT-95M: HuBERT-base on 24 kHz; the mean over its 75 frames a second."""

    def __init__(self, *, tiny: bool = False) -> None:
        super().__init__()
        self.hubert = HubertModel(sizes.mert_config(tiny=tiny))

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T) at 24 kHz → (B, 768)."""
        return cast(Tensor, self.hubert(waveforms).last_hidden_state.mean(dim=1))


class Residual2d(nn.Module):
    """Two 3 × 3 convolutions beside a third, halving both axes: (B, C, F, T) → (B, C', F/2, T/2)."""

    def __init__(self, taken: int, given: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(taken, given, 3, stride=2, padding=1), nn.BatchNorm2d(given), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(given, given, 3, padding=1), nn.BatchNorm2d(given))
        self.beside = nn.Sequential(
            nn.Conv2d(taken, given, 3, stride=2, padding=1), nn.BatchNorm2d(given)
        )

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, F, T) → (B, C', F/2, T/2)."""
        return torch.relu(self.second(self.first(picture)) + self.beside(picture))


class Muq(nn.Module):
    """The shape of MuQ: 128 mel bands at 100 Hz, two residual stages of 512 channels, a Conformer.

    25 frames a second reach the 12 Conformer layers of width 1024; their mean is the vector.
    """

    def __init__(self, *, tiny: bool = False) -> None:
        super().__init__()
        config = sizes.muq_config(tiny=tiny)
        config._attn_implementation = "eager"  # all that the Conformer has
        channels = 8 if tiny else sizes.MUQ_CHANNELS
        bank = mel_filter_bank(
            num_frequency_bins=sizes.MUQ_FFT // 2 + 1,
            num_mel_filters=sizes.MUQ_MELS,
            min_frequency=0.0,
            max_frequency=sizes.MUQ_RATE / 2,
            sampling_rate=sizes.MUQ_RATE,
        )
        self.bank = nn.Buffer(torch.from_numpy(bank).float())
        self.window = nn.Buffer(torch.hann_window(sizes.MUQ_FFT))
        self.stages = nn.Sequential(Residual2d(1, channels), Residual2d(channels, channels))
        self.entry = nn.Linear(channels * sizes.MUQ_MELS // 4, config.hidden_size)
        self.conformer = Wav2Vec2ConformerEncoder(config)

    def mels(self, waveforms: Tensor) -> Tensor:
        """(B, T) at 24 kHz → decibels (B, 1, 128, frames at 100 Hz)."""
        spectrum = torch.stft(
            waveforms.float(),  # there is no other transform of half the width
            sizes.MUQ_FFT,
            hop_length=sizes.MUQ_HOP,
            window=self.window.float(),
            return_complex=True,
        )
        power = spectrum.abs().square()
        bands = torch.einsum("bft,fm->bmt", power, self.bank.float()).clamp(min=1e-10)
        decibels = 10 * bands.log10()[..., :-1]  # an even number of frames: both stages halve it
        return decibels.unsqueeze(1).to(waveforms.dtype)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T) at 24 kHz → (B, 1024)."""
        picture = self.stages(self.mels(waveforms))  # (B, 512, 32, frames at 25 Hz)
        frames = picture.permute(0, 3, 1, 2).flatten(2)
        return cast(Tensor, self.conformer(self.entry(frames)).last_hidden_state.mean(dim=1))


class Conformer(nn.Module):
    """transformers' Wav2Vec2ConformerModel of MuQ's size, with its own front end on waveforms.

    Its convolutions leave 75 frames a second at 24 kHz, three times MuQ's, so it costs more.
    """

    def __init__(self, *, tiny: bool = False) -> None:
        super().__init__()
        self.model = Wav2Vec2ConformerModel(sizes.muq_config(tiny=tiny))

    def forward(self, waveforms: Tensor) -> Tensor:
        """(B, T) at 24 kHz → (B, 1024)."""
        return cast(Tensor, self.model(waveforms).last_hidden_state.mean(dim=1))


class ClapAudio(nn.Module):
    """CLAP's audio tower on spectrograms (B, 1, frames, mels) → (B, 512)."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.tower = ClapAudioModelWithProjection(config.audio_config)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """(B, 1, frames, mels) → (B, 512)."""
        return cast(Tensor, self.tower(input_features=spectrograms).audio_embeds)


class ClapText(nn.Module):
    """CLAP's text tower, a RoBERTa-base: token ids (B, T) and mask → (B, 512)."""

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.tower = ClapTextModelWithProjection(config.text_config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and 1 where they count → (B, 512)."""
        return cast(Tensor, self.tower(input_ids=ids, attention_mask=mask).text_embeds)
