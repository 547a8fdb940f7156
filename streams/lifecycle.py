"""The states of an incident and the moments at which it goes from one to the next."""

import msgspec

from schemas.configuration import Incidents, Windows
from schemas.incidents import PublicPhase, Severity, State
from streams.dossier import Dossier

PHASES: tuple[PublicPhase, ...] = ("investigating", "identified", "monitoring", "resolved")
FORECAST_QUIET_MS = 6 * 3_600_000
"""A forecast is withdrawn in words; if nothing at all is said of it, it is given up after this."""
QUIET_SHARE_TO_MONITOR = 0.5
"""Of the time that must pass quietly before an incident is resolved, the share after which it is
watched only. Series that report once a minute are then quiet for two reports and more."""


FLAPS_FROM = 2
"""An incident that has come back so often flaps."""
MOST_DOUBLINGS = 3


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The spans of the life cycle and of correlation, Unix ms."""

    window_ms: int
    lateness_ms: int
    gap_ms: int
    monitor_ms: int
    resolve_ms: int
    reopen_ms: int
    close_ms: int
    stale_ms: int
    max_distance: int
    public: frozenset[Severity]
    review: frozenset[Severity]
    half_life_ms: int

    @classmethod
    def of(cls, windows: Windows, incidents: Incidents) -> "Rules":
        """Reads the configuration."""
        resolve = incidents.resolve_after_quiet_seconds
        return cls(
            window_ms=max(round(windows.window_seconds * 1000), 1),
            lateness_ms=round(windows.allowed_lateness_seconds * 1000),
            gap_ms=round(incidents.correlation_gap_seconds * 1000),
            monitor_ms=round(resolve * 1000 * QUIET_SHARE_TO_MONITOR),
            resolve_ms=round(resolve * 1000),
            reopen_ms=round(incidents.reopen_within_seconds * 1000),
            close_ms=round(incidents.close_after_seconds * 1000),
            stale_ms=round(incidents.stale_after_seconds * 1000),
            max_distance=incidents.max_graph_distance,
            public=frozenset(incidents.public_severities),
            review=frozenset(incidents.review_severities),
            half_life_ms=round(incidents.feedback_half_life_seconds * 1000),
        )


def state_at(dossier: Dossier, end_ms: int, rules: Rules, cause_is_clear: bool) -> State:
    """The state that the incident is in once the window ending at `end_ms` has been taken in.

    investigating → identified (the cause is clear) → monitoring (no more anomalies) → resolved
    (quiet for long enough) → closed (long resolved). New anomalies lead back from monitoring.
    """
    if dossier.state == "closed":
        return "closed"
    if dossier.resolved_end_ms is not None:
        return "closed" if end_ms >= _closes_ms(dossier, rules) else "resolved"
    if is_stale(dossier, end_ms, rules):
        return "resolved"
    if end_ms >= resolves_ms(dossier, rules):
        return "resolved"
    if end_ms >= monitors_ms(dossier, rules):
        return "monitoring"
    return "identified" if cause_is_clear else "investigating"


def is_stale(dossier: Dossier, end_ms: int, rules: Rules) -> bool:
    """Whether it goes on as ever, and nobody has taken it."""
    unchanged_ms = end_ms - dossier.grown_ms
    return dossier.acknowledged_ms is None and unchanged_ms >= rules.stale_ms


def _closes_ms(dossier: Dossier, rules: Rules) -> int:
    """When a resolved incident is closed: a stale one is kept longer, so that it is recognised."""
    return (dossier.resolved_end_ms or 0) + (rules.stale_ms if dossier.stale else rules.close_ms)


def monitors_ms(dossier: Dossier, rules: Rules) -> int:
    """The window end from which on the incident is only watched, if nothing more comes: two
    reports of each of its series, however often that reports."""
    quiet_ms = max(rules.monitor_ms, 2 * dossier.pace_ms, _least_ms(dossier) // 2)
    return max(dossier.last_end_ms + quiet_ms, _reports_ms(dossier, 2))


def resolves_ms(dossier: Dossier, rules: Rules) -> int:
    """The window end at which the incident is resolved, if nothing more comes: at least three
    reports of each of its series.

    One that flaps must be quiet for longer each time, so that it is told as one long outage
    rather than as many short ones.
    """
    resolve_ms = rules.resolve_ms * damping(dossier.reopened)
    quiet_ms = max(resolve_ms, 3 * dossier.pace_ms, _least_ms(dossier))
    return max(dossier.last_end_ms + quiet_ms, _reports_ms(dossier, 3))


def _reports_ms(dossier: Dossier, count: int) -> int:
    """When each series that reports rarely must have reported so often since it was out."""
    return max((rare.last_ms + count * rare.every_ms for rare in dossier.rare.values()), default=0)


def _least_ms(dossier: Dossier) -> int:
    standing = dossier.prediction is not None and dossier.prediction.status == "standing"
    return FORECAST_QUIET_MS if standing and not dossier.is_out() else 0


def damping(times: int) -> int:
    """How much longer what came back so often must stay away: twice a time, up to 8."""
    return 1 << min(times, MOST_DOUBLINGS)


def hold_ms(dossier: Dossier, rules: Rules) -> int:
    """For how long a lower grade must last before it counts; the longer, the more often the grade
    has fallen and risen again."""
    return rules.resolve_ms * damping(dossier.falls)


def is_quiet(dossier: Dossier, end_ms: int, rules: Rules) -> bool:
    """Whether the incident is open and has shown nothing for so long that it is only watched."""
    return not dossier.is_over and end_ms >= monitors_ms(dossier, rules)


def phase_after(phase: PublicPhase, state: State) -> PublicPhase:
    """The phase told to the public: follows the state, but takes back nothing once said.

    Only reopening (which resets it) leads from a later phase to an earlier one.
    """
    wanted: PublicPhase = "resolved" if state == "closed" else state
    return wanted if PHASES.index(wanted) > PHASES.index(phase) else phase


def next_moment_ms(dossier: Dossier, rules: Rules) -> int | None:
    """The earliest window end at which time alone could change the incident; None if never."""
    if dossier.state == "closed":
        return None
    if dossier.resolved_end_ms is not None:
        return _closes_ms(dossier, rules)
    spans = [
        monitors_ms(dossier, rules),
        resolves_ms(dossier, rules),
        dossier.grown_ms + rules.gap_ms,
        dossier.grown_ms + rules.stale_ms,
    ]
    if dossier.lower_since_ms is not None:
        spans.append(dossier.lower_since_ms + hold_ms(dossier, rules))
    if dossier.held_until_ms is not None:
        spans.append(dossier.held_until_ms)
    due = [span for span in spans if span > dossier.settled_ms]
    return min(due, default=None)


def is_due(dossier: Dossier, end_ms: int, rules: Rules) -> bool:
    """Whether a timer of the incident falls due at or before `end_ms`."""
    moment_ms = next_moment_ms(dossier, rules)
    return moment_ms is not None and moment_ms <= end_ms


def can_reopen(dossier: Dossier, end_ms: int, rules: Rules) -> bool:
    """Whether the incident is resolved by itself or by hand, not merged, and not for too long."""
    resolved = dossier.state == "resolved" and dossier.merged_into is None
    if not resolved or dossier.resolved_end_ms is None:
        return False
    return end_ms - dossier.resolved_end_ms <= rules.reopen_ms * damping(dossier.reopened)
