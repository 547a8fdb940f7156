"""The compatibility rule of the topics, held against the schemas of the last release.

Within one schema version a reader of the last release understands what this one writes, and this
one reads what the last release wrote:

- a property stays, under its name and of its type;
- of what tocsin writes, what was always there stays always there;
- a new property has a default, so that older messages can still be read;
- an enumeration may grow; none of its values goes. A reader of ours stops before a value that it
  does not know, so readers are rolled out first; others' must let unknown values pass.

`python -m deploy.compatibility` checks, and with `--release` makes today's schemas those of the
last release. The rule is Confluent's FULL compatibility but for the growing enumerations.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from deploy.contracts import MESSAGES, json_schema

RELEASED = Path(__file__).parent.parent / "schemas" / "released"

Schema = dict[str, Any]


def breaks(old: Schema, new: Schema, *, written: bool) -> list[str]:
    """What in the JSON Schema `new` breaks those who know `old`, a sentence each with the path.

    `written` says that tocsin writes such messages; else it only reads them.
    """
    return list(_Comparison(old, new, written).node(old, new, "$"))


class _Comparison:
    def __init__(self, old: Schema, new: Schema, written: bool) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})
        self._written = written
        self._seen: set[str] = set()

    def node(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if (reference := old.get("$ref")) is not None:
            if reference in self._seen:
                return
            self._seen.add(reference)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if "enum" in old and "enum" in new:
            gone = [value for value in old["enum"] if value not in new["enum"]]
            if gone:
                yield f"{path} can no longer be {', '.join(map(str, gone))}"
        elif (was := _types(old)) != (now := _types(new)):
            yield f"{path} was {was}, is {now}"
        elif "anyOf" in old:
            for before, after in zip(old["anyOf"], new["anyOf"], strict=True):
                yield from self.node(before, after, path)
        elif "properties" in old:
            yield from self._object(old, new, path)
        for inner in ("items", "additionalProperties"):
            if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
                yield from self.node(old[inner], new[inner], f"{path}[]")

    def _object(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        was, now = set(old.get("required", ())), set(new.get("required", ()))
        for name, before in old["properties"].items():
            after = new["properties"].get(name)
            if after is None:
                yield f"{path}.{name} is gone"
                continue
            yield from self.node(before, after, f"{path}.{name}")
            if self._written and name in was - now:
                yield f"{path}.{name} was always there, and may now be missing"
        for name in sorted(now - was):
            yield f"{path}.{name} is needed now; older messages do not have it: give it a default"


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema


def _types(schema: Schema) -> str:
    """The kind of value that a schema allows, for comparing and for people."""
    if "anyOf" in schema:
        return " or ".join(_types(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of a list"
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    return str(schema.get("type", "anything"))


def check() -> list[str]:
    """What of today's messages breaks those who know the last release's, by message."""
    found = []
    for kind, action, _ in MESSAGES.values():
        file = RELEASED / f"{kind.__name__}.schema.json"
        if file.exists():
            old = orjson.loads(file.read_bytes())
            wrong = breaks(old, json_schema(kind), written=action == "send")
            found += [f"{kind.__name__}: {sentence}" for sentence in wrong]
    return found


def release() -> None:
    """Makes today's schemas those that the next change is held against."""
    RELEASED.mkdir(exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    for kind, _, _ in MESSAGES.values():
        file = RELEASED / f"{kind.__name__}.schema.json"
        file.write_bytes(orjson.dumps(json_schema(kind), option=options))


def main() -> int:
    """Prints what breaks; 1 if anything does."""
    wrong = check()
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if not wrong and "--release" in sys.argv[1:]:
        release()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
