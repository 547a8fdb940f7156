"""The page is read in one's own language, by what the browser prefers or the address asks for."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.configuration import Component
from sinks.status_page.tongue import CODES, ENGLISH, preferred, tongue
from tests.sinks.examples import event
from tests.sinks.status_page.examples import (
    COMPONENTS,
    MINUTE_MS,
    configuration,
    incident,
    life,
    running,
    then,
)

NAMED = tuple(
    msgspec.structs.replace(one, names={"de": "Kasse"}) if one.name == "Checkout" else one
    for one in COMPONENTS
)


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_every_phrase_with_the_same_places_to_fill(code: str) -> None:
    def places(of: str) -> dict[tuple[str, str], set[str]]:
        return {
            (section, name): set(re.findall(r"{(\w+)}", said))
            for section, said_of in tongue(of).phrases.items()
            if section != "formats"
            for name, said in said_of.items()
        }

    assert places(code) == places("en")
    assert tongue(code).phrases["formats"].keys() == ENGLISH.phrases["formats"].keys()


@pytest.mark.parametrize(
    ("asked", "header", "code"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "pt-BR, fr;q=0.5", "fr"),
        (None, "*", "en"),
        ("fr", "de", "fr"),
        ("xx", "de", "de"),
        ("../../etc", "", "en"),
    ],
)
def test_the_address_decides_and_then_the_browser(
    asked: str | None, header: str, code: str
) -> None:
    assert preferred(asked, header) == code


def lines(text: str) -> Iterator[str]:
    """What stands on the page, without the words of the page itself in its head."""
    return iter(re.sub(r"<[^>]+>", "\n", text.partition("<body>")[2]).splitlines())


async def test_the_page_is_told_in_the_language_of_the_browser(tmp_path: Path) -> None:
    async with running(configuration(tmp_path / "page", NAMED)) as page:
        opened = event(incident(kinds=("latency",)), "opened")
        spoken = then(opened, "workaround", MINUTE_MS, workaround="Bitte anrufen.")
        await page.say([opened, spoken])
        german = (await page.ask("/", Accept_Language="de-DE,de;q=0.9")).text
        asked = (await page.ask("/?lang=fr", Accept_Language="de")).text
        english = await page.text("/")
    assert '<html lang="de">' in german
    assert "Lange Wartezeiten: Kasse" in german
    assert "kommt es für einen Teil der Kunden zu langen Wartezeiten; betroffen: Kasse." in german
    assert "Was Sie inzwischen tun können: Bitte anrufen." in german
    assert "Lenteurs\u00a0: Checkout" in asked
    assert 'href="/history?lang=fr"' in asked
    assert 'href="/history"' in german
    assert "Slow responses on Checkout" in english


@pytest.mark.parametrize("code", [code for code in CODES if code != "en"])
async def test_nothing_of_ours_stays_english(tmp_path: Path, code: str) -> None:
    """Every phrase of the page in English, where it differs, is gone in the other language."""
    different = {
        said
        for section in ("banner", "status", "phase", "page")
        for name, said in ENGLISH.phrases[section].items()
        if "{" not in said and len(said) > 4 and said != tongue(code).phrases[section][name]
    }
    shop = (Component(name="X", services=("checkout",)),)
    async with running(configuration(tmp_path / "page", shop)) as page:
        await page.say([*life(incident()), event(incident(2), "opened")])
        for path in ("/", "/history", "/incidents/INC-0001", "/incidents/INC-0009"):
            text = (await page.ask(f"{path}?lang={code}")).text
            shown = {line.strip() for line in lines(text)}
            assert f'<html lang="{code}">' in text
            assert not shown & different, path
