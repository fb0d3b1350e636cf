"""/rest: the sonicSimilarity extension of OpenSubsonic, for servers and clients of that kind.

A client asks with GET or a form, gets JSON or XML, and shows the service's token in Subsonic's
ways. Errors have status 200 and a number, as Subsonic has it. There is no music server here: no
browsing, no streaming. What is asked of the library is `Library.similar` and `Library.playlist`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import md5
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from clap_musicgen.errors import ClapMusicGenError
from clap_musicgen.library.paths import path_key
from clap_musicgen.service.context import Here, Service
from clap_musicgen.service.schemas import MAX_K, MAX_TEXT
from clap_musicgen.service.subsonic_answers import (
    CONFLICT,
    GENERIC,
    MISSING,
    WRONG_KEY,
    WRONG_PASSWORD,
    SubsonicError,
    failed,
    match,
    succeeded,
)
from clap_musicgen.service.subsonic_tracks import Catalogue, Wanted

if TYPE_CHECKING:
    from typing import TypeAlias

    Params: TypeAlias = Mapping[str, str]
    Work: TypeAlias = Callable[[Service, Params], dict[str, Any]]

EXTENSIONS = ("apiKeyAuthentication", "formPost", "sonicSimilarity")
"""All in version 1."""
_SIMILAR, _PATH = 10, 25  # how many, where nobody says

router = APIRouter(prefix="/rest", tags=["opensubsonic"])


def ping(_here: Service, _params: Params) -> dict[str, Any]:
    """Answer."""
    return {}


def extensions(_here: Service, _params: Params) -> dict[str, Any]:
    """Tell what is understood; needs no token."""
    return {"openSubsonicExtensions": [{"name": name, "versions": [1]} for name in EXTENSIONS]}


def token_info(_here: Service, _params: Params) -> dict[str, Any]:
    """Tell whose key it is; there is one user."""
    return {"tokenInfo": {"username": "clap-musicgen"}}


def similar(here: Service, params: Params) -> dict[str, Any]:
    """Return the tracks that sound most like one, best first."""
    track = _catalogue(here).find(_wanted(params, id_="id"))
    found = here.library.similar(track.path, k=_count(params, _SIMILAR))
    return {"sonicMatch": [match(one.track, one.score) for one in found]}


def path(here: Service, params: Params) -> dict[str, Any]:
    """Lead from one track to another in small steps of sound, both included."""
    catalogue, count = _catalogue(here), _count(params, _PATH, least=2)
    first = catalogue.find(_wanted(params, id_="startSongId", prefix="start"))
    last = catalogue.find(_wanted(params, id_="endSongId", prefix="end"))
    chosen = here.library.playlist(between=(first.path, last.path), k=count)
    scores = here.library.scores(like=first.path)
    rows = [catalogue.row_of.get(path_key(track.path), len(scores)) for track in chosen]
    alike = [float(scores[row]) if row < len(scores) else 0.0 for row in rows]
    pairs = zip(chosen, [1.0, *alike[1:]], strict=True)  # the first one is what it is like
    return {"sonicMatch": [match(track, similarity) for track, similarity in pairs]}


def _wanted(params: Params, *, id_: str, prefix: str = "") -> Wanted:
    def given(name: str) -> str:
        return params.get(f"{prefix}{name.capitalize()}" if prefix else name, "")

    try:
        duration = float(given("duration")) if given("duration") else None
    except ValueError as error:
        told = given("duration")
        raise SubsonicError(GENERIC, f"a duration is a number of seconds, not {told!r}") from error
    return Wanted(
        id=params.get(id_, ""),
        path=given("path"),
        title=given("title"),
        artist=given("artist"),
        album=given("album"),
        duration=duration,
    )


def _count(params: Params, default: int, *, least: int = 1) -> int:
    text = params.get("count") or str(default)
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < least:
        raise SubsonicError(
            GENERIC, f"count must be a whole number of at least {least}, not {text[:20]!r}"
        )
    return min(int(text), MAX_K)


# Who asks, and how


def check_key(params: Params, token: str) -> None:
    """Compare what a client shows with the token, in constant time.

    Raises:
        SubsonicError: it is not the token, or not shown in a way that we know.
    """
    names = [name for name in ("apiKey", "p", "t", "s") if params.get(name)]
    if "apiKey" in names:
        if len(names) > 1 or params.get("u"):
            raise SubsonicError(CONFLICT, "give apiKey alone, without u, p, t and s")
        if not _fits(params["apiKey"], token):
            raise SubsonicError(WRONG_KEY, "apiKey must be the token of this service")
    elif "t" in names and "s" in names:
        # The client's choice of a hash, which Subsonic fixed long ago.
        salted = md5((token + params["s"]).encode(errors="replace"), usedforsecurity=False)
        if not _fits(params["t"].lower(), salted.hexdigest()):
            raise SubsonicError(WRONG_PASSWORD, "t must be md5(token of this service + s)")
    elif "p" in names:
        if not _fits(_password(params["p"]), token):
            raise SubsonicError(WRONG_PASSWORD, "the password must be the token of this service")
    else:
        raise SubsonicError(
            MISSING, "the token of this service is needed: as apiKey, as u with t and s, or u and p"
        )


def _password(text: str) -> str:
    if not text.startswith("enc:"):
        return text
    try:
        return bytes.fromhex(text.removeprefix("enc:")).decode()
    except ValueError:
        return ""


def _fits(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode(errors="replace"), right.encode())


async def _answer(
    work: Work,
    here: Service,
    request: Request,
    *,
    is_open: bool,
) -> Response:
    params = dict(request.query_params)
    if request.method == "POST":
        form = await request.form()
        params |= {name: value for name, value in form.items() if isinstance(value, str)}
    as_json, version = params.get("f", "xml") == "json", request.app.version
    try:
        _check(params)
        token = here.settings.token
        if token is not None and not is_open and not request.app.state.sessions.admits(request):
            check_key(params, token)
        done = partial(_worked, work, here, params)
        content = await anyio.to_thread.run_sync(done)
        return succeeded(content, as_json=as_json, version=version)
    except SubsonicError as error:
        return failed(error, as_json=as_json, version=version)


def _worked(work: Work, here: Service, params: Params) -> dict[str, Any]:
    try:
        return work(here, params)
    except ClapMusicGenError as error:
        raise SubsonicError(GENERIC, str(error)) from error


def _check(params: Params) -> None:
    if params.get("f", "xml") not in {"xml", "json"}:
        raise SubsonicError(GENERIC, f"f must be xml or json, not {params['f'][:20]!r}")
    for name, value in params.items():
        if len(value) > MAX_TEXT:
            raise SubsonicError(GENERIC, f"{name[:50]} is longer than {MAX_TEXT} characters")


def _catalogue(here: Service) -> Catalogue:
    return here.once("catalogue", lambda library: Catalogue(library.tracks()))


# Routes

_TRACK = {
    "path": "Where the id is not ours: the path of its file, or the end of it.",
    "title": "Where there is no path either: the title in its tags.",
    "artist": "With `title`.",
    "album": "With `title`, where that and the artist do not suffice.",
    "duration": "Seconds, where several tracks fit.",
}
_COUNT = {"count": "How many at most; more than 200 is 200."}
_COMMON = {
    "f": "`xml` or `json`; xml if it is left out.",
    "apiKey": "The token of this service.",
    "u": "Any name, with `t` and `s`, or `p`.",
    "t": "md5(token + s).",
    "s": "A salt.",
    "p": "The token, or `enc:` and its hexadecimal UTF-8.",
    "v": "The client's version of the API.",
    "c": "The client's name.",
}


def _prefixed(prefix: str) -> dict[str, str]:
    return {f"{prefix}{name.capitalize()}": text for name, text in _TRACK.items()}


def _extra(method: str, described: dict[str, str]) -> dict[str, Any]:
    texts = {**described, **_COMMON}
    text = {"type": "string", "maxLength": MAX_TEXT}
    if method == "POST":
        fields = {name: {**text, "description": told} for name, told in texts.items()}
        schema = {"schema": {"type": "object", "properties": fields}}
        return {"requestBody": {"content": {"application/x-www-form-urlencoded": schema}}}
    given = [
        {"name": name, "in": "query", "description": told, "schema": text}
        for name, told in texts.items()
    ]
    return {"parameters": given}


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A `subsonic-response`, also where it failed.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["subsonic-response"],
                    "properties": {"subsonic-response": {"type": "object"}},
                }
            },
            "application/xml": {"schema": {"type": "string"}},
        },
    }
}


def _route(
    name: str,
    work: Work,
    described: dict[str, str],
    *,
    is_open: bool = False,
) -> None:
    """Add an endpoint, with GET and POST, under its name and with .view behind it."""

    async def endpoint(here: Here, request: Request) -> Response:
        return await _answer(work, here, request, is_open=is_open)

    for method in ("GET", "POST"):
        for ending in ("", ".view"):
            router.add_api_route(
                f"/{name}{ending}",
                endpoint,
                methods=[method],
                name=name,
                summary=(work.__doc__ or name).strip().split("\n")[0],
                response_class=Response,
                responses=_ANSWERS,
                openapi_extra=_extra(method, described),
                include_in_schema=not ending,
            )


_route("ping", ping, {})
_route("getOpenSubsonicExtensions", extensions, {}, is_open=True)
_route("tokenInfo", token_info, {})
_route("getSonicSimilarTracks", similar, {"id": "Of the track.", **_TRACK, **_COUNT})
_route(
    "findSonicPath",
    path,
    {
        "startSongId": "Of the track to begin with.",
        "endSongId": "Of the track to end with.",
        **_prefixed("start"),
        **_prefixed("end"),
        **_COUNT,
    },
)
