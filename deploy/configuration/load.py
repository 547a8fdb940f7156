"""From a file to a `Configuration`, or to all of its mistakes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deploy.configuration.backstage import is_backstage, service_of
from deploy.configuration.convert import mistakes_in, readable
from deploy.configuration.document import line_of, parse, plain
from deploy.configuration.mistakes import ConfigurationError, Mistake
from deploy.configuration.references import broken_references
from schemas.configuration import Catalogue, Configuration, Notifier, Secret, Service

VARIABLE_PREFIX = "TOCSIN_"


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Reads, completes and checks a configuration.

    Parameters
    ----------
    path
        The YAML file; None means all defaults.
    environment
        `TOCSIN_<SECTION>_<KEY>` overrides a single value of a section, so that a container needs
        no file for it: `TOCSIN_KAFKA_BOOTSTRAP_SERVERS`. Of a secret it is the secret itself:
        `TOCSIN_KAFKA_SASL_PASSWORD`.

    Raises
    ------
    ConfigurationError
        With every mistake found, each with file and line.
    """
    file = str(path) if path else "(defaults)"
    documents = parse(path) if path else []
    if len(documents) > 1:
        raise ConfigurationError([Mistake(file, 0, "", "holds more than one YAML document")])
    document = documents[0] if documents and documents[0] is not None else {}
    mistakes = list(mistakes_in(document, Configuration, file))
    values = plain(document)
    if not mistakes:
        mistakes += _override(values, environment)
    if mistakes:
        raise ConfigurationError(mistakes)
    configuration = msgspec.convert(values, Configuration)
    base = path.parent if path else Path()
    services = _services(configuration.catalogue, file, document, base, mistakes)
    catalogue = msgspec.structs.replace(configuration.catalogue, services=tuple(services))
    configuration = msgspec.structs.replace(
        configuration, catalogue=catalogue, notifier=_located(configuration.notifier, base)
    )
    mistakes += broken_references(configuration, file, lambda place: _find(document, place))
    if mistakes:
        raise ConfigurationError(mistakes)
    return configuration


def _located(notifier: Notifier, base: Path) -> Notifier:
    """The notifier's section with the files that it names as seen from the configuration's."""
    schedules = tuple(
        msgspec.structs.replace(
            schedule, calendars=tuple(str(base / name) for name in schedule.calendars)
        )
        for schedule in notifier.schedules
    )
    tests = notifier.route_tests
    return msgspec.structs.replace(
        notifier,
        schedules=schedules,
        route_tests=None if tests is None else str(base / tests),
    )


def _override(values: dict[str, Any], environment: Mapping[str, str]) -> list[Mistake]:
    """Writes the environment's values into `values`; returns what was wrong with them."""
    mistakes = []
    for section in msgspec.structs.fields(Configuration):
        if not (isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)):
            continue
        for field in msgspec.structs.fields(section.type):
            variable = f"{VARIABLE_PREFIX}{section.name}_{field.name}".upper()
            if variable not in environment:
                continue
            try:
                value = _value(environment[variable], field.type, variable)
                msgspec.convert(value, field.type)
            except (msgspec.ValidationError, YAMLError) as error:
                mistakes.append(Mistake("environment", 0, variable, _wrong(error)))
                continue
            values.setdefault(section.name, {})[field.name] = value
    return mistakes


def _value(text: str, kind: Any, variable: str) -> Any:
    """Text stays text where text is wanted; a secret is in the variable itself; otherwise it is
    read as YAML would. Raises `YAMLError`."""
    try:
        msgspec.convert(text, kind)
    except msgspec.ValidationError:
        if Secret in (kind, *get_args(kind)):
            return {"env": variable}
        return plain(YAML(typ="safe").load(text))
    return text


def _wrong(error: Exception) -> str:
    """What is wrong with a variable, without what it holds."""
    if isinstance(error, YAMLError):
        return "cannot be read as YAML; put quotes around it where it is a text"
    return readable(str(error).partition(" - at `$")[0], None, None)


def _services(
    catalogue: Catalogue, file: str, document: Any, base: Path, mistakes: list[Mistake]
) -> list[Service]:
    """The services of the file itself and of everything it includes, without repeats."""
    places: dict[str, tuple[str, int]] = {}
    services: dict[str, Service] = {}
    own = (document.get("catalogue") or {}).get("services") or []

    def add(service: Service, where: str, line: int) -> None:
        if service.name in places:
            first = "{}:{}".format(*places[service.name])
            message = f"service {service.name!r} stands already in {first}"
            mistakes.append(Mistake(where, line, "", message))
        places.setdefault(service.name, (where, line))
        services.setdefault(service.name, service)

    for index, service in enumerate(catalogue.services):
        add(service, file, line_of(own, index))
    for pattern in catalogue.include:
        matches = sorted(base.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
        if not matches:
            line = _find(document, "catalogue.include")
            mistakes.append(Mistake(file, line, "catalogue.include", f"no file matches {pattern}"))
        for match in matches:
            for service, line in _included(match, mistakes):
                add(service, str(match), line)
    return list(services.values())


def _included(path: Path, mistakes: list[Mistake]) -> list[tuple[Service, int]]:
    """The services of one catalogue file: our own `services:` list or Backstage entities."""
    try:
        documents = parse(path)
    except ConfigurationError as error:
        mistakes.extend(error.mistakes)
        return []
    found: list[tuple[Service, int]] = []
    for document in documents:
        if document is None:
            continue
        if is_backstage(document):
            entity = service_of(document, str(path), mistakes)
            candidates = [] if entity is None else [(entity, line_of(document))]
        else:
            wrong = list(mistakes_in(document, Catalogue, str(path)))
            mistakes.extend(wrong)
            listed = [] if wrong else document.get("services") or []
            candidates = [(plain(item), line_of(listed, i)) for i, item in enumerate(listed)]
        for values, line in candidates:
            try:
                found.append((msgspec.convert(values, Service), line))
            except msgspec.ValidationError as error:
                mistakes.append(Mistake(str(path), line, "", str(error)))
    return found


def _find(document: Any, path: str) -> int:
    """The line of a dotted path in the document, or of the deepest part of it that exists."""
    node, line = document, 0
    for part in re.findall(r"[^.\[\]]+", path):
        key: Any = int(part) if isinstance(node, list) and part.isdigit() else part
        try:
            inner = node[key]
        except (KeyError, IndexError, TypeError):
            break
        node, line = inner, line_of(node, key)
    return line
