"""Which gauges have a limit that they can reach slowly, by their names or by the configuration."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from schemas.configuration import Catalogue, Detection, SeriesLimit
from schemas.units import metric_of

HOUR_MS = 3_600_000


class Limit(NamedTuple):
    """A value that a gauge must not reach, and from which side it comes: 1 from below, -1 from
    above."""

    value: float
    side: int | None = None


_STOCK = re.compile(
    "(?:^|_)(?:disks?|filesystems?|fs|volumes?|storage|inodes?|memory|mem|heap|swap|connections?|"
    "fds?|descriptors?|quota|pool|tablespaces?|capacity|licen[cs]es?)(?:_|$)"
)
"""What fills up and stays full. CPU, bandwidth and the like are as busy as their load."""
_USED = re.compile("(?:^|_)(?:usage|used|utili[sz]ation|use|full|occupancy)(?:_|$)")
_LEFT = re.compile("(?:^|_)(?:free|available|avail|remaining|left)(?:_|$)")
_CACHED = re.compile("(?:^|_)(?:memory|mem)_free(?:_|$)")
"""Free memory is low on any healthy Linux: caches take what nobody else wants."""
_EXPIRES = re.compile("cert|tls|ssl|x509|domain|licen[cs]e|credential|secret|token")
_EXPIRY = re.compile("expir|not_after")
_EXPIRY_MS = {"_seconds": 1_000.0, "_hours": 3_600_000.0, "_days": 86_400_000.0}


def limit_of(series: str, rules: Sequence[SeriesLimit]) -> Limit | None:
    """The limit of a gauge; the configuration's first rule that matches goes before its name."""
    for rule in rules:
        if fnmatchcase(series, rule.series):
            return Limit(rule.limit)
    metric = metric_of(series).lower()
    if not _STOCK.search(metric):
        return None
    if _LEFT.search(metric):
        return None if _CACHED.search(metric) else Limit(0.0, -1)
    if _USED.search(metric) and metric.endswith("_ratio"):
        return Limit(1.0, 1)
    if _USED.search(metric) and metric.endswith("_percent"):
        return Limit(100.0, 1)
    return None


def expiry_unit_ms(series: str) -> float | None:
    """For a gauge that tells when something expires, milliseconds in its unit; else None."""
    metric = metric_of(series).lower()
    if not (_EXPIRES.search(metric) and _EXPIRY.search(metric)):
        return None
    return next((ms for end, ms in _EXPIRY_MS.items() if metric.endswith(end)), None)


def rules_of(detection: Detection, catalogue: Catalogue) -> tuple[SeriesLimit, ...]:
    """The limits that are configured: those by series, then those of the catalogue's services."""
    named = tuple(
        SeriesLimit(series=f'{metric}{{service="{_literal(service.name)}"*', limit=limit)
        for service in catalogue.services
        for metric, limit in service.limits.items()
    )
    return (*detection.limits, *named)


def _literal(name: str) -> str:
    """A name as a glob that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)
