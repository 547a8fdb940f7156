"""The lines of the page: which services they stand for, and how bad each state is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from schemas.configuration import Component, Configuration, Service
from schemas.incidents import Severity

Status = Literal["operational", "degraded_performance", "partial_outage", "major_outage"]

STATUSES: tuple[Status, ...] = (
    "operational",
    "degraded_performance",
    "partial_outage",
    "major_outage",
)
"""From best to worst, named as Statuspage names them."""

STATUS_OF_SEVERITY: Mapping[Severity, Status] = {
    "P1": "major_outage",
    "P2": "partial_outage",
    "P3": "degraded_performance",
    "P4": "degraded_performance",
}
"""What an open public incident makes of every component that it touches."""


class ComponentError(ValueError):
    """The configured components cannot be shown; says which and how to mend it."""


@dataclass(frozen=True, slots=True)
class PublicComponent:
    """One line of the page. `id` follows from group and name, so it survives a restart."""

    id: str
    name: str
    services: frozenset[str]
    description: str = ""
    group: str | None = None
    names: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Its name in other languages."""

    def name_in(self, code: str) -> str:
        """What it is called in a language."""
        return self.names.get(code, self.name)


def public_id(kind: str, name: str) -> str:
    """A short id, stable as long as the name is, in the form of Statuspage's (12 characters)."""
    return sha256(f"{kind}/{name}".encode()).hexdigest()[:12]


def components_of(configuration: Configuration) -> tuple[PublicComponent, ...]:
    """The configured components; if there are none, one for each public name of the catalogue.

    Services with the same public name are one component. Raises `ComponentError` if two configured
    components have the same name in the same group.
    """
    configured = configuration.status_page.components or _of_catalogue(configuration)
    components = tuple(
        PublicComponent(
            id=public_id("component", f"{one.group or ''}/{one.name}"),
            name=one.name,
            services=frozenset(one.services),
            description=one.description,
            group=one.group,
            names=one.names,
        )
        for one in configured
    )
    seen: set[str] = set()
    for component in components:
        if component.id in seen:
            raise ComponentError(
                f"status_page.components: {component.name!r} stands there twice; "
                "merge their services into one or give one of them another name"
            )
        seen.add(component.id)
    return components


def _of_catalogue(configuration: Configuration) -> tuple[Component, ...]:
    named: dict[str, list[Service]] = {}
    for service in configuration.catalogue.services:
        if service.public_name:
            named.setdefault(service.public_name, []).append(service)
    return tuple(
        Component(
            name=name,
            names=found[0].public_names,
            services=tuple(service.name for service in found),
        )
        for name, found in named.items()
    )


def touched(
    components: Sequence[PublicComponent], services: Iterable[str]
) -> tuple[PublicComponent, ...]:
    """The components that stand for any of the services, in the order of the page."""
    wanted = frozenset(services)
    return tuple(component for component in components if component.services & wanted)


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of the statuses; `operational` if there are none."""
    return max(statuses, key=STATUSES.index, default="operational")
