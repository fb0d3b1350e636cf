"""Search, moments and similar tracks: questions in, ranked answers out.

Translates between HTTP and `Library`; what a question means is decided there.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from clap_musicgen.errors import InputError
from clap_musicgen.service.context import Here, Service, match_out, track_out
from clap_musicgen.service.schemas import (
    Matches,
    Question,
    SegmentOut,
    Segments,
    TrackId,
    Which,
    problems,
)

router = APIRouter(prefix="/api", tags=["search"])


class Moments(Question):
    """What somebody asks for, of all tracks or of one."""

    track: TrackId | None = Field(default=None, description="The moments of this track only.")


@router.get(
    "/search", summary="Tracks that fit", response_model=Matches, responses=problems(404, 422)
)
def search(here: Here, question: Annotated[Question, Query()]) -> Matches:
    """Return the tracks that fit words, sounds, or both, best first, and the best moment of each."""
    return _search(here, question)


@router.post(
    "/search",
    summary="Tracks that fit, for long questions",
    response_model=Matches,
    responses=problems(404, 422),
)
def search_by_body(here: Here, question: Question) -> Matches:
    """Do what GET does; a question in a body may be longer than an address."""
    return _search(here, question)


@router.get(
    "/segments", summary="Moments that fit", response_model=Segments, responses=problems(404, 422)
)
def segments(here: Here, question: Annotated[Moments, Query()]) -> Segments:
    """Return the moments that fit best, of all tracks or of one.

    `per` and `min_score` are about tracks and cannot be used; near-duplicates are not folded.
    """
    return _segments(here, question)


@router.post(
    "/segments",
    summary="Moments that fit, for long questions",
    response_model=Segments,
    responses=problems(404, 422),
)
def segments_by_body(here: Here, question: Moments) -> Segments:
    """Do what GET does; a question in a body may be longer than an address."""
    return _segments(here, question)


@router.get(
    "/tracks/{id}/similar",
    summary="Tracks that sound alike",
    response_model=Matches,
    responses=problems(404, 422),
)
def similar(here: Here, id: TrackId, which: Annotated[Which, Query()]) -> Matches:  # noqa: A002
    """Return the tracks that sound most like one of the library; copies of it are left out."""
    found = here.library.similar(
        here.track(id).path,
        k=which.k,
        per=which.per,
        fold=which.fold,
        min_score=which.min_score,
        **here.among(which),
    )
    return Matches(matches=[match_out(match) for match in found])


def _search(here: Service, question: Question) -> Matches:
    found = here.library.search(
        k=question.k,
        per=question.per,
        fold=question.fold,
        min_score=question.min_score,
        **here.asks(question),
        **here.among(question),
    )
    return Matches(matches=[match_out(match) for match in found])


def _segments(here: Service, question: Moments) -> Segments:
    if question.per is not None or question.min_score:
        raise InputError("moments have no calibrated score: leave out per and min_score")
    found = here.library.segments(
        k=question.k,
        path=None if question.track is None else here.track(question.track).path,
        **here.asks(question),
        **here.among(question),
    )
    return Segments(
        segments=[
            SegmentOut(track=track_out(one.track), score=one.score, start=one.start, end=one.end)
            for one in found
        ]
    )
