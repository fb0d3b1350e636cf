"""Fair timing: rounds in which every side runs once, in alternating order, and ratios within them.

What else the machine does then hits all sides of a round alike. Also what must be set before numpy
and torch are loaded. Knows neither models nor sounds, and imports only the standard library.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, TypeAlias

Work: TypeAlias = Callable[[], object]
Costs: TypeAlias = dict[str, list[float]]
"""Side → seconds, one figure per round."""


def limit_threads(count: int) -> None:
    """Give every library of this process, and of its children, so many threads."""
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = str(count)
    import torch

    torch.set_num_threads(count)


def keep_memory(allocator: str) -> bool:
    """Apply `--allocator`: True where large buffers are now kept for reuse (glibc only)."""
    from clap_musicgen.model.runtime import keep_large_buffers

    return allocator == "keep" and keep_large_buffers()


def measure(works: Mapping[str, Work], *, rounds: int) -> Costs:
    """Seconds of each work in each round; the order alternates. A first, unmeasured round warms up."""
    for work in works.values():
        work()
    costs: Costs = {name: [] for name in works}
    for number in range(rounds):
        names = list(works) if number % 2 == 0 else list(works)[::-1]
        for name in names:
            started = time.perf_counter()
            works[name]()
            costs[name].append(time.perf_counter() - started)
    return costs


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """How many times as much they cost as we do, within each round: min, median and max."""
    each = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {"min": min(each), "median": median(each), "max": max(each)}


def ratios(costs: Costs, bases: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Side → base → ratio, for those of `bases` that were measured."""
    return {
        name: {base: ratio(own, costs[base]) for base in bases if base in costs}
        for name, own in costs.items()
    }


def machine(threads: int) -> dict[str, Any]:
    """What the figures were got on, for the caption of a table."""
    import numpy
    import torch
    import transformers

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Child:
    """A side in a process of its own that runs when it is told to, so that it can join the rounds.

    For settings that belong to a whole process, such as the allocator. It waits without computing.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        script = Path(__file__).with_name("child.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()  # the end of its orders ends the child
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def run(self) -> float:
        """Let it work once; return the seconds it says that took.

        Raises:
            RuntimeError: the child ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the child has no pipes")
        try:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: there is no answer either
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a child process ended with code {self._process.wait()}")
        return float(json.loads(answer))
