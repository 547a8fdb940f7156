"""The words of each message, by audience and stage, from templates. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import msgspec
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from schemas.anomalies import AnomalyKind
from schemas.configuration import Catalogue, Service
from schemas.incidents import Impact, Incident, IncidentEvent, Signal
from schemas.times import utc
from sinks.notifier.messages import Ask, Digest, HandOver, Stage
from sinks.notifier.routing import public_names
from sinks.words import clock, hurts, joined, moment

MAX_VALUE = 400
"""Longest value that a template is given; telemetry can hold anything."""
MAX_PROSE = 3000
MAX_SUBJECT = 200
MAX_TEXT = 8000
SIGNALS_TOLD = 3

SEVERITY_WORDS = {"P1": "critical", "P2": "major", "P3": "moderate", "P4": "minor"}

# What customers notice, by the kind of signal; the worst that applies is said.
_SYMPTOMS: tuple[tuple[frozenset[AnomalyKind], str, str], ...] = (
    (
        frozenset(("traffic", "silence")),
        "may be unavailable at times",
        "may be unavailable at times",
    ),
    (frozenset(("error_ratio",)), "fails for some requests", "fail for some requests"),
    (frozenset(("latency", "network")), "is slower than usual", "are slower than usual"),
    (frozenset(("saturation",)), "may be slower than usual", "may be slower than usual"),
)
_OTHER_SYMPTOM = "may not work as usual"


_TEMPLATES: dict[Stage, Stage] = {
    "unacknowledged": "updated",
    "no_change": "updated",
    "workaround": "updated",
    "follow_up": "updated",
    "final": "resolved",
    "retracted": "updated",
}


class Words(msgspec.Struct, frozen=True):
    """A subject of one line, and a plain text."""

    subject: str
    text: str


class Prose(str):
    """Text that a person wrote to be read as it is, with its line breaks."""

    __slots__ = ()


class Writer:
    """Fills the templates `<audience>/<stage>.j2`: the first line is the subject, the rest text."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._services = {service.name: service for service in catalogue.services}
        self._environment = SandboxedEnvironment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=clean,
        )
        self._environment.filters.update(
            utc=moment, clock=clock, duration=duration, number=number, percent=percent, words=words
        )

    def write(self, ask: Ask) -> Words:
        """The message that is asked for. Raises jinja2.TemplateError for a template."""
        audience = ask.recipient.audience
        name = f"{audience}/{_TEMPLATES.get(ask.stage, ask.stage)}.j2"
        rendered = self._environment.get_template(name).render(self._facts(ask.event, audience))
        subject, _, text = rendered.strip().partition("\n")
        return Words(subject.strip()[:MAX_SUBJECT], _tidy(text)[:MAX_TEXT])

    def digest(self, digest: Digest) -> Words:
        """What was held back, a line each."""
        about = f"{digest.count} messages about {digest.incidents} incidents"
        lines = [f"- {clean(item.subject)}" for item in digest.items]
        return Words(f"{about} in one", "\n".join([f"{about} were held back:", "", *lines]))

    def hand_over(self, hand_over: HandOver) -> Words:
        """A shift begins or ends."""
        said = "You are on call now" if hand_over.comes_on else "You are off call now"
        lines = [f"- {clean(title)}" for title in hand_over.open_incidents]
        return Words(f"{said}: {hand_over.schedule}", "\n".join([f"{said}.", "", *lines]))

    def _facts(self, event: IncidentEvent, audience: str) -> dict[str, object]:
        """What a template can name; for customers nothing internal is within its reach."""
        names = public_names(event.incident, self._catalogue)
        if audience == "customer":
            return _public(event, names)
        names = names or event.incident.services
        return {**_public(event, names), **self._internal(event)}

    def _internal(self, event: IncidentEvent) -> dict[str, object]:
        incident = event.incident
        affected = [self._services[s] for s in incident.services if s in self._services]
        return {
            "event": event,
            "incident": incident,
            "severity_word": SEVERITY_WORDS[incident.severity],
            "cause": incident.causes[0] if incident.causes else None,
            "signals": told_signals(incident),
            "more_signals": max(0, len(incident.signals) - SIGNALS_TOLD),
            "owners": _owners(incident, self._services),
            "segments": incident.impact.segments or _all(affected, "segments"),
            "regions": incident.impact.regions or _all(affected, "regions"),
            "customers": incident.impact.customers,
            "touched": touched(incident.impact),
            "seconds_to_detect": (incident.opened_ms - incident.first_anomaly_ms) // 1000,
        }


def _public(event: IncidentEvent, names: tuple[str, ...]) -> dict[str, object]:
    incident = event.incident
    ended_ms = max(incident.first_anomaly_ms, incident.last_anomaly_ms)
    return {
        "names": names,
        "symptom": symptom(incident, plural=len(names) > 1),
        "work": "work" if len(names) > 1 else "works",
        "public_message": _published(event),
        "phase": incident.public_phase,
        "first_anomaly_ms": incident.first_anomaly_ms,
        "ended_ms": ended_ms,
        "lasted_seconds": (ended_ms - incident.first_anomaly_ms) // 1000,
        "span": span(incident.first_anomaly_ms, ended_ms),
        "time_ms": event.time_ms,
    }


def touched(impact: Impact) -> str:
    """How much the incident touches, as far as it is known; without a status nothing has failed."""
    said = "how many requests it touches is not known"
    if impact.errors:
        of = f"{number(impact.errors)} of {number(impact.requests)}"
        said = f"{of} requests failed ({percent(impact.error_ratio)})"
    elif impact.requests:
        said = f"{number(impact.requests)} requests passed through it"
    return f"{said}; up to {number(impact.customers)} customers" if impact.customers else said


def told_signals(incident: Incident) -> list[Signal]:
    """The few signals worth telling: the worst of each service first, then the worst of all."""
    worst = sorted(incident.signals, key=lambda s: (-s.score, s.first_ms, s.series))
    first_of: dict[str, Signal] = {}
    for signal in worst:
        first_of.setdefault(signal.service, signal)
    leading = list(first_of.values())
    rest = [signal for signal in worst if signal not in leading]
    return (leading + rest)[:SIGNALS_TOLD]


def symptom(incident: Incident, *, plural: bool) -> str:
    """What customers notice of it, as the end of a sentence about one service or several."""
    kinds = {signal.kind for signal in incident.signals if hurts(signal)}
    for of, of_one, of_many in _SYMPTOMS:
        if kinds & of:
            return of_many if plural else of_one
    return _OTHER_SYMPTOM


def clean(value: object) -> str:
    """A value as one line without control characters, cut where it is too long.

    Every value that a template prints goes through this, so that none can begin a line of its
    own, hide text or turn its direction. Only what a person wrote to be published keeps its lines.
    """
    if isinstance(value, Prose):
        return "\n".join(clean(line) for line in value.splitlines())[:MAX_PROSE]
    text = "".join(" " if _is_unprintable(char) else char for char in str(value))
    text = re.sub(r"\s+", " ", text).strip()
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def span(start_ms: int, end_ms: int) -> str:
    """From when to when, the date once where one is enough."""
    start, end = (utc(ms) for ms in (start_ms, end_ms))
    if start.date() == end.date():
        return f"{moment(start_ms).removesuffix(' UTC')} to {clock(end_ms)}"
    return f"{moment(start_ms)} to {moment(end_ms)}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units: 2 h 5 min."""
    left = max(0, int(seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def number(value: float) -> str:
    """A count with thin groups: 12,040."""
    return f"{value:,.0f}"


def percent(ratio: float) -> str:
    """A ratio in per cent with two figures that matter: 8 %, 0.3 %."""
    value = ratio * 100
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"


def words(values: object) -> str:
    """A list as people write it: a, b and c; of many, the first few and how many more."""
    names = [clean(value) for value in values] if isinstance(values, tuple | list) else []
    if len(names) > 5:
        return f"{', '.join(names[:4])} and {len(names) - 4} more"
    return joined(names)


def _published(event: IncidentEvent) -> Prose | None:
    said = event.incident.public_message
    if event.type == "public_message":
        said = said or event.text
    return Prose(said) if said else None


def _owners(incident: Incident, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Owners of the suspected services first, then of the others."""
    order = dict.fromkeys((*incident.suspected_causes, *incident.services))
    owners = (services[name].owner for name in order if name in services)
    return tuple(dict.fromkeys(owner for owner in owners if owner))


def _all(affected: list[Service], field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for service in affected for value in getattr(service, field)))


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
