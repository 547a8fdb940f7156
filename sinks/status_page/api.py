"""The JSON that Statuspage serves under `/api/v2/`, with the same names and shapes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.times import iso
from sinks.status_page.board import INDICATORS, Board, Group, Line
from sinks.status_page.components import STATUS_OF_SEVERITY, public_id
from sinks.status_page.incident import PublicIncident, Update
from sinks.status_page.tongue import ENGLISH

MAX_INCIDENTS = 50
"""As many of the newest incidents as Statuspage lists in `incidents.json`."""

PATHS = (
    "summary.json",
    "status.json",
    "components.json",
    "incidents.json",
    "incidents/unresolved.json",
    "scheduled-maintenances.json",
    "scheduled-maintenances/upcoming.json",
    "scheduled-maintenances/active.json",
)


def timestamp(time_ms: int | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, as Statuspage writes it."""
    return None if time_ms is None else iso(time_ms)


@dataclass(frozen=True, slots=True)
class Api:
    """Documents of one page. `url` is the page's public address without a slash at its end."""

    title: str
    url: str

    @property
    def page_id(self) -> str:
        """Follows from the address."""
        return public_id("page", self.url)

    def documents(self, board: Board) -> Mapping[str, dict[str, Any]]:
        """Every document by its path below `/api/v2/`."""
        page = {"page": self._page(board)}
        status = {"status": _status(board)}
        components = {"components": self._components(board)}
        unresolved = {"incidents": self._incidents(board, board.open)}
        nothing_planned: dict[str, Any] = {"scheduled_maintenances": []}
        return {
            "summary.json": page | components | unresolved | nothing_planned | status,
            "status.json": page | status,
            "components.json": page | components,
            "incidents.json": page
            | {"incidents": self._incidents(board, board.incidents[:MAX_INCIDENTS])},
            "incidents/unresolved.json": page | unresolved,
            "scheduled-maintenances.json": page | nothing_planned,
            "scheduled-maintenances/upcoming.json": page | nothing_planned,
            "scheduled-maintenances/active.json": page | nothing_planned,
        }

    def _page(self, board: Board) -> dict[str, Any]:
        return {
            "id": self.page_id,
            "name": self.title,
            "url": self.url,
            "time_zone": "Etc/UTC",
            "updated_at": timestamp(board.updated_ms),
        }

    def _components(self, board: Board) -> list[dict[str, Any]]:
        """Groups stand before their members, in the order of the page."""
        result: list[dict[str, Any]] = []
        for group in board.groups:
            if group.name is not None:
                result.append(self._group(group, len(result) + 1))
            for line in group.lines:
                result.append(self._component(line, len(result) + 1))
        return result

    def _component(self, line: Line, position: int) -> dict[str, Any]:
        component = line.component
        return {
            "id": component.id,
            "name": component.name,
            "status": line.status,
            "created_at": timestamp(line.since_ms),
            "updated_at": timestamp(line.changed_ms),
            "position": position,
            "description": component.description or None,
            "showcase": True,
            "start_date": (timestamp(line.since_ms) or "")[:10],
            "group_id": None if component.group is None else public_id("group", component.group),
            "page_id": self.page_id,
            "group": False,
            "only_show_if_degraded": False,
        }

    def _group(self, group: Group, position: int) -> dict[str, Any]:
        since_ms = min(line.since_ms for line in group.lines)
        return {
            "id": public_id("group", group.name or ""),
            "name": group.name,
            "status": group.status,
            "created_at": timestamp(since_ms),
            "updated_at": timestamp(max(line.changed_ms for line in group.lines)),
            "position": position,
            "description": None,
            "showcase": False,
            "start_date": None,
            "group_id": None,
            "page_id": self.page_id,
            "group": True,
            "only_show_if_degraded": False,
            "components": [line.component.id for line in group.lines],
        }

    def _incidents(self, board: Board, chosen: Sequence[PublicIncident]) -> list[dict[str, Any]]:
        lines = {one["id"]: one for one in self._components(board)}
        return [self._incident(one, lines) for one in chosen]

    def _incident(
        self, incident: PublicIncident, components: Mapping[str, dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "id": incident.id,
            "name": incident.name,
            "status": incident.phase,
            "created_at": timestamp(incident.opened_ms),
            "updated_at": timestamp(incident.updated_ms),
            "monitoring_at": timestamp(incident.monitoring_ms),
            "resolved_at": timestamp(incident.resolved_ms),
            "impact": INDICATORS[STATUS_OF_SEVERITY[incident.severity]],
            "shortlink": f"{self.url}/incidents/{incident.id}",
            "started_at": timestamp(incident.started_ms),
            "page_id": self.page_id,
            "incident_updates": [_update(incident, one) for one in reversed(incident.updates)],
            "components": [components[key] for key in components if key in incident.component_ids],
        }


def _status(board: Board) -> dict[str, str]:
    return {"indicator": INDICATORS[board.status], "description": ENGLISH("banner", board.status)}


def _update(incident: PublicIncident, update: Update) -> dict[str, Any]:
    return {
        "id": public_id("update", f"{update.of or incident.id}/{update.version}"),
        "status": update.phase,
        "body": update.body,
        "incident_id": incident.id,
        "created_at": timestamp(update.time_ms),
        "updated_at": timestamp(update.edited_ms),
        "display_at": timestamp(update.time_ms),
        "affected_components": [
            {"code": one.id, "name": one.name, "old_status": one.old, "new_status": one.new}
            for one in update.affected
        ],
        "deliver_notifications": True,
        "custom_tweet": None,
        "tweet_id": None,
    }
