"""The page in a real browser: ask in words, with a sound, with examples; hear, queue and keep."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import FilePayload, expect

import browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from browser import Site

pytestmark = pytest.mark.slow
site, chromium, page = browser.site, browser.chromium, browser.page


def test_words_find_music_and_the_address_keeps_the_question(page: Page) -> None:
    titles = browser.search(page, "church organ and choir")
    assert titles[0] == "Church hymn"
    assert len(titles) >= 12
    first = page.get_by_test_id("result").first
    expect(first.get_by_test_id("score")).to_contain_text(re.compile(r"0\.\d\d"))
    browser.search(page, "hip hop")
    page.go_back()
    expect(page.get_by_test_id("search-input")).to_have_value("church organ and choir")
    expect(first).to_contain_text("Church hymn")
    page.reload()
    expect(first).to_contain_text("Church hymn")


def test_a_result_plays_from_the_moment_that_fits_which_is_marked(page: Page) -> None:
    browser.search(page, "church organ and choir")
    late = page.get_by_test_id("result").filter(has_text=re.compile("0:10–")).first
    expect(late.get_by_test_id("moment")).to_be_attached()
    late.get_by_test_id("play-moment").click()
    assert browser.until_heard(page, 10.6) < 20  # so it advances, from 10
    dock = page.get_by_test_id("dock")
    expect(dock).to_have_attribute("data-state", "playing")
    page.keyboard.press(" ")  # the moment was clicked, not reached by keys: it has no claim to it
    expect(dock).to_have_attribute("data-state", "paused")
    expect(page.get_by_test_id("dock-time")).to_have_text(re.compile(r"0:[12]\d"))
    marked = page.get_by_test_id("player-moment").bounding_box()
    whole = page.get_by_test_id("player-wave").bounding_box()
    assert marked
    assert whole
    assert 0.4 < (marked["x"] - whole["x"]) / whole["width"] < 0.7
    stopped = browser.seconds_heard(page)
    page.keyboard.press("ArrowLeft")
    assert browser.until_heard(page, stopped - 6) < stopped - 4


def test_the_keyboard_is_enough(page: Page) -> None:
    page.get_by_test_id("search-input").blur()
    page.keyboard.press("/")
    expect(page.get_by_test_id("search-input")).to_be_focused()
    page.keyboard.type("heavy metal")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("results-count")).to_contain_text("heavy metal")
    page.keyboard.press("ArrowDown")
    result = page.get_by_test_id("result")
    expect(result.nth(0).get_by_test_id("play")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(result.nth(1).get_by_test_id("play")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("dock")).to_contain_text("Heavy metal")
    browser.until_heard(page, 0.3)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_dropped_file_finds_what_sounds_like_it(page: Page, site: Site) -> None:
    sound = base64.b64encode((site.music / "tango.ogg").read_bytes()).decode()
    holding = page.evaluate_handle(
        """sound => {
            const bytes = Uint8Array.from(atob(sound), mark => mark.charCodeAt(0));
            const held = new DataTransfer();
            held.items.add(new File([bytes], "found in the street.ogg", { type: "audio/ogg" }));
            return held;
        }""",
        sound,
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": holding})
    expect(page.get_by_test_id("drop")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": holding})
    expect(page.get_by_test_id("like-chip")).to_be_visible()
    expect(page.get_by_test_id("drop")).to_have_count(0)
    expect(page.get_by_test_id("result").first).to_contain_text("Tango")


def test_a_file_that_is_no_sound_is_refused_with_the_reason(chromium: Browser, site: Site) -> None:
    letter = FilePayload(name="letter.mp3", mimeType="audio/mpeg", buffer=b"Dear Sir" * 99)
    with browser.visiting(chromium, site, refused=("/api/sounds",)) as page:
        page.goto("/")
        page.get_by_test_id("sound-input").set_input_files(letter)
        expect(page.get_by_test_id("toast")).to_contain_text(re.compile("audio", re.IGNORECASE))
        assert browser.search(page, "tango")[0] == "Tango"


def test_more_less_and_without_turn_the_answers(page: Page) -> None:
    before = browser.search(page, "dance music")
    page.get_by_test_id("result").nth(1).get_by_test_id("more-like-this").click()
    expect(page.get_by_test_id("like-chip")).to_contain_text(before[1])
    page.get_by_test_id("result").filter(has_text=before[0]).get_by_test_id(
        "less-like-this"
    ).click()
    expect(page.get_by_test_id("unlike-chip")).to_contain_text(before[0])
    page.get_by_test_id("without-input").fill("drums")
    page.get_by_test_id("without-input").press("Enter")
    expect(page.get_by_test_id("without-chip")).to_contain_text("drums")
    titles = page.get_by_test_id("results").locator(".track-title")
    expect(titles.first).to_have_text(before[1])
    assert titles.all_inner_texts() != before
    page.get_by_test_id("without-chip").get_by_role("button").click()
    expect(page.get_by_test_id("without-chip")).to_have_count(0)


def test_filters_narrow_and_say_so_when_nothing_is_left(page: Page) -> None:
    browser.search(page, "dance music")
    page.get_by_test_id("filters-button").click()
    page.get_by_test_id("filter-genre").fill("tango, latin")
    page.get_by_test_id("filter-genre").press("Enter")
    expect(page.get_by_test_id("result")).to_have_count(2)
    page.get_by_test_id("filter-artist").fill("nobody at all")
    page.get_by_test_id("filter-artist").press("Enter")
    expect(page.get_by_test_id("empty")).to_contain_text("Nothing fits")


def test_the_queue_becomes_a_playlist_that_the_service_keeps(page: Page, site: Site) -> None:
    titles = browser.search(page, "slow strings")[:3]
    for number in range(3):
        page.get_by_test_id("result").nth(number).get_by_test_id("enqueue").click()
    page.get_by_test_id("result").first.get_by_test_id("play").click()
    page.get_by_test_id("queue-button").click()
    expect(page.get_by_test_id("queue").get_by_test_id("queue-row")).to_have_count(3)
    page.get_by_test_id("queue-save").click()
    page.get_by_test_id("playlist-name").fill("Slow evening")
    page.get_by_test_id("playlist-save").click()
    expect(page.get_by_test_id("toast").filter(has_text="Slow evening")).to_be_visible()
    page.get_by_test_id("tab-playlists").locator("visible=true").click()
    page.get_by_test_id("playlist").filter(has_text="Slow evening").click()
    expect(page.get_by_test_id("playlist-title")).to_have_text("Slow evening")
    rows = page.get_by_test_id("playlist-tracks").get_by_role("listitem")
    expect(rows).to_have_count(3)
    kept = httpx.get(f"{site.address}/api/playlists/Slow%20evening", timeout=30).json()
    assert [track["title"] for track in kept["tracks"]] == titles
