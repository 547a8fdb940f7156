"""Silences and maintenance windows: what wakes nobody, from when until when, and who said so."""

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.oncall import LocalMoment
from schemas.section import Positive, Section

Matcher = Annotated[str, Meta(pattern=r"^\s*[a-z_]+\s*(=~|!~|!=|=)", max_length=300)]
"""As Alertmanager writes it: `service="cart"`, `kind!=latency`, `series=~"cpu.*"`. Names are
service, series, metric, kind, instance, operation and caller; patterns hold for the whole value."""


class Maintenance(Section, frozen=True, kw_only=True):
    """A planned window. All `matchers` must hold for a signal to be silenced.

    It begins at `start`, on the wall clock of `timezone`, and lasts `hours`; with an `rrule`
    (RFC 5545, `FREQ=WEEKLY;BYDAY=SU`) it recurs, at the same local time also after the clocks have
    changed. Trouble that is still there when it ends is told like any other.
    """

    name: str
    matchers: Annotated[tuple[Matcher, ...], Meta(min_length=1)]
    start: LocalMoment
    hours: Positive
    timezone: str = "UTC"
    rrule: str | None = None
    author: str = ""
    comment: str = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person silenced, or one turn of a maintenance window; times are event times, Unix ms.

    `id` is that of the command, or the window's name and start.
    """

    id: str
    matchers: tuple[str, ...]
    starts_ms: int
    ends_ms: int
    author: str
    comment: str = ""
