"""What signals say, in the language of those who work here. Pure."""

import re
from collections.abc import Sequence

from schemas.incidents import Incident, Signal
from schemas.units import metric_of, split_unit
from sinks.notifier.clean import clean
from sinks.notifier.language import Language

MAX_EXAMPLE = 160


def sentence(signal: Signal, language: Language) -> str:
    """What a signal says, without the service's name: `calls from web lose 257 ms on the way`."""
    name, unit = split_unit(metric_of(signal.series))
    if signal.kind in ("latency", "network"):
        unit = "s"
    elif signal.kind == "error_ratio":
        unit = "%"
    elif signal.kind in ("traffic", "error_log_rate", "code_path"):
        unit = ""
    example = clean(signal.example or signal.reason)
    return language.phrase("signals", _form(signal)).format(
        measure=_measure(name, language),
        value=language.measure(signal.value, unit),
        bounds=bounds(signal, unit, language),
        expected=language.measure(signal.expected, unit),
        operation=signal.operation,
        caller=signal.caller,
        example=example if len(example) <= MAX_EXAMPLE else f"{example[: MAX_EXAMPLE - 1]}…",
    )


def _form(signal: Signal) -> str:
    match signal.kind:
        case "latency" if signal.value < signal.lower:
            return "latency_fast"
        case "latency" | "error_ratio" if signal.operation:
            return f"{signal.kind}_of"
        case "network":
            return "network_from" if signal.caller else "network"
        case "traffic":
            return "traffic_few" if signal.value < signal.expected else "traffic_many"
        case kind:
            return kind


def bounds(signal: Signal, unit: str, language: Language) -> str:
    """What was expected, as a range if the bounds say one and the value is outside it."""
    low = language.measure(max(signal.lower, 0.0), unit)
    high = language.measure(signal.upper, unit)
    expected = language.measure(signal.expected, unit)
    name = "about"
    if signal.lower <= signal.value <= signal.upper:
        name = "usual"
    elif signal.upper > signal.lower:
        name = "at_most" if signal.lower <= 0 < signal.value else "between"
    return language.phrase("bounds", name).format(low=low, high=high, expected=expected)


def headline(incident: Incident, language: Language, told: Sequence[Signal]) -> str:
    """The incident's title: which service, and what its furthest signal says."""
    if not told:
        return incident.title
    others = len(incident.services) - 1
    colon = language.phrase("lists", "colon")
    first = f"{told[0].service}{colon}{sentence(told[0], language)}"
    if others < 1:
        return first
    name = "more_service" if others == 1 else "more_services"
    return f"{first} ({language.phrase('lists', name).format(count=others)})"


def _measure(name: str, language: Language) -> str:
    words = re.sub(r"\bcpu\b", "CPU", name.replace("_", " ").strip())
    return language.phrase("measures", words)
