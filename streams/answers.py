"""What people and other systems say of incidents: obeyed, refused with the reason, or learned."""

from collections.abc import Sequence

from schemas.incidents import Bar, Command, CommandType, EventType, IncidentEvent
from streams.commands import Refusal, call_off, obey, why_refused
from streams.dossier import Dossier, sign_of
from streams.drills import Drills
from streams.feedback import words_of
from streams.ledger import Ledger
from streams.regroup import regroup, why_not_regrouped
from streams.reports import change_of, recent, service_of
from streams.silences import asked

OF_NO_INCIDENT: frozenset[CommandType] = frozenset(
    ("silence", "unsilence", "report", "change", "missed")
)
MAX_COMMANDS = 10_000
"""Command ids remembered, so that a repeat changes nothing."""


class Answers:
    """Takes commands in and writes what came of them into the logs. Pure.

    Attributes
    ----------
    refused
        Commands that were not obeyed, each with the reason.
    learned
        Thresholds that people's feedback has moved.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.refused: list[tuple[Command, Refusal]] = []
        self.learned: list[Bar] = []
        self._ledger = ledger

    @property
    def _drills(self) -> Drills:
        ledger = self._ledger
        return Drills(ledger.environment, ledger.catalogue, ledger.memory.drills)

    def take(self, batch: Sequence[Command]) -> list[IncidentEvent]:
        """What the commands lead to; a repeated id changes nothing."""
        events: list[IncidentEvent] = []
        for command in batch:
            if command.id not in self._ledger.memory.commands:
                events += self._take(command)
        return events

    def _take(self, command: Command) -> list[IncidentEvent]:
        dossier = self._ledger.memory.dossiers.get(command.incident_id)
        if self._drills.concerns(command):
            self._remember(command)
            return self._drills.take(command)
        if command.type in OF_NO_INCIDENT:
            self._remember(command)
            self._hear(command, dossier)
            return []
        if command.type == "not_an_incident" and dossier is None and self._forgive(command):
            return []
        refusal = why_refused(command, dossier)
        if refusal is None and dossier is not None and command.type in ("merge", "split"):
            why = why_not_regrouped(command, dossier, self._ledger.memory.dossiers)
            refusal = None if why is None else Refusal("no_effect", why)
        if refusal is not None:
            self.refused.append((command, refusal))
        if dossier is None:
            return []
        self._remember(command)
        return self._answer(command, dossier, refusal)

    def _answer(
        self, command: Command, dossier: Dossier, refusal: Refusal | None
    ) -> list[IncidentEvent]:
        """The entries that answer a command in the log of its incident."""
        if refusal is not None:
            who = command.actor.strip() or "someone"
            what = command.type.replace("_", " ")
            text = f"Did not do what {who} asked ({what}): {refusal.text}."
            return [self._say(dossier, "noted", text, command, "tocsin")]
        if command.type in ("merge", "split"):
            return self._regroup(command, dossier)
        if command.type == "not_an_incident":
            return [self._call_off(command, dossier)]
        event_type, text = obey(command, dossier, self._ledger.end_ms, self._ledger.rules)
        return [self._say(dossier, event_type, text, command)]

    def _say(
        self,
        dossier: Dossier,
        event_type: EventType,
        text: str,
        command: Command,
        actor: str | None = None,
    ) -> IncidentEvent:
        by = command.actor if actor is None else actor
        return self._ledger.say(dossier, event_type, text, by, command_id=command.id)

    def _hear(self, command: Command, dossier: Dossier | None) -> None:
        """Takes in what is about no single incident; those that it concerns say so next."""
        time_ms = self._ledger.time_ms or command.issued_ms
        try:
            if not command.actor.strip():
                raise ValueError("nobody gave it: `actor` is empty")
            match command.type:
                case "silence" if command.into:
                    self._ledger.silences.move_end(command.into, command.to_ms, time_ms)
                case "silence":
                    services = dossier.affected() if dossier else ()
                    self._ledger.silences.add(asked(command, services, time_ms))
                case "unsilence":
                    self._ledger.end_silence(command.into or "", command.actor)
                case "missed":
                    self._missed(command, time_ms)
                case "change":
                    known = [*self._ledger.memory.changes, change_of(command, time_ms)]
                    self._ledger.memory.changes = recent(known, time_ms)
                case _:
                    graph = self._ledger.casebook.graph
                    service = service_of(command, self._ledger.catalogue, graph)
                    self._ledger.memory.reports.append((command, service))
        except ValueError as error:
            self.refused.append((command, Refusal("no_effect", str(error))))
        else:
            self._ledger.look_again()

    def _forgive(self, command: Command) -> bool:
        """Learns that a closed incident was none; False if it is not remembered."""
        actor, name = command.actor.strip(), command.incident_id
        if not actor:
            return False
        end_ms = self._ledger.end_ms
        bars = self._ledger.casebook.feedback.was_not_an_incident(name, actor, end_ms)
        if bars is None:
            return False
        self._remember(command)
        self.learned += bars
        return True

    def _call_off(self, command: Command, dossier: Dossier) -> IncidentEvent:
        """Learns that an incident was none, and ends it."""
        end_ms, feedback = self._ledger.end_ms, self._ledger.casebook.feedback
        trusted = dossier.trusted_signals()
        bars = feedback.not_an_incident(trusted, command.actor, dossier.id, end_ms)
        self.learned += bars
        event_type, text = call_off(command, dossier, end_ms, self._ledger.rules)
        dossier.feedback = feedback.told(map(sign_of, trusted), end_ms)
        text = f"{text} {words_of(bars)}"
        return self._say(dossier, event_type, text, command)

    def _missed(self, command: Command, now_ms: int) -> None:
        """Learns that there was trouble and no incident. Raises `ValueError`."""
        if not command.service or command.from_ms is None or command.to_ms is None:
            raise ValueError("missed needs a `service`, `from_ms` and `to_ms`")
        if not command.from_ms <= min(command.to_ms, now_ms):
            raise ValueError("missed needs `from_ms` before `to_ms`, and in the past")
        self.learned += self._ledger.casebook.feedback.missed(
            command.service, command.from_ms, command.to_ms, command.actor, now_ms
        )

    def _regroup(self, command: Command, dossier: Dossier) -> list[IncidentEvent]:
        """Merges or splits; says so in the logs of both incidents."""
        ledger, events = self._ledger, []
        moved = regroup(command, dossier, ledger.memory.dossiers, ledger.end_ms, ledger.rules)
        for one, event_type, text in moved:
            if not one.is_over:
                ledger.assess_again(one)
            events.append(self._say(one, event_type, text, command))
        return events

    def _remember(self, command: Command) -> None:
        self._ledger.memory.commands[command.id] = None
        if len(self._ledger.memory.commands) > MAX_COMMANDS:
            del self._ledger.memory.commands[next(iter(self._ledger.memory.commands))]
