"""The OpenAPI description, made whole: problems, security; and a plain page that shows it.

The page needs no script and nothing from elsewhere. Knows no route by name.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.routing import compile_path

from clap_musicgen.service.guard import PUBLIC
from clap_musicgen.service.problems import MEDIA_TYPE
from clap_musicgen.service.schemas import Problem
from clap_musicgen.service.sessions import COOKIE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

ANYWHERE = (400, 401, 403, 408, 413, 421, 500, 503)
"""What the layers before a route may answer."""
_METHODS = ("get", "head", "post", "put", "delete")
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
}

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Let an application describe itself as it is."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to have it replaced


def methods_at(request: Request) -> list[str]:
    """Tell what methods the description has for an address, sorted; none if it has none."""
    path = request.scope["path"]
    described: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    fitting = [path] if path in described else [each for each in described if _fits(each, path)]
    found = {method.upper() for each in fitting for method in described[each]}
    found &= {method.upper() for method in _METHODS}
    return sorted(found)


def _fits(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None


def _description(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = described.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = _SECURITY
    for path, _, operation in _operations(described):
        _complete(path, operation)
    return described


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Every error of an operation is a problem, and those of the layers are among them."""
    answers: dict[str, Any] = operation["responses"]
    for status in ANYWHERE:
        answers.setdefault(str(status), {"description": HTTPStatus(status).phrase})
    for code, described in answers.items():
        if int(code) >= HTTPStatus.BAD_REQUEST:
            schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
            described["content"] = {MEDIA_TYPE: schema}
    operation["responses"] = dict(sorted(answers.items()))
    if path not in PUBLIC:
        operation["security"] = [{}, {"token": []}, {"session": []}]


def _operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


@router.get("/api/docs")
async def docs(request: Request) -> HTMLResponse:
    """Show the description to a person."""
    described = request.app.openapi()
    entries = "".join(_entry(*each) for each in _operations(described))
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(described['info']['title'])}: API</title>"
        f"<h1>{escape(described['info']['title'])} {escape(described['info']['version'])}</h1>"
        "<p>For programs: <a href=/api/openapi.json>the OpenAPI description</a>. Every error is "
        "<code>application/problem+json</code>.</p>"
        f"<dl>{entries}</dl></html>"
    )


def _entry(path: str, method: str, operation: dict[str, Any]) -> str:
    names = ", ".join(parameter["name"] for parameter in operation.get("parameters", []))
    takes = f" <small>({escape(names)})</small>" if names else ""
    told = escape(operation.get("description", ""))
    return (
        f"<dt><code>{method.upper()} {escape(path)}</code>{takes}"
        f"<dd><b>{escape(operation.get('summary', ''))}</b><br>{told}"
    )
