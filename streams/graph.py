"""Who calls whom: the service graph, from the catalogue and learned from calls."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from schemas.anomalies import Call
from schemas.configuration import Catalogue, Service

MAX_EDGES = 50_000
"""Learned edges kept; a label that explodes into services must not eat the memory."""


class ServiceGraph:
    """A directed graph of services, caller → callee; cycles and self-calls are harmless.

    Two services are *joined* when one lies on a call path of the other: trouble travels up a path
    (slow callee, slow caller) or down it (fewer or more calls). Two callees of one caller are not
    joined by that alone, since a busy gateway would join everything; they become so when the
    caller itself is out of order.

    Parameters
    ----------
    catalogue
        `depends_on` of its services gives the first edges.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._callees: dict[str, set[str]] = {}
        self._callers: dict[str, set[str]] = {}
        self._learned: set[tuple[str, str]] = set()
        self._down: dict[str, Mapping[str, int]] = {}
        self._up: dict[str, Mapping[str, int]] = {}
        self._near: dict[tuple[str, int], Mapping[str, int]] = {}
        self._around: dict[tuple[str, int], Mapping[str, int]] = {}
        self.refused = 0
        for service in catalogue.services:
            for callee in service.depends_on:
                self._connect(service.name, callee)

    def __bool__(self) -> bool:
        return bool(self._callees)

    def __contains__(self, service: object) -> bool:
        """Whether any call from or to the service is known."""
        return service in self._callees or service in self._callers

    def learn(self, calls: Iterable[Call]) -> None:
        """Adds calls that were seen; more than `MAX_EDGES` are counted in `refused`."""
        for call in calls:
            edge = (call.caller, call.callee)
            if call.callee in self._callees.get(call.caller, ()) or call.caller == call.callee:
                continue
            if len(self._learned) >= MAX_EDGES:
                self.refused += 1
                continue
            self._learned.add(edge)
            self._connect(*edge)

    def _connect(self, caller: str, callee: str) -> None:
        if caller == callee:
            return
        self._callees.setdefault(caller, set()).add(callee)
        self._callers.setdefault(callee, set()).add(caller)
        self._down.clear()
        self._up.clear()
        self._near.clear()
        self._around.clear()

    def callees(self, service: str) -> tuple[str, ...]:
        """The services that `service` calls itself, in alphabetical order."""
        return tuple(sorted(self._callees.get(service, ())))

    def callers(self, service: str) -> tuple[str, ...]:
        """The services that call `service` themselves, in alphabetical order."""
        return tuple(sorted(self._callers.get(service, ())))

    def share(self, one: str, other: str) -> bool:
        """Whether two services have a caller or a callee in common."""
        callers = self._callers.get(one, set()) & self._callers.get(other, set())
        return bool(callers or self._callees.get(one, set()) & self._callees.get(other, set()))

    def below(self, service: str) -> Mapping[str, int]:
        """All that `service` calls, directly or through others, with the number of hops."""
        if service not in self._down:
            self._down[service] = _walk(service, (self._callees,))
        return self._down[service]

    def above(self, service: str) -> Mapping[str, int]:
        """All that call `service`, directly or through others, with the number of hops."""
        if service not in self._up:
            self._up[service] = _walk(service, (self._callers,))
        return self._up[service]

    def near(self, service: str, hops: int) -> Mapping[str, int]:
        """The services on a call path with `service`, either way, and their hops, up to `hops`."""
        key = (service, hops)
        if key not in self._near:
            found = _walk(service, (self._callers,), hops)
            for name, distance in _walk(service, (self._callees,), hops).items():
                found[name] = min(distance, found.get(name, distance))
            self._near[key] = found
        return self._near[key]

    def around(self, service: str, hops: int) -> Mapping[str, int]:
        """The services that calls lead to from `service`, in whichever direction, also back and
        forth, and their hops, up to `hops`."""
        key = (service, hops)
        if key not in self._around:
            self._around[key] = _walk(service, (self._callers, self._callees), hops)
        return self._around[key]

    def learned(self) -> list[tuple[str, str]]:
        """The learned edges, for a snapshot."""
        return sorted(self._learned)


def with_calls(catalogue: Catalogue, calls: Iterable[Call]) -> Catalogue:
    """The catalogue with more `depends_on`; callers that it lacks are added with its defaults."""
    added: dict[str, set[str]] = {}
    for call in calls:
        added.setdefault(call.caller, set()).add(call.callee)
    services = {service.name: service for service in catalogue.services}
    for caller, callees in sorted(added.items()):
        service = services.get(caller, Service(name=caller))
        known = (*service.depends_on, *sorted(callees - set(service.depends_on)))
        services[caller] = msgspec.structs.replace(service, depends_on=known)
    return msgspec.structs.replace(catalogue, services=tuple(services.values()))


def _walk(
    start: str, ways: Sequence[Mapping[str, set[str]]], limit: int | None = None
) -> dict[str, int]:
    """Breadth first from `start`, without it; at most `limit` hops."""
    hops, frontier, depth = {start: 0}, [start], 0
    while frontier and depth != limit:
        depth += 1
        found = sorted(
            {
                name
                for node in frontier
                for edges in ways
                for name in edges.get(node, ())
                if name not in hops
            }
        )
        hops.update(dict.fromkeys(found, depth))
        frontier = found
    del hops[start]
    return hops
