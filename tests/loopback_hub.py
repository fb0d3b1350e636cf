"""A real HTTP server on loopback that takes uploads and gives them back as the Hugging Face Hub does.

Only the few addresses that creating, committing (small files inline, large ones by Git LFS) and
downloading a model repository use. Knows nothing of the package under test.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

OWNER, TOKEN = "me", "hf_" + "secret" * 5


@dataclass
class Repository:
    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: list[dict[str, Any]] = field(default_factory=list)

    def sha(self, branch: str = "main") -> str:
        text = json.dumps([branch, len(self.commits)])
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Hub:
    """`repositories` hold what was committed; `fail[address part]` = (status, message) breaks one."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.fail: dict[str, tuple[int, str]] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self._answer()

            def do_PUT(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def do_HEAD(self) -> None:
                self._answer()

            def _answer(self) -> None:
                body = _body(self)
                path = unquote(urlsplit(self.path).path)
                token = self.headers.get("Authorization", "")
                status, answer, headers = hub.answer(self.command, path, body, token)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(
        self, method: str, path: str, body: bytes, token: str
    ) -> tuple[int, object, dict[str, str]]:
        self.requests.append(f"{method} {path}")
        for part, (status, message) in self.fail.items():
            if part in path:
                return status, {"error": message.replace("TOKEN", token)}, {}
        # An upload goes to storage, whose address is the permission.
        public = method in ("GET", "HEAD") or "/storage/" in path
        if not public and token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}, {}
        return self._route(method, path, body)

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, object, dict[str, str]]:
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "validate-yaml"]:
                return 200, {"errors": [], "warnings": []}, {}
            case ["storage", oid]:
                self.objects[oid] = body
                return 200, {}, {}
            case ["api", "models", owner, name, *rest] if f"{owner}/{name}" in self.repositories:
                return self._model(f"{owner}/{name}", rest, body)
            case [_, _, "info", "lfs", "objects", "batch"]:
                return 200, self._batch(json.loads(body)), {}
            case [owner, name, "resolve", _, file] if method in ("GET", "HEAD"):
                return self._file(self.repositories[f"{owner}/{name}"], file)
        return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, object, dict[str, str]]:
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != OWNER:
            return 403, {"error": "You don't have the rights to create a model there"}, {}
        if name in self.repositories:
            return 409, {"error": "You already created it", "url": f"{self.url}/{name}"}, {}
        self.repositories[name] = Repository(private=wanted.get("visibility") == "private")
        return 200, {"url": f"{self.url}/{name}"}, {}

    def _model(self, name: str, rest: list[str], body: bytes) -> tuple[int, object, dict[str, str]]:
        repository = self.repositories[name]
        match rest:
            case [] | ["revision", _]:
                files = [{"rfilename": file} for file in repository.branches["main"]]
                answer = {"id": name, "private": repository.private, "siblings": files}
                return 200, {**answer, "sha": repository.sha(), "tags": [], "downloads": 0}, {}
            case ["branch", branch]:
                known = branch in repository.branches
                repository.branches.setdefault(branch, {})
                return (409 if known else 200), {"error": "exists"} if known else {}, {}
            case ["preupload", branch] if branch in repository.branches:
                names = [file["path"] for file in json.loads(body)["files"]]
                return 200, {"files": [_mode(name) for name in names]}, {}
            case ["commit", branch] if branch in repository.branches:
                return 200, self._commit(name, branch, body), {}
            case ["tree", *_]:
                return 200, self._tree(repository), {}
        return 404, {"error": "no such thing"}, {"X-Error-Code": "RevisionNotFound"}

    def _batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        def action(oid: str) -> dict[str, Any]:
            return {"upload": {"href": f"{self.url}/storage/{oid}"}}

        objects = [{**wish, "actions": action(wish["oid"])} for wish in wanted["objects"]]
        return {"transfer": "basic", "objects": objects}

    def _commit(self, name: str, branch: str, body: bytes) -> dict[str, Any]:
        repository = self.repositories[name]
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.branches[branch][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                repository.branches[branch][value["path"]] = content
        repository.commits.append({"branch": branch, "keys": [line["key"] for line in lines]})
        sha = repository.sha(branch)
        return {"commitUrl": f"{self.url}/{name}/commit/{sha}", "commitOid": sha, "success": True}

    def _tree(self, repository: Repository) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path, "size": len(content), "oid": _oid(content)}
            for path, content in repository.branches["main"].items()
        ]

    def _file(self, repository: Repository, name: str) -> tuple[int, object, dict[str, str]]:
        content = repository.branches["main"].get(name)
        if content is None:
            return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": repository.sha()}
        return 200, content, headers


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    parts = []
    while size := int(request.rfile.readline(), 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(parts)


def _mode(name: str) -> dict[str, Any]:
    mode = "lfs" if name.endswith(".safetensors") else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False}


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def loopback_hub() -> Iterator[Hub]:
    server = Hub()
    try:
        yield server
    finally:
        server.close()
