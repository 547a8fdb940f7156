"""When anomalies are enough to wake someone: one plain sign, or vague ones that last or agree."""

from collections.abc import Sequence

from schemas.anomalies import Anomaly
from streams.signs import is_of_few, is_vague

SURE_SCORE = 20.0
"""Score at which even a vague sign is enough by itself."""

LASTS_MS = 300_000
"""How long a vague sign on one service must last: the usual `for: 5m` of alerting rules."""

WAIT_MS = 150_000
"""How long an anomaly waits for company: two reports of a series that comes once a minute."""

MASS_GROUPS = 5
"""So many groups without a known link, out of order within `MASS_MS`: one common cause."""

MASS_MS = 60_000


def is_plain(anomaly: Anomaly) -> bool:
    """Whether this anomaly alone is enough."""
    return anomaly.opens and (not is_vague(anomaly) or anomaly.score >= SURE_SCORE)


def is_enough(group: Sequence[Anomaly]) -> bool:
    """Whether the group opens an incident: a plain sign, or vague ones that last or agree.

    What only corroborates counts for nothing here, nor does what tells of a handful of requests.
    """
    trusted = [anomaly for anomaly in group if anomaly.opens and not is_of_few(anomaly, group)]
    if any(is_plain(anomaly) for anomaly in trusted):
        return True
    if any(anomaly.window_end_ms - anomaly.since_ms >= LASTS_MS for anomaly in trusted):
        return True
    return len({anomaly.service for anomaly in trusted}) >= 2


def is_mass(groups: Sequence[Sequence[Anomaly]], end_ms: int) -> bool:
    """Whether so many unlinked services went out of order at once that it is one event."""
    since_ms = end_ms - MASS_MS
    fresh = [g for g in groups if any(a.opens and a.window_end_ms > since_ms for a in g)]
    return len(fresh) >= MASS_GROUPS
