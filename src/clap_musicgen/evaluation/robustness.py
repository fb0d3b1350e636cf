"""What a change that leaves the music the same does to its vector, and to search.

For each perturbation: the cosine with the unchanged piece, plain and with the mean vector taken out
(embeddings share a direction that hides what moves); how well the changed piece finds itself among
all unchanged ones; and, where there are captions, how much worse words find the pieces when the
whole library holds changed ones. Beside it what another piece would score.

Knows an Embedder and pieces. It measures excerpts of bounded length, so its figures for search are
not those of whole tracks, and its perturbations are those of `perturbations`, not what ears allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from clap_musicgen.embedding import Embedder, Embeddings, unit
from clap_musicgen.errors import AudioError, InputError
from clap_musicgen.evaluation import metrics
from clap_musicgen.evaluation.figures import Figure, Result, mean_figure
from clap_musicgen.evaluation.metrics import Floats
from clap_musicgen.evaluation.perturbations import PERTURBATIONS, Perturbation
from clap_musicgen.evaluation.pieces import OnProgress, Piece, excerpt
from clap_musicgen.evaluation.retrieval import (
    Vectors,
    cosines,
    hits_of_captions,
    unique_captions,
)
from clap_musicgen.model.tracks import embed_track

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

ROBUSTNESS = "robustness"
SECONDS = 30.0
"""How much of each piece is listened to."""


@dataclass(frozen=True, slots=True)
class Perturbed:
    """The same excerpts unchanged (N, D) and under each perturbation (N, D); what failed."""

    pieces: list[Piece]
    original: Embeddings
    changed: dict[str, Embeddings]
    failed: list[tuple[str, str]]


def embed_perturbed(
    model: Embedder,
    pieces: Sequence[Piece],
    *,
    perturbations: Mapping[str, Perturbation] = PERTURBATIONS,
    seconds: float = SECONDS,
    on_progress: OnProgress | None = None,
) -> Perturbed:
    """Embed the first `seconds` of each piece, unchanged and changed in each way.

    One piece at a time, so the memory is bounded. A bad file is set aside with its reason.
    """
    rate = model.sample_rate
    kept: list[Piece] = []
    failed: list[tuple[str, str]] = []
    rows: list[list[Embeddings]] = []
    for done, piece in enumerate(pieces, 1):
        try:
            waveform = np.concatenate(list(excerpt(_shortened(piece, seconds), sample_rate=rate)))
            versions = [waveform, *(change(waveform, rate) for change in perturbations.values())]
            rows.append([embed_track(model, [version]) for version in versions])
            kept.append(piece)
        except AudioError as error:
            failed.append((str(piece.audio), error.reason))
        if on_progress is not None:
            on_progress(done, len(pieces))
    shape = (len(rows), len(perturbations) + 1, model.dim)
    stacked = np.array(rows, dtype=np.float32).reshape(shape).swapaxes(0, 1)
    changed = dict(zip(perturbations, stacked[1:], strict=True))
    return Perturbed(kept, stacked[0], changed, failed)


def robustness(model: Embedder, perturbed: Perturbed, *, seed: int = 0) -> dict[str, Result]:
    """The figures of each perturbation, by its name; see `robustness_of`.

    Raises:
        InputError: fewer than two pieces, among which nothing can be told apart.
    """
    if len(perturbed.pieces) < 2:
        raise InputError(
            f"robustness needs two or more pieces that can be embedded, not {len(perturbed.pieces)}"
        )
    captioned = [row for row, piece in enumerate(perturbed.pieces) if piece.caption.strip()]
    words: Embeddings | None = None
    captions, caption_of = unique_captions([perturbed.pieces[row].caption for row in captioned])
    if captions:
        words = model.embed_text(captions)
    found = {}
    for name, changed in perturbed.changed.items():
        figures = robustness_of(perturbed.original, changed, seed=seed)
        if words is not None:
            before, after = perturbed.original[captioned], changed[captioned]
            figures.append(search_change(words, before, after, caption_of, seed=seed))
        count = len(perturbed.pieces)
        found[name] = Result(ROBUSTNESS, count, count, tuple(figures))
    return found


def robustness_of(original: Embeddings, changed: Embeddings, *, seed: int = 0) -> list[Figure]:
    """Cosines with the unchanged piece, mean and lowest, plain and centred; finding itself.

    Args:
        original: (N, D) the unchanged pieces.
        changed: (N, D) the same pieces, changed.
        seed: of the bootstrap.

    The chance of a cosine is that of the changed piece with another one, of finding itself that of
    a random order. The lowest has no interval: no resample can hold a lower one.
    """
    mean = original.mean(axis=0)
    figures = []
    for name, before, after in (
        ("cosine", original, changed),
        ("centred cosine", unit(original - mean), unit(changed - mean)),
    ):
        scores = cosines(after, before)
        own = np.diagonal(scores).copy()
        others = (scores.sum(axis=1) - own) / (len(own) - 1)
        figures.append(mean_figure(name, own, others, seed=seed))
        lowest, other = float(own.min()), float(others.mean())
        figures.append(Figure(f"lowest {name}", lowest, other, np.nan, np.nan, len(own)))
    return figures + _finding_itself(cosines(changed, original), seed=seed)


def search_change(
    words: Vectors,
    before: Vectors,
    after: Vectors,
    caption_of: NDArray[np.int64],
    *,
    seed: int = 0,
) -> Figure:
    """Change of text→music MRR when the library holds changed pieces: (C, D), (N, D), (N, D).

    Below 0 is a loss. The interval is paired, query by query; chance is the change that a library
    in random order would bring.
    """
    hits = hits_of_captions(words, before, caption_of)
    held = metrics.reciprocal_rank(cosines(words, before), hits)
    now = metrics.reciprocal_rank(cosines(words, after), hits)
    lost = metrics.chance_reciprocal_rank(hits) - held
    return mean_figure("change of text→music MRR", now - held, lost, seed=seed)


def _finding_itself(scores: Floats, *, seed: int) -> list[Figure]:
    itself = np.eye(len(scores), dtype=bool)
    return [
        mean_figure(
            "finds itself R@1",
            metrics.hit_at(scores, itself, k=1),
            metrics.chance_hit_at(itself, k=1),
            seed=seed,
        ),
        mean_figure(
            "finds itself MRR",
            metrics.reciprocal_rank(scores, itself),
            metrics.chance_reciprocal_rank(itself),
            seed=seed,
        ),
    ]


def _shortened(piece: Piece, seconds: float) -> Piece:
    end = piece.start + seconds
    return replace(piece, end=end if piece.end is None else min(piece.end, end))
