"""The pages as HTML, from the board alone. Works without JavaScript and loads nothing else."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from urllib.parse import quote, urlsplit

from markupsafe import Markup

from schemas.incidents import PublicPhase
from schemas.times import DAY_MS, iso, utc
from sinks.cadence import GRACE_MS
from sinks.html import content_security_policy, inline, templates
from sinks.status_page.board import BANNERS, Board
from sinks.status_page.components import STATUS_LABELS, STATUS_OF_SEVERITY
from sinks.status_page.incident import PublicIncident
from sinks.status_page.uptime import Day, day_of
from sinks.status_page.words import duration
from sinks.words import joined, moment

RECENT_DAYS = 14
"""Past incidents of so many days stand on the first page."""

PHASE_LABELS: Mapping[PublicPhase, str] = {
    "investigating": "Investigating",
    "identified": "Identified",
    "monitoring": "Monitoring",
    "resolved": "Resolved",
}

_FOLDER = Path(__file__).parent / "templates"


def date(time_ms: int) -> str:
    """`3 December 2026`."""
    at = utc(time_ms)
    return f"{at.day} {at:%B %Y}"


def short_date(time_ms: int) -> str:
    """`3 Dec`."""
    at = utc(time_ms)
    return f"{at.day} {at:%b}"


def clock(time_ms: int) -> str:
    """`13:05`."""
    return f"{utc(time_ms):%H:%M}"


def month(time_ms: int) -> str:
    """`December 2026`."""
    return f"{utc(time_ms):%B %Y}"


def day_text(day: Day) -> str:
    """What one bar says in words."""
    if day.status is None:
        return f"{date(day.start_ms)}: no data"
    if not day.spent_ms:
        return f"{date(day.start_ms)}: no incidents"
    parts = [f"{STATUS_LABELS[key].lower()}, {duration(ms)}" for key, ms in day.spent_ms.items()]
    return f"{date(day.start_ms)}: {'; '.join(parts)}"


def is_late(incident: PublicIncident, now_ms: int) -> bool:
    """Whether the update that was promised has not come."""
    return incident.next_ms is not None and now_ms > incident.next_ms + GRACE_MS


class Pages:
    """Renders the pages of one status page."""

    def __init__(self, title: str, url: str, history_days: int) -> None:
        style = (_FOLDER / "style.css").read_text("utf-8")
        self.content_security_policy = content_security_policy(style=inline(style), images="data:")
        self._environment = templates(_FOLDER)
        self._environment.filters.update(
            date=date,
            short_date=short_date,
            clock=clock,
            moment=moment,
            iso=iso,
            duration=duration,
            day_text=day_text,
            segment=lambda text: quote(text, safe=""),
        )
        self._environment.globals.update(
            title=title,
            base=urlsplit(url).path.rstrip("/"),
            history_days=history_days,
            style=Markup(style),  # noqa: S704 - our own file, hashed into the policy above
            status_labels=STATUS_LABELS,
            phase_labels=PHASE_LABELS,
            banners=BANNERS,
            status_of_severity=STATUS_OF_SEVERITY,
            is_late=is_late,
        )

    def front(self, board: Board) -> str:
        """`/`: how it stands now, each component's bars, open and recent incidents."""
        since_ms = day_of(board.now_ms) - (RECENT_DAYS - 1) * DAY_MS
        recent = [one for one in board.past if (one.resolved_ms or 0) >= since_ms]
        return self._render(
            "front.html",
            board,
            open=board.open,
            recent=recent,
            recent_days=RECENT_DAYS,
        )

    def history(self, board: Board) -> str:
        """`/history`: every incident of the time shown, by month."""
        months = [
            (name, list(found))
            for name, found in groupby(board.incidents, lambda one: month(one.started_ms))
        ]
        return self._render("history.html", board, months=months, incident_days=_anchors(board))

    def incident(self, board: Board, incident: PublicIncident) -> str:
        """`/incidents/{id}`: one incident and all that was said of it."""
        names = {line.component.id: line.component.name for line in board.lines}
        return self._render(
            "incident.html",
            board,
            incident=incident,
            names=joined([name for key, name in names.items() if key in incident.component_ids]),
        )

    def missing(self, board: Board) -> str:
        """For an address that leads nowhere."""
        return self._render("missing.html", board)

    def _render(self, template: str, board: Board, **values: object) -> str:
        return self._environment.get_template(template).render(board=board, **values)


def _anchors(board: Board) -> dict[str, list[str]]:
    """For each incident the days, `2026-12-03`, whose bars lead to it; a day has one anchor."""
    taken: set[str] = set()
    result: dict[str, list[str]] = {}
    for incident in board.incidents:
        end_ms = board.now_ms if incident.over_ms is None else incident.over_ms
        first_ms = max(day_of(incident.started_ms), board.first_day_ms)
        found = [iso(at)[:10] for at in range(first_ms, end_ms + 1, DAY_MS)]
        result[incident.id] = [one for one in found if one not in taken]
        taken.update(found)
    return result
