"""`tocsin silence`, `unsilence` and `silences`: what wakes nobody, from when until when."""

import getpass
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.commands import moments
from deploy.commands.say import not_sent, send
from deploy.configuration import load
from deploy.console import new_console, put
from deploy.credentials import SecretError, for_command
from schemas.configuration import Configuration
from schemas.incidents import Command, Incident
from schemas.reading import UNREADABLE, read
from schemas.silences import ListedSilence, Silence
from schemas.times import DAY_MS, duration, moment_of, stamp
from streams.silences import SilenceError, Silences, asked, matcher

READ_SECONDS = 10.0
COMMANDS = msgspec.json.Decoder(Command)
INCIDENTS = msgspec.json.Decoder(Incident)
ENDED_MS = 7 * DAY_MS
"""For so long what has ended is listed still."""


def run_silence(
    incident: str,
    matchers: tuple[str, ...],
    until: str,
    comment: str,
    *,
    config: Path | None,
    actor: str | None,
) -> int:
    """Silences what matches, or an incident; returns the exit code."""
    now_ms = moments.now_ms()
    try:
        for text in matchers:
            matcher(text)
        if not matchers and not incident:
            raise SilenceError("name an incident, or give --match once or more")
        to_ms = _to_come(until, now_ms)
    except ValueError as error:
        print(f"tocsin silence: {error}", file=sys.stderr)
        return 2
    name = f"silence-{uuid.uuid4().hex[:8]}"
    command = Command(
        id=name,
        type="silence",
        incident_id=incident,
        actor=actor or getpass.getuser(),
        issued_ms=now_ms,
        text=comment,
        matchers=matchers,
        to_ms=to_ms,
    )
    what = " and ".join(matchers) or incident
    said = f"{name}: {what} wakes nobody until {stamp(to_ms)} UTC"
    return _sent(command, config, said, concerns=None if matchers else incident)


def run_extend(
    silence: str,
    incident: str,
    matchers: tuple[str, ...],
    until: str,
    *,
    config: Path | None,
    actor: str | None,
) -> int:
    """Moves the end of a person's silence; returns the exit code."""
    now_ms = moments.now_ms()
    try:
        if incident or matchers:
            raise SilenceError("--extend changes nothing but the end: give no incident or --match")
        to_ms = _to_come(until, now_ms)
    except ValueError as error:
        print(f"tocsin silence: {error}", file=sys.stderr)
        return 2
    command = Command(
        id=str(uuid.uuid4()),
        type="silence",
        incident_id="",
        actor=actor or getpass.getuser(),
        issued_ms=now_ms,
        into=silence,
        to_ms=to_ms,
    )
    return _sent(command, config, f"{silence} ends at {stamp(to_ms)} UTC")


def _to_come(until: str, now_ms: int) -> int:
    """The moment that is meant, Unix ms. Raises `ValueError` if it is none, or over."""
    to_ms = moment_of(until, now_ms)
    if to_ms <= now_ms:
        raise SilenceError(f"{until!r} is over already")
    return to_ms


def run_unsilence(silence: str, *, config: Path | None, actor: str | None) -> int:
    """Ends a person's silence; returns the exit code."""
    command = Command(
        id=str(uuid.uuid4()),
        type="unsilence",
        incident_id="",
        actor=actor or getpass.getuser(),
        issued_ms=moments.now_ms(),
        into=silence,
    )
    return _sent(command, config, f"{silence} ends now")


def _sent(command: Command, config: Path | None, said: str, concerns: str | None = None) -> int:
    """Sends it, unless the worker would refuse it: it answers into its log alone."""
    configuration = load(config)
    try:
        if (refusal := _refusal(configuration, command, concerns)) is not None:
            put(f"tocsin {command.type}: {refusal}", sys.stderr)
            return 2
        send(configuration, command)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    put(f"{said}; `tocsin silences` shows what holds")
    return 0


def _refusal(configuration: Configuration, command: Command, concerns: str | None) -> str | None:
    """Why the command would do nothing, as far as Kafka shows it. Raises `KafkaException`."""
    if concerns and concerns not in _incidents(configuration):
        return f"there is no incident {concerns}; its id stands in each message, as INC-…"
    if command.into is None:
        return None
    name = command.into or ""
    if name.partition("/")[0] in {window.name for window in configuration.incidents.maintenance}:
        return f"{name} is a maintenance window; change it in incidents.maintenance"
    silences = Silences(configuration.incidents.maintenance)
    _replay(configuration, silences, _incidents(configuration))
    if name not in {silence.id for silence in silences.known(command.issued_ms)}:
        return f"no silence {name} is on or to come; `tocsin silences` lists them"
    return None


def run_silences(*, config: Path | None, json: Path | None) -> int:
    """Lists what is silenced now and next, and what ended lately; returns the exit code."""
    configuration = load(config)
    now_ms = moments.now_ms()
    try:
        silences = listed(configuration, now_ms)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    if json is not None:
        json.write_bytes(msgspec.json.encode(silences) + b"\n")
    _print(new_console(), silences, now_ms)
    return 0


def listed(configuration: Configuration, now_ms: int) -> list[ListedSilence]:
    """All silences that are on or to come, those that ended within a week, and what each held back.

    Read off the commands that people gave, which stay on their topic, the incidents, and the
    configuration. Raises `KafkaException`.
    """
    silences = Silences(configuration.incidents.maintenance)
    incidents = _incidents(configuration)
    taken_back = _replay(configuration, silences, incidents)
    since_ms = now_ms - ENDED_MS
    by_themselves = [*silences.turns_ended(since_ms, now_ms), *silences.forget(now_ms)]
    ended = [*taken_back, *((silence, None) for silence in by_themselves)]
    account = _Account(incidents.values())
    return [
        *(
            account.listed(silence, "ended", by)
            for silence, by in sorted(ended, key=lambda pair: (pair[0].ends_ms, pair[0].id))
            if silence.ends_ms > since_ms
        ),
        *(
            account.listed(silence, "to_come" if silence.starts_ms > now_ms else "on")
            for silence in silences.known(now_ms)
        ),
    ]


class _Account:
    """What silences have held back, by the incidents that tell."""

    def __init__(self, incidents: Iterable[Incident]) -> None:
        self._so_far: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        for incident in incidents:
            own = {*incident.silences, *([incident.silenced_by] if incident.silenced_by else [])}
            self._so_far.update(own)
            if incident.resolved_ms is None and incident.silenced_by:
                self._now[incident.silenced_by] += 1

    def listed(
        self, silence: Silence, status: Literal["on", "to_come", "ended"], by: str | None = None
    ) -> ListedSilence:
        """A silence with its account; one that somebody ended, ended then."""
        return ListedSilence(
            **msgspec.structs.asdict(silence),
            status=status,
            held_back=self._so_far[silence.id],
            holds_back=self._now[silence.id] if status == "on" else 0,
            ended_by=by,
        )


def _replay(
    configuration: Configuration, silences: Silences, incidents: Mapping[str, Incident]
) -> list[tuple[Silence, str | None]]:
    """Takes in what people silenced; what they took back, and who did. Raises `KafkaException`."""
    settings = for_command(configuration)
    taken_back: list[tuple[Silence, str | None]] = []
    for value in _whole(settings, configuration.topics.commands):
        try:
            command = read(value, COMMANDS)
        except UNREADABLE:  # a dead letter, and no silence
            continue
        ended = _apply(command, silences, incidents)
        if ended is not None:
            ended = msgspec.structs.replace(ended, ends_ms=command.issued_ms)
            taken_back.append((ended, command.actor))
    return taken_back


def _incidents(configuration: Configuration) -> dict[str, Incident]:
    """The latest state of each incident that Kafka still keeps. Raises `KafkaException`."""
    settings = for_command(configuration)
    values = _whole(settings, configuration.topics.incidents)
    incidents = (read(value, INCIDENTS) for value in values)
    return {incident.id: incident for incident in incidents}


def _apply(
    command: Command, silences: Silences, incidents: Mapping[str, Incident]
) -> Silence | None:
    """What the incident stage does with the command: the silence that it ends, if it ends one.
    What the stage refuses changes nothing."""
    try:
        if command.type == "unsilence":
            return silences.end(command.into or "")
        if command.type == "silence" and command.into:
            silences.move_end(command.into, command.to_ms, command.issued_ms)
        elif command.type == "silence":
            known = incidents.get(command.incident_id)
            silences.add(asked(command, known.services if known else (), command.issued_ms))
    except SilenceError:
        pass
    return None


def _whole(settings: dict[str, object], topic: str) -> Iterator[bytes]:
    """Every value of a topic, from its beginning to its present end. Raises `KafkaException`."""
    group = f"tocsin-silences-{uuid.uuid4()}"
    consumer = Consumer({**settings, "group.id": group, "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        parts = [TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions]
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=5) for p in parts}
        left = {p for p, (low, high) in ends.items() if high > low}
        consumer.assign([p for p in parts if p.partition in left])
        deadline = time.monotonic() + READ_SECONDS
        while left and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None or message.error() is not None:
                continue
            if (value := message.value()) is not None:
                yield value
            if message.offset() >= ends[message.partition()][1] - 1:
                left.discard(message.partition())
    finally:
        consumer.close()


def _print(console: Console, silences: list[ListedSilence], now_ms: int) -> None:
    if not silences:
        console.print("nothing is silenced, and no maintenance window is to come")
        return
    table = Table(title="Silences and maintenance windows", title_justify="left")
    for column in ("id", "what", "from (UTC)", "until (UTC)", "", "by", "comment", "held back"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for silence in silences:
        table.add_row(
            escape(silence.id),
            escape(" and ".join(silence.matchers)),
            stamp(silence.starts_ms),
            stamp(silence.ends_ms),
            _when(silence, now_ms),
            escape(silence.author),
            escape(silence.comment),
            _held(silence),
        )
    console.print(table)


def _when(silence: ListedSilence, now_ms: int) -> str:
    if silence.status == "to_come":
        return f"begins in {duration(silence.starts_ms - now_ms)}"
    if silence.status == "on":
        return f"ends in {duration(silence.ends_ms - now_ms)}"
    by = f" by {escape(silence.ended_by)}" if silence.ended_by else ""
    return f"ended{by} {duration(now_ms - silence.ends_ms)} ago"


def _held(silence: ListedSilence) -> str:
    """How many incidents it has held back, and of them how many it does now."""
    if not silence.holds_back or silence.holds_back == silence.held_back:
        return str(silence.held_back or "")
    return f"{silence.held_back}, {silence.holds_back} now"
