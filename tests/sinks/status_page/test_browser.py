"""The page in a browser, without JavaScript: phone and desktop, light and dark, keyboard."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, async_playwright

from sinks.status_page.tongue import CODES
from tests.sinks.axe import violations
from tests.sinks.examples import event
from tests.sinks.status_page.examples import (
    DAY_MS,
    NOW_MS,
    Clock,
    Running,
    configuration,
    incident,
    quarter,
    running,
)

PATHS = ("/", "/history", "/incidents/INC-0006", "/incidents/INC-0404")
Scheme = Literal["light", "dark"]

pytestmark = pytest.mark.browser

CONTRASTS = """
() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = numbers(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    throw new Error("no background");
  };
  const result = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const pair = [light(numbers(style.color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    result.push([element.textContent.trim().slice(0, 40), ratio, large ? 3 : 4.5]);
  }
  return result;
}
"""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Running]:
    """A page that has been up for a hundred days."""
    clock = Clock(NOW_MS - 100 * DAY_MS)
    settings = configuration(tmp_path / "page.sqlite3")
    async with running(settings, clock):
        clock.now_ms = NOW_MS
    async with running(settings, clock) as started:
        await started.say(quarter())
        yield started


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield started
        await started.close()


async def visit(
    browser: Browser, url: str, *, width: int = 1200, scheme: Scheme = "light", script: bool = False
) -> Page:
    """Opens the address, by default without JavaScript."""
    context = await browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, java_script_enabled=script
    )
    tab = await context.new_page()
    await tab.goto(url)
    return tab


async def test_everything_can_be_read_without_javascript(page: Running, browser: Browser) -> None:
    tab = await visit(browser, page.url)
    assert await tab.title() == "Partial System Outage – Harbour Shop"
    assert await tab.get_by_role("heading", level=1).inner_text() == "Partial System Outage"
    assert await tab.locator(".bars").count() == 5
    assert await tab.locator(".bars").first.locator("li").count() == 90
    await tab.get_by_role("link", name="Errors and slow responses on Checkout").click()
    assert tab.url.endswith("/incidents/INC-0006")
    assert await tab.get_by_text("We are looking for the cause.").is_visible()
    await tab.get_by_role("link", name="Incident history").click()
    assert await tab.get_by_role("article").count() == 6


async def test_a_bar_leads_to_the_incident_of_its_day(page: Running, browser: Browser) -> None:
    tab = await visit(browser, page.url)
    name = "Checkout, 23 October 2026: major outage, 52 minutes"
    await tab.get_by_role("link", name=name).focus()
    await tab.keyboard.press("Enter")
    await tab.wait_for_url("**/history#2026-10-23")
    assert await tab.locator("[id='2026-10-23']").count() == 1


async def test_nothing_has_to_be_scrolled_sideways(page: Running, browser: Browser) -> None:
    long = "https://example.com/" + "x" * 300
    await page.say([event(incident(8, public_message=long), "opened")])
    for path in (*PATHS, "/incidents/INC-0008"):
        tab = await visit(browser, page.url + path, script=True)
        for width in (320, 390, 768):
            await tab.set_viewport_size({"width": width, "height": 800})
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PATHS)
async def test_the_structure_tells_a_screen_reader_where_it_is(
    page: Running, browser: Browser, path: str
) -> None:
    tab = await visit(browser, page.url + path, script=True)
    assert await tab.evaluate("document.documentElement.lang") == "en"
    assert await tab.title()
    for role in ("banner", "main", "contentinfo", "navigation"):
        assert await tab.get_by_role(role).count() == 1
    assert await tab.get_by_role("heading", level=1).count() == 1
    levels = await tab.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(right - left <= 1 for left, right in pairwise(levels))
    unnamed = await tab.evaluate(
        "[...document.querySelectorAll('a,ol.bars,nav')].filter("
        "(e) => !(e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert unnamed == 0
    repeated = await tab.evaluate(
        "(() => { const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);"
        " return ids.length - new Set(ids).size; })()"
    )
    assert repeated == 0


async def test_text_stands_out_from_its_ground_in_light_and_dark(
    page: Running, browser: Browser
) -> None:
    schemes: tuple[Scheme, ...] = ("light", "dark")
    grounds = set()
    for scheme in schemes:
        for path in PATHS:
            tab = await visit(browser, page.url + path, scheme=scheme, script=True)
            found = await tab.evaluate(CONTRASTS)
            assert len(found) > 5
            assert [one for one in found if one[1] < one[2]] == []
            grounds.add(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


async def test_the_keyboard_reaches_the_content_first_and_then_every_link(
    page: Running, browser: Browser
) -> None:
    tab = await visit(browser, page.url, script=True)
    await tab.keyboard.press("Tab")
    assert await tab.evaluate("document.activeElement.textContent") == "Skip to content"
    assert await tab.get_by_text("Skip to content").is_visible()
    links = await tab.evaluate("[...document.querySelectorAll('a')].map((e) => e.outerHTML)")
    reached = set()
    for _ in links:
        reached.add(await tab.evaluate("document.activeElement.outerHTML"))
        assert await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        await tab.keyboard.press("Tab")
    assert reached == set(links)


async def test_the_page_asks_for_nothing_else_and_breaks_no_policy(
    page: Running, browser: Browser
) -> None:
    context = await browser.new_context()
    tab = await context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    await tab.goto(page.url)
    await tab.wait_for_load_state("networkidle")
    assert [one for one in asked if not one.startswith("data:")] == [f"{page.url}/"]
    assert complaints == []


@pytest.mark.slow
@pytest.mark.parametrize(("code", "scheme"), [("en", "dark"), *((code, "light") for code in CODES)])
async def test_everybody_can_use_the_page_by_the_rules_of_axe(
    page: Running, browser: Browser, code: str, scheme: Scheme
) -> None:
    for path in PATHS:
        tab = await visit(browser, f"{page.url}{path}?lang={code}", scheme=scheme, script=True)
        assert await tab.evaluate("document.documentElement.lang") == code
        assert await violations(tab) == [], path
