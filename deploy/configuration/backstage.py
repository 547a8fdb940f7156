"""Reads services from Backstage's catalog-info.yaml.

Components become services. What Backstage has no field for stands in annotations:
`tocsin/tier`, `tocsin/public-name`, `tocsin/segments`, `tocsin/regions` (comma-separated),
`tocsin/customers`, `tocsin/runbook`.
"""

from typing import Any

from deploy.configuration.document import line_of, plain
from deploy.configuration.mistakes import Mistake

PREFIX = "tocsin/"


def is_backstage(document: Any) -> bool:
    """Whether a YAML document is an entity of Backstage's catalogue."""
    version = document.get("apiVersion") if isinstance(document, dict) else None
    return isinstance(version, str) and version.startswith("backstage.io/")


def service_of(document: Any, file: str, mistakes: list[Mistake]) -> dict[str, Any] | None:
    """The service that a Component describes, as our own keys; None for other kinds."""
    if document.get("kind") != "Component":
        return None
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    if not isinstance(metadata, dict) or not metadata.get("name"):
        mistakes.append(Mistake(file, line_of(document), "metadata.name", "is missing"))
        return None
    service: dict[str, Any] = {
        "name": str(metadata["name"]),
        "depends_on": [
            name
            for reference in spec.get("dependsOn") or []
            if (name := _component_name(str(reference)))
        ],
    }
    if spec.get("owner"):
        service["owner"] = str(spec["owner"]).rpartition("/")[2].rpartition(":")[2]
    annotations = metadata.get("annotations") or {}
    for key, value in annotations.items():
        if str(key).startswith(PREFIX):
            service.update(_annotation(str(key), plain(value), file, annotations, mistakes))
    return service


def _component_name(reference: str) -> str | None:
    """`component:default/cart` is cart; references to other kinds are no calls."""
    kind, _, rest = reference.rpartition(":")
    if kind and kind.lower() != "component":
        return None
    return rest.rpartition("/")[2]


def _annotation(
    key: str, value: Any, file: str, annotations: Any, mistakes: list[Mistake]
) -> dict[str, Any]:
    name = key.removeprefix(PREFIX).replace("-", "_")
    if name in ("segments", "regions"):
        return {name: [part.strip() for part in str(value).split(",") if part.strip()]}
    if name in ("public_name", "runbook"):
        return {name: str(value)}
    if name in ("tier", "customers"):
        if str(value).isdigit():
            return {name: int(value)}
        line = line_of(annotations, key)
        mistakes.append(Mistake(file, line, f"metadata.annotations.{key}", "must be a number"))
        return {}
    known = "tier, public-name, segments, regions, customers, runbook"
    line = line_of(annotations, key)
    path = f"metadata.annotations.{key}"
    mistakes.append(Mistake(file, line, path, f"is not a known annotation; one of {known}"))
    return {}
