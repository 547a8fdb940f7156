"""What services have in common besides calls, and so may fail together by: a kind of error line, a
change that was made to both."""

import re
from collections.abc import Iterable, Iterator, Sequence

from schemas.anomalies import Anomaly
from schemas.incidents import Signal
from streams.dossier import Dossier, began
from streams.reports import AFTER_MS, BEFORE_MS, Change
from streams.together import FORETOLD, TOGETHER_MS

_TEMPLATE = re.compile(r'[{,]template="([^"]*)"')


def template_of(item: Anomaly | Signal) -> str | None:
    """The template of the error line that it tells of; it is the same for all services."""
    if item.kind not in ("new_error_template", "error_log_rate"):
        return None
    found = _TEMPLATE.search(item.series)
    return found[1] if found else None


def has_shared_line(anomaly: Anomaly, dossier: Dossier) -> bool:
    """Whether the incident has the very line of error that comes here, since the same time."""
    template = template_of(anomaly)
    return template is not None and any(
        template_of(signal) == template and abs(signal.first_ms - began(anomaly)) <= TOGETHER_MS
        for signal in dossier.trusted_signals()
    )


def has_shared_change(anomaly: Anomaly, dossier: Dossier, changes: Sequence[Change]) -> bool:
    """Whether one change was made to its service and to one that is surely out of order in the
    incident, and both went out of order after it."""
    return anomaly.opens and any(
        _follows(change, began(anomaly))
        and any(
            name in change.services and _follows(change, dossier.seen[name][0])
            for name in dossier.drawn_in
        )
        for change in changes
        if anomaly.service in change.services
    )


def shared(anomalies: Sequence[Anomaly], changes: Sequence[Change]) -> list[set[str]]:
    """Sets of services that write the same line of error since the same time, at least one of them
    surely, or that went out of order after a change to them all."""
    return [*_lines(anomalies), *_changed(anomalies, changes)]


def _lines(anomalies: Iterable[Anomaly]) -> Iterator[set[str]]:
    by_template: dict[str, list[Anomaly]] = {}
    for anomaly in anomalies:
        if (template := template_of(anomaly)) is not None:
            by_template.setdefault(template, []).append(anomaly)
    for alike in by_template.values():
        for sure in alike:
            if sure.opens:
                near = (a for a in alike if abs(began(a) - began(sure)) <= TOGETHER_MS)
                yield {sure.service, *(a.service for a in near)}


def _changed(anomalies: Sequence[Anomaly], changes: Iterable[Change]) -> Iterator[set[str]]:
    sure = [a for a in anomalies if a.opens and a.kind not in FORETOLD]
    for change in changes:
        yield {
            a.service for a in sure if a.service in change.services and _follows(change, began(a))
        }


def _follows(change: Change, began_ms: int) -> bool:
    """Whether what began then may come from the change, also if that is told a little late."""
    return change.time_ms - AFTER_MS <= began_ms <= change.time_ms + BEFORE_MS
