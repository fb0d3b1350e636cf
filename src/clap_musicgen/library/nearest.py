"""Nearest neighbours beyond what is searched exactly: how large an index, how many candidates.

An index finds candidates by the cosine of raw, shortened vectors; the caller scores them exactly.
Pure arithmetic. Knows neither the store nor what the vectors mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT_UP_TO = 250_000
"""Vectors that are searched one by one in memory; beyond, LanceDB's index finds candidates.

The index is IVF with 8-bit numbers; `benchmarks/library_size.py` measures it. When it was chosen,
one-bit numbers (RaBitQ) found too little by words, and HNSW and product quantisation were slow to
build.
"""
ROWS_PER_PARTITION = 4_096
LEAST_CANDIDATES = 200
CANDIDATES_PER_ANSWER = 8
MOST_CANDIDATES = 20_000
"""A filter that leaves so few that more would have to be fetched is answered exactly."""
FEW = 5_000
"""So few contents are read from disk and searched one by one instead."""
FEW_CLIPPED = 500
"""The same where all clips of each are read."""
UNINDEXED_SHARE = 0.03
LEAST_UNINDEXED = 10_000
SAMPLE_RATE = 64
ITERATIONS = 20


def partitions(rows: int) -> int:
    """How many cells the index of so many rows is divided into."""
    return max(1, rows // ROWS_PER_PARTITION)


def probes(limit: int) -> int:
    """How many cells are searched for so many candidates."""
    return min(256, 48 + limit // 32)


def unindexed_rows(rows: int) -> int:
    """How many rows may lie outside the index, where they are searched one by one."""
    return max(LEAST_UNINDEXED, int(UNINDEXED_SHARE * rows))


def candidates(k: int, *, share: float = 1.0) -> int:
    """How many rows to fetch for `k` answers when this share of all rows may answer.

    Many more than k, since the index compares shortened vectors, and raw ones where a score compares
    corrected ones: the best ten by the corrected score are among the best fifty by the raw one.
    """
    wanted = max(LEAST_CANDIDATES, CANDIDATES_PER_ANSWER * k)
    return int(min(wanted / max(share, 1e-6), MOST_CANDIDATES + 1))


def enough(k: int) -> int:
    """How many candidates that may answer are enough for `k` answers."""
    return 2 * k + 20


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Positions of the `k` highest of (N,) scores, highest first; of equal ones the lower position.

    Linear in N, and exact: everything that ties with the k-th is looked at.
    """
    count = len(scores)
    if k < 1:
        return np.empty(0, dtype=np.int64)
    if k >= count:
        chosen = np.arange(count)
    else:
        chosen = np.flatnonzero(scores >= np.partition(scores, count - k)[count - k])
    order = np.argsort(-scores[chosen], kind="stable")
    return np.asarray(chosen[order[:k]], dtype=np.int64)
