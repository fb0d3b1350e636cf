"""What a model is made of, as one frozen dataclass that is stored as `config.json`.

It knows neither torch nor files; `checkpoint.py` reads and writes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from clap_musicgen.errors import CheckpointError, InputError

FORMAT_VERSION = 1
POOLINGS = ("mean", "last", "mean_std")
COMBINATIONS = ("mix", "concat")
POSITIONS = ("sinusoidal", "zero")
LOUDNESS = ("rms", "none")
PADDINGS = ("clip", "none")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and choices of both towers. Invalid values raise `InputError` with the field's name."""

    name: str = "unnamed"
    """What people call this checkpoint."""
    clip_seconds: float = 10.0
    """Length of a clip, the longest piece of audio that is embedded at once."""
    loudness: str = "rms"
    """`rms`: each clip is brought to one loudness, so gain changes nothing; `none`: as it is."""
    padding: str = "clip"
    """`clip`: each clip is zero-padded to `clip_seconds` before the codec; `none`: the codec gets
    it at its own length. Either way a vector never depends on its batch."""
    codec: dict[str, Any] = field(default_factory=dict)
    """Fields of transformers' EncodecConfig (Défossez et al. 2022, arXiv:2210.13438)."""
    decoder: dict[str, Any] = field(default_factory=dict)
    """Fields of transformers' MusicgenDecoderConfig (Copet et al. 2023, arXiv:2306.05284)."""
    layers: tuple[int, ...] = (4,)
    """Which hidden states of the decoder are used: 0 is its input, `num_hidden_layers` its normed
    output. Layers above the highest are neither kept nor run."""
    combine: str = "mix"
    """What becomes of several layers: `mix`, a learned weighted sum of their states, or `concat`,
    their pooled states side by side."""
    pooling: str = "mean"
    """Over the frames: `mean`, `last`, or `mean_std` (mean and deviation, twice as wide)."""
    delay: bool = True
    """Codebook k is delayed by k frames, as MusicGen was trained."""
    positions: str = "sinusoidal"
    """`sinusoidal` as MusicGen was trained; `zero` puts every frame at position 0."""
    text: dict[str, Any] = field(default_factory=dict)
    """Fields of transformers' RobertaConfig."""
    max_tokens: int = 128
    """Text is read in windows of this many tokens; a longer text is read in several."""
    projection_hidden: int = 512
    """Width of the hidden layers of both projections."""
    dim: int = 256
    """Length D of an embedding."""

    def __post_init__(self) -> None:
        """Validate the choices that can be checked without building anything."""
        object.__setattr__(self, "layers", tuple(self.layers))
        depth = self.decoder.get("num_hidden_layers", 24)
        self._require(0 < self.clip_seconds <= 60, "clip_seconds", "between 0 and 60")
        self._require(self.loudness in LOUDNESS, "loudness", f"one of {LOUDNESS}")
        self._require(self.padding in PADDINGS, "padding", f"one of {PADDINGS}")
        self._require(self.pooling in POOLINGS, "pooling", f"one of {POOLINGS}")
        self._require(self.combine in COMBINATIONS, "combine", f"one of {COMBINATIONS}")
        self._require(self.positions in POSITIONS, "positions", f"one of {POSITIONS}")
        self._require(bool(self.layers), "layers", "at least one number")
        self._require(
            all(isinstance(n, int) and 0 <= n <= depth for n in self.layers),
            "layers",
            f"between 0 and the decoder's {depth} layers",
        )
        self._require(self.max_tokens >= 4, "max_tokens", "at least 4")
        self._require(self.dim >= 1, "dim", "at least 1")
        self._require(self.projection_hidden >= 1, "projection_hidden", "at least 1")

    def _require(self, holds: bool, name: str, wanted: str) -> None:
        if not holds:
            raise InputError(f"ModelConfig.{name} is {getattr(self, name)!r}; it must be {wanted}")

    @property
    def depth(self) -> int:
        """How many decoder layers are kept and run."""
        return max(self.layers)

    def to_json(self) -> str:
        """Text of `config.json`, with sorted keys, so that equal configs give equal bytes."""
        return json.dumps(
            {"format_version": FORMAT_VERSION, **asdict(self)}, indent=2, sort_keys=True
        )

    @classmethod
    def from_json(cls, text: str, *, source: str = "config.json") -> ModelConfig:
        """Read what `to_json` wrote; `source` names the file in error messages."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f"{source} is not valid JSON ({error})") from error
        if not isinstance(values, dict) or "format_version" not in values:
            raise CheckpointError(
                f"{source} has no format_version: it is not a clap-musicgen checkpoint"
            )
        version = values.pop("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{source} has format_version {version!r}, this release reads {FORMAT_VERSION}: "
                "upgrade clap-musicgen, or use a checkpoint made for this release"
            )
        known = {f.name for f in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise CheckpointError(
                f"{source} has unknown fields {unknown}; known are {sorted(known)}"
            )
        try:
            return cls(**values)
        except (InputError, TypeError) as error:
            raise CheckpointError(f"{source}: {error}") from error
