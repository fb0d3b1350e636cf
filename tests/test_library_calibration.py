"""Corrections are harmless for few tracks, and calibrated scores mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_musicgen.embedding import unit
from clap_musicgen.library.calibration import (
    NONE,
    PRIOR_TRACKS,
    SAMPLE,
    Calibration,
    Correction,
    Kind,
)
from clap_musicgen.library.vocabulary import VOCABULARY, bank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_musicgen.embedding import Embeddings

DIM = 24


def cone(count: int, *, seed: int, axis: int) -> Embeddings:
    """Unit vectors around one axis: each kind of thing lies in a cone of its own."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIM))
    vectors[:, axis] += 4.0
    return unit(vectors)


def music(count: int, *, seed: int = 0) -> Embeddings:
    return cone(count, seed=seed, axis=0)


def texts(count: int, *, seed: int = 1) -> Embeddings:
    return cone(count, seed=seed, axis=1)


def fitted(tracks: Embeddings, captions: Embeddings | None) -> tuple[Correction, Calibration]:
    correction = Correction.fit(tracks)
    return correction, Calibration.fit(captions, tracks, correction)


def asked(
    vector: NDArray[np.float32], tracks: Embeddings, correction: Correction, kind: Kind = "text"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Direction (D,) and scores (N,) of a question."""
    direction = correction.question(vector, kind)
    corrected = correction.music(tracks)
    return direction, corrected @ direction - correction.bias(corrected)


# Correction


def test_the_correction_takes_out_what_all_tracks_share() -> None:
    tracks = music(2000)
    correction = Correction.fit(tracks)
    corrected = correction.music(tracks)
    assert np.linalg.norm(tracks.mean(axis=0)) > 0.5
    assert np.linalg.norm(corrected.mean(axis=0)) < 0.05
    np.testing.assert_allclose(np.linalg.norm(corrected, axis=1), 1.0, atol=1e-6)
    for vector, expected in zip(tracks[:3], corrected, strict=False):
        np.testing.assert_array_equal(correction.question(vector, "sound"), expected)
        np.testing.assert_array_equal(correction.question(vector, "text"), vector)
    assert not correction.bias(corrected).any()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_tracks_are_hardly_moved(count: int) -> None:
    tracks = music(count)
    centre = Correction.fit(tracks).music_centre
    assert centre is not None
    expected = tracks.astype(np.float64).mean(axis=0) * count / (count + PRIOR_TRACKS)
    np.testing.assert_allclose(centre, expected, atol=1e-6)
    corrected = Correction.fit(tracks).music(tracks)
    assert ((corrected * tracks).sum(axis=1) > 0.95).all()


def test_nothing_to_learn_from_changes_nothing() -> None:
    tracks = music(4)
    for correction in (
        NONE,
        Correction.fit(tracks[:0]),
    ):
        assert correction.music(tracks) is tracks
        vector = tracks[0]
        assert correction.question(vector, "sound") is vector


def test_the_same_library_gives_the_same_bits() -> None:
    tracks, captions, question = music(300), texts(60), texts(1, seed=9)[0]
    found = []
    for _ in range(2):
        correction, calibration = fitted(tracks.copy(), captions.copy())
        direction, scores = asked(question, tracks, correction)
        found.append(calibration.calibrated(scores, direction=direction).tobytes())
    assert found[0] == found[1]


# Calibration


def naive(score: float, own: list[float], null: list[float], *, tracks: int) -> tuple[float, float]:
    """P-value and calibrated score, slowly, with the whole library as the sample and no tail."""
    usual = sum(own) / (len(own) + PRIOR_TRACKS)

    def chance(s: float) -> float:
        return (1 + sum(other >= s - usual for other in null)) / (1 + len(null))

    rates = [
        tracks * chance(s) / max(sum(other >= s for other in own), 1)
        for s in [*own, score]
        if s <= score
    ]
    return chance(score), min(max(1 - min(rates), 0.0), 1.0)


@pytest.mark.parametrize("kind", ["text", "sound"])
@pytest.mark.parametrize("count", [1, 2, 17])
def test_the_slow_way_gives_the_same(count: int, kind: Kind) -> None:
    tracks, captions = music(count), texts(30)
    correction, calibration = fitted(tracks, captions)
    corrected = correction.music(tracks)
    asking = captions if kind == "text" else corrected
    null = []
    for row, other in enumerate(asking):
        line = [
            float(other @ x) for place, x in enumerate(corrected) if kind == "text" or place != row
        ]
        usual = sum(line) / (len(line) + PRIOR_TRACKS)
        null += [s - usual for s in line]
    direction, scores = asked(texts(1, seed=5)[0], tracks, correction, kind)
    values = [*scores.tolist(), -1.0, 0.0, 1.0]
    found = calibration.calibrated(np.array(values), direction=direction, kind=kind)
    chance = calibration.chance(np.array(values), direction=direction, kind=kind)
    for value, one, rare in zip(values, found.tolist(), chance.tolist(), strict=True):
        expected = naive(value, scores.tolist(), null, tracks=count)
        assert (rare, one) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(0, 60),
    captions=st.integers(0, 400),
    kind=st.sampled_from(["text", "sound"]),
    scores=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30),
    seed=st.integers(0, 5),
)
def test_a_higher_score_is_never_worth_less(
    count: int, captions: int, kind: Kind, scores: list[float], seed: int
) -> None:
    correction, calibration = fitted(music(count, seed=seed), texts(captions))
    direction = correction.question(texts(1, seed=seed + 70)[0], kind)
    ordered = np.sort(np.array(scores))
    found = calibration.calibrated(ordered, direction=direction, kind=kind)
    assert found.shape == ordered.shape
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()
    assert (np.diff(calibration.chance(ordered, direction=direction, kind=kind)) <= 0).all()


@pytest.mark.parametrize("count", [1, 5, 20, 200])
def test_unrelated_pairs_are_as_rare_as_they_say(count: int) -> None:
    """Questions drawn as the bank was: a share a of the pairs has p <= a, of the questions an answer."""
    captions = texts(300)
    chances, best = [], []
    for seed in range(25):
        tracks = music(count, seed=seed)
        correction, calibration = fitted(tracks, captions)
        for question in texts(40, seed=100 + seed):
            direction, scores = asked(question, tracks, correction)
            chances.append(calibration.chance(scores, direction=direction))
            best.append(calibration.calibrated(scores, direction=direction).max())
    for level in (0.2, 0.1, 0.05):
        assert np.mean(np.concatenate(chances) <= level) == pytest.approx(level, abs=0.35 * level)
        assert np.mean(np.array(best) >= 1 - level) == pytest.approx(level, abs=0.35 * level)


@pytest.mark.parametrize("seed", [8, 9, 10, 11, 12])
def test_what_fits_is_told_from_what_does_not(seed: int) -> None:
    """A few tracks near a question are sure; the same question without them finds nothing."""
    captions, plain = texts(300), music(300)
    question = texts(1, seed=seed)[0]
    near = unit(music(12, seed=8) + 1.2 * question)
    for tracks, fits in ((plain, False), (np.concatenate([plain, near]), True)):
        correction, calibration = fitted(tracks, captions)
        direction, scores = asked(question, tracks, correction)
        found = calibration.calibrated(scores, direction=direction)
        assert bool(found.max() >= 0.9) is fits
        assert (found[:300] >= 0.9).mean() <= 0.02
        assert (found[300:] >= 0.9).all()


def test_a_sound_is_compared_with_what_other_sounds_score() -> None:
    tracks = music(200)
    correction, calibration = fitted(tracks, texts(300))
    twin = unit(tracks[3] + 0.2 * music(1, seed=50)[0])
    direction, scores = asked(twin, tracks, correction, "sound")
    found = calibration.calibrated(scores, direction=direction, kind="sound")
    assert found.argmax() == 3
    assert found[3] > 0.99
    assert np.median(found) < 0.2


def test_a_library_without_a_bank_judges_words_as_sounds() -> None:
    tracks = music(50)
    correction = Correction.fit(tracks)
    calibration = Calibration.fit(None, tracks, correction)
    direction, scores = asked(texts(1)[0], tracks, correction)
    by_kind: list[Kind] = ["text", "sound"]
    one, other = (calibration.calibrated(scores, direction=direction, kind=k) for k in by_kind)
    np.testing.assert_array_equal(one, other)


def test_where_nothing_is_known_nothing_is_sure() -> None:
    tracks = music(1)
    _, calibration = fitted(tracks, None)
    assert calibration.calibrated(np.ones(2), direction=tracks[0], kind="sound").tolist() == [0, 0]
    empty = Calibration.fit(None, tracks[:0], NONE)
    assert empty.calibrated(np.ones(1), direction=tracks[0]).tolist() == [0]
    assert empty.calibrated(np.empty(0), direction=tracks[0]).shape == (0,)


def test_a_large_library_is_sampled_and_stays_strict() -> None:
    """Among many tracks a good score is less surprising, and the sample says nearly the same."""
    tracks, captions = music(2 * SAMPLE), texts(100)
    correction, calibration = fitted(tracks, captions)
    assert (len(calibration.sample), calibration.tracks) == (SAMPLE, 2 * SAMPLE)
    direction, _ = asked(texts(1, seed=3)[0], tracks, correction)
    levels = np.linspace(-0.2, 0.9, 50)
    few = Calibration.fit(captions, tracks[::2], correction)
    many = Calibration.fit(captions, tracks[::2], correction, tracks=10_000_000)
    assert many.tracks == 10_000_000
    strict = many.calibrated(levels, direction=direction)
    assert (strict <= few.calibrated(levels, direction=direction)).all()
    assert (strict[levels < 0.3] < 0.9).all()


# Vocabulary


def test_the_bank_is_about_300_distinct_captions() -> None:
    captions = bank()
    assert captions == bank()
    assert 280 <= len(captions) <= 330
    assert len({caption.casefold() for caption in captions}) == len(captions)
    assert all(caption == " ".join(caption.split()) and "{" not in caption for caption in captions)


def test_each_label_is_in_a_caption_and_in_one_facet_once() -> None:
    said = " | ".join(bank())
    for labels in VOCABULARY.values():
        assert len(set(labels)) == len(labels)
        assert all(label in said for label in labels)
