"""What the service takes and gives, where several routes share it: tracks, questions, matches.

Plain shapes with their bounds. Knows what a track's id looks like; neither the library nor HTTP.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_K = 200
"""How many answers at most."""
MAX_LIST = 100
"""How many entries a list of a question may have."""
MAX_TEXT = 2_000
"""Characters in one text."""
MAX_SHORT = 200
"""Characters in one of several texts, such as a label: a hundred long ones would take a minute."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
"""A text of a person; no NUL, which neither SQL nor a file name can hold."""
Short = Annotated[str, StringConstraints(max_length=MAX_SHORT, pattern=r"^[^\x00]*$")]
"""One of several texts."""
TrackId = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{32}$"),
    Field(examples=["0123456789abcdef0123456789abcdef"]),
]
SoundId = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9a-f]{32}|s-[0-9A-Za-z_-]{22})$"),
    Field(
        description="A track's id, or the id of an uploaded sound, which begins with `s-`.",
        examples=["0123456789abcdef0123456789abcdef"],
    ),
]
Texts = Annotated[list[Text], Field(max_length=MAX_LIST)]
SoundIds = Annotated[list[SoundId], Field(max_length=MAX_LIST)]
Count = Annotated[int, Field(ge=1, le=MAX_K, description="How many answers at most.")]
Year = Annotated[int, Field(ge=-9999, le=9999)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class TrackOut(BaseModel):
    """One track of the library."""

    id: TrackId
    title: str = Field(description="Falls back to the file's name.")
    artist: str = Field(description="Empty if unknown.")
    album: str = Field(description="Empty if unknown.")
    genre: str = Field(description="Empty if unknown.")
    year: int | None = Field(description="Null if unknown.")
    duration: float = Field(description="Seconds.")
    path: str = Field(description=r"Where the file lies; bytes that are not UTF-8 are `\xNN`.")
    problem: str = Field(description="Empty, or what was wrong with the file.")


class MatchOut(BaseModel):
    """One track that answers a question, and its best moment."""

    track: TrackOut
    score: float = Field(description="Cosine, corrected for this library: what the order goes by.")
    calibrated: float = Field(
        description="How sure it is that the track has to do with the question, 0 to 1."
    )
    start: float = Field(description="Where the best fitting moment begins, in seconds.")
    end: float = Field(description="Where it ends, in seconds.")
    also: list[TrackOut] = Field(description="Near-duplicates that were folded into this answer.")


class Matches(BaseModel):
    """Tracks that answer a question, best first."""

    matches: list[MatchOut]


class SegmentOut(BaseModel):
    """One moment of a track that answers a question."""

    track: TrackOut
    score: float = Field(description="As of a match, for this moment alone.")
    start: float = Field(description="Seconds.")
    end: float = Field(description="Seconds.")


class Segments(BaseModel):
    """Moments that answer a question, best first."""

    segments: list[SegmentOut]


class Strict(BaseModel):
    """What a client sends; a name we do not know is an error, for it is mostly a misspelling."""

    model_config = ConfigDict(extra="forbid")


class Which(Strict):
    """Which tracks may answer, and how the answers are given; what is left out allows all."""

    artist: Texts = Field(
        default=[], description="Any of these, whatever the case and accents; `*` is any text."
    )
    album: Texts = Field(default=[], description="Likewise.")
    genre: Texts = Field(default=[], description="Likewise.")
    year_from: Year | None = Field(default=None, description="First year.")
    year_to: Year | None = Field(default=None, description="Last year.")
    duration_from: Seconds | None = Field(default=None, description="Least length in seconds.")
    duration_to: Seconds | None = Field(default=None, description="Greatest length in seconds.")
    under: Texts = Field(default=[], description="Folders, any of them; `path` of a track.")
    added_since: Text | None = Field(
        default=None, description="`7d`, `2w`, `36h`, a day or a time in ISO 8601."
    )
    where: Text | None = Field(
        default=None,
        description="An SQL condition on title, artist, album, genre, year, duration, path and "
        "added: comparisons, joined by AND, OR, NOT; no functions but lower and upper.",
        examples=["artist = 'Nina Simone' AND year >= 1960"],
    )
    per: Literal["artist", "album"] | None = Field(
        default=None, description="One answer for each artist or album."
    )
    fold: bool = Field(default=True, description="Whether near-duplicates become one answer.")
    k: Count = 20
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.0, description="Leave out answers whose calibrated score is lower."
    )


class Question(Which):
    """What somebody asks for: words, sounds, or both; at least one of `query` and `like`."""

    query: Text | None = Field(
        default=None,
        description='Words: `dark metal`, `jazz -vocals`, `"church organ"^2 choir`.',
        examples=["calm piano without vocals"],
    )
    without: list[Short] = Field(
        default=[], max_length=MAX_LIST, description="Words for what is not wanted."
    )
    like: SoundIds = Field(default=[], description="Ids of tracks or of uploaded sounds.")
    unlike: SoundIds = Field(default=[], description="Sounds to keep away from.")


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it (`application/problem+json`)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(description="What kind of problem it is.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="The value that is wrong, and the way out.")
    errors: list[dict[str, str]] = Field(
        default=[], description="Of a 422: `where` and `reason` of each value."
    )


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route for OpenAPI, as its `responses=`; `describing` adds Problem."""
    return {status: {"description": _DESCRIPTIONS[status]} for status in statuses}


_DESCRIPTIONS = {
    400: "The request cannot be understood.",
    401: "A token is needed.",
    403: "This is not allowed here.",
    404: "There is no such thing.",
    409: "Something else is in the way.",
    413: "Too large.",
    415: "Not audio.",
    416: "No such range.",
    422: "A value cannot be used.",
    503: "Too busy just now; Retry-After says when to come again.",
    504: "It took too long.",
}
