"""What there is to say of silences: that one ends soon, or has ended. Pure."""

from collections.abc import Collection, Iterable

from schemas.silences import Silence, SilenceEvent
from streams.casebook import Memory
from streams.silences import ENDS_SOON_MS, End, Ending, named_services

MAX_SERVICES = 100
"""Services that are named of those that one silence can concern."""


class Announcer:
    """Says that silences end, with what they held back, whether or not that is still out.

    Parameters
    ----------
    services
        The names of the catalogue's services.
    """

    def __init__(self, environment: str, services: Collection[str]) -> None:
        self._environment = environment
        self._services = services

    def told(self, ends: Iterable[End], memory: Memory) -> list[SilenceEvent]:
        """What there is to say of these ends."""
        return [
            self.ended(silence, memory, silence.ends_ms, planned=planned)
            if what == "ended"
            else self._event(what, silence, memory, silence.ends_ms - ENDS_SOON_MS, planned=planned)
            for what, silence, planned in ends
        ]

    def ended(
        self,
        silence: Silence,
        memory: Memory,
        time_ms: int,
        *,
        by: str | None = None,
        planned: bool = False,
    ) -> SilenceEvent:
        """That it is over; its account is closed."""
        event = self._event("ended", silence, memory, time_ms, by=by, planned=planned)
        memory.held_back.pop(silence.id, None)
        return event

    def _event(
        self,
        what: Ending,
        silence: Silence,
        memory: Memory,
        time_ms: int,
        *,
        by: str | None = None,
        planned: bool = False,
    ) -> SilenceEvent:
        held = tuple(memory.held_back.get(silence.id, ()))
        known = [memory.dossiers[name] for name in held if name in memory.dossiers]
        services = {name for dossier in known for name in dossier.affected()}
        services.update(named_services(silence, self._services))
        return SilenceEvent(
            type=what,
            environment=self._environment,
            silence=silence,
            time_ms=time_ms,
            planned=planned,
            ended_by=by,
            incidents=held,
            still_open=tuple(dossier.id for dossier in known if not dossier.is_over),
            services=tuple(sorted(services)[:MAX_SERVICES]),
        )
