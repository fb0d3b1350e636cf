"""Zero-shot tags over HTTP."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from clap_musicgen.library.vocabulary import VOCABULARY
from clap_musicgen.service.context import track_id
from service_client import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_tags_of_each_track_are_those_of_the_library(served: Served) -> None:
    all_tags = served.library.tags()
    assert all_tags  # or this test would say nothing
    for track in served.library.tracks():
        address = f"/api/tracks/{track_id(track)}/tags"
        found = served.client.get(address).json()["tags"]
        own = [tag for tag in all_tags if tag.track == track]
        assert [(tag["facet"], tag["label"]) for tag in found] == [
            (tag.facet, tag.label) for tag in own
        ]
        assert [tag["score"] for tag in found] == pytest.approx([tag.score for tag in own])


def test_tags_are_counted_by_facet(served: Served) -> None:
    found = served.client.get("/api/tags").json()["facets"]
    counts = Counter((tag.facet, tag.label) for tag in served.library.tags())
    assert set(found) <= set(VOCABULARY)
    assert {
        (facet, one["label"]): one["tracks"] for facet, labels in found.items() for one in labels
    } == counts
    for labels in found.values():
        frequencies = [one["tracks"] for one in labels]
        assert frequencies == sorted(frequencies, reverse=True)
    assert served.client.get("/api/tags").json()["facets"] == found


def test_no_such_track(served: Served) -> None:
    assert served.client.get(f"/api/tracks/{'0' * 32}/tags").status_code == 404
