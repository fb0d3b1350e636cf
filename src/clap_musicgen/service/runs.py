"""GET /api/runs: what training runs and evaluations have written about themselves.

Only files that a run is known to write are shown, and only where they really lie in the folder of
runs: names of a request are looked up in a listing, and links are not followed. Knows those files
by name; nothing of training.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field

from clap_musicgen.service.context import Here
from clap_musicgen.service.problems import ProblemError
from clap_musicgen.service.schemas import problems

if TYPE_CHECKING:
    from clap_musicgen.service.settings import Settings

METRICS, REPORT, RESULTS = "metrics.jsonl", "report.json", "results.json"
FIGURES = (
    "curves.png",
    "results.png",
    "robustness.png",
    "hit_curve.png",
    "similarities.png",
    "plane.png",
)
MOST_RUNS = 500
MOST_POINTS = 1_000
"""Of a longer curve so many points are shown, evenly chosen, the last among them."""
MOST_METRICS = 100
MOST_BYTES = 32 * 2**20
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)

Name = Annotated[str, InPath(max_length=255, pattern=r"^[^\x00/]+$", examples=["mine"])]
Json = dict[str, Any]


class Summary(BaseModel):
    """A run in a list."""

    name: str
    steps: int = Field(description="So far; 0 for a mere evaluation.")
    best: float | None = Field(description="Best score on validation; null if there is none yet.")


class Runs(BaseModel):
    """All runs, by name."""

    runs: list[Summary]


class Point(BaseModel):
    """One point of a curve."""

    step: int
    value: float


class EvaluationOut(BaseModel):
    """What one evaluation found."""

    name: str = Field(description="Its folder in the run; empty for the run's own.")
    results: Json = Field(description="Its results.json.")


class RunOut(BaseModel):
    """One run."""

    name: str
    curves: dict[str, list[Point]] = Field(
        description=f"By metric; at most {MOST_POINTS} points of each."
    )
    report: Json | None = Field(description="Its report.json; null while it trains.")
    evaluations: list[EvaluationOut] = Field(description="Of the run, and in folders below it.")
    figures: list[str] = Field(description="Names of its pictures.")


@dataclass(frozen=True, slots=True)
class Run:
    """A folder that a run has written."""

    name: str
    folder: Path

    @property
    def parts(self) -> dict[str, Path]:
        """The folder and those below it, each by the beginning of the names in it."""
        below = {f"{name}/": path for name, path in _folders(self.folder)}
        return {"": self.folder} | below

    @property
    def figures(self) -> dict[str, Path]:
        """Its pictures, by name."""
        return {
            f"{begin}{name}": folder / name
            for begin, folder in self.parts.items()
            for name in FIGURES
            if _is_plain(folder / name)
        }

    def metrics(self) -> list[Json]:
        """The lines of metrics.jsonl; what is damaged, or cut off by a crash, is left out."""
        lines = _content(self.folder / METRICS).splitlines(keepends=True)
        found = (_parsed(line) for line in lines if line.endswith(b"\n"))
        return [row for row in found if row is not None and isinstance(row.get("step"), int)]

    def report(self) -> Json | None:
        """Its report.json, if there is one that can be read."""
        return _parsed(_content(self.folder / REPORT))

    def evaluations(self) -> list[EvaluationOut]:
        """The results.json of it and of the folders below."""
        found = {
            begin.rstrip("/"): _parsed(_content(folder / RESULTS))
            for begin, folder in self.parts.items()
        }
        return [EvaluationOut(name=n, results=r) for n, r in found.items() if r is not None]


def runs_of(settings: Settings) -> dict[str, Run]:
    """All runs, by name; the folder itself may be one.

    Raises:
        ProblemError: the service has no folder of runs, or it cannot be read.
    """
    if settings.runs is None:
        raise ProblemError(404, "this service shows no runs: start it with --runs FOLDER")
    folder = Path(os.path.realpath(settings.runs))
    if not folder.is_dir():
        raise ProblemError(404, "the folder of runs is not there: look at --runs")
    own = [Run(folder.name, folder)] if _is_run(folder) else []
    below = [Run(name, path) for name, path in _folders(folder) if _is_run(path)]
    return {run.name: run for run in (*below[:MOST_RUNS], *own)}


def find_run(settings: Settings, name: str) -> Run:
    """Return a run; ProblemError if there is none of that name."""
    run = runs_of(settings).get(name)
    if run is None:
        raise ProblemError(404, f"there is no run {name!r}: GET /api/runs lists them")
    return run


def summary(run: Run) -> Summary:
    """Tell how far a run has come and how good it is."""
    metrics = run.metrics()
    scores = [_number(row.get("val_score")) for row in metrics]
    return Summary(
        name=run.name,
        steps=max((row["step"] for row in metrics), default=0),
        best=max((score for score in scores if score is not None), default=None),
    )


def curves(metrics: list[Json]) -> dict[str, list[Point]]:
    """Metric → its points, by step."""
    found: dict[str, list[Point]] = {}
    for row in metrics:
        for name, value in row.items():
            number = _number(value)
            if name != "step" and number is not None:
                found.setdefault(name, []).append(Point(step=row["step"], value=number))
    chosen = list(found)[:MOST_METRICS]
    return {name: _thinned(sorted(found[name], key=lambda point: point.step)) for name in chosen}


def _thinned(points: list[Point]) -> list[Point]:
    if len(points) <= MOST_POINTS:
        return points
    last = len(points) - 1
    return [points[place * last // (MOST_POINTS - 1)] for place in range(MOST_POINTS)]


def _number(value: object) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


# Files


def _is_run(folder: Path) -> bool:
    return any(_is_plain(folder / name) for name in (METRICS, REPORT, RESULTS))


def _is_plain(path: Path) -> bool:
    """Whether it is a file of its own, and no link to one."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES


def _folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folders below, by name; links, hidden ones and names that are not UTF-8 are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        told = entry.name.isprintable() and not entry.name.startswith(".")
        if told and entry.is_dir(follow_symlinks=False):
            yield entry.name, Path(entry.path)


def _content(path: Path) -> bytes:
    """What is in a file; nothing if there is none, or it is a link, or too large."""
    if not _is_plain(path):
        return b""
    try:
        handle = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as stream:
        return stream.read(MOST_BYTES)


def _parsed(content: bytes) -> Json | None:
    """A JSON object, what is no number in it as null; None if it is none."""
    try:
        found = json.loads(content, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _finite(text: str) -> float | None:
    return _number(float(text))


# Routes

router = APIRouter(prefix="/api", tags=["runs"])


@router.get("/runs", summary="Training runs", responses=problems(404))
def list_runs(here: Here) -> Runs:
    """List the runs in the folder that the service shows."""
    return Runs(runs=[summary(run) for run in runs_of(here.settings).values()])


@router.get("/runs/{name}", summary="A run", response_model=RunOut, responses=problems(404, 422))
def get_run(name: Name, here: Here) -> Response:
    """Get a run's curves, its report and its evaluations."""
    run = find_run(here.settings, name)
    found = RunOut(
        name=run.name,
        curves=curves(run.metrics()),
        report=run.report(),
        evaluations=run.evaluations(),
        figures=list(run.figures),
    )
    # ASCII, so that the name of a file that is not UTF-8 survives.
    body = json.dumps(found.model_dump(), allow_nan=False).encode("ascii")
    return Response(body, media_type="application/json")


@router.get(
    "/runs/{name}/figures/{file:path}",
    summary="A picture of a run",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "PNG."}, **problems(404, 422)},
)
def get_figure(
    name: Name, file: Annotated[str, InPath(max_length=255, examples=["curves.png"])], here: Here
) -> Response:
    """Get one of the pictures that the run lists."""
    path = find_run(here.settings, name).figures.get(file)
    content = b"" if path is None else _content(path)
    if not content.startswith(_SIGNATURE):
        raise ProblemError(
            404, f"the run {name!r} has no picture {file!r}: its `figures` lists them"
        )
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, no-cache"})
