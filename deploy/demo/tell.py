"""What the demo prints as it happens."""

from rich.console import Console
from rich.markup import escape

from schemas.incidents import Delivery, Incident, IncidentEvent
from schemas.printable import one_line
from schemas.times import clock

COLOURS = {"P1": "bold red", "P2": "red", "P3": "yellow", "P4": "cyan"}
HEADLINES = {
    "opened": "incident opened",
    "reopened": "incident reopened",
    "severity_changed": "severity changed",
    "acknowledged": "acknowledged",
    "public_message": "public message",
    "noted": "note",
    "workaround": "workaround",
    "follow_up": "follow-up",
    "resolved": "incident resolved",
}


class Teller:
    """Prints events and deliveries as short blocks; the rest of the detail is on the pages."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def event(self, event: IncidentEvent, case: str | None) -> None:
        """An entry of the incidents' log; updates and closures are left to the pages."""
        headline = HEADLINES.get(event.type)
        if headline is None:
            return
        incident = event.incident
        self._last = incident.id
        colour = COLOURS[incident.severity]
        self._console.print(
            f"\n{clock(event.time_ms)}  [{colour}]{incident.severity} {headline}[/]  "
            f"{incident.id}{f'  {case}' if case else ''}"
        )
        for name, text in self._details(event):
            self._line(name, one_line(text))

    def delivery(self, delivery: Delivery) -> None:
        """Who was told, or why not."""
        if delivery.status == "sent":
            self._told("told", delivery, delivery.subject)
        elif delivery.status in ("failed", "withheld"):
            self._told("not told", delivery, delivery.detail)

    def _told(self, name: str, delivery: Delivery, text: str) -> None:
        """Names the incident where another one was spoken of last: events may be faster."""
        other = "" if delivery.incident_id == self._last else f"  ({delivery.incident_id})"
        self._line(name, f"{delivery.recipient} by {delivery.channel}: {one_line(text)}{other}")

    def _details(self, event: IncidentEvent) -> list[tuple[str, str]]:
        if event.type in ("opened", "reopened"):
            return [
                ("what", event.incident.title),
                ("where", ", ".join(event.incident.services)),
                ("how bad", how_bad(event.incident)),
                ("why", why(event.incident)),
            ]
        return [("", event.text)] if event.text else []

    def _line(self, name: str, text: str) -> None:
        self._console.print(f"          [dim]{name:<9}[/]{escape(text)}", soft_wrap=True)


def how_bad(incident: Incident) -> str:
    """Severity with its two factors and what is touched."""
    grading, impact = incident.grading, incident.impact
    parts = [f"{incident.severity}: impact {grading.impact} × urgency {grading.urgency}"]
    if impact.requests:
        parts.append(f"{impact.requests} requests seen, {impact.errors} failed")
    if impact.customers:
        parts.append(f"about {impact.customers} customers ({', '.join(impact.segments)})")
    return "; ".join(parts)


def why(incident: Incident) -> str:
    """The strongest signal, and who is suspected."""
    strongest = max(incident.signals, key=lambda signal: signal.score)
    suspects = ", ".join(incident.suspected_causes[:3])
    return f"{strongest.reason} (score {strongest.score:.1f}); suspected: {suspects}"
