"""Embeddings of texts, tracks and uploaded sounds, as JSON or as raw float32."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from clap_musicgen.errors import InputError
from clap_musicgen.service.context import Here
from clap_musicgen.service.schemas import MAX_TEXT, SoundId, Strict, problems

MAX_ITEMS = 256
"""Texts, and sounds, in one request."""
MAX_CHARACTERS = 50_000
"""Of all texts in one request: some seconds of work."""
BINARY = "application/octet-stream"

Said = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"\S")]

router = APIRouter(prefix="/api", tags=["embeddings"])


class Wanted(Strict):
    """What to embed."""

    texts: list[Said] = Field(default=[], max_length=MAX_ITEMS)
    ids: list[SoundId] = Field(default=[], max_length=MAX_ITEMS)


class Vectors(BaseModel):
    """Unit vectors of the model's space, in the order asked for."""

    dim: int = Field(description="Length of a vector.")
    texts: list[list[float]]
    items: list[list[float]] = Field(description="Mean directions of the sounds.")


_BINARY_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {BINARY: {"schema": {"type": "string", "format": "binary"}}},
        "description": "JSON; or, with `Accept: application/octet-stream`, the rows as "
        "little-endian float32, texts first.",
        "headers": {
            "X-Shape": {
                "description": "`rows,columns` of the binary form.",
                "schema": {"type": "string", "pattern": r"^\d+,\d+$"},
            }
        },
    }
}


@router.post(
    "/embeddings",
    summary="Vectors of texts and sounds",
    response_model=Vectors,
    responses=_BINARY_ANSWER | problems(404, 422),
)
def embeddings(here: Here, request: Request, wanted: Wanted) -> Vectors | Response:
    """Embed texts, and return the vectors of tracks and uploaded sounds."""
    characters = sum(map(len, wanted.texts))
    if characters > MAX_CHARACTERS:
        raise InputError(
            f"the texts have {characters} characters together: ask for {MAX_CHARACTERS} at a time"
        )
    texts = np.zeros((0, here.model.dim), dtype=np.float32)
    if wanted.texts:
        texts = here.model.embed_text(wanted.texts)
    items = here.library.vectors([here.sound(key) for key in wanted.ids])
    if BINARY in request.headers.get("accept", ""):
        rows = np.concatenate([texts, items]).astype("<f4")
        shape = f"{len(rows)},{here.model.dim}"
        return Response(rows.tobytes(), media_type=BINARY, headers={"X-Shape": shape})
    return Vectors(dim=here.model.dim, texts=texts.tolist(), items=items.tolist())
