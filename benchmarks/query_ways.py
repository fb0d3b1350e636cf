"""Ways to correct scores for the modality gap and for hubs, side by side; pure arithmetic.

Each way turns questions (Q, D), tracks (N, D) and a bank of captions (M, D), all unit vectors, into
scores (Q, N). Sources: centring, as in Suzuki et al., "Centering similarity measures to reduce
hubs", EMNLP 2013; CSLS, Conneau et al., "Word translation without parallel data", ICLR 2018; inverted
softmax, Smith et al., "Offline bilingual word vectors", ICLR 2017; QB-Norm with its dynamic choice,
Bogolin et al., "Cross modal retrieval with querybank normalisation", CVPR 2022; dual softmax, Cheng
et al., "Improving video-text retrieval by multi-stream corpus alignment and dual softmax loss", 2021;
local scaling in its non-iterative form, Schnitzer et al., "Local and global scaling reduce hubs in
space", JMLR 2012. Knows neither a model nor labels.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clap_musicgen.embedding import Embeddings, unit
from clap_musicgen.library.calibration import Correction, Kind

Scores: TypeAlias = NDArray[np.float64]


class Way(Protocol):
    """Questions (Q, D) of one kind, tracks (N, D), bank (M, D) → scores (Q, N)."""

    def __call__(
        self, questions: Embeddings, music: Embeddings, bank: Embeddings, *, kind: Kind = "text"
    ) -> Scores:
        """Score each question against each track."""
        ...


NEAREST = 10
"""Neighbours in the bank that CSLS and local scaling look at."""


def plain(
    questions: Embeddings, music: Embeddings, bank: Embeddings, *, kind: Kind = "text"
) -> Scores:
    """Cosines as they are; the bank plays no part."""
    return centred(questions, music, bank, kind=kind, texts=False, tracks=False)


def centred(
    questions: Embeddings,
    music: Embeddings,
    bank: Embeddings,
    *,
    kind: Kind = "text",
    texts: bool = True,
    tracks: bool = True,
    prior: float = 0.0,
) -> Scores:
    """Cosines after the means are subtracted; the tracks' mean counts as N / (N + `prior`)."""
    q, x, _ = _moved(questions, music, bank, kind=kind, texts=texts, tracks=tracks, prior=prior)
    return _product(q, x)


def csls(
    questions: Embeddings, music: Embeddings, bank: Embeddings, *, kind: Kind = "text"
) -> Scores:
    """Centred, less half the mean score of the track's nearest captions of the bank."""
    q, x, b = _moved(questions, music, bank, kind=kind)
    near = np.sort(_product(x, b), axis=1)[:, -NEAREST:]
    return np.asarray(_product(q, x) - near.mean(axis=1) / 2)


def inverted_softmax(
    questions: Embeddings,
    music: Embeddings,
    bank: Embeddings,
    *,
    kind: Kind = "text",
    sharpness: float,
    share: float = 1.0,
    dynamic: bool = False,
    centre: bool = True,
) -> Scores:
    """Less the softmax over the bank, in logarithms: s - share · log Σ exp(sharpness · t) / sharpness.

    `share` 1 is the inverted softmax and QB-Norm; a half is the product of both softmaxes. `dynamic`
    is QB-Norm's choice: only for questions whose best track is the best of some caption of the bank.
    """
    q, x, b = (questions, music, bank) if not centre else _moved(questions, music, bank, kind=kind)
    scores, tracks = _product(q, x), _product(x, b)
    top = tracks.max(axis=1, keepdims=True)
    peak = top[:, 0] + np.log(np.exp(sharpness * (tracks - top)).sum(axis=1)) / sharpness
    changed = scores - share * peak
    if not dynamic:
        return np.asarray(changed)
    hubs = np.unique(tracks.argmax(axis=0))
    return np.where(np.isin(scores.argmax(axis=1), hubs)[:, None], changed, scores)


def local_scaling(
    questions: Embeddings, music: Embeddings, bank: Embeddings, *, kind: Kind = "text"
) -> Scores:
    """Centred, squared distances divided by the track's mean distance to its nearest captions."""
    q, x, b = _moved(questions, music, bank, kind=kind)
    near = np.sort(2 - 2 * _product(x, b), axis=1)[:, :NEAREST].mean(axis=1)
    return np.asarray(-(2 - 2 * _product(q, x)) / np.maximum(near, 1e-6))


def standardised(
    questions: Embeddings, music: Embeddings, bank: Embeddings, *, kind: Kind = "text"
) -> Scores:
    """Centred, then each track's mean and deviation over the bank taken out."""
    q, x, b = _moved(questions, music, bank, kind=kind)
    tracks = _product(x, b)
    return np.asarray((_product(q, x) - tracks.mean(axis=1)) / np.maximum(tracks.std(axis=1), 1e-6))


def shipped(
    questions: Embeddings,
    music: Embeddings,
    bank: Embeddings,  # noqa: ARG001 - other ways need it
    *,
    kind: Kind = "text",
) -> Scores:
    """What the library does."""
    correction = Correction.fit(music)
    x = correction.music(music)
    q = np.stack([correction.question(question, kind) for question in questions])
    return np.asarray(_product(q, x) - correction.bias(x))


WAYS: dict[str, Way] = {
    "none": plain,
    "shipped": shipped,
    "texts centred": partial(centred, tracks=False),
    "tracks centred": partial(centred, texts=False),
    "both centred": centred,
    "CSLS": csls,
    "inverted softmax, 10": partial(inverted_softmax, sharpness=10.0),
    "inverted softmax, 20": partial(inverted_softmax, sharpness=20.0),
    "inverted softmax, 20, uncentred": partial(inverted_softmax, sharpness=20.0, centre=False),
    "dual softmax, 20": partial(inverted_softmax, sharpness=20.0, share=0.5),
    "QB-Norm, 20": partial(inverted_softmax, sharpness=20.0, dynamic=True),
    "local scaling": local_scaling,
    "standardised by track": standardised,
}
"""Name → way; from CSLS on all begin with centring both, but for what is said to be uncentred."""

SHRUNK: dict[str, Way] = {
    f"tracks centred, prior {prior:g}": partial(centred, texts=False, prior=prior)
    for prior in (5, 20, 100)
}
"""The tracks' mean shrunk towards zero by so many imagined tracks."""


def _moved(
    questions: Embeddings,
    music: Embeddings,
    bank: Embeddings,
    *,
    kind: Kind = "text",
    texts: bool = True,
    tracks: bool = True,
    prior: float = 0.0,
) -> tuple[Embeddings, Embeddings, Embeddings]:
    share = len(music) / (len(music) + prior)
    text = bank.mean(axis=0, dtype=np.float64) if texts else np.zeros(bank.shape[1])
    track = share * music.mean(axis=0, dtype=np.float64) if tracks else np.zeros(bank.shape[1])
    asked = text if kind == "text" else track
    return unit(questions - asked), unit(music - track), unit(bank - text)


def _product(left: Embeddings, right: Embeddings) -> Scores:
    return np.asarray(left.astype(np.float64) @ right.astype(np.float64).T)
