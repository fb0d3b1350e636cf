"""Candidates beyond exact search: laws of the arithmetic."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clap_musicgen.library import nearest
from clap_musicgen.library.nearest import top_k

SCORES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), max_size=40)


@given(SCORES, st.integers(0, 50))
def test_top_k_is_a_stable_sort(scores: list[float], k: int) -> None:
    slow = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:k]
    assert top_k(np.asarray(scores, dtype=np.float32), k).tolist() == slow


@given(st.integers(1, 10**4), st.floats(1e-9, 1.0), st.integers(0, 10**8))
def test_sizes_stay_within_bounds(k: int, share: float, rows: int) -> None:
    assert nearest.candidates(k, share=share) >= min(k, nearest.MOST_CANDIDATES)
    assert nearest.candidates(k, share=share) >= nearest.candidates(k)
    assert nearest.partitions(rows) >= 1
    assert 1 <= nearest.probes(nearest.candidates(k, share=share)) <= 256
    assert nearest.unindexed_rows(rows) >= nearest.LEAST_UNINDEXED
