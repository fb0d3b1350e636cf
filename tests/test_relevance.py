"""Relevances against slow twins and their laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clap_musicgen.errors import InputError, InputTypeError
from clap_musicgen.training.losses import list_mle
from clap_musicgen.training.relevance import (
    blend,
    caption_cosine,
    rank_scaled,
    tag_overlap,
    tie_identical,
)

LAW = settings(deadline=None, derandomize=True)
"""How the laws are tried: the same examples on every run, however busy the machine."""


def embeddings(rows: int = 6, size: int = 8, *, seed: int = 0, offset: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, size, generator=generator) + offset


def test_the_cosine_equals_a_slow_loop() -> None:
    vectors = embeddings()
    slow = [[float(torch.cosine_similarity(a, b, dim=0)) for b in vectors] for a in vectors]
    torch.testing.assert_close(caption_cosine(vectors), torch.tensor(slow))


def test_centring_opens_a_narrow_cone() -> None:
    corpus = embeddings(500, offset=10.0)
    few = corpus[:20]
    off_diagonal = ~torch.eye(20, dtype=torch.bool)
    assert caption_cosine(few)[off_diagonal].min() > 0.9
    centred = caption_cosine(few, centre=corpus.mean(dim=0))
    assert centred[off_diagonal].std() > 0.2
    assert abs(float(centred[off_diagonal].mean())) < 0.1


def test_with_a_corpus_centre_two_captions_do_not_feel_the_rest_of_the_batch() -> None:
    corpus = embeddings(50, offset=5.0)
    centre = corpus.mean(dim=0)
    small, large = (caption_cosine(corpus[:n], centre=centre) for n in (2, 40))
    torch.testing.assert_close(small, large[:2, :2])


def test_a_zero_embedding_is_like_nothing_and_finite() -> None:
    vectors = embeddings(3)
    vectors[1] = 0.0
    similarity = caption_cosine(vectors)
    assert similarity.isfinite().all()
    assert similarity[1].tolist() == [0.0, 0.0, 0.0]


@given(st.integers(1, 7), st.integers(0, 1000))
@settings(LAW, max_examples=30)
def test_rank_scaling_equals_counting(rows: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.randint(0, 9, (rows, rows), generator=generator) / 8  # many ties
    flat = similarity.flatten().tolist()
    slow = [[sum(x <= y for x in flat) / len(flat) for y in row] for row in similarity.tolist()]
    torch.testing.assert_close(rank_scaled(similarity), torch.tensor(slow))


def test_rank_scaling_spreads_a_crowd_and_keeps_order_and_symmetry() -> None:
    crowded = 0.97 + 0.01 * caption_cosine(embeddings(30))
    scaled = rank_scaled(crowded)
    assert scaled.max() == 1.0
    assert scaled.min() < 0.01
    assert scaled.std() > 0.25
    torch.testing.assert_close(scaled, rank_scaled(crowded.exp() * 3.0), atol=5e-3, rtol=0)
    torch.testing.assert_close(scaled, scaled.T, atol=5e-3, rtol=0)
    assert torch.equal(
        scaled.flatten()[crowded.flatten().argsort()], scaled.flatten().sort().values
    )


@LAW
@given(st.lists(st.lists(st.sampled_from(["jazz", "piano", "slow", "dark"])), max_size=7))
def test_tag_overlap_equals_python_sets(tags: list[list[str]]) -> None:
    overlap = tag_overlap(tags)
    assert overlap.shape == (len(tags), len(tags))
    for i, a in enumerate(map(set, tags)):
        for j, b in enumerate(map(set, tags)):
            slow = 1.0 if i == j else len(a & b) / max(len(a | b), 1)
            assert overlap[i, j].item() == pytest.approx(slow)


def test_tags_ignore_case_and_spaces() -> None:
    assert tag_overlap([["Lo Fi", "jazz"], ["lo  fi", "JAZZ"]])[0, 1] == 1.0


def test_a_blend_is_the_weighted_mean() -> None:
    a, b = caption_cosine(embeddings()), tag_overlap([["x"], ["x"], [], ["y"], ["x", "y"], ["z"]])
    torch.testing.assert_close(blend([(3.0, a), (1.0, b)]), 0.75 * a + 0.25 * b)
    torch.testing.assert_close(blend([(0.2, a)]), a)


CAPTIONS = ["jazz, piano", "dark metal", "Piano,  Jazz", "lofi", "lo-fi", "dark metal"]


def test_identical_captions_are_exact_ties_in_rows_and_columns() -> None:
    noisy = caption_cosine(embeddings())  # as if each caption had been embedded on its own
    tied = tie_identical(noisy, CAPTIONS)
    for a, b in ((0, 2), (1, 5)):
        assert tied[a, b] == tied[b, a] == tied[a, a] == 1.0
        assert torch.equal(tied[a], tied[b])
        assert torch.equal(tied[:, a], tied[:, b])
    assert tied[3, 4] == noisy[3, 4]  # near-identical only if a similarity says so
    assert tied[0, 1] == noisy[0, 1]
    assert (tied == 1.0).sum() == 6 + 4


def test_near_identical_captions_get_relevance_one() -> None:
    vectors = embeddings()
    vectors[4] = vectors[3] + 0.01
    similarity = caption_cosine(vectors)
    tied = tie_identical(tag_overlap([[]] * 6), CAPTIONS, similarity=similarity, threshold=0.99)
    assert tied[3, 4] == tied[4, 3] == 1.0
    assert tied[3, 0] == 0.0


def test_the_order_of_the_batch_does_not_matter_to_ties() -> None:
    relevance = caption_cosine(embeddings())
    for a, b in ((0, 2), (1, 5)):  # a relevance that already agrees up to noise
        relevance[b], relevance[:, b] = relevance[a].clone(), relevance[:, a].clone()
    turned = torch.tensor([5, 3, 0, 4, 2, 1])
    moved = tie_identical(relevance[turned][:, turned], [CAPTIONS[n] for n in turned])
    expected = tie_identical(relevance, CAPTIONS)[turned][:, turned]
    torch.testing.assert_close(moved, expected)


def test_tied_relevances_reach_the_loss_as_ties() -> None:
    relevance = tie_identical(caption_cosine(embeddings()), CAPTIONS)
    scores = caption_cosine(embeddings(seed=3)).double()
    swapped = scores.clone()
    swapped[:, [0, 2]] = scores[:, [2, 0]]  # which copy of a caption has which score
    swapped[[0, 2]] = swapped[[2, 0]].clone()
    torch.testing.assert_close(list_mle(swapped, relevance), list_mle(scores, relevance))


def test_the_inputs_are_left_alone() -> None:
    relevance = caption_cosine(embeddings())
    copy = relevance.clone()
    tie_identical(relevance, CAPTIONS)
    rank_scaled(relevance)
    blend([(1.0, relevance), (1.0, relevance)])
    assert torch.equal(relevance, copy)


def test_mistakes_are_named() -> None:
    square = torch.zeros(2, 2)
    with pytest.raises(InputError, match=r"\(B, D\)"):
        caption_cosine(torch.zeros(3))
    with pytest.raises(InputError, match=r"centre \(4,\)"):
        caption_cosine(torch.zeros(3, 5), centre=torch.zeros(4))
    with pytest.raises(InputError, match="empty"):
        rank_scaled(torch.zeros(0, 0))
    with pytest.raises(InputTypeError, match="string"):
        tag_overlap(["jazz", "piano"])
    with pytest.raises(InputError, match="weights"):
        blend([(-1.0, square), (2.0, square)])
    with pytest.raises(InputError, match="weights"):
        blend([])
    with pytest.raises(InputError, match="cannot be blended"):
        blend([(1.0, square), (1.0, torch.zeros(3, 3))])
    with pytest.raises(InputError, match="for 3 captions"):
        tie_identical(square, ["a", "b", "c"])
    with pytest.raises(InputTypeError, match="list"):
        tie_identical(square, "ab")
