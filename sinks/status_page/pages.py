"""The pages as HTML, from the board alone. Works without JavaScript and loads nothing else."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from markupsafe import Markup
from msgspec import structs

from schemas.times import DAY_MS, iso
from sinks.cadence import GRACE_MS
from sinks.html import content_security_policy, inline, templates
from sinks.status_page import words
from sinks.status_page.board import Board
from sinks.status_page.components import STATUS_OF_SEVERITY
from sinks.status_page.incident import PublicIncident, Update, publishable
from sinks.status_page.tongue import CODES, ENGLISH, Tongue
from sinks.status_page.uptime import Day, day_of

RECENT_DAYS = 14
"""Past incidents of so many days stand on the first page."""

NAMES = {"en": "English", "de": "Deutsch", "fr": "Français"}

_FOLDER = Path(__file__).parent / "templates"


class Saying:
    """What depends on a language: names, and sentences that are made of facts that are kept."""

    def __init__(self, tongue: Tongue, board: Board) -> None:
        self._tongue = tongue
        components = (line.component for line in board.lines)
        self._names = {one.name: one.name_in(tongue.code) for one in components}

    def name(self, incident: PublicIncident) -> str:
        """The incident's name."""
        if not incident.named:
            return incident.name
        status = STATUS_OF_SEVERITY[incident.severity]
        return words.title(self._named(incident.named), incident.symptoms, status, self._tongue)

    def body(self, update: Update) -> str:
        """A statement; a person's words stay in the language in which they were written."""
        if update.taken_back_ms is not None:
            return words.withdrawn(update.taken_back_ms, self._tongue)
        if update.said is not None:
            return publishable(words.said_by_person(update.said, self._tongue))
        if update.facts is None:
            return update.body
        named = self._named(update.facts.components)
        return words.body(structs.replace(update.facts, components=named), self._tongue)

    def day(self, day: Day) -> str:
        """What one bar says in words."""
        date = self._tongue.date(day.start_ms)
        if day.status is None:
            return f"{date}: {self._tongue('page', 'no_data')}"
        if not day.spent_ms:
            return f"{date}: {self._tongue('page', 'day_without')}"
        parts = [
            f"{self._tongue('spent', key)}, {self._tongue.duration(ms)}"
            for key, ms in day.spent_ms.items()
        ]
        return f"{date}: {'; '.join(parts)}"

    def _named(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._names.get(name, name) for name in names)


class View(NamedTuple):
    """In which language a page is, and whether its address asks for it, as its links then do."""

    tongue: Tongue = ENGLISH
    asked: bool = False


VIEW = View()


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
            iso=iso,
            segment=lambda text: quote(text, safe=""),
        )
        self._environment.globals.update(
            title=title,
            base=urlsplit(url).path.rstrip("/"),
            history_days=history_days,
            style=Markup(style),  # noqa: S704 - our own file, hashed into the policy above
            languages=[(code, NAMES[code]) for code in CODES],
            status_of_severity=STATUS_OF_SEVERITY,
            is_late=is_late,
        )

    def front(self, board: Board, view: View = VIEW) -> str:
        """`/`: how it stands now, each component's bars, open and recent incidents."""
        since_ms = day_of(board.now_ms) - (RECENT_DAYS - 1) * DAY_MS
        recent = [one for one in board.past if (one.resolved_ms or 0) >= since_ms]
        return self._render(
            "front.html",
            board,
            view,
            open=board.open,
            recent=recent,
            recent_days=RECENT_DAYS,
        )

    def history(self, board: Board, view: View = VIEW) -> str:
        """`/history`: every incident of the time shown, by month."""
        months = [
            (name, list(found))
            for name, found in groupby(
                board.incidents, lambda one: view.tongue.month(one.started_ms)
            )
        ]
        return self._render(
            "history.html", board, view, months=months, incident_days=_anchors(board)
        )

    def incident(self, board: Board, incident: PublicIncident, view: View = VIEW) -> str:
        """`/incidents/{id}`: one incident and all that was said of it."""
        names = {
            line.component.id: line.component.name_in(view.tongue.code) for line in board.lines
        }
        return self._render(
            "incident.html",
            board,
            view,
            incident=incident,
            names=view.tongue.joined(
                [name for key, name in names.items() if key in incident.component_ids]
            ),
        )

    def missing(self, board: Board, view: View = VIEW) -> str:
        """For an address that leads nowhere."""
        return self._render("missing.html", board, view)

    def _render(self, template: str, board: Board, view: View, **values: object) -> str:
        return self._environment.get_template(template).render(
            board=board,
            t=view.tongue,
            say=Saying(view.tongue, board),
            query=f"?lang={view.tongue.code}" if view.asked else "",
            **values,
        )


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
