"""Topics stay readable from one release to the next."""

from typing import Literal

import msgspec
import pytest

from deploy.compatibility import breaks, check
from deploy.contracts import json_schema


class Part(msgspec.Struct):
    size: int


class Before(msgspec.Struct):
    id: str
    state: Literal["open", "shut"]
    parts: tuple[Part, ...]
    note: str | None = None


def changed(written: bool = True, drop: str = "", **fields: tuple[object, object]) -> list[str]:
    """What breaks if `Before` loses the field `drop` and has these fields (type, default)."""
    kept = {
        "id": (str, msgspec.NODEFAULT),
        "state": (Literal["open", "shut"], msgspec.NODEFAULT),
        "parts": (tuple[Part, ...], msgspec.NODEFAULT),
        "note": (str | None, None),
    }
    now = {name: field for name, field in {**kept, **fields}.items() if name != drop}
    ordered = sorted(now.items(), key=lambda item: item[1][1] is not msgspec.NODEFAULT)
    described = [
        (name, kind) if default is msgspec.NODEFAULT else (name, kind, default)
        for name, (kind, default) in ordered
    ]
    after = msgspec.defstruct("Before", described)
    return breaks(json_schema(Before), json_schema(after), written=written)


def test_todays_messages_break_nobody_who_knows_the_last_release() -> None:
    assert check() == []


def test_a_new_property_with_a_default_and_a_new_value_break_nothing() -> None:
    state = Literal["open", "shut", "ajar"]
    assert changed(colour=(str, "red"), state=(state, msgspec.NODEFAULT)) == []


class Resized(msgspec.Struct):
    size: str


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"drop": "note"}, "$.note is gone"),
        ({"id": (int, msgspec.NODEFAULT)}, "$.id was string, is integer"),
        ({"id": (str, "")}, "$.id was always there, and may now be missing"),
        (
            {"owner": (str, msgspec.NODEFAULT)},
            "$.owner is needed now; older messages do not have it: give it a default",
        ),
        ({"state": (Literal["open"], msgspec.NODEFAULT)}, "$.state can no longer be shut"),
        ({"note": (int | None, None)}, "$.note was string or null, is integer or null"),
        (
            {"parts": (tuple[Resized, ...], msgspec.NODEFAULT)},
            "$.parts[].size was integer, is string",
        ),
    ],
)
def test_what_breaks_a_reader_is_named_with_its_path(change: dict[str, object], says: str) -> None:
    assert changed(**change) == [says]  # type: ignore[arg-type]


def test_what_tocsin_only_reads_may_ask_for_less() -> None:
    assert changed(written=False, id=(str, "")) == []
