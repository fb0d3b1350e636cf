"""`clap-musicgen search` and `similar`: questions to the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clap_musicgen.cli.options import (
    CountOption,
    JsonOption,
    LibraryModelOption,
    LibraryOption,
    LibraryPrecisionOption,
    library_folder,
    library_is_there,
    open_library,
)
from clap_musicgen.cli.show import clock, emit_json, emit_table, note, waiting
from clap_musicgen.errors import InputError, TrackNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_musicgen.library.known import KnownFiles
    from clap_musicgen.library.library import Library
    from clap_musicgen.library.records import Match, Segment

_NOTHING = "no matches: the library is empty, or no track passes the filters"
_ASKED, _FILTERS, _ANSWERS = "What it sounds like", "Which tracks", "Which answers"


def _asked(name: str, metavar: str, text: str, panel: str = _ASKED) -> Any:
    return typer.Option(name, metavar=metavar, help=text, rich_help_panel=panel)


QueryArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="QUERY",
        help="Words: calm piano · jazz -vocals · piano without vocals or drums · "
        '"church organ"^2 choir.',
        show_default=False,
    ),
]
LikeOption = Annotated[
    list[Path] | None, _asked("--like", "FILE", "Like this sound; may be repeated.")
]
UnlikeOption = Annotated[
    list[Path] | None, _asked("--unlike", "FILE", "Unlike this sound; may be repeated.")
]
WithoutOption = Annotated[
    list[str] | None,
    _asked("--without", "TEXT", "Words for what you want less; may be repeated."),
]
ArtistOption = Annotated[
    list[str] | None,
    _asked(
        "--artist",
        "NAME",
        "Such as 'nina*', whatever the case and accents; repeated: any of them.",
        _FILTERS,
    ),
]
AlbumOption = Annotated[list[str] | None, _asked("--album", "NAME", "Likewise.", _FILTERS)]
GenreOption = Annotated[list[str] | None, _asked("--genre", "NAME", "Likewise.", _FILTERS)]
YearOption = Annotated[
    str | None, _asked("--year", "YEARS", "1960-1969, 1960-, -1969, 1969 or 1960s.", _FILTERS)
]
LengthOption = Annotated[
    str | None, _asked("--length", "LENGTHS", "2:00-5:00, 90s-, -1.5h or 3:30.", _FILTERS)
]
UnderOption = Annotated[
    list[Path] | None, _asked("--under", "FOLDER", "In this folder; may be repeated.", _FILTERS)
]
AddedSinceOption = Annotated[
    str | None, _asked("--added-since", "WHEN", "7d, 2w, 36h or 2026-01-31.", _FILTERS)
]
WhereOption = Annotated[
    str | None,
    _asked(
        "--where",
        "SQL",
        "A condition on title, artist, album, genre, year, duration, path and added, such as "
        "\"artist = 'Nina' AND year < 1970\".",
        _FILTERS,
    ),
]
PerOption = Annotated[
    Literal["artist", "album"] | None,
    typer.Option("--per", help="One answer for each artist or album.", rich_help_panel=_ANSWERS),
]
NoFoldOption = Annotated[
    bool,
    typer.Option("--no-fold", help="Show near-duplicates one by one.", rich_help_panel=_ANSWERS),
]
MinScoreOption = Annotated[
    float,
    typer.Option(
        "--min-score",
        min=0.0,
        max=1.0,
        help="Leave out what scores less, 0 to 1.",
        rich_help_panel=_ANSWERS,
    ),
]
SegmentsOption = Annotated[
    bool,
    typer.Option(
        "--segments", help="The best moments instead of tracks.", rich_help_panel=_ANSWERS
    ),
]
InOption = Annotated[
    Path | None, _asked("--in", "FILE", "The best moments of this track.", _ANSWERS)
]


def search(
    query: QueryArgument = None,
    count: CountOption = 10,
    like: LikeOption = None,
    unlike: UnlikeOption = None,
    without: WithoutOption = None,
    artist: ArtistOption = None,
    album: AlbumOption = None,
    genre: GenreOption = None,
    year: YearOption = None,
    length: LengthOption = None,
    under: UnderOption = None,
    added_since: AddedSinceOption = None,
    where: WhereOption = None,
    per: PerOption = None,
    no_fold: NoFoldOption = False,
    min_score: MinScoreOption = 0.0,
    segments: SegmentsOption = False,
    within: InOption = None,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the tracks, and the best moment of each, that fit words, sounds, or both."""
    question = _question(query, like=like, unlike=unlike, without=without)
    tags = {"artist": artist, "album": album, "genre": genre}
    which = _which(tags, year=year, length=length, under=under, since=added_since, where=where)
    moments = segments or within is not None
    if moments and (per or no_fold or min_score):
        raise InputError(
            "--segments and --in show moments: leave out --per, --no-fold and --min-score, which "
            "are about tracks"
        )
    folder = library_folder(library)
    _check_sounds(folder, [*(like or []), *(unlike or [])], within=within)
    with open_library(folder, model=model, precision=precision) as opened:
        if moments:
            with waiting("searching"):
                found = opened.segments(path=within, k=count, **question, **which)
            _show_segments(found, as_json=as_json)
        else:
            with waiting("searching"):
                matches = opened.search(k=count, per=per, fold=not no_fold, **question, **which)
            _show(matches, min_score, _among(opened, which), as_json=as_json)


def similar(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A track or any audio file.")],
    count: CountOption = 10,
    artist: ArtistOption = None,
    album: AlbumOption = None,
    genre: GenreOption = None,
    year: YearOption = None,
    length: LengthOption = None,
    under: UnderOption = None,
    added_since: AddedSinceOption = None,
    where: WhereOption = None,
    per: PerOption = None,
    no_fold: NoFoldOption = False,
    min_score: MinScoreOption = 0.0,
    library: LibraryOption = None,
    model: LibraryModelOption = None,
    precision: LibraryPrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the tracks that sound most like a file, which need not be in the library.

    Like several, and unlike others: search --like FILE --like FILE --unlike FILE.
    """
    tags = {"artist": artist, "album": album, "genre": genre}
    which = _which(tags, year=year, length=length, under=under, since=added_since, where=where)
    folder = library_folder(library)
    _check_sounds(folder, [file])
    with open_library(folder, model=model, precision=precision) as opened:
        with waiting("searching"):
            matches = opened.similar(file, k=count, per=per, fold=not no_fold, **which)
        _show(matches, min_score, _among(opened, which), as_json=as_json)


def _question(
    query: str | None,
    *,
    like: list[Path] | None,
    unlike: list[Path] | None,
    without: list[str] | None,
) -> dict[str, Any]:
    """Check what is asked before the model is loaded → arguments of `Library.search`."""
    if query is None and not like:
        raise InputError("nothing to search for: give some words, or a sound with --like FILE")
    for name, text in (("query", query), *(("text of --without", text) for text in without or [])):
        if text is not None and not text.strip():
            raise InputError(f"the {name} is empty: describe the music in a few words")
    from clap_musicgen.library.asking import asked

    question = {"query": query, "like": like, "unlike": unlike, "without": without}
    asked(query, like=like, unlike=unlike, without=without)
    return question


def _which(
    tags: dict[str, list[str] | None],
    *,
    year: str | None,
    length: str | None,
    under: list[Path] | None,
    since: str | None,
    where: str | None,
) -> dict[str, Any]:
    """Read the filters before the model is loaded → arguments of `Library.search`."""
    from clap_musicgen.library import filters

    chosen = filters.Filters(
        **{name: tuple(values or ()) for name, values in tags.items()},
        year=(None, None) if year is None else filters.parse_years(year),
        duration=(None, None) if length is None else filters.parse_lengths(length),
        under=tuple(under or ()),
        added_since=None if since is None else filters.parse_since(since),
    )
    filters.sql(chosen, where)
    return {"filters": chosen, "where": where}


def _check_sounds(
    folder: Path | str, files: "Sequence[Path]", *, within: Path | None = None
) -> None:
    """Find out before the model is loaded that a file is neither there nor in the library."""
    from clap_musicgen.library.paths import absolute, is_gone, path_key

    for file in files:
        if file.is_dir():
            raise InputError(f"{str(file)!r} is a folder: name the files, each with its option")
    doubtful = [file for file in files if is_gone(absolute(file))] + ([within] if within else [])
    if not doubtful or not library_is_there(folder):
        return
    with waiting("looking into the library"):
        known = _known(folder)
    for file in doubtful:
        if known.get(path_key(absolute(file))) is None:
            nor = "" if file is within else " nor a file"
            raise TrackNotFoundError(
                f"{absolute(file)!r} is {'not' if file is within else 'neither'} a track of the "
                f"library {str(folder)!r}{nor}: check the name, or index it first"
            )


def _known(folder: Path | str) -> "KnownFiles":
    from clap_musicgen.library.folder import read_description
    from clap_musicgen.library.place import locate
    from clap_musicgen.library.store import Store

    place = locate(folder)
    return Store(place.target, dim=read_description(place).dim).known()


def _among(library: "Library", which: dict[str, Any]) -> str:
    """Say which tracks might have answered."""
    from clap_musicgen.library.filters import sql

    some = sql(which["filters"], which["where"]) is not None
    return "the tracks that pass the filters" if some else f"{len(library)} tracks"


def _show(found: "Sequence[Match]", min_score: float, among: str, *, as_json: bool) -> None:
    """Print what scores enough; if nothing does, say so, and what the best one scores."""
    matches = [match for match in found if match.calibrated >= min_score]
    if as_json:
        emit_json([_match_as_json(match) for match in matches])
    elif matches:
        _print(matches)
    if not found:
        note(_NOTHING)
    elif not matches:
        best = max(match.calibrated for match in found)
        note(f"nothing fits: the best of {among} scores {best:.2f}; lower --min-score")


def _print(matches: "Sequence[Match]") -> None:
    columns = ["title", "artist", ">score", ">segment", "path"]
    rows = [_cells(match, f"{match.calibrated:.2f}") for match in matches]
    if any(match.also for match in matches):  # a column that is mostly not there
        columns.insert(1, ">")
        for row, match in zip(rows, matches, strict=True):
            row.insert(1, f"(+{len(match.also)} alike)" if match.also else "")
    emit_table(columns, rows)


def _show_segments(segments: "Sequence[Segment]", *, as_json: bool) -> None:
    if as_json:
        emit_json([_as_json(segment) for segment in segments])
    elif segments:
        rows = [_cells(segment, f"{segment.score:.3f}") for segment in segments]
        emit_table(["title", "artist", ">cosine", ">segment", "path"], rows)
    else:
        note(_NOTHING)


def _cells(answer: "Match | Segment", score: str) -> list[str]:
    span = f"{clock(answer.start)}–{clock(answer.end)}"
    return [answer.track.title, answer.track.artist, score, span, answer.track.path]


def _match_as_json(match: "Match") -> dict[str, object]:
    return _as_json(match) | {
        "calibrated": round(match.calibrated, 4),
        "also": [track.path for track in match.also],
    }


def _as_json(answer: "Match | Segment") -> dict[str, object]:
    track = answer.track
    return {
        "path": track.path,
        "title": track.title,
        "artist": track.artist,
        "album": track.album,
        "genre": track.genre,
        "year": track.year,
        "duration": round(track.duration, 3),
        "score": round(answer.score, 6),
        "start": round(answer.start, 3),
        "end": round(answer.end, 3),
        "problem": track.problem,
    }
