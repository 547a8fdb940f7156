"""The pages in a real browser, without JavaScript."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from playwright.async_api import Browser, async_playwright

from sinks.case_store import CaseStore
from tests.sinks import examples
from tests.sinks.axe import violations
from tests.sinks.case_store.conftest import TOKEN, Commands

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        await browser.close()


@pytest.fixture(autouse=True)
async def told(sqlite_store: CaseStore) -> None:
    """One case, resolved, and one that is open."""
    events = [*examples.cpu_fault(), *examples.network_fault()[:1]]
    await sqlite_store.apply([examples.record(e, i) for i, e in enumerate(events)])
    deliveries = [examples.delivery(events[0], "failed"), examples.delivery(events[0], attempt=2)]
    await sqlite_store.apply([examples.record(d, i) for i, d in enumerate(deliveries)])


def address(client: aiohttp.ClientSession) -> str:
    """Where the store is served."""
    return str(client._base_url).rstrip("/")


async def test_one_signs_in_and_acknowledges_without_javascript(
    browser: Browser, client: aiohttp.ClientSession, commands: Commands
) -> None:
    context = await browser.new_context(java_script_enabled=False, base_url=address(client))
    page = await context.new_page()
    await page.goto("/cases")
    await page.get_by_role("link", name="Calls from frontend").click()
    await page.get_by_role("link", name="Sign in").first.click()
    await page.get_by_label("Who you are").fill("ada")
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/cases/2")
    await page.get_by_role("textbox", name="Note (if you like)").fill("on it")
    await page.get_by_role("button", name="Acknowledge").click()
    await page.get_by_role("status").wait_for()
    assert [(c.type, c.actor, c.text) for c in commands.sent] == [("acknowledge", "ada", "on it")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_overflows_and_the_policy_blocks_nothing_of_ours(
    browser: Browser, client: aiohttp.ClientSession, width: int, scheme: str
) -> None:
    context = await browser.new_context(
        base_url=address(client),
        viewport={"width": width, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for path in ("/cases", "/cases/1", "/cases/2", "/sign-in"):
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(21, 24, 28)" if scheme == "dark" else "rgb(247, 246, 243)")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_the_pages_by_the_rules_of_axe(
    browser: Browser, client: aiohttp.ClientSession, scheme: str
) -> None:
    context = await browser.new_context(
        base_url=address(client), color_scheme="dark" if scheme == "dark" else "light"
    )
    page = await context.new_page()
    await page.goto("/sign-in")
    assert await violations(page) == []
    await page.get_by_label("Who you are").fill("ada")
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/cases")
    for path in ("/cases", "/cases/1", "/cases/2", "/cases/99"):
        await page.goto(path)
        assert await violations(page) == [], path
