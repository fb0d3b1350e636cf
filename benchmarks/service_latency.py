"""How long one person waits: a search by words over HTTP, and the first paint of the page.

    python benchmarks/service_latency.py                           # over examples/music, with mini
    python benchmarks/service_latency.py --library ~/music.clap --chromium /usr/bin/chromium

One search after another, each with words that were not asked before, over one connection. The page
is opened in a fresh browser each time, so that nothing is in its cache; that needs Playwright, a
Chromium and the built page.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from service_run import Connection, machine, questions, served
from tables import Table, add_output_options, deliver, positive

_FLAGS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


async def search(address: str, *, count: int) -> list[float]:
    """Search so often, after ten that warm up → milliseconds of each."""
    connection, asked = Connection(address), questions()
    spent = []
    for number in range(10 + count):
        path = next(asked)
        started = time.perf_counter()
        answer = await connection.get(path)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}")
        if number >= 10:
            spent.append(1000 * (time.perf_counter() - started))
    await connection.close()
    return spent


def paint(address: str, chromium: Path, *, count: int) -> list[float]:
    """Open the page so often, after once that warms up → milliseconds until it shows something."""
    from playwright.sync_api import sync_playwright

    spent = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*_FLAGS])
        for number in range(1 + count):
            context = browser.new_context()
            page = context.new_page()
            page.goto(address, wait_until="load")
            # Not wait_for_function: it evaluates texts, which the page's policy forbids.
            while (painted := page.evaluate(_PAINT)) is None:
                page.wait_for_timeout(20)
            if number:
                spent.append(float(painted))
            context.close()
        browser.close()
    return spent


def _row(name: str, spent: list[float]) -> tuple[str, ...]:
    p50, p95 = np.percentile(spent, [50, 95])
    return name, str(len(spent)), f"{p50:.0f}", f"{p95:.0f}", f"{max(spent):.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", type=Path, help="instead of one of examples/music")
    parser.add_argument("--count", type=positive, default=200, help="searches")
    parser.add_argument("--chromium", type=Path, help="also open the page, with this browser")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    spent: dict[str, list[float]] = {}
    with served(options.library) as address:
        spent["search by words"] = asyncio.run(search(address, count=options.count))
        if options.chromium is not None:
            spent["first paint of the page"] = paint(address, options.chromium, count=10)
    about = machine()
    notes = [f"{about['processor']}, {about['cores']} cores; load {about['load']:.1f}."]
    headings = ("", "times", "p50 ms", "p95 ms", "longest ms")
    rows = [_row(name, each) for name, each in spent.items()]
    found: dict[str, Any] = {"machine": about, "milliseconds": spent}
    deliver(options, found, [Table("What one person waits for", headings, rows, notes)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
