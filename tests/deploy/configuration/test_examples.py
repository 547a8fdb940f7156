"""Every configuration that ships is accepted, and together they show everything that can be set."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import deploy
from deploy.configuration import load
from schemas.configuration import Configuration

ROOT = Path(deploy.__file__).parent
SHIPPED = [
    path
    for path in sorted([*ROOT.glob("examples/*.yaml"), ROOT / "demo" / "tocsin.yaml"])
    if path.name != "catalog-info.yaml"
]
FOR_TESTS = {"base_url", "service_url", "graph_url", "login_url", "keys_url"}
"""Addresses of services that have but one."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_configuration_has_no_mistake(path: Path) -> None:
    load(path, {})


def settings(section: type[msgspec.Struct], seen: set[type]) -> Iterator[tuple[type, str]]:
    """Every setting below a section, with the section that has it."""
    seen.add(section)
    for name, hint in typing.get_type_hints(section).items():
        yield section, name
        for inner in sections(hint):
            if inner not in seen:
                yield from settings(inner, seen)


def sections(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for part in typing.get_args(hint):
        yield from sections(part)


def test_every_setting_is_shown_in_the_example_that_claims_to_have_all() -> None:
    text = (ROOT / "examples" / "tocsin.yaml").read_text()
    hidden = [
        f"{section.__name__}.{name}"
        for section, name in settings(Configuration, set())
        if name not in FOR_TESTS and not re.search(rf"\b{name}\b", text)
    ]
    assert hidden == [], "put them into deploy/examples/tocsin.yaml, commented where need be"
