"""The figures of a run as the Hub's `model-index`: task, data and metric, with interval and chance.

Knows the results that were read back and huggingface_hub's `EvalResult`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from huggingface_hub import EvalResult

from clap_musicgen.bridges.run_report import Evaluation, Run
from clap_musicgen.evaluation.figures import Result

TASKS = {
    "text→music": "text-to-music-retrieval",
    "music→text": "music-to-text-retrieval",
    "music→music": "music-to-music-retrieval",
    "zero-shot": "zero-shot-classification",
}
"""Task of an evaluation → its type in the index. Each type once: the Hub merges equal ones."""


def eval_results(run: Run) -> Iterator[EvalResult]:
    """The test of the training run, then each figure of the evaluations in `TASKS`."""
    if run.training is not None:
        test = run.training.test
        yield EvalResult(
            task_type=TASKS["text→music"],
            task_name="text→music",
            dataset_type="own-test-split",
            dataset_name="the run's own test split",
            dataset_split="test",
            metric_type="mrr",
            metric_name=test.metric,
            metric_value=round(test.after, 4),
            metric_args=_rounded({"chance": test.chance, "before": test.before})
            | {"queries": test.queries},
        )
    for evaluation in run.evaluations:
        for name, results in evaluation.results.items():
            yield from _of_set(evaluation, name, results)


def _of_set(evaluation: Evaluation, name: str, results: Sequence[Result]) -> Iterator[EvalResult]:
    about = evaluation.about
    named = str(about.get("benchmark") or evaluation.name)
    data = "own data" if named == "." else named
    for result in results:
        for figure in result.figures if result.task in TASKS else ():
            if not math.isfinite(figure.value):
                continue
            yield EvalResult(
                task_type=TASKS[result.task],
                task_name=result.task,
                dataset_type=_slug(f"{data}-{name}"),
                dataset_name=f"{data}, {name}",
                dataset_split=str(about.get("split") or "unknown"),
                metric_type=_slug(figure.name),
                metric_name=figure.name,
                metric_value=round(figure.value, 4),
                metric_args=_rounded(
                    {"chance": figure.chance, "low": figure.low, "high": figure.high}
                )
                | {"queries": result.queries},
            )


def _rounded(values: dict[str, float]) -> dict[str, float | int]:
    return {name: round(value, 4) for name, value in values.items() if math.isfinite(value)}


def _slug(text: str) -> str:
    """R@10 → r_at_10."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower().replace("@", " at ")).strip("_") or "unnamed"
