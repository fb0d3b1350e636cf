"""How the page looks and behaves everywhere: phone, dark, accessible, calm when things fail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from browser import Site

pytestmark = pytest.mark.slow
site, chromium, page = browser.site, browser.chromium, browser.page
AXE = browser.ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
VIEWS = {
    "/#/?q=slow+strings": "result",
    "/#/map": "zoom-all",
    "/#/playlists?new=theme": "make-query",
    "/#/library": "library-facts",
    "/#/runs/mine": "verdict",
}
"""Addresses, and what is there when they are complete."""
_GROUND = "element => getComputedStyle(element).backgroundColor"
_AXE = """async () => {
    const rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const found = await axe.run({ runOnly: { type: "tag", values: rules } });
    return found.violations.map(one => [
        one.impact, one.id, one.help, one.nodes.map(node => node.target.join(" ") + ": " + node.failureSummary)
    ]);
}"""


def open_view(page: Page, address: str) -> None:
    """Go to a view and wait until it is complete."""
    page.goto(address)
    expect(page.get_by_test_id(VIEWS[address]).first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(chromium: Browser, site: Site, theme: Any) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    with browser.visiting(chromium, site, color_scheme=theme, refused=(AXE.name,)) as page:
        page.context.add_init_script(path=AXE)
        page.goto("/")
        found = {"/": page.evaluate(_AXE)}
        for address in VIEWS:
            open_view(page, address)
            if address == "/#/?q=slow+strings":
                page.get_by_test_id("result").first.get_by_test_id("enqueue").click()
                page.get_by_test_id("play").first.click()  # the player stays from here on
                page.get_by_test_id("queue-button").click()
                page.get_by_test_id("filters-button").click()
            found[address] = page.evaluate(_AXE)
    assert {address: bad for address, bad in found.items() if bad} == {}


def test_on_a_phone_everything_fits_and_plays(chromium: Browser, site: Site) -> None:
    phone = browser.PHONE
    with browser.visiting(chromium, site, viewport=phone, has_touch=True, is_mobile=True) as page:
        for address in VIEWS:
            open_view(page, address)
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= phone["width"], f"{address} is {wide} pixels wide"
        page.goto("/")
        browser.search(page, "heavy metal")
        page.get_by_test_id("play").first.tap()
        browser.until_heard(page, 0.3)
        dock, tabs = page.get_by_test_id("dock"), page.locator(".bottom-tabs")
        expect(dock).to_contain_text("Heavy metal")
        above, below = dock.bounding_box(), tabs.bounding_box()
        assert above
        assert below
        assert above["y"] + above["height"] <= below["y"] + 1
        assert below["y"] + below["height"] == pytest.approx(phone["height"], abs=1)
        for tab in tabs.get_by_role("link").all():
            size = tab.bounding_box()
            assert size
            assert min(size["height"], size["width"]) >= 44  # a finger's width


def test_dark_follows_the_system_and_a_choice_is_remembered(chromium: Browser, site: Site) -> None:
    with browser.visiting(chromium, site, color_scheme="dark") as page:
        page.goto("/")
        ground = page.locator("html")
        dark = ground.evaluate(_GROUND)
        page.get_by_test_id("theme").click()
        expect(ground).not_to_have_css("background-color", dark)
        page.wait_for_timeout(50)  # a change of colour may glide
        light = ground.evaluate(_GROUND)
        assert _brightness(dark) < 60 < 200 < _brightness(light)
        page.reload()
        expect(ground).to_have_css("background-color", light)


def _brightness(colour: str) -> float:
    red, green, blue = (float(number) for number in re.findall(r"[\d.]+", colour)[:3])
    return 0.2 * red + 0.7 * green + 0.1 * blue


def test_a_busy_service_is_told_apart_and_asked_again(chromium: Browser, site: Site) -> None:
    def busy(route: Route) -> None:
        route.fulfill(
            status=503,
            headers={"Retry-After": "1", "Content-Type": "application/problem+json"},
            json={"title": "Busy", "status": 503, "detail": "too many ask at once: try again"},
        )

    with browser.visiting(chromium, site, refused=("/api/search",)) as page:
        page.route("**/api/search*", busy)
        page.goto("/#/?q=slow+strings")
        failure = page.get_by_test_id("failure")
        expect(failure).to_contain_text("too many ask at once", timeout=60_000)
        page.unroute("**/api/search*")
        failure.get_by_role("button").click()
        expect(page.get_by_test_id("result").first).to_be_visible()


def test_without_the_service_the_page_says_so_and_recovers(chromium: Browser, site: Site) -> None:
    asked = ("/api/search", "/api/tags", "/api/info", ".svg")
    with browser.visiting(chromium, site, refused=asked) as page:
        page.goto("/")
        page.context.set_offline(True)
        page.get_by_test_id("search-input").fill("heavy metal")
        page.get_by_test_id("search-input").press("Enter")
        expect(page.get_by_test_id("failure")).to_contain_text(re.compile("reach|answer|service"))
        page.context.set_offline(False)
        page.get_by_test_id("failure").get_by_role("button").click()
        expect(page.get_by_test_id("result").first).to_contain_text("Heavy metal")
