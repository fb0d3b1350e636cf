"""How fluent the page's map is: frames per second while it is moved and zoomed, by tracks.

    python benchmarks/map_frames.py --chromium /usr/bin/chromium            # the processor draws
    python benchmarks/map_frames.py --chromium /usr/bin/chromium --gpu      # a graphics card draws

Opens the built page in a browser without a window; the service behind it is made up, with as many
tracks as asked for in twelve clouds. Nothing is fetched from anywhere. Needs Playwright.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clap_musicgen.service.page import BUNDLE
from service_run import machine
from tables import Table, add_output_options, deliver, positive

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ADDRESS = "http://page.invalid"
SIZES = (500, 5_000, 50_000)
_FLAGS = ("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking")
_PROCESSOR = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_CARD = ("--enable-gpu", "--ignore-gpu-blocklist", "--use-angle=gl")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
_MOVE = """async ([kind, seconds]) => {
  const times = [], start = performance.now(), canvas = document.querySelector("canvas");
  const [x, y] = [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const mouse = (target, type, clientX, clientY, buttons) =>
    target.dispatchEvent(new MouseEvent(type, { clientX, clientY, buttons, bubbles: true }));
  if (kind === "move") mouse(canvas, "mousedown", x, y, 1);
  await new Promise((done) => {
    const step = (now) => {
      times.push(now);
      const since = performance.now() - start;
      if (since > 1000 * seconds) return done();
      if (kind === "move")
        mouse(window, "mousemove", x + 150 * Math.sin(since / 300), y + 100 * Math.cos(since / 300), 1);
      else
        canvas.dispatchEvent(new WheelEvent("wheel", {
          clientX: x, clientY: y, deltaY: 8 * Math.sin(since / 500), bubbles: true, cancelable: true }));
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  });
  if (kind === "move") mouse(window, "mouseup", x, y, 0);
  return times.slice(1).map((time, place) => time - times[place]);
}"""
_RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl");
  const names = gl && gl.getExtension("WEBGL_debug_renderer_info");
  return names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "unknown";
}"""


def answers(size: int) -> dict[str, str]:
    """What the made-up service says, by path."""
    random = np.random.default_rng(0)
    clouds = random.integers(0, 12, size)
    centres = random.uniform(-0.8, 0.8, (12, 2))
    at = np.clip(centres[clouds] + random.normal(0, 0.1, (size, 2)), -1, 1).round(4)
    names = [f"Track {number}" for number in range(size)]
    plane = {
        "method": "pacmap",
        "version": 1,
        "fresh": True,
        "ids": [f"{number:032x}" for number in range(size)],
        "titles": names,
        "artists": ["Somebody"] * size,
        "genres": [f"genre {cloud}" for cloud in clouds],
        "moods": [""] * size,
        "x": at[:, 0].tolist(),
        "y": at[:, 1].tolist(),
    }
    session = {"needed": False, "open": True}
    return {"/api/map": json.dumps(plane), "/api/session": json.dumps(session)}


def serve(page: Page, size: int) -> None:
    """Answer all requests of a page from the bundle and from what is made up."""
    made_up = answers(size)

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS)
        file = BUNDLE / (path.lstrip("/") or "index.html")
        if path in made_up:
            route.fulfill(body=made_up[path], content_type="application/json")
        elif file.is_file():
            kind = _TYPES.get(file.suffix, "application/octet-stream")
            route.fulfill(body=file.read_bytes(), content_type=kind)
        else:
            route.fulfill(status=404, body="{}", content_type="application/json")

    page.route(f"{ADDRESS}/**", answer)


def measure(browser: Browser, size: int, *, seconds: float) -> dict[str, Any]:
    """Open the map of so many tracks, move it, zoom it → what was seen."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    serve(page, size)
    page.goto(f"{ADDRESS}/")
    started = time.perf_counter()
    page.evaluate("location.hash = '#/map'")
    page.wait_for_selector("[data-testid=zoom-all]")
    (frame,) = [frame for frame in page.frames if frame.url.endswith("map.html")]
    frame.wait_for_function("window.map.position(0) !== null")
    shown = time.perf_counter() - started
    page.wait_for_timeout(1000)
    found: dict[str, Any] = {"tracks": size, "shown": shown, "renderer": frame.evaluate(_RENDERER)}
    for kind in ("move", "zoom"):
        found[kind] = frame.evaluate(_MOVE, [kind, seconds])
    page.close()
    return found


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    cells = [f"{found['tracks']:,}", f"{found['shown']:.1f}"]
    for kind in ("move", "zoom"):
        spent = np.array(found[kind])
        cells += [f"{1000 / spent.mean():.0f}", f"{np.percentile(spent, 95):.0f}"]
    return tuple(cells)


def main(arguments: list[str] | None = None) -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chromium", type=Path, required=True, help="the browser")
    parser.add_argument("--gpu", action="store_true", help="let a graphics card draw")
    parser.add_argument("--tracks", type=positive, nargs="+", default=SIZES)
    parser.add_argument("--seconds", type=float, default=5.0, help="of moving, and of zooming")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if not (BUNDLE / "map.html").is_file():
        parser.error("the page is not built: npm ci and npm run build in web/ make it")
    from playwright.sync_api import sync_playwright

    flags = [*_FLAGS, *(_CARD if options.gpu else _PROCESSOR)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=flags)
        found = [measure(browser, size, seconds=options.seconds) for size in options.tracks]
        browser.close()
    about = machine()
    headings = ("tracks", "shown after s", "moving fps", "p95 ms", "zooming fps", "p95 ms")
    notes = [
        f"{about['processor']}, {about['cores']} cores; load {about['load']:.1f}. "
        f"Drawn by {found[0]['renderer']}. A browser draws at most 60 frames a second."
    ]
    table = Table("How fluent the map is", headings, [_row(each) for each in found], notes)
    deliver(options, {"machine": about, "maps": found}, [table])
    return 0


if __name__ == "__main__":
    sys.exit(main())
