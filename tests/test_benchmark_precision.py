"""benchmarks/precision.py: its figures against slow twins, and the laws they must keep."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import precision
from audio_factory import melody, write_audio
from clap_musicgen.embedding import unit
from conftest import build_tiny


def vectors(seed: int, count: int = 7, dim: int = 5) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)) + 2.0)


def slow_centred_cosines(exact: Any, fast: Any) -> list[float]:
    """One at a time, in plain Python."""
    dim = len(exact[0])
    mean = [sum(row[d] for row in exact) / len(exact) for d in range(dim)]
    cosines = []
    for one, other in zip(exact, fast, strict=True):
        a = [one[d] - mean[d] for d in range(dim)]
        b = [other[d] - mean[d] for d in range(dim)]
        product = sum(x * y for x, y in zip(a, b, strict=True))
        norms = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
        cosines.append(product / norms)
    return cosines


def slow_overlap(one: Any, other: Any, k: int) -> list[float]:
    """By sorting each row."""
    shares = []
    for a, b in zip(one, other, strict=True):
        best_a = sorted(range(len(a)), key=lambda n: (-a[n], n))[:k]
        best_b = sorted(range(len(b)), key=lambda n: (-b[n], n))[:k]
        shares.append(len(set(best_a) & set(best_b)) / k)
    return shares


@given(st.integers(0, 1000))
def test_centred_cosines_against_a_slow_twin(seed: int) -> None:
    exact, fast = vectors(seed), vectors(seed + 1)
    found = precision.centred_cosines(exact, fast)
    expected = slow_centred_cosines(exact.astype(float).tolist(), fast.astype(float).tolist())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(precision.centred_cosines(exact, exact), 1.0, atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 6))
def test_overlap_against_a_slow_twin(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = generator.integers(0, 4, size=(2, 5, 6)).astype(float)  # with equal scores
    found = precision.overlap(one, other, k)
    np.testing.assert_allclose(found, slow_overlap(one, other, k))
    np.testing.assert_array_equal(precision.overlap(one, one, k), 1.0)


def test_the_plain_cosine_stays_high_where_all_rankings_are_lost() -> None:
    """Why the centred cosine is the figure: a large common direction hides everything else."""
    generator = np.random.default_rng(0)
    common = np.full(64, 10.0)
    exact = unit(common + generator.normal(size=(50, 64)))
    scrambled = unit(common + generator.normal(size=(50, 64)))
    found = precision.figures(exact, scrambled, (exact[:9], exact[:9]))
    assert found["plain cosine, music (tells little)"]["p0"] > 0.97
    assert abs(found["centred cosine, music"]["mean"]) < 0.1
    assert found["top-10 overlap, music to music"]["mean"] < 0.4


def test_identical_vectors_agree_in_everything() -> None:
    exact = vectors(3, count=30)
    for values in precision.figures(exact, exact, (exact, exact)).values():
        np.testing.assert_allclose(list(values.values()), 1.0, atol=1e-6)


def test_a_track_is_not_its_own_neighbour() -> None:
    exact = vectors(1, count=4)
    nearest = precision.top(precision.neighbour_scores(exact), 3)
    assert all(n not in row for n, row in enumerate(nearest))
    np.testing.assert_array_equal(precision.neighbour_overlap(exact, exact, 10), 1.0)


def test_code_agreement() -> None:
    codes = np.array([[1, 2], [3, 4]])
    assert precision.code_agreement(codes, codes) == 1.0
    assert precision.code_agreement(codes, np.array([[1, 2], [3, 0]])) == 0.75


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    build_tiny().save_pretrained(folder)
    return folder


def test_a_manifest_and_a_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        write_audio(path, melody(0.8, sample_rate=8000, seed=number), sample_rate=8000)
        lines.append(json.dumps({"audio": path.name, "caption": f"caption {number}"}))
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    assert precision.main([str(model), str(manifest), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tracks"], found["texts"], found["failed"]) == (3, 3, [])
    assert found["figures"]["share of equal codes"]["mean"] > 0.9
    assert found["figures"]["top-10 overlap, music to music"]["mean"] == 1.0  # two others
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    assert precision.main([str(model), str(tmp_path), "--seconds", "0.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["tracks"], found["texts"], len(found["failed"])) == (3, 60, 1)


def test_one_track_has_no_rankings(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "a.wav", melody(0.5, sample_rate=8000), sample_rate=8000)
    assert precision.main([str(model), str(tmp_path)]) == 1
    assert "two tracks" in capsys.readouterr().err
