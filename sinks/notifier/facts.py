"""What the templates of each audience can name. Pure.

All audiences are told from one record; each has within its reach what it may say and no more. For
customers that is made of public names, kinds of trouble, times and people's words for them; what
a signal, a cause or a grade says of itself has no way in, and neither have other segments.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from schemas.anomalies import AnomalyKind
from schemas.configuration import Catalogue, Service
from schemas.incidents import Impact, Incident, IncidentEvent, Signal
from sinks.disclosure import masked
from sinks.notifier.changed import changes_told
from sinks.notifier.clean import Prose
from sinks.notifier.language import DEFAULT, Language
from sinks.notifier.messages import Ask
from sinks.notifier.telling import headline, sentence
from sinks.words import hurts

SIGNALS_TOLD = 3

# What customers notice, by the kind of signal, worst first, and what it may come from.
_SYMPTOMS: tuple[tuple[frozenset[AnomalyKind], str], ...] = (
    (frozenset(("traffic", "silence")), "unavailable"),
    (frozenset(("error_ratio",)), "errors"),
    (frozenset(("new_error_template", "error_log_rate")), "maybe_errors"),
    (frozenset(("latency", "network")), "slow"),
    (frozenset(("saturation",)), "maybe_slow"),
)
_SURE = {"maybe_errors": ("errors", "unavailable"), "maybe_slow": ("slow", "unavailable")}
_REASONS: tuple[tuple[frozenset[AnomalyKind], str], ...] = (
    (frozenset(("saturation", "forecast")), "capacity"),
    (frozenset(("network",)), "network"),
    (frozenset(("error_ratio", "new_error_template", "error_log_rate")), "fault"),
    (frozenset(("silence",)), "stopped"),
    (frozenset(("latency",)), "slow"),
)


class Reader(msgspec.Struct, frozen=True):
    """Who reads: their audience, their customer segment, and their language and zone."""

    audience: str
    language: Language
    segment: str | None = None


class Facts:
    """Makes the facts of a message for a reader, from the catalogue and an ask."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._services = {service.name: service for service in catalogue.services}

    def of(self, ask: Ask, reader: Reader) -> dict[str, object]:
        """What a template can name; for customers nothing internal is within its reach."""
        facts = self._public(ask, reader)
        if reader.audience == "customer":
            return facts
        incident = ask.event.incident
        named = facts["names"] or incident.services
        spoken = facts["names"] or (reader.language.phrase("lists", "our_service"),)
        internal = self._internal(ask, reader.language)
        return {**facts, "names": named, "spoken": spoken, **internal}

    # -- for everybody -----------------------------------------------------------------------

    def _public(self, ask: Ask, reader: Reader) -> dict[str, object]:
        event, incident, language = ask.event, ask.event.incident, reader.language
        ended_ms = max(incident.first_anomaly_ms, incident.last_anomaly_ms)
        expected_ms = incident.expected_resolution_ms
        is_over = incident.state in ("resolved", "closed")
        is_past = is_over or incident.public_phase == "monitoring"
        return {
            "type": ask.stage,
            "kind": ask.kind,
            "first": ask.first,
            "drill": ask.drill,
            "names": self._names(incident, reader),
            "who": self._who(reader),
            "symptoms": self._symptoms(incident, reader, past=is_past),
            "phase": incident.public_phase,
            "is_over": is_over,
            "since_ms": incident.first_anomaly_ms,
            "time_ms": event.time_ms,
            "ended_ms": ended_ms,
            "lasted_seconds": (ended_ms - incident.first_anomaly_ms) // 1000,
            "next_update_ms": None if is_over else ask.next_update_ms,
            "expected_ms": expected_ms if expected_ms and expected_ms > event.time_ms else None,
            "usual_seconds": _usual_seconds(event),
            "public_message": self._prose(_published(event), incident, language),
            "workaround": self._prose(incident.workaround, incident, language),
            "reason": self._prose(incident.reason, incident, language)
            or language.phrase("reasons", self._reason(incident, reader)),
            "solution": self._prose(incident.solution, incident, language),
        }

    def _prose(self, text: str | None, incident: Incident, language: Language) -> Prose | None:
        if not text:
            return None
        otherwise = language.phrase("lists", "a_system")
        return Prose(masked(text, incident, self._catalogue, otherwise))

    def _names(self, incident: Incident, reader: Reader) -> tuple[str, ...]:
        """What customers call the affected services, each once, the likely culprit first."""
        known = [self._services[s] for s in _in_order(incident) if s in self._services]
        mine = [service for service in known if concerns(service, reader.segment)]
        names = (public_name(service, reader.language.name) for service in mine)
        known_names = tuple(dict.fromkeys(name for name in names if name))
        if known_names or reader.audience != "customer":
            return known_names
        return (reader.language.phrase("lists", "our_service"),)

    def _who(self, reader: Reader) -> str | None:
        if reader.audience != "customer" or reader.segment is None:
            return None
        return segment_name(reader.segment, self._catalogue, reader.language)

    def _symptoms(self, incident: Incident, reader: Reader, *, past: bool) -> tuple[str, ...]:
        kinds = {signal.kind for signal in self._mine(incident, reader) if hurts(signal)}
        found = [name for of, name in _SYMPTOMS if kinds & of]
        found = [n for n in found if not set(_SURE.get(n, ())) & set(found)] or ["other"]
        section = "symptoms_past" if past else "symptoms"
        return tuple(reader.language.phrase(section, name) for name in found[:2])

    def _reason(self, incident: Incident, reader: Reader) -> str:
        mine = self._mine(incident, reader)
        first = incident.causes[0].service if incident.causes else None
        kinds = {s.kind for s in mine if s.service == first and hurts(s)}
        kinds = kinds or {s.kind for s in mine if hurts(s)}
        return next((name for of, name in _REASONS if kinds & of), "other")

    def _mine(self, incident: Incident, reader: Reader) -> list[Signal]:
        """The signals of what concerns the reader's segment."""
        if reader.segment is None:
            return list(incident.signals)
        return [
            signal
            for signal in incident.signals
            if signal.service not in self._services
            or concerns(self._services[signal.service], reader.segment)
        ]

    # -- for those who work here -------------------------------------------------------------

    def _internal(self, ask: Ask, language: Language) -> dict[str, object]:
        event, incident = ask.event, ask.event.incident
        affected = [self._services[s] for s in incident.services if s in self._services]
        segments = incident.impact.segments or _all(affected, "segments")
        told = told_signals(incident)
        return {
            "id": incident.id,
            "severity": incident.severity,
            "severity_word": language.phrase("severity", incident.severity),
            "severity_set_by": incident.severity_override_by,
            "headline": incident.title
            if language.name == "en"
            else headline(incident, language, told),
            "services": _in_order(incident),
            "environment": incident.environment,
            "visibility": incident.visibility,
            "reopened": incident.reopened,
            "opened_ms": incident.opened_ms,
            "split_from": incident.split_from,
            "merged_into": incident.merged_into,
            "acknowledged_by": incident.acknowledged_by,
            "actor": event.actor,
            "is_by_person": event.actor != "tocsin",
            "text": Prose(event.text),
            "proposal": Prose(incident.proposal.text) if incident.proposal else None,
            "changes": changes_told(event, language),
            "step": ask.step,
            "cause": incident.causes[0] if incident.causes else None,
            "evidence": _evidence(incident, language, told),
            "signals": tuple((s.service, sentence(s, language)) for s in told),
            "more_signals": max(0, len(incident.signals) - SIGNALS_TOLD),
            "owners": _owners(incident, self._services),
            "segments": tuple(segment_name(s, self._catalogue, language) for s in segments),
            "regions": incident.impact.regions or _all(affected, "regions"),
            "customers": incident.impact.customers,
            "requests": incident.impact.requests,
            "errors": incident.impact.errors,
            "error_ratio": incident.impact.error_ratio,
            "touched": touched(incident.impact, language),
            "seconds_to_detect": (incident.opened_ms - incident.first_anomaly_ms) // 1000,
        }


def concerns(service: Service, segment: str | None) -> bool:
    """Whether customers of a segment use the service; without a segment, or where none is named,
    everybody does."""
    return segment is None or not service.segments or segment in service.segments


def public_name(service: Service, language: str) -> str | None:
    """What customers call the service in a language."""
    return service.public_names.get(language) or service.public_name


def segment_name(segment: str, catalogue: Catalogue, language: Language) -> str:
    """What the customers of a segment are called: `retail customers`."""
    said = catalogue.segment_names.get(segment, {}).get(language.name)
    return said or language.phrase("lists", "segment").format(segment=segment)


def touched(impact: Impact, language: Language) -> str:
    """How much the incident touches, as far as it is known; without a status nothing has failed."""
    name = "errors" if impact.errors else "requests" if impact.requests else "unknown"
    said = language.phrase("touched", name).format(
        errors=language.number(impact.errors),
        requests=language.number(impact.requests),
        share=language.percent(impact.error_ratio),
    )
    if not impact.customers:
        return said
    customers = language.number(impact.customers)
    more = language.phrase("touched", "customers").format(customers=customers)
    return language.phrase("lists", "semicolon").join((said, more))


def told_signals(incident: Incident) -> list[Signal]:
    """The few signals worth telling: the worst of each service first, then the worst of all."""
    worst = sorted(incident.signals, key=lambda s: (-s.score, s.first_ms, s.series))
    first_of: dict[str, Signal] = {}
    for signal in worst:
        first_of.setdefault(signal.service, signal)
    leading = list(first_of.values())
    rest = [signal for signal in worst if signal not in leading]
    return (leading + rest)[:SIGNALS_TOLD]


def _usual_seconds(event: IncidentEvent) -> int | None:
    """Within how long most incidents like this were over, unless this one has lasted longer."""
    outlook = event.incident.outlook
    if outlook is None or outlook.lasts_to_ms is None:
        return None
    is_ahead = event.time_ms - event.incident.first_anomaly_ms < outlook.lasts_to_ms
    return outlook.lasts_to_ms // 1000 if is_ahead else None


def _published(event: IncidentEvent) -> str | None:
    said = event.incident.public_message
    return said or (event.text if event.type == "public_message" else None)


def _evidence(incident: Incident, language: Language, told: Sequence[Signal]) -> tuple[str, ...]:
    """What speaks for the likeliest cause, without what the title says already.

    The record has it in English; in other languages it is what the cause's own signal says.
    """
    if not incident.causes:
        return ()
    cause = incident.causes[0]
    if language.name == DEFAULT:
        return tuple([line for line in cause.evidence if line not in incident.title][:2])
    own = [s for s in incident.signals if s.service == cause.service and s not in told[:1]]
    furthest = sorted(own, key=lambda s: (-s.score, s.first_ms, s.series))
    return tuple(sentence(signal, language) for signal in furthest[:1])


def _in_order(incident: Incident) -> tuple[str, ...]:
    """The affected services, the likeliest cause first if it is among them."""
    first = incident.suspected_causes[:1]
    return tuple(sorted(incident.services, key=lambda name: name not in first))


def _owners(incident: Incident, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Owners of the suspected services first, then of the others."""
    order = (*incident.suspected_causes[:1], *_in_order(incident))
    owners: Iterable[str | None] = (services[name].owner for name in order if name in services)
    return tuple(dict.fromkeys(owner for owner in owners if owner))


def _all(affected: Sequence[Service], field: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for service in affected for value in getattr(service, field)))
