"""axe-core's rules for pages that everybody can use: WCAG 2.2 AA and its best practices."""

from importlib.resources import files
from typing import Any

from playwright.async_api import Page

_AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


async def violations(page: Page) -> list[str]:
    """What is broken, a line each; every `<details>` is opened first, so that all is looked at."""
    await page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    await page.evaluate(_AXE)
    found: dict[str, Any] = await page.evaluate("axe.run()")
    assert found["passes"], "axe has looked at nothing"
    return [
        f"{rule['id']}: {node['failureSummary']} {node['html']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
