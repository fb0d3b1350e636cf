"""Zero-shot classification over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from clap_musicgen.evaluation.zero_shot import label_vectors, rank_labels
from clap_musicgen.library.query import Heard
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = ["1800", "200", "400"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_tracks_and_uploaded_sounds_are_ranked(served: Served) -> None:
    vector = served.library.vectors([str(served.music / "top.flac")])[0]
    kept = served.service.sounds.add(Heard(vector), title="", duration=1, problem="")
    items = [served.id("low.flac"), served.id("mid.flac"), kept.id]
    answer = served.client.post("/api/classify", json={"items": items, "labels": LABELS})
    found = answer.json()["results"]
    assert [one["id"] for one in found] == items
    assert [one["labels"][0]["label"] for one in found] == ["200", "400", "1800"]
    for one in found:
        assert sum(label["share"] for label in one["labels"]) == pytest.approx(1)
    music = served.library.vectors([str(served.music / "low.flac")])
    expected = rank_labels(music, LABELS, label_vectors(served.model, LABELS))[0]
    assert [(label["label"], label["share"], label["cosine"]) for label in found[0]["labels"]] == [
        (one.label, one.share, one.cosine) for one in expected
    ]
    assert np.isfinite([label["cosine"] for label in found[0]["labels"]]).all()


@pytest.mark.parametrize(
    ("items", "labels", "status"),
    [
        (["0" * 32], LABELS, 404),
        (["s-" + "a" * 22], LABELS, 404),
        ([], LABELS, 422),
        (["low"], LABELS, 422),
        (None, ["jazz"], 422),
        (None, ["jazz", " jazz "], 422),
        (None, ["jazz", " "], 422),
        (None, ["jazz", "a" * 201], 422),
        (None, [str(number) for number in range(101)], 422),
    ],
)
def test_what_is_no_choice(
    served: Served, items: list[str] | None, labels: list[str], status: int
) -> None:
    chosen = [served.id("low.flac")] if items is None else items
    answer = served.client.post("/api/classify", json={"items": chosen, "labels": labels})
    assert answer.status_code == status
    assert answer.json()["detail"]
