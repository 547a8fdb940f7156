"""Walks a YAML document along the configuration types and collects every mistake.

`msgspec.convert` stops at the first mistake and knows no lines, so the walk takes the document
apart down to the values that hold no section and lets msgspec judge those one by one.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from deploy.configuration.document import line_of, plain
from deploy.configuration.mistakes import Mistake
from schemas.configuration import Secret
from schemas.section import Section

INLINE: Final = "a secret never stands in the file; write {env: NAME_OF_A_VARIABLE} or {file: PATH}"
KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
RELATIONS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
LONGEST_SHOWN: Final = 20
"""Characters of a wrong value that a message repeats; longer ones might be secrets."""


def mistakes_in(node: Any, kind: type[Section], file: str, path: str = "") -> Iterator[Mistake]:
    """Every way in which `node` is not a `kind`, each with its line."""
    if not isinstance(node, dict):
        yield Mistake(file, line_of(node), path, _no_mapping(node, kind))
        return
    hints = get_type_hints(kind, include_extras=True)
    for key, value in node.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in hints:
            yield Mistake(file, line_of(node, key), where, _unknown(str(key), list(hints)))
        else:
            yield from _mistakes_in_value(value, hints[key], file, where, line_of(node, key))
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in node:
            where = f"{path}.{field.name}" if path else field.name
            yield Mistake(file, line_of(node), where, "is missing")


def _mistakes_in_value(value: Any, hint: Any, file: str, path: str, line: int) -> Iterator[Mistake]:
    section, container = _section_in(hint)
    if section is Secret and isinstance(value, str | int | float):
        yield Mistake(file, line, path, INLINE)
    elif section is not None and value is None and not _may_be_nothing(hint):
        yield Mistake(file, line, path, "is empty; leave it out, or say something below it")
    elif section is None or value is None:
        yield from _judge(value, hint, file, path, line)
    elif container is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            yield from _located(mistakes_in(item, section, file, where), line_of(value, index))
        if not value:  # there may have to be one
            yield from _judge(value, hint, file, path, line)
    elif container is dict and isinstance(value, dict):
        for key, item in value.items():
            inner = mistakes_in(item, section, file, f"{path}.{key}")
            yield from _located(inner, line_of(value, key))
    elif container is None and isinstance(value, dict):
        yield from _located(mistakes_in(value, section, file, path), line)
    else:
        said = f"must be a list, not {_kind_of(value)}"
        yield Mistake(file, line, path, said if container is tuple else _no_mapping(value, section))


def _located(found: Iterator[Mistake], line: int) -> Iterator[Mistake]:
    """Gives mistakes without a line of their own the line of what they stand in."""
    for mistake in found:
        yield (
            mistake if mistake.line else Mistake(mistake.file, line, mistake.path, mistake.message)
        )


def _judge(value: Any, hint: Any, file: str, path: str, line: int) -> Iterator[Mistake]:
    try:
        msgspec.convert(plain(value), hint)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        where = path + inner.rstrip("`") if inner else path
        found = _at(value, inner)
        yield Mistake(file, _line_at(value, inner) or line, where, readable(message, found, hint))


def _at(value: Any, inner: str) -> Any:
    """What stands at msgspec's path below a value, as far as it names it."""
    for part in re.findall(r"[^.\[\]`]+", inner):
        try:
            value = value[int(part) if isinstance(value, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            break
    return value


def _line_at(value: Any, inner: str) -> int:
    """The line of an item of a list over several lines."""
    first = re.match(r"\[(\d+)\]", inner)
    return line_of(value, int(first[1])) if first and isinstance(value, list) else 0


def readable(message: str, value: Any, hint: Any) -> str:
    """msgspec's sentence in the words of this file's users, with what would be right."""
    if message.startswith("Invalid enum value"):
        choices = ", ".join(str(choice) for choice in _choices(hint))
        return f"{plain(value)!r} is none of {choices}"
    expected = re.fullmatch(r"Expected `([^`]+)`(?:, got `(\w+)`| ([<>=]+) ([\d.]+))", message)
    if expected is None:
        return message[0].lower() + message[1:]
    kinds, got, relation, bound = expected.groups()
    if got is None:
        given = "" if value is None else f"{plain(value)!r} "
        return f"{given}must be {RELATIONS[relation]} {float(bound):g}"
    wanted = " or ".join(KINDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null")
    is_short = isinstance(value, str | int | float) and len(str(value)) <= LONGEST_SHOWN
    shown = f" ({plain(value)!r})" if is_short else ""
    return f"must be {wanted}, not {KINDS.get(got, got)}{shown}"


def _choices(hint: Any) -> list[Any]:
    found: list[Any] = []
    for argument in get_args(hint):
        if isinstance(argument, str | int) and not isinstance(argument, bool):
            found.append(argument)
        elif argument is not Ellipsis:
            found.extend(_choices(argument))
    return found


def _section_in(hint: Any) -> tuple[type[Section] | None, type | None]:
    """The section that a type is about, and the container (tuple, dict or None) that holds it."""
    if isinstance(hint, type) and issubclass(hint, Section):
        return hint, None
    origin = get_origin(hint)
    for argument in get_args(hint):
        section, container = _section_in(argument)
        if section is not None:
            return section, origin if origin in (tuple, dict) else container
    return None, None


def _no_mapping(value: Any, section: type[Section]) -> str:
    needed = [field.name for field in msgspec.structs.fields(section) if field.required]
    such = "".join(f"; it needs {name}: …" for name in needed[:1])
    return f"must be a mapping, not {_kind_of(value)}{such}"


def _may_be_nothing(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
    return f"is not a known key; {hint}"


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value"}
    if value is None:
        return "nothing"
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")
