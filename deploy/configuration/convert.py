"""Walks a YAML document along the configuration types and collects every mistake.

`msgspec.convert` stops at the first mistake and knows no lines, so the walk takes the document
apart down to the values that hold no section and lets msgspec judge those one by one.
"""

import difflib
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from deploy.configuration.document import line_of, plain
from deploy.configuration.mistakes import Mistake
from schemas.section import Section


def mistakes_in(node: Any, kind: type[Section], file: str, path: str = "") -> Iterator[Mistake]:
    """Every way in which `node` is not a `kind`, each with its line."""
    if not isinstance(node, dict):
        yield Mistake(file, line_of(node), path, f"must be a mapping, not {_kind_of(node)}")
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
    if section is None or value is None:
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
        wanted = "a list" if container is tuple else "a mapping"
        yield Mistake(file, line, path, f"must be {wanted}, not {_kind_of(value)}")


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
        yield Mistake(file, line, where, _readable(message, value, hint))


def _readable(message: str, value: Any, hint: Any) -> str:
    """msgspec's sentence, with the choices named where the value is none of them."""
    if message.startswith("Invalid enum value"):
        choices = ", ".join(str(choice) for choice in _choices(hint))
        return f"{plain(value)!r} is none of {choices}"
    return message[0].lower() + message[1:]


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


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}"
    return f"is not a known key; {hint}"


def _kind_of(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value"}
    if value is None:
        return "nothing"
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")
