"""Write the reference of the service's addresses from its OpenAPI description, as Markdown.

`python docs/make_http_reference.py` prints it; the site's build asks for it anew each time. A running
service gives the whole description, schemas included, at /api/openapi.json. Knows only OpenAPI.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from clap_musicgen import Library
from clap_musicgen.embedding import Embeddings, Waveform
from clap_musicgen.service.app import create_app
from clap_musicgen.service.settings import Settings

Json: TypeAlias = dict[str, Any]

INTRODUCTION = """\
# HTTP

What `clap-musicgen serve` answers. A running service tells the same, with every schema, at
`/api/openapi.json`. Errors are `application/problem+json` (RFC 9457), with a `title`, a `detail` and the
`status`; any address may answer 400, 401, 403, 408, 413, 421, 500 and 503, and only what is particular to one is
listed there.
"""
METHODS = ("get", "post", "put", "delete", "head")


class Silence:
    """An Embedder that is never asked: the description does not depend on the model."""

    dim, sample_rate, clip_seconds, clips_at_once, fingerprint = 1, 32_000, 10.0, 1, "silence"

    def embed_clips(self, waveforms: Sequence[Waveform]) -> Embeddings:
        """(N, 1), all alike."""
        return np.ones((len(waveforms), 1), dtype=np.float32)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """(N, 1), all alike."""
        return np.ones((len(texts), 1), dtype=np.float32)


def page(whole: Json | None = None) -> str:
    """Describe every address of the service, by tag; None is asked for now."""
    whole = whole or description()
    tags: dict[str, list[str]] = {}
    for path, item in whole["paths"].items():
        for method in (method for method in METHODS if method in item):
            tag = (item[method].get("tags") or ["other"])[0]
            tags.setdefault(tag, []).append(_described(method, path, item[method], whole))
    sections = [f"## {tag}\n\n" + "\n".join(parts) for tag, parts in tags.items()]
    return INTRODUCTION + "\n" + "\n".join(sections)


def description() -> Json:
    """The OpenAPI description of the service."""
    model = Silence()
    with TemporaryDirectory() as folder, Library.open(Path(folder) / "none", model) as library:
        return create_app(library, model, Settings()).openapi()


def _described(method: str, path: str, operation: Json, whole: Json) -> str:
    text = [f"### {operation.get('summary', path)} {{: #{method}-{_slug(path)} }}", ""]
    text += [f"`{method.upper()} {path}`", "", operation.get("description", ""), ""]
    text += _parameters(operation.get("parameters", []))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        text += _body(kind, content.get("schema", {}), whole)
    answers = [
        f"**{code}** {_line(answer)}"
        for code, answer in operation["responses"].items()
        if int(code) < HTTPStatus.BAD_REQUEST or _line(answer) != HTTPStatus(int(code)).phrase
    ]
    return "\n".join([*text, "Answers: " + " · ".join(answers), ""])


def _parameters(parameters: Sequence[Json]) -> list[str]:
    rows = [
        _row(f"`{one['name']}` in the {one['in']}", one.get("schema", {}), one)
        for one in parameters
    ]
    return ["| parameter | type | what |", "| --- | --- | --- |", *rows, ""] if rows else []


def _body(kind: str, schema: Json, whole: Json) -> list[str]:
    """The fields of what is sent, where they have names."""
    found = _resolved(schema, whole)
    needed = found.get("required", [])
    rows = [
        _row(f"`{name}`", field, {"required": name in needed})
        for name, field in found.get("properties", {}).items()
    ]
    table = ["| field | type | what |", "| --- | --- | --- |", *rows, ""] if rows else []
    return [f"Body: `{kind}`", "", *table]


def _resolved(schema: Json, whole: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Json = whole["components"]["schemas"][name] if name else schema
    return found


def _row(name: str, schema: Json, about: Json) -> str:
    needed = ", needed" if about.get("required") and not name.endswith("path") else ""
    what = about.get("description") or schema.get("description") or ""
    return f"| {name} | {_kind(schema)}{needed} | {_cell(what)} |"


def _kind(schema: Json) -> str:
    """A schema in a few words, with its bounds and default."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    words = str(schema.get("type", "object"))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        words += f" {_bound(low)}–{_bound(high)}"
    if schema.get("default") is not None:
        words += f", {schema['default']}"
    return words


def _bound(value: float | None) -> str:
    return "" if value is None else f"{value:,.12g}"


def _line(answer: Json) -> str:
    return " ".join(str(answer.get("description", "")).split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _slug(path: str) -> str:
    return path.strip("/").replace("/", "-").replace("{", "").replace("}", "") or "root"


if __name__ == "__main__":
    print(page())
