"""Take the pictures of the page that the documentation shows: docs/images/page-*.png.

    python docs/screenshots.py --music FOLDER --run runs/mine

Serves the twelve pieces of examples/music with mini, and looks at every view on a laptop, on a phone
and in the dark. The map is that of another folder of music, for twelve points tell nothing; the
curves are those of a training run. Without these two their pictures are left as they are. Needs
Chromium, the built page (`npm run build` in web/) and the extras serve, map and dev.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import expect

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import browser  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from playwright.sync_api import Browser, Page, Route

    from browser import Site

IMAGES = ROOT / "docs" / "images"
DEVICES: dict[str, dict[str, Any]] = {
    "laptop": {},
    "dark": {"color_scheme": "dark"},
    "phone": {
        "viewport": browser.PHONE,
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


def elsewhere(route: Route) -> None:
    """Let the library lie where a person's would, not in a folder that is gone tomorrow."""
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"library": "/home/me/music.clap"})


@contextmanager
def visiting(chromium: Browser, site: Site, device: str) -> Iterator[Page]:
    """Open a window of a device."""
    with browser.visiting(chromium, site, **DEVICES[device]) as page:
        page.route("**/api/info", elsewhere)
        page.goto("/")
        yield page


def keep(page: Page, view: str, device: str) -> None:
    """Keep what is to be seen as a picture of few colours."""
    page.mouse.move(2, 300)
    page.wait_for_timeout(900)  # until waveforms and pictures are there
    with Image.open(BytesIO(page.screenshot())) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        path = IMAGES / f"page-{view}-{device}.png"
        few.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1000} kB")


def show_search(page: Page, device: str) -> None:
    """The empty page, answers, and a question with all its parts while something plays."""
    page.get_by_test_id("facet").first.wait_for()
    keep(page, "home", device)
    browser.search(page, "church organ and choir")
    keep(page, "results", device)
    page.get_by_test_id("result").nth(3).get_by_test_id("more-like-this").click()
    page.get_by_test_id("without-input").fill("drums")
    page.get_by_test_id("without-input").press("Enter")
    expect(page.get_by_test_id("results-count")).to_contain_text("without drums")
    expect(page.get_by_role("region", name="Results")).to_have_attribute("aria-busy", "false")
    for number in range(4):
        page.get_by_test_id("result").nth(number).get_by_test_id("enqueue").click()
    page.get_by_test_id("play").first.click()
    browser.until_heard(page, 1.5)
    page.get_by_test_id("toast").last.wait_for(state="hidden")
    page.locator("body").click(position={"x": 5, "y": 300})
    keep(page, "playing", device)
    page.get_by_test_id("queue-button").click()
    keep(page, "queue", device)


def show_lists(page: Page, device: str) -> None:
    """Playlists: save one, look at it, make another."""
    browser.search(page, "slow strings")
    page.get_by_test_id("save-all").click()
    page.get_by_test_id("playlist-name").fill("Slow evening")
    save = page.get_by_test_id("playlist-save")
    save.click()
    page.wait_for_timeout(500)
    if save.is_visible():
        save.click()  # it is there from another device: replace it
    page.goto("/#/playlists/Slow%20evening")
    page.get_by_test_id("playlist-title").wait_for()
    page.get_by_test_id("toast").last.wait_for(state="hidden")
    keep(page, "playlist", device)
    page.goto("/#/playlists?new=theme")
    page.get_by_test_id("make-query").fill("dance music")
    page.get_by_test_id("make").click()
    page.get_by_test_id("made").wait_for()
    keep(page, "make", device)


def show_library(page: Page, device: str) -> None:
    """The library."""
    page.goto("/#/library")
    page.get_by_test_id("contents").wait_for()
    keep(page, "library", device)


def show_run(page: Page, device: str) -> None:
    """A training run."""
    page.goto("/#/runs")
    page.get_by_test_id("run").first.click()
    page.get_by_test_id("verdict").wait_for()
    keep(page, "training", device)


def show_map(page: Page, device: str) -> None:
    """The map by genre, with some of it circled, and by what a search finds."""
    page.goto("/#/map")
    page.get_by_test_id("zoom-all").wait_for(timeout=300_000)
    keep(page, "map", device)
    page.get_by_test_id("colour-score").click()
    page.get_by_test_id("score-words").fill("heavy metal")
    page.get_by_test_id("score-words").press("Enter")
    page.get_by_test_id("map-row").first.wait_for()
    page.locator("body").click(position={"x": 5, "y": 300})
    keep(page, "map-score", device)


def main() -> None:
    """Take all pictures, or those of some devices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("devices", nargs="*", help=f"of {', '.join(DEVICES)}; by default all")
    parser.add_argument("--music", type=Path, help="a folder of music, for the map")
    parser.add_argument("--run", type=Path, help="a training run, for its curves")
    given = parser.parse_args()
    shows = [show_search, show_lists, show_library]
    if given.run:
        shows.append(show_run)
    with tempfile.TemporaryDirectory() as name, browser.browsing() as chromium:
        few = Path(name) / "few"
        with browser.serving(few, run=given.run) as site:
            take(chromium, site, given.devices or DEVICES, shows)
        if given.music:
            with browser.serving(Path(name) / "many", source=given.music) as site:
                take(chromium, site, given.devices or DEVICES, [show_map])


def take(
    chromium: Browser,
    site: Site,
    devices: Iterable[str],
    shows: Sequence[Callable[[Page, str], None]],
) -> None:
    """Take pictures of a service on each device."""
    for device in devices:
        for show in shows:
            with visiting(chromium, site, device) as page:
                show(page, device)


if __name__ == "__main__":
    main()
