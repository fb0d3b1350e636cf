"""How much a service answers: searches by words from more and more clients, below, at and beyond
what it works on and lets wait.

    python benchmarks/service_load.py                              # over examples/music, with mini
    python benchmarks/service_load.py --library ~/music.clap --seconds 20

Each client asks again as soon as it has its answer. Beyond the limit this is done twice: by clients
that come back when Retry-After says, and by some that do not mind it and ask again at once. Nothing
but 200 and 503 may come, and every 503 must say when to come back; anything else, a broken
connection too, is an error. Exit code 1 if there is one. Client and service share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clap_musicgen.service.settings import Settings
from service_run import Answer, Connection, machine, questions, served
from tables import Table, add_output_options, deliver, positive

OK, BUSY = 200, 503
_HEADINGS = ("clients", "searches/s", "p50 ms", "p95 ms", "200", "503", "errors", "503 p95 ms")


@dataclass
class Answers:
    """What came back: seconds by status, and what else happened."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def take(self, answer: Answer, seconds: float) -> None:
        """Count an answer; ours are JSON of their kind."""
        expected = {OK: b'"matches"', BUSY: b'"detail"'}.get(answer.status)
        if expected is None or expected not in answer.body:
            self.errors[f"status {answer.status}"] += 1
        if answer.status == BUSY and answer.retry_after is None:
            self.errors["no Retry-After"] += 1
        self.seconds.setdefault(answer.status, []).append(seconds)


async def _client(
    address: str, asked: Iterator[str], answers: Answers, *, end: float, patient: bool
) -> None:
    connection = Connection(address)
    while time.perf_counter() < end:
        started = time.perf_counter()
        try:
            answer = await connection.get(next(asked))
        except (OSError, EOFError) as error:
            answers.errors[type(error).__name__] += 1
            await connection.close()
            continue
        answers.take(answer, time.perf_counter() - started)
        if patient and answer.retry_after is not None:
            await asyncio.sleep(answer.retry_after)
    await connection.close()


async def load(address: str, *, clients: int, seconds: float, patient: bool) -> dict[str, Any]:
    """Ask with so many clients, who mind Retry-After or not, for so long → figures."""
    answers, asked = Answers(), questions()
    started = time.perf_counter()
    end = started + seconds
    each = [_client(address, asked, answers, end=end, patient=patient) for _ in range(clients)]
    await asyncio.gather(*each)
    took = time.perf_counter() - started
    good, busy = answers.seconds.get(OK, []), answers.seconds.get(BUSY, [])
    return {
        "clients": clients,
        "patient": patient,
        "per_second": len(good) / took,
        "p50": _percentile(good, 50),
        "p95": _percentile(good, 95),
        "ok": len(good),
        "busy": len(busy),
        "busy_p95": _percentile(busy, 95),
        "errors": dict(answers.errors),
    }


def _percentile(seconds: list[float], percent: int) -> float | None:
    """In milliseconds; None of nothing."""
    return 1000 * float(np.percentile(seconds, percent)) if seconds else None


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{found['clients']}{'' if found['patient'] else ', at once again'}",
        f"{found['per_second']:.0f}",
        *(_milliseconds(found[name]) for name in ("p50", "p95")),
        str(found["ok"]),
        str(found["busy"]),
        str(sum(found["errors"].values())),
        _milliseconds(found["busy_p95"]),
    )


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Measure → exit code: 0 where every answer was right."""
    limits = Settings()
    room = limits.running + limits.waiting
    levels = [1, limits.running, room, 2 * room, 4 * room]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path, help="instead of one of examples/music")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each number of clients")
    parser.add_argument("--clients", type=positive, nargs="+", default=levels)
    add_output_options(parser)
    options = parser.parse_args(arguments)
    with served(options.library) as address:
        # The first one warms up.
        asyncio.run(load(address, clients=limits.running, seconds=1.0, patient=True))
        results = [
            asyncio.run(load(address, clients=number, seconds=options.seconds, patient=patient))
            for patient in (True, False)
            for number in options.clients
            if patient or number > room
        ]
    about = machine()
    notes = [
        f"{limits.running} at a time, {limits.waiting} waiting. {about['processor']}, "
        f"{about['cores']} cores, shared with the clients; load {about['load']:.1f}."
    ]
    table = Table("Searches by words over HTTP", _HEADINGS, list(map(_row, results)), notes)
    deliver(options, {"machine": about, "results": results}, [table])
    return int(any(found["errors"] for found in results))


if __name__ == "__main__":
    sys.exit(main())
