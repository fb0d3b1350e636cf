"""EnCodec's encoder on packed kernels: the same codes, faster, one clip never touching another.

Activations are rows of channels, (T, C), so that a convolution needs no reordering and ELU writes
straight into the padded rows that the next convolution reads. The LSTM runs all clips of a batch
together, since its weights may outgrow the cache and would be fetched anew for every frame.
Follows SEANet as transformers builds it (Défossez et al. 2022, arXiv:2210.13438); knows
EncodecModel's modules, nothing of decoders or of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from transformers import EncodecModel

from clap_musicgen.model.kernels import Packed, PackedConv


class PackedCodec:
    """Clips → codes, from the weights that `codec` has now, weight normalisation folded."""

    def __init__(self, codec: EncodecModel) -> None:
        """Pack the encoder's and the quantiser's weights."""
        layers = list(codec.encoder.layers)
        recurrent = [type(layer).__name__ for layer in layers].index("EncodecLSTM")
        self._stages: list[Convolution | Residual] = [Convolution(layers[0], active=False)]
        for layer in layers[1:recurrent]:
            if type(layer).__name__ == "EncodecResnetBlock":
                self._stages.append(Residual(layer))
            elif not isinstance(layer, nn.ELU):  # ELU is part of the convolution that follows it
                self._stages.append(Convolution(layer))
        self._lstm = layers[recurrent].lstm
        self._last = Convolution(layers[-1])
        self._codebooks = [Codebook(q.codebook.embed) for q in codec.quantizer.layers]

    def encode(self, waveforms: Sequence[Tensor], codebooks: int) -> list[Tensor]:
        """Clips (T_i,) → codes (K, frames_i) of the first `codebooks` codebooks."""
        states = [self._convolve(waveform.unsqueeze(1)) for waveform in waveforms]
        return [self._quantise(rows, codebooks) for rows in self._recur(states)]

    def _convolve(self, rows: Tensor) -> Tensor:
        """Samples (T, 1) → (frames, H)."""
        for stage in self._stages:
            rows = stage(rows)
        return rows

    def _recur(self, sequences: list[Tensor]) -> list[Tensor]:
        """The LSTM and its shortcut over all clips: (T_i, H) → (T_i, H).

        What stands behind a clip's end never reaches back. A lone clip goes twice: one row takes
        another kernel than several, and its last bits would tell whether a clip had company.
        """
        batch = nn.utils.rnn.pad_sequence(sequences * 2 if len(sequences) == 1 else sequences)
        mixed = self._lstm(batch)[0]
        return [mixed[: len(rows), n] + rows for n, rows in enumerate(sequences)]

    def _quantise(self, states: Tensor, codebooks: int) -> Tensor:
        """States (T, H) → codes (K, T), each codebook for what the ones before it left."""
        rows, codes = self._last(states), []
        for codebook in self._codebooks[:codebooks]:
            found, rows = codebook.nearest(rows)
            codes.append(found)
        return torch.stack(codes)


class Convolution:
    """ELU, padding by reflection, convolution: (T, I) → (T', O)."""

    def __init__(self, layer: Any, *, active: bool = True) -> None:
        """Pack an EncodecConv1d; without `active` no ELU comes first."""
        conv: nn.Conv1d = layer.conv
        self._layer, self._active = layer, active
        self._stride, dilation = conv.stride[0], conv.dilation[0]
        self._reach = (conv.kernel_size[0] - 1) * dilation + 1
        bias = cast(Tensor, conv.bias).detach()
        self._kernel: Packed | PackedConv
        if self._reach == 1 and self._stride == 1:
            self._kernel = Packed(conv.weight[:, :, 0], bias)
        else:
            self._kernel = PackedConv(conv.weight, bias, stride=self._stride, dilation=dilation)

    def __call__(self, rows: Tensor) -> Tensor:
        """(T, I) → (T', O)."""
        return self._kernel(self._padded(rows))

    def plus(self, rows: Tensor, other: Tensor) -> Tensor:
        """The result added to `other` (T', O)."""
        if isinstance(self._kernel, Packed):
            return self._kernel.plus(self._padded(rows), other)
        return self(rows) + other

    def _padded(self, rows: Tensor) -> Tensor:
        before, after = self._padding(len(rows))
        if not (before or after):
            return self._activated(rows)
        if self._layer.pad_mode != "reflect" or len(rows) <= max(before, after):
            # EnCodec has a way of its own where there is too little to reflect
            channels = self._activated(rows).t().unsqueeze(0)
            padded = self._layer._pad1d(channels, (before, after), self._layer.pad_mode)
            return cast(Tensor, padded[0].t().contiguous())
        padded = rows.new_empty((before + len(rows) + after, rows.shape[1]))
        inner = padded[before : before + len(rows)]
        if self._active:
            torch.ops.aten.elu.out(rows, out=inner)
        else:
            inner.copy_(rows)
        padded[:before] = inner[1 : before + 1].flip(0)
        padded[before + len(rows) :] = inner[len(rows) - after - 1 : -1].flip(0)
        return padded

    def _activated(self, rows: Tensor) -> Tensor:
        return elu(rows) if self._active else rows

    def _padding(self, length: int) -> tuple[int, int]:
        """Rows before and after, as EncodecConv1d pads: the last stride is filled."""
        total = self._reach - self._stride
        extra = -length % self._stride
        after = 0 if self._layer.causal else total // 2
        return total - after, after + extra


class Residual:
    """SEANet's residual block: (T, C) → (T, C)."""

    def __init__(self, layer: Any) -> None:
        """Pack an EncodecResnetBlock."""
        self._wide, self._narrow = Convolution(layer.block[1]), Convolution(layer.block[3])
        self._shortcut: Convolution | None = None
        if not isinstance(layer.shortcut, nn.Identity):
            self._shortcut = Convolution(layer.shortcut, active=False)

    def __call__(self, rows: Tensor) -> Tensor:
        """Add the block's output to its input, or to the shortcut's."""
        kept = rows if self._shortcut is None else self._shortcut(rows)
        return self._narrow.plus(self._wide(rows), kept)


class Codebook:
    """One stage of the quantiser: the nearest entry of each row."""

    def __init__(self, entries: Tensor) -> None:
        """Pack entries (N, D)."""
        # |x - e|² is least where 2 x·e - |e|² is greatest
        self._closeness = Packed(2 * entries, -entries.square().sum(dim=1))
        self._entries = entries

    def nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) → codes (T,), and what of the rows they leave, (T, D)."""
        closeness = self._closeness(rows).numpy()  # its argmax is ten times as fast as torch's
        codes = torch.from_numpy(closeness.argmax(axis=1))
        return codes, rows - self._entries[codes]
