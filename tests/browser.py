"""A real browser before a real service: `clap-musicgen serve` with mini on the pieces of examples/.

A test module takes the fixtures by assignment, so that they are its own::

    site, chromium, page = browser.site, browser.chromium, browser.page

The service is started once in a process of tests and ends with it; Playwright lives as long as a
module, because while it runs nobody else can have an event loop.

Without a browser or without a built page these tests are skipped; with CLAP_MUSICGEN_BROWSER=required
they fail.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from clap_musicgen.service.page import BUNDLE
from clap_musicgen.training.run_log import METRICS, draw_curves
from run_folder import write_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

ROOT = Path(__file__).parents[1]
MUSIC = ROOT / "examples" / "music"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
PATIENCE_MS = 30_000
"""How long a thing may take to appear; generous, for machines are slow sometimes."""
_STARTS_SECONDS = 120
_HEARD = """
    window.heard = [];
    const Original = window.Audio;
    window.Audio = function (...given) {
      const made = new Original(...given);
      window.heard.push(made);
      return made;
    };
"""
"""Keeps hold of the page's audio elements, which are not part of the document."""


@dataclass(frozen=True)
class Site:
    """A running service.

    Attributes:
        address: such as "http://127.0.0.1:4711".
        music: its folder of music, into which a test may put more.
    """

    address: str
    music: Path


def find_browser() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _needed() -> str:
    """Return the browser; skip where it or the page is missing, or fail where both are required."""
    path = find_browser()
    built = (BUNDLE / "index.html").is_file()
    if path and built:
        return path
    missing = "npm run build in web/ has not been run" if path else "there is no Chromium"
    if os.environ.get("CLAP_MUSICGEN_BROWSER") == "required":
        pytest.fail(missing)
    pytest.skip(missing)


def write_run(folder: Path) -> None:
    """Write what a training run leaves of numbers: curves that look like real ones, and a report."""
    folder.mkdir(parents=True)
    with (folder / METRICS).open("w", encoding="utf-8") as file:
        for step in range(1, 201):
            row: dict[str, float] = {"step": step, "loss": 4.4 * math.exp(-step / 60) + 1.6}
            row["loss"] += 0.2 * math.sin(step * 7.3)
            if step % 10 == 0:
                far = math.exp(-step / 50)
                row |= {"val_score": 0.55 - 0.4 * far, "val_R_at_10": 0.8 - 0.6 * far}
            file.write(json.dumps(row) + "\n")
    test = {"metric": "text→music MRR", "before": 0.212, "after": 0.345, "difference": 0.133}
    test |= {"low": 0.021, "high": 0.25, "verdict": "better", "queries": 17, "chance": 0.101}
    report = {
        "start": "mini",
        "examples": {"train": 80, "val": 10, "test": 20},
        "validation": {"best_step": 200, "steps": 200},
        "test": test,
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    draw_curves(folder, best_step=200)
    write_results(folder / "test", "0" * 32)


@contextmanager
def serving(
    folder: Path,
    *options: str,
    index: bool = True,
    source: Path = MUSIC,
    run: Path | None = None,
) -> Iterator[Site]:
    """Run `clap-musicgen serve` on copies of music files, in a process of its own.

    Args:
        folder: for all that it writes.
        options: of the command, besides those for the library, the music and the runs.
        index: whether to add the music.
        source: the music.
        run: a training run to show; None is one that is made up.
    """
    music = folder / "music"
    shutil.copytree(source, music, ignore=shutil.ignore_patterns("*.md"))
    if run is None:
        write_run(folder / "runs" / "mine")
    else:
        shutil.copytree(run, folder / "runs" / run.name)
    command = [sys.executable, "-c", "from clap_musicgen.cli import main; main()", "serve"]
    command += ["--port", "0", "--library", str(folder / "library")]
    command += ["--runs", str(folder / "runs"), "--music", str(music), *options]
    said = folder / "said.txt"
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    quiet.pop("CLAP_MUSICGEN_TOKEN", None)
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=quiet)
    try:
        site = Site(_address(process, said), music)
        if index:
            _index(site)
        yield site
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    end = time.monotonic() + _STARTS_SECONDS
    while time.monotonic() < end:
        words = said.read_text(encoding="utf-8").split()
        if addresses := [word for word in words if word.startswith("http://")]:
            return addresses[-1]
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"the service did not start:\n{said.read_text(encoding='utf-8')}")


def _index(site: Site) -> None:
    """Add the music over HTTP and wait for the end of it."""
    with httpx.Client(base_url=site.address, timeout=60) as client:
        job = client.post("/api/add", json={"paths": None, "prune": False})
        assert job.status_code == 202, job.text
        with client.stream("GET", f"/api/add/{job.json()['job']}/events", timeout=600) as events:
            *_, last = [line for line in events.iter_lines() if line.startswith("data:")]
    report = json.loads(last.removeprefix("data:"))
    assert len(report["added"]) >= 12, last
    assert not report["failed"], last


_running: list[Site] = []


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The service of this process of tests."""
    _needed()
    if not _running:
        until_the_end = ExitStack()
        _running.append(until_the_end.enter_context(serving(tmp_path_factory.mktemp("site"))))
        request.config.add_cleanup(until_the_end.close)
    return _running[0]


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start Chromium."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_needed(), args=list(OPTIONS))
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser."""
    with browsing() as started:
        yield started


@contextmanager
def visiting(
    chromium: Browser, site: Site, *, refused: tuple[str, ...] = (), **settings: Any
) -> Iterator[Page]:
    """Open a window of its own; it must not complain in its console nor ask any other server.

    Args:
        chromium: the browser.
        site: what relative addresses mean.
        refused: ends of addresses that the service may refuse to give.
        settings: of the window, such as `viewport` and `color_scheme`.
    """
    chosen: dict[str, Any] = {"viewport": LAPTOP, "reduced_motion": "reduce", **settings}
    context = chromium.new_context(base_url=site.address, **chosen)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(_HEARD)
    wrong: list[str] = []
    known = ("/cover", *refused)  # that a track has no cover is no fault, but is told like one

    def on_console(said: ConsoleMessage) -> None:
        source = said.location.get("url", "").partition("?")[0]
        if said.type == "error" and not source.endswith(known):
            wrong.append(f"{said.text} ({source})")

    def on_request(request: Request) -> None:
        if not request.url.startswith((site.address, "data:", "blob:")):
            wrong.append(f"asks another server: {request.url}")

    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", on_console)
    page.on("request", on_request)
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    """A window on a laptop, at the page."""
    with visiting(chromium, site) as opened:
        opened.goto("/")
        yield opened


def search(page: Page, words: str) -> list[str]:
    """Type words, press Enter, wait for the answers → their titles."""
    from playwright.sync_api import expect

    page.get_by_test_id("search-input").fill(words)
    page.get_by_test_id("search-input").press("Enter")
    expect(page.get_by_test_id("results-count")).to_contain_text(words)
    expect(page.get_by_role("region", name="Results")).to_have_attribute("aria-busy", "false")
    return page.get_by_test_id("results").locator(".track-title").all_inner_texts()


def seconds_heard(page: Page) -> float:
    """Where the player's sound is, in seconds; -1 while nothing has played."""
    found = page.evaluate("() => window.heard.length ? window.heard[0].currentTime : -1")
    return float(found)


def until_heard(page: Page, beyond: float) -> float:
    """Wait until the player's sound is past a point in time → where it is."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while (now := seconds_heard(page)) <= beyond:
        assert time.monotonic() < end, f"the sound stays at {now} s"
        page.wait_for_timeout(50)
    return now
