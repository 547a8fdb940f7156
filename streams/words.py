"""Titles, summaries and numbers in plain words, for someone who was just woken up."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from detectors.units import failing_side
from schemas import times
from schemas.anomalies import AnomalyKind
from schemas.incidents import Cause, Impact, Signal
from schemas.units import metric_of, split_unit
from streams import forecast_words
from streams.dossier import is_below

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
RESOURCES = ("cpu", "memory", "disk", "network", "thread", "connection", "queue", "heap")
PLAIN: tuple[AnomalyKind, ...] = (
    "error_ratio",
    "latency",
    "new_error_template",
    "network",
    "saturation",
    "forecast",
    "error_log_rate",
    "code_path",
    "report",
    "silence",
    "traffic",
    "level",
    "novelty",
)
"""Kinds by how directly they tell what users feel."""


class Measure(NamedTuple):
    """What a series measures, as words, and in which unit."""

    words: str
    unit: str


def measure(series: str) -> Measure:
    """Reads a series id: `cpu_usage_ratio{service="cart"}` is ("cpu usage", "%")."""
    name, unit = split_unit(metric_of(series))
    return Measure(_resource(name.replace("_", " ").strip()), unit)


def _resource(words: str) -> str:
    return re.sub(r"\bcpu\b", "CPU", words)


def number(value: float, unit: str = "") -> str:
    """A value to two or three figures with its unit: `1.9 s`, `45 ms`, `97 %`, `3.1 MB`."""
    if unit == "%":
        return f"{_figures(value * 100)} %"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{_figures(value * 1000)} ms"
    for size, prefix in PREFIXES:
        if abs(value) >= size and unit in ("B", "/s", ""):
            return f"{_figures(value / size)} {prefix}{unit}".rstrip()
    return (
        f"{_figures(value)}{unit}" if unit.startswith("/") else f"{_figures(value)} {unit}".strip()
    )


def _figures(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.2g}" if abs(value) < 10 else f"{value:.3g}"
    return f"{float(text):.10f}".rstrip("0").rstrip(".") if "e" in text else text


def between(signal: Signal, unit: str) -> str:
    """What was expected, as a range if the bounds say one and the value is outside it."""
    if signal.lower <= signal.value <= signal.upper:
        return f"usually {number(signal.expected, unit)}"
    if signal.upper > signal.lower:
        low, high = number(max(signal.lower, 0.0), unit), number(signal.upper, unit)
        if signal.lower <= 0 < signal.upper < signal.value:
            return f"expected at most {high}"
        if unit == "%" and signal.value < signal.lower and signal.upper >= 1:
            return f"expected at least {low}"
        return f"expected {low} to {high}" if low != high else f"expected about {low}"
    return f"expected about {number(signal.expected, unit)}"


def clock(time_ms: int) -> str:
    """The time of day, UTC: `14:49:57 UTC`."""
    return f"{times.clock(time_ms)} UTC"


def plural(count: int, thing: str) -> str:
    """`1 service`, `3 services`."""
    return f"{count} {thing}" if count == 1 else f"{count:,} {thing}s"


def short(text: str, limit: int = 120) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def plain(signal: Signal) -> str:
    """What a signal says, without the service's name: `requests take 1.9 s, expected …`."""
    reported = signal.kind == "error_ratio" and failing_side(metric_of(signal.series))
    write = _PLAIN.get(signal.kind)
    if not reported and write is not None:
        return write(signal)
    if signal.kind == "saturation" and forecast_words.is_expiry(signal.series):
        return f"it expired at {clock(signal.first_ms)}"
    what, unit = measure(signal.series)
    full = "saturated at" if signal.kind == "saturation" else "is"
    return f"{what} {full} {number(signal.value, unit)}, {between(signal, unit)}"


def _latency(signal: Signal) -> str:
    whose = f"requests from {signal.caller}" if signal.caller else "requests"
    subject = f"{signal.operation} takes" if signal.operation else f"{whose} take"
    if is_below(signal):
        return f"{subject} only {number(signal.value, 's')}, {between(signal, 's')}"
    if signal.value <= signal.expected:
        subject = f"{signal.operation} requests" if signal.operation else whose
        return f"some {subject} take far longer than usual (median {number(signal.value, 's')})"
    return f"{subject} {number(signal.value, 's')}, {between(signal, 's')}"


def _network(signal: Signal) -> str:
    subject = f"calls from {signal.caller}" if signal.caller else "calls to it"
    return f"{subject} lose {number(signal.value, 's')} on the way, {between(signal, 's')}"


def _errors(signal: Signal) -> str:
    whose = f"of requests from {signal.caller}" if signal.caller else "of requests"
    subject = f"of {signal.operation} requests" if signal.operation else whose
    return f"{number(signal.value, '%')} {subject} fail, {between(signal, '%')}"


def _new_error(signal: Signal) -> str:
    return f"new error: {short(signal.example or signal.reason)}"


def _error_lines(signal: Signal) -> str:
    line = short(signal.example or signal.reason)
    return f"{number(signal.value)} error lines a window, {between(signal, '')}: {line}"


def _code_path(signal: Signal) -> str:
    came = f"{number(signal.value)} times where {number(signal.expected)} belong"
    return f"a step of its work came {came}: {short(signal.example or signal.reason)}"


def _traffic(signal: Signal) -> str:
    way = "few" if signal.value < signal.expected else "many"
    return f"unusually {way} requests: {number(signal.value)}, {between(signal, '')}"


def _silence(signal: Signal) -> str:
    return f"{measure(signal.series).words} is no longer reported"


def _novelty(signal: Signal) -> str:
    what, unit = measure(signal.series)
    return f"{what} is {number(signal.value, unit)}, unlike any before"


_PLAIN: Mapping[AnomalyKind, Callable[[Signal], str]] = {
    "latency": _latency,
    "network": _network,
    "error_ratio": _errors,
    "new_error_template": _new_error,
    "error_log_rate": _error_lines,
    "code_path": _code_path,
    "report": lambda signal: signal.reason,
    "traffic": _traffic,
    "silence": _silence,
    "novelty": _novelty,
    "forecast": forecast_words.plain,
}


def headline(signal: Signal) -> str:
    """The beginning of a title: what is wrong with which service, in two or three words."""
    if signal.kind == "forecast":
        return forecast_words.headline(signal)
    if signal.kind == "saturation" and forecast_words.is_expiry(signal.series):
        return f"{forecast_words.thing(signal.series)} of {signal.service} has expired"
    what = measure(signal.series).words
    match signal.kind:
        case "saturation":
            resource = next((r for r in RESOURCES if r in what.lower()), what)
            state = f"is out of {'CPU' if resource == 'cpu' else resource}"
        case "latency" if is_below(signal):
            state = "answers suspiciously fast"
        case "traffic":
            state = "gets too few requests" if signal.value < signal.expected else "is overrun"
        case "level" | "novelty":
            state = f"has unusual {what}"
        case _:
            state = _HEADLINES[signal.kind]
    return f"{signal.service} {state}"


_HEADLINES: Mapping[str, str] = {
    "latency": "is slow",
    "network": "is slow to reach",
    "error_ratio": "fails",
    "new_error_template": "logs errors",
    "error_log_rate": "logs errors",
    "code_path": "leaves out steps of its work",
    "report": "is reported to be in trouble",
    "silence": "has gone silent",
}


def telling(signals: Iterable[Signal]) -> Signal:
    """The signal that best says what is wrong: the plainest kind, the furthest out of it, of equals
    that of the whole service.

    One whose value lies within its bounds (a share of many is out, not this one) comes last.
    """
    return min(
        signals,
        key=lambda s: (
            _is_within(s),
            PLAIN.index(s.kind),
            -s.score,
            bool(s.operation or s.caller),
            s.series,
        ),
    )


def _is_within(signal: Signal) -> bool:
    return signal.kind != "forecast" and signal.lower <= signal.value <= signal.upper


def title(signals: Sequence[Signal], services: Sequence[str], causes: Sequence[Cause]) -> str:
    """What, where, how bad, in one line."""
    if telemetry_lost(signals):
        return f"No telemetry from {plural(len(services), 'service')}: {some(services)}"
    first = causes[0].service if causes else services[0]
    own = [s for s in signals if s.service == first]
    calls = [s for s in signals if s.kind == "network" and s.caller == first]
    if not own and calls:
        return _slow_caller(first, calls) + _more(len(set(services) - {first}))
    shown = telling(own or signals)
    return f"{headline(shown)}: {plain(shown)}" + _more(len(set(services) - {shown.service}))


def _slow_caller(service: str, calls: Sequence[Signal]) -> str:
    """For a service that shows nothing itself, but whose calls to others all lose time."""
    worst = max(calls, key=lambda s: (s.score, s.series))
    callees = list(dict.fromkeys(s.service for s in calls))
    subject = f"calls to {worst.service}" if len(callees) > 1 else "calls"
    lost = f"{subject} lose {number(worst.value, 's')} on the way, {between(worst, 's')}"
    return f"{service} is slow to reach {some(callees)}: {lost}"


def _more(others: int) -> str:
    return f" (and {plural(others, 'more service')})" if others > 0 else ""


def telemetry_lost(signals: Sequence[Signal]) -> bool:
    """Whether this is an outage of telemetry: most signals are silence, of several services."""
    silent = [s for s in signals if s.kind == "silence"]
    return len({s.service for s in silent}) >= 3 and 2 * len(silent) > len(signals)


def summary(
    signals: Sequence[Signal],
    services: Sequence[str],
    causes: Sequence[Cause],
    impact: Impact,
    first_ms: int,
    *,
    unusual: Sequence[str] = (),
) -> str:
    """A few sentences: what is seen where, since when, whom it touches, the likely cause.

    `unusual` are services that stand out a little, too little to call them affected.
    """
    head = title(signals, services, causes)
    if all(signal.kind == "forecast" for signal in signals):
        return f"{head}. Nobody is out yet."
    parts = [f"{head}; since {clock(first_ms)}."]
    if len(services) > 1:
        parts.append(f"Affected: {some(services, 6)}.")
    if unusual:
        parts.append(f"Also unusual: {some(unusual)}.")
    if impact.errors:
        parts.append(
            f"{impact.errors:,} of {impact.requests:,} requests failed "
            f"({number(impact.error_ratio, '%')})."
        )
    elif impact.requests:
        whom = services[0] if len(services) == 1 else "the affected services"
        parts.append(f"{impact.requests:,} requests passed through {whom}.")
    if telemetry_lost(signals):
        parts.append("Check the collectors first: the services themselves may be well.")
    elif causes:
        parts.append(_cause(causes[0], head))
    return " ".join(parts)


def _cause(cause: Cause, head: str) -> str:
    """The likely cause with its evidence, without what the title has said already."""
    fresh = [line for line in cause.evidence if line not in head]
    if len(fresh) < len(cause.evidence):
        more = f", {fresh[0]}" if fresh else ""
        return f"Likely cause: {cause.service} itself{more}."
    return f"Likely cause: {cause.service}" + (f" ({fresh[0]})." if fresh else ".")


def some(names: Sequence[str], limit: int = 3) -> str:
    if len(names) <= limit:
        return ", ".join(names)
    return ", ".join(names[:limit]) + f" and {len(names) - limit} more"
