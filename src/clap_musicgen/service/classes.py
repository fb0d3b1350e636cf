"""Which of a few labels fits best: zero-shot classification of tracks and uploaded sounds."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from clap_musicgen.evaluation.zero_shot import as_choice, label_vectors, rank_labels
from clap_musicgen.service.context import Here
from clap_musicgen.service.schemas import MAX_LIST, Short, SoundId, Strict, problems

router = APIRouter(prefix="/api", tags=["search"])


class Choice(Strict):
    """Sounds, and the labels to choose from."""

    items: Annotated[list[SoundId], Field(min_length=1, max_length=MAX_LIST)]
    labels: Annotated[
        list[Short],
        Field(min_length=2, max_length=MAX_LIST, examples=[["jazz", "metal", "ambient"]]),
    ]


class Place(BaseModel):
    """One label of one sound."""

    label: str
    share: float = Field(
        description="Softmax over these labels alone: it ranks them and is no probability."
    )
    cosine: float


class Classified(BaseModel):
    """One sound and the labels, best first."""

    id: SoundId
    labels: list[Place]


class Classes(BaseModel):
    """Sounds in the order asked for."""

    results: list[Classified]


@router.post(
    "/classify",
    summary="Which label fits best",
    response_model=Classes,
    responses=problems(404, 422),
)
def classify(here: Here, choice: Choice) -> Classes:
    """Rank labels for tracks and uploaded sounds."""
    labels = as_choice(choice.labels)
    music = here.library.vectors([here.sound(key) for key in choice.items])
    ranked = rank_labels(music, labels, label_vectors(here.model, labels))
    results = [
        Classified(
            id=key,
            labels=[Place(label=one.label, share=one.share, cosine=one.cosine) for one in own],
        )
        for key, own in zip(choice.items, ranked, strict=True)
    ]
    return Classes(results=results)
