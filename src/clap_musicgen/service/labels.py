"""Zero-shot tags: of one track, and how often each is given in the library."""

from collections import Counter

from fastapi import APIRouter
from pydantic import BaseModel, Field

from clap_musicgen.library.library import Library
from clap_musicgen.service.context import Here
from clap_musicgen.service.schemas import TrackId, problems

router = APIRouter(prefix="/api", tags=["tags"])


class TagOut(BaseModel):
    """One label of one track."""

    facet: str = Field(description="What kind of label it is, such as genre.")
    label: str
    score: float = Field(description="Calibrated, 0 to 1.")


class TagsOf(BaseModel):
    """The tags of one track; none where nothing fits."""

    tags: list[TagOut]


class Given(BaseModel):
    """How often a label is given."""

    label: str
    tracks: int


class AllTags(BaseModel):
    """The labels of each facet, the most frequent first."""

    facets: dict[str, list[Given]]


@router.get(
    "/tracks/{id}/tags",
    summary="Tags of a track",
    response_model=TagsOf,
    responses=problems(404, 422),
)
def tags_of(here: Here, id: TrackId) -> TagsOf:  # noqa: A002
    """Return the labels that fit a track, by its sound alone; its file stays untouched."""
    found = here.library.tags(path=here.track(id).path)
    return TagsOf(tags=[TagOut(facet=tag.facet, label=tag.label, score=tag.score) for tag in found])


@router.get("/tags", summary="Tags of the library", response_model=AllTags)
def tags(here: Here) -> AllTags:
    """Count the labels that fit the tracks; computed once for each state of the library."""
    return here.once("tags", _count)


def _count(library: Library) -> AllTags:
    counts = Counter((tag.facet, tag.label) for tag in library.tags())
    facets: dict[str, list[Given]] = {}
    for (facet, label), tracks in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        facets.setdefault(facet, []).append(Given(label=label, tracks=tracks))
    return AllTags(facets=facets)
