"""MTEB: any `Embedder` as an encoder for the audio tasks of `mteb.evaluate`.

Retrieval in both directions, zero-shot classification, and every other task whose inputs are
texts or sounds. Whole clips are embedded, through the package's own decoder and resampler, so that
no score depends on a random crop, on torchaudio or on torchcodec. Knows no task.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clap_musicgen.bridges.sounds import Track, as_track
from clap_musicgen.embedding import Embedder, Embeddings, unit
from clap_musicgen.errors import InputError
from clap_musicgen.model.tracks import embed_tracks

try:
    from datasets import Audio, Dataset
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # mteb's own bars
except ImportError as error:  # an optional dependency
    raise InputError("this bridge needs mteb 2: pip install 'clap-musicgen[mteb]'") from error

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from torch.utils.data import DataLoader


class MtebEncoder(AbsEncoder):  # type: ignore[misc]  # mteb is not checked
    """What `mteb.evaluate` calls a model.

    Attributes:
        model: the wrapped embedder.
        mteb_model_meta: what mteb writes into its results.
    """

    def __init__(
        self, embedder: Embedder, *, name: str, model_meta: ModelMeta | None = None
    ) -> None:
        """Wrap an embedder.

        Args:
            embedder: a `ClapMusicGen` or any other `Embedder`.
            name: owner/name, under which mteb files the results.
            model_meta: in place of `describe(embedder, name=name)`.
        """
        self.model = embedder
        self.mteb_model_meta = model_meta or describe(embedder, name=name)

    def encode(
        self,
        inputs: DataLoader[Any],
        *,
        task_metadata: TaskMetadata,
        **options: Any,
    ) -> Embeddings:
        """Batches with the columns "text", "audio" or both → (N, D) unit vectors, in order.

        An input with both columns gets the direction of the sum of its two vectors.

        Args:
            inputs: batches; an audio column holds files, bytes or samples with their rate.
            task_metadata: names the task in errors.
            options: `show_progress_bar`; the split, the prompt and the like are not used, since
                nothing is tuned to a task and both towers take inputs as they are.

        Raises:
            InputError: a batch has neither column.
            AudioError: a sound cannot be used.
        """
        loader = _undecoded(inputs)
        shown = bool(options.get("show_progress_bar", True))
        rows = []
        for batch in tqdm(loader, f"Embedding for {task_metadata.name}", disable=not shown):
            towers = []
            if "text" in batch:
                towers.append(self.model.embed_text(list(batch["text"])))
            if "audio" in batch:
                towers.append(_embed_sounds(self.model, batch["audio"]))
            if not towers:
                raise InputError(
                    f"{task_metadata.name} has the columns {', '.join(batch)}; this model takes "
                    "'text' and 'audio'"
                )
            rows.append(towers[0] if len(towers) == 1 else unit(towers[0] + towers[1]))
        return np.concatenate(rows) if rows else np.zeros((0, self.model.dim), dtype=np.float32)


def describe(embedder: Embedder, *, name: str) -> ModelMeta:
    """What can be told about an embedder by looking at it; all else is left unknown.

    Its revision is the fingerprint, so that mteb never takes results of other weights from its
    cache. State a licence or training data with `.model_copy(update={"license": ...})`.

    Args:
        embedder: any.
        name: owner/name.

    Raises:
        InputError: a name of another form.
    """
    if name.count("/") != 1 or not all(name.split("/")):
        raise InputError(f"the name is {name!r}; mteb wants owner/name, such as 'me/mini'")
    parameters = getattr(embedder, "parameters", None)
    sizes = [(p.numel(), p.element_size()) for p in parameters()] if parameters else []
    return ModelMeta(
        loader=None,
        name=name,
        revision=embedder.fingerprint,
        release_date=None,
        languages=None,
        n_parameters=sum(count for count, _ in sizes) or None,
        memory_usage_mb=sum(count * size for count, size in sizes) / 2**20 or None,
        max_tokens=None,
        embed_dim=embedder.dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"] if sizes else [],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["audio", "text"],
    )


def _undecoded(inputs: DataLoader[Any]) -> DataLoader[Any]:
    """The same batches with encoded audio as bytes or paths: decoding is for our own decoder."""
    from torch.utils.data import DataLoader

    dataset = inputs.dataset
    if not (isinstance(dataset, Dataset) and isinstance(dataset.features.get("audio"), Audio)):
        return inputs
    return DataLoader(
        dataset.cast_column("audio", Audio(decode=False)),
        batch_size=inputs.batch_size,
        collate_fn=inputs.collate_fn,
        num_workers=inputs.num_workers,
    )


def _embed_sounds(embedder: Embedder, sounds: list[Any]) -> Embeddings:
    with tempfile.TemporaryDirectory(prefix="clap-musicgen-mteb-") as scratch:
        tracks = [
            _as_track(sound, Path(scratch, str(number)), sample_rate=embedder.sample_rate)
            for number, sound in enumerate(sounds)
        ]
        return embed_tracks(embedder, tracks)


def _as_track(sound: Any, place: Path, *, sample_rate: int) -> Track:
    """One cell of an audio column; the bytes of a file are written into the folder `place`."""
    if isinstance(sound, Mapping) and "bytes" in sound:
        name = sound.get("path") or ""
        if sound["bytes"] is None:
            return Path(name)
        place.mkdir()
        path = place / (Path(name).name[-100:] or "sound")  # errors tell it by its name
        path.write_bytes(sound["bytes"])
        return path
    return as_track(sound, sample_rate=sample_rate)
