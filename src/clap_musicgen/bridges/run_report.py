"""What a training run wrote about itself, read back: its report, settings and evaluations.

Knows the files of `training.finetune` (`report.json`, `run.json`) and of `clap-musicgen evaluate`
(`results.json`, in the run folder or a folder below). What is absent is None; what is damaged is an
error; what belongs to other weights is named and left out. No path of the machine is kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clap_musicgen.errors import CheckpointError
from clap_musicgen.evaluation.compare import Comparison
from clap_musicgen.evaluation.figures import Figure, Result

REPORT, SETTINGS, RESULTS = "report.json", "run.json", "results.json"


@dataclass(frozen=True, slots=True)
class Training:
    """What `report.json` says.

    Attributes:
        start: what training began with; of a path only its last part.
        settings: name → value, nested names joined by dots.
        examples: tracks of each split.
        failed: how many files could not be used.
        steps: done.
        best_step: whose weights were kept.
        first: score on validation before training.
        best: score on validation of what was kept.
        test: against the start, on tracks that took no part.
    """

    start: str
    settings: dict[str, str]
    examples: dict[str, int]
    failed: int
    steps: int
    best_step: int
    first: float
    best: float
    test: Comparison


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One `results.json`: where it lies below the run folder, what it is of, and its figures."""

    name: str
    about: dict[str, Any]
    results: dict[str, list[Result]]
    robustness: dict[str, Result]


@dataclass(frozen=True, slots=True)
class Run:
    """All that a folder tells of how its weights came to be; `left_out` has a sentence each."""

    training: Training | None = None
    clips: int | None = None
    captions: int | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_run(folder: Path, *, fingerprint: str) -> Run:
    """Read what lies in a run folder about the weights of that fingerprint.

    Raises:
        CheckpointError: a file is there but damaged, or of another release.
    """
    training, clips, captions = None, None, None
    if (report := _read(folder / REPORT)) is not None:
        training = _parsed(_training, report, folder / REPORT)
    if (settings := _read(folder / SETTINGS)) is not None:
        clips, captions = _count(settings, "clips"), _count(settings, "captions")
    evaluations, left_out = [], []
    for path in sorted([*folder.glob(RESULTS), *folder.glob(f"*/{RESULTS}")]):
        name = path.parent.relative_to(folder).as_posix()
        content = _read(path) or {}
        found = _parsed(_evaluation, {"name": name, **content}, path)
        if found.about.get("fingerprint") == fingerprint:
            evaluations.append(found)
        else:
            shown = RESULTS if name == "." else f"{name}/{RESULTS}"
            left_out.append(f"`{shown}` was measured on other weights than these")
    return Run(training, clips, captions, evaluations, left_out)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"cannot read {str(path)!r} ({error})") from error
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"{str(path)!r} is not valid JSON ({error}): write it again, or move it away"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{str(path)!r} is no JSON object: write it again, or move it away")
    return content


def _parsed(parse: Any, content: dict[str, Any], path: Path) -> Any:
    try:
        return parse(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{str(path)!r} is not as this release writes it ({type(error).__name__}: {error}): "
            "write it again, or move it away"
        ) from error


def _count(settings: Mapping[str, Any], name: str) -> int | None:
    value = settings.get(name)
    return value if isinstance(value, int) else None


def _training(report: Mapping[str, Any]) -> Training:
    outcome = report["validation"]
    return Training(
        start=without_path(str(report["start"])),
        settings=dict(_flattened(report["recipe"])),
        examples={str(split): int(count) for split, count in report["examples"].items()},
        failed=len(report["failed"]),
        steps=int(outcome["steps"]),
        best_step=int(outcome["best_step"]),
        first=float(outcome["first"]["score"]),
        best=float(outcome["best"]["score"]),
        test=Comparison(**report["test"]),
    )


def without_path(name: str) -> str:
    """A Hub id or a bundled name as it is; of a path on somebody's machine its last part."""
    parts = re.split(r"[/\\]", name.rstrip("/\\"))
    is_path = name.startswith((".", "~", "/")) or len(parts) > 2 or "\\" in name
    return parts[-1] if is_path else name


def _flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as text: {"a": {"b": 1}} → [("a.b", "1")]; paths lose their folders."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            rows.append((prefix + name, ", ".join(map(str, value)) or "none"))
        else:
            shown = "none" if value is None else str(value)
            rows.append((prefix + name, without_path(shown)))
    return rows


def _evaluation(content: Mapping[str, Any]) -> Evaluation:
    results = {
        str(name): [_result(task, plain) for task, plain in tasks.items()]
        for name, tasks in content["results"].items()
    }
    robustness = {
        str(change): _result("robustness", plain)
        for change, plain in content.get("robustness", {}).items()
    }
    return Evaluation(content["name"], dict(content["about"]), results, robustness)


def _result(task: str, plain: Mapping[str, Any]) -> Result:
    figures = tuple(_figure(name, values) for name, values in plain["metrics"].items())
    return Result(task, plain["queries"], plain["items"], figures, plain.get("note", ""))


def _figure(name: str, values: Mapping[str, Any]) -> Figure:
    """The file does not say which side of chance is good, but what lies wholly on the good side."""
    value, chance, low, high = (
        math.nan if values[key] is None else float(values[key])
        for key in ("value", "chance", "low", "high")
    )
    lower_is_better = high < chance if values["beats_chance"] else low > chance
    digits = 1 if name.endswith("rank") else 3
    return Figure(name, value, chance, low, high, int(values["n"]), lower_is_better, digits)
