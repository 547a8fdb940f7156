"""Silences and maintenance windows: what wakes nobody, from when until when, and who said so."""

from typing import Annotated, Literal

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


class SilenceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A silence, or one turn of a maintenance window (`planned`), that ends soon or is over.

    At `time_ms` (event time) it was `ending`, a while before its end, or `ended`: by itself, or as
    `ended_by` said. It has held `incidents` back so far, the first hundred of them, of which those
    in `still_open` are not resolved. `services` are those that it can concern, as far as its
    matchers name any, and those of these incidents: the first hundred by name.
    """

    type: Literal["ending", "ended"]
    environment: str
    silence: Silence
    time_ms: int
    planned: bool = False
    ended_by: str | None = None
    incidents: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    schema_version: int = 1

    @property
    def id(self) -> str:
        """Derived from what the event is about: the silence and which end of it."""
        return f"{self.silence.id}/{self.type}/{self.time_ms}"


class ListedSilence(Silence, frozen=True, kw_only=True, omit_defaults=True):
    """A silence as `tocsin silences --json` lists it: incidents that it has held back so far, and
    of them those that it holds back now; `ended_by` ended it before its time."""

    status: Literal["on", "to_come", "ended"]
    held_back: int = 0
    holds_back: int = 0
    ended_by: str | None = None
