"""The arithmetic of the benchmark of indexing on Ray."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from ray_needs import need, need_table


def test_needs_by_hand() -> None:
    # 1,000 tracks of four minutes are 240,000 s; at 100 x real time 2,400 s, two thirds of an hour.
    found = need(1000, speed=100.0, dim=256, stored=15_000.0, euros=0.06)
    assert found.core_hours == pytest.approx(2 / 3)
    assert found.euros == pytest.approx(0.04)
    assert found.vectors == 1000 * 25 * 512
    assert found.other == 15_000_000 - 12_800_000
    assert found.index == 1000 * 25 * 264
    table = need_table([found], speed=100.0, euros=0.06)
    assert len(table.rows[0]) == len(table.headings)
    assert table.rows[0][:2] == ("1,000", "1")
