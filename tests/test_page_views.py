"""The other views in a real browser: map, library, playlists, training; and who may see them."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

import browser

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from browser import Site

pytestmark = pytest.mark.slow
site, chromium, page = browser.site, browser.chromium, browser.page
TOKEN = "a-token-of-some-length"


def points_on(page: Page) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Wait for the map's points → where they are on the screen, (N, 2)."""
    expect(page.get_by_test_id("zoom-all")).to_be_visible()
    box = page.locator("iframe.map-frame").bounding_box()
    assert box
    ids = httpx.get(re.sub("/#.*", "/api/map", page.url), timeout=60).json()["ids"]
    (frame,) = [frame for frame in page.frames if frame.url.endswith("map.html")]
    ask = "count => Array.from({ length: count }, (_, at) => window.map.position(at))"
    for _ in range(100):
        found = frame.evaluate(ask, len(ids))
        if all(found):
            break
        page.wait_for_timeout(50)
    return np.array([[x + box["x"], y + box["y"]] for x, y in found])


def lasso(page: Page, points: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Draw a line around points with the pressed mouse."""
    page.get_by_test_id("mode-lasso").click()
    centre = points.mean(axis=0)
    turn = np.linspace(0, 2 * np.pi, 25)
    radius = np.linalg.norm(points - centre, axis=1).max() + 14
    way = centre + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    page.mouse.move(*way[0])
    page.mouse.down()
    for x, y in way[1:]:
        page.mouse.move(x, y)
        page.wait_for_timeout(12)  # the plot takes no more than a point in 8 ms
    page.mouse.up()


def test_the_map_is_heard_circled_and_kept_as_a_playlist(page: Page, site: Site) -> None:
    page.goto("/#/map")
    points = points_on(page)
    middle = points[np.linalg.norm(points - points.mean(axis=0), axis=1).argsort()[:3]]
    page.get_by_test_id("hear-on-hover").check()
    page.mouse.move(*middle[0])
    expect(page.locator(".map-tip")).to_be_visible()
    lasso(page, middle[:2])
    rows = page.get_by_test_id("map-row")
    expect(rows).not_to_have_count(0)
    expect(page.get_by_test_id("map-list-heading")).to_have_text(re.compile(r"\d+ tracks?"))
    count = rows.count()
    assert 2 <= count < len(points)
    page.get_by_test_id("map-save").click()
    page.get_by_test_id("playlist-name").fill("Circled")
    page.get_by_test_id("playlist-save").click()
    expect(page.get_by_test_id("toast").filter(has_text="Circled")).to_be_visible()
    kept = httpx.get(f"{site.address}/api/playlists/Circled", timeout=30).json()
    assert len(kept["tracks"]) == count


def test_the_map_tells_how_well_each_track_fits_words(page: Page) -> None:
    page.goto("/#/map")
    points_on(page)
    expect(page.get_by_test_id("legend")).to_contain_text("Tango")
    page.get_by_test_id("colour-score").click()
    page.get_by_test_id("score-words").fill("church organ and choir")
    page.get_by_test_id("score-words").press("Enter")
    expect(page.get_by_test_id("map-row").first).to_contain_text("Church hymn")
    page.get_by_test_id("map-row").first.get_by_test_id("play").click()
    browser.until_heard(page, 0.2)


def test_new_music_is_added_from_the_page_and_found(page: Page, site: Site) -> None:
    time = np.arange(3 * 22_050) / 22_050
    soundfile.write(site.music / "Whistle of a kettle.wav", np.sin(2000 * time) * 0.3, 22_050)
    (site.music / "broken.mp3").write_bytes(b"no sound at all")
    page.get_by_test_id("tab-library").locator("visible=true").click()
    page.get_by_test_id("add").click()
    report = page.get_by_test_id("add-report")
    expect(report).to_contain_text("1 added", timeout=60_000)
    expect(report).to_contain_text("1 failed")
    expect(page.get_by_test_id("troubles").first).to_contain_text("broken.mp3")
    page.get_by_test_id("browse-find").fill("kettle")
    expect(page.get_by_test_id("browse")).to_contain_text("Whistle of a kettle")
    (site.music / "broken.mp3").unlink()


def test_a_playlist_is_made_from_one_track_to_another(page: Page) -> None:
    page.goto("/#/playlists?new=path")
    for name, title in (("make-from", "String ballad"), ("make-to", "Heavy metal")):
        page.get_by_test_id(name).fill(title[:6])
        page.get_by_test_id(f"{name}-option").filter(has_text=title).click()
    page.get_by_role("spinbutton", name="Tracks").fill("5")
    page.get_by_test_id("make").click()
    titles = page.get_by_test_id("made").locator(".track-title")
    expect(titles).to_have_count(5)
    assert (titles.first.inner_text(), titles.last.inner_text()) == ("String ballad", "Heavy metal")


def test_a_training_run_is_shown_with_curves_and_verdict(page: Page) -> None:
    page.get_by_test_id("tab-runs").locator("visible=true").click()
    expect(page.get_by_test_id("run")).to_contain_text("200 steps")
    expect(page.get_by_test_id("verdict")).to_contain_text("better")
    charts = page.get_by_test_id("chart")
    expect(charts.first).to_contain_text("loss")
    assert charts.count() >= 2
    assert charts.first.locator("polyline").first.get_attribute("points")
    expect(page.get_by_test_id("evaluation").first).to_be_visible()


def test_the_example_script_asks_this_service(site: Site) -> None:
    command = [sys.executable, str(browser.ROOT / "examples" / "ask_service.py")]
    done = subprocess.run(
        [*command, "church organ", site.address], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].endswith("  Church hymn")
    assert lines[3] == "and like Church hymn:"
    assert len(lines) == 7


def test_a_token_opens_an_empty_library_which_says_how_to_fill_it(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with (
        browser.serving(tmp_path, "--token-file", str(tmp_path / "token"), index=False) as site,
        browser.visiting(chromium, site, refused=("/api/session", "/api/info")) as page,
    ):
        page.goto("/")
        page.get_by_test_id("token").fill("a guess")
        page.get_by_test_id("login").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_test_id("token").fill(TOKEN)
        page.get_by_test_id("login").click()
        expect(page.get_by_test_id("empty")).to_contain_text("No music yet")
        page.reload()  # the session is remembered
        expect(page.get_by_test_id("empty")).to_contain_text("No music yet")
        page.goto("/#/map")
        expect(page.get_by_test_id("empty")).to_contain_text("Nothing on the map yet")
        page.goto("/#/playlists")
        expect(page.get_by_test_id("empty").first).to_be_visible()
