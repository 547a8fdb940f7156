"""A YAML file with the line of every value in it."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from deploy.configuration.mistakes import ConfigurationError, Mistake


def parse(path: Path) -> list[Any]:
    """All documents of a YAML 1.2 file, keeping lines.

    Raises
    ------
    ConfigurationError
        The file cannot be read or is not YAML.
    """
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError([Mistake(name, 0, "", f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Mistake(name, 0, "", "is not UTF-8 text")]) from error
    try:
        return list(YAML(typ="rt").load_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise ConfigurationError([Mistake(name, line, "", _problem(error))]) from error
    except (YAMLError, ValueError) as error:  # ValueError: a date that is in no calendar
        if line := _no_date(text):
            said = "here stands a date that is in no calendar"
            raise ConfigurationError([Mistake(name, line, "", said)]) from error
        raise ConfigurationError([Mistake(name, 0, "", f"is not YAML: {error}")]) from error


def _no_date(text: str) -> int:
    """The line of the first date that is in no calendar, 0 if there is none."""
    yaml = YAML(typ="rt")
    waiting = [node for node in yaml.compose_all(text) if node is not None][::-1]
    seen = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            waiting += [each for pair in reversed(node.value) for each in reversed(pair)]
        elif isinstance(node, SequenceNode):
            waiting += reversed(node.value)
        elif str(node.tag).endswith(":timestamp"):
            try:
                YAML(typ="safe").load(node.value)
            except ValueError:
                return int(node.start_mark.line) + 1
    return 0


def _problem(error: MarkedYAMLError) -> str:
    """What is wrong, in one line, without what stands there: it may be a secret."""
    problem = " ".join(str(error.problem or "is not YAML").split("\n")[0].split())
    if twice := re.match(r'found duplicate key "(.*?)"', problem):
        return f"the key {twice[1]} stands twice in one mapping"
    if "'\\t'" in problem:
        return "is indented with a tab; YAML wants spaces"
    return problem


def line_of(node: Any, key: str | int | None = None) -> int:
    """The line, counted from 1, of `key` in a mapping or sequence, or of the node itself."""
    if not isinstance(node, CommentedMap | CommentedSeq):
        return 0
    try:
        if key is None:
            return int(node.lc.line) + 1
        position = node.lc.key(key) if isinstance(node, CommentedMap) else node.lc.item(key)
        return int(position[0]) + 1
    except (AttributeError, KeyError, IndexError, TypeError):
        return int(node.lc.line or 0) + 1


def plain(node: Any) -> Any:
    """The node as plain dicts, lists and scalars."""
    if isinstance(node, dict):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    if isinstance(node, date):
        # YAML knows dates; every moment of the configuration is a text.
        whole = isinstance(node, datetime) and (node.second or node.microsecond)
        return node.isoformat() if whole or type(node) is date else f"{node:%Y-%m-%dT%H:%M}"
    for scalar in (int, float, str):
        if isinstance(node, scalar):
            return scalar(node)
    return node
