"""When anomalies are enough to wake someone: one strong sign, or two that bear each other out."""

from collections.abc import Mapping, Sequence

from schemas.anomalies import Anomaly, AnomalyKind

ALONE: Mapping[AnomalyKind, float] = {
    "saturation": 0.0,
    "new_error_template": 0.0,
}
"""Kinds that open an incident by themselves, with the least score at which they do."""

ALONE_OTHERWISE = 12.0
"""Score at which any other kind does: one window in 10¹² by chance."""

WAIT_MS = 150_000
"""How long a weak anomaly waits for company: two reports of a series that comes once a minute."""

MASS_GROUPS = 5
"""So many groups without a known link, out of order within `MASS_MS`: one common cause."""

MASS_MS = 60_000


def is_strong(anomaly: Anomaly) -> bool:
    """Whether this anomaly alone is enough."""
    return anomaly.opens and anomaly.score >= ALONE.get(anomaly.kind, ALONE_OTHERWISE)


def is_enough(group: Sequence[Anomaly]) -> bool:
    """Whether the group opens an incident: strong, lasting, or borne out by another series.

    At least one of it must be trusted to open; what only corroborates counts beside it.
    """
    if not any(anomaly.opens for anomaly in group):
        return False
    if any(is_strong(anomaly) for anomaly in group):
        return True
    windows = {(a.series, a.kind, a.window_end_ms) for a in group}
    return len(windows) >= 2


def is_mass(groups: Sequence[Sequence[Anomaly]], end_ms: int) -> bool:
    """Whether so many unlinked services went out of order at once that it is one event."""
    since_ms = end_ms - MASS_MS
    fresh = [g for g in groups if any(a.opens and a.window_end_ms > since_ms for a in g)]
    return len(fresh) >= MASS_GROUPS
