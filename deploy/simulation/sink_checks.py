"""What must hold of the sinks after a run, whatever was in the way."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from deploy.simulation.broker import Broker
from deploy.simulation.people import Pressed
from deploy.simulation.process import Process
from deploy.simulation.receivers import Receiver, Shown
from deploy.simulation.sinks import SCHEMAS, make
from deploy.simulation.stores import Store
from schemas.configuration import Configuration
from schemas.incidents import Delivery, IncidentEvent
from schemas.silences import SilenceEvent
from sinks.notifier.verdicts import verdict
from sinks.sink import Record

LATE_SECONDS = 5.0
"""At most so late a timer fires, while its notifier can."""
_ON_THEIR_WAY_SECONDS = 12.0
"""A page that was being sent when somebody pressed the link may still come within this time."""

_CASES = {
    "cases": (
        "SELECT c.incident_id, c.version, c.title, c.severity, c.state, c.incident, "
        "group_concat(s.service) FROM 'case' c LEFT JOIN (SELECT * FROM case_service "
        "ORDER BY service) s ON s.number = c.number GROUP BY c.number ORDER BY 1"
    ),
    "timeline": (
        "SELECT t.event_id, c.incident_id, t.version, t.type, t.time_ms, t.recorded_ms, t.actor, "
        "t.text, t.changes, t.command_id, t.incident FROM timeline t JOIN 'case' c "
        "ON c.number = t.number ORDER BY 1"
    ),
    "deliveries": "SELECT * FROM delivery ORDER BY delivery_id",
    "what people did": (
        "SELECT entry_id, time_ms, actor, step, action, incident_id, command_id, detail "
        "FROM audit WHERE step = 'done' ORDER BY 1"
    ),
}
_PAGES = {"incidents": "SELECT * FROM status_page_incidents ORDER BY id"}

_event = msgspec.json.Decoder(IncidentEvent)
_silence = msgspec.json.Decoder(SilenceEvent)
_delivery = msgspec.json.Decoder(Delivery)


async def sink_violations(
    broker: Broker,
    configuration: Configuration,
    stores: Mapping[str, Store],
    receivers: Mapping[str, Receiver],
    pressed: Sequence[Pressed],
) -> list[str]:
    """What does not hold."""
    events = list(_events(broker, configuration.topics.incident_events))
    notifier = stores["notifier"]
    found = [
        *await _as_undisturbed("case-store", _CASES, broker, configuration, stores),
        *await _as_undisturbed("status-page", _PAGES, broker, configuration, stores),
        *_deliveries(broker, configuration, notifier),
        *_messages(notifier, receivers),
        *_order(notifier, receivers),
        *_verdicts(notifier, configuration, events),
        *_pages(notifier, events, pressed, receivers["pager"]),
        *_silences(notifier, broker.values(configuration.topics.silence_events)),
    ]
    return [f"{what}" for what in found]


def _events(broker: Broker, topic: str) -> Iterator[IncidentEvent]:
    seen = set()
    for value in broker.values(topic):
        event = _event.decode(value)
        if event.id not in seen:
            seen.add(event.id)
            yield event


async def _as_undisturbed(
    name: str,
    queries: Mapping[str, str],
    broker: Broker,
    configuration: Configuration,
    stores: Mapping[str, Store],
) -> list[str]:
    """A sink's store holds what one holds that reads the topics once, from end to end."""

    async def nothing(*_: object, **__: object) -> None:
        """What was asked for has been asked for already."""

    process = Process(f"undisturbed {name}", lambda: 0)
    store = Store(SCHEMAS[name], lambda: 0.0)
    store.open(process)
    sink = make(name, configuration, process, nothing, {})

    async def read() -> None:
        await sink.start()
        await sink.apply(_records(broker, sink.topics))

    process.start(read())
    await process.ended.wait()
    if process.failure is not None:
        raise process.failure
    wrong = [
        f"{name}: {what} are not what the topics say: {_difference(stores[name], store, query)}"
        for what, query in queries.items()
        if stores[name].rows(query) != store.rows(query)
    ]
    store.close()
    return wrong


def _difference(found: Store, expected: Store, query: str) -> str:
    ours, theirs = found.rows(query), expected.rows(query)
    lost = [row[0] for row in theirs if row not in ours]
    more = [row[0] for row in ours if row not in theirs]
    return f"{len(ours)} rows for {len(theirs)}, without {lost[:3]}, with {more[:3]}"


def _records(broker: Broker, topics: Sequence[str]) -> list[Record]:
    return [
        Record(topic, p, one.offset, one.timestamp_ms, one.key, one.value)
        for topic in topics
        for p in range(broker.partitions[topic])
        for one in broker.logs[topic, p].records
    ]


def _deliveries(broker: Broker, configuration: Configuration, notifier: Store) -> Iterator[str]:
    """Every step of every message is on the topic, and nothing else is."""
    trail = {
        _delivery.decode(value).id
        for (value,) in notifier.rows("SELECT value FROM notifier_trail WHERE recipient <> ''")
    }
    said = {_delivery.decode(v).id for v in broker.values(configuration.topics.deliveries)}
    if trail - said:
        yield f"deliveries {sorted(trail - said)[:3]} are not on their topic"
    if said - trail:
        yield f"deliveries {sorted(said - trail)[:3]} were never made"


def _messages(notifier: Store, receivers: Mapping[str, Receiver]) -> Iterator[str]:
    """What is marked as sent was shown, once; what was shown had been asked for."""
    rows = notifier.rows("SELECT message_id, channel, state FROM notifier_message")
    for id, channel, state in rows:
        if state in ("waiting", "sending", "held"):
            yield f"message {id} is still {state}"
        if state == "sent" and id not in receivers[channel.partition(":")[2]].shown:
            yield f"message {id} is marked as sent, and nobody has seen it"
    steps = notifier.rows("SELECT value FROM notifier_trail WHERE recipient <> ''")
    asked = {_delivery.decode(value).message_id for (value,) in steps}
    asked |= {id for id, _, _ in rows}
    for receiver in receivers.values():
        for id in receiver.shown.keys() - asked:
            yield f"message {id} was shown and never asked for"
        for id in receiver.conflicts:
            yield f"message {id} was sent with two texts"


def _order(notifier: Store, receivers: Mapping[str, Receiver]) -> Iterator[str]:
    """Somebody reads what is said of an incident in the order in which it was said."""
    seqs = dict(notifier.rows("SELECT message_id, seq FROM notifier_message"))
    for receiver in receivers.values():
        last: dict[tuple[str, str], int] = {}
        for id, shown in receiver.shown.items():
            lane = (shown.message.incident_id, shown.message.recipient)
            seq = seqs.get(id)  # None: it then went another way
            if not lane[0] or seq is None:
                continue
            if seq < last.get(lane, 0):
                yield f"message {id} came after a later one of {lane}"
            last[lane] = max(seq, last.get(lane, 0))


def _verdicts(
    notifier: Store, configuration: Configuration, events: Sequence[IncidentEvent]
) -> Iterator[str]:
    """For every event and recipient there is one verdict, and nothing is left open."""
    trails: dict[str, list[Delivery]] = defaultdict(list)
    rows = "SELECT incident_id, value FROM notifier_trail WHERE recipient <> '' ORDER BY seq"
    for incident_id, value in notifier.rows(rows):
        trails[incident_id].append(_delivery.decode(value))
    taken = dict(notifier.rows("SELECT incident_id, version FROM notifier_incident"))
    for event in events:
        if taken.get(event.incident_id, 0) < event.version:
            yield f"the notifier has not taken {event.id} in"
        for person in configuration.notifier.recipients:
            made = verdict(event.id, person.name, trails[event.incident_id], lambda: ("no rule",))
            if made.outcome in ("on_its_way", "held"):
                yield f"{event.id} is still {made.outcome} for {person.name}"


def _pages(
    notifier: Store,
    events: Sequence[IncidentEvent],
    pressed: Sequence[Pressed],
    pager: Receiver,
) -> Iterator[str]:
    """Nobody is paged for what somebody has."""
    by_id = {event.id: event.incident for event in events}
    query = "SELECT event_id, recipient, asked_ms FROM notifier_message WHERE kind = 'page'"
    for event_id, recipient, _ in notifier.rows(query):
        incident = by_id.get(event_id)
        if incident is not None and (
            incident.acknowledged_by or incident.state in ("resolved", "closed")
        ):
            yield f"{recipient} was paged with {event_id}, which somebody had"
    for press in pressed:
        again_ms = _again_ms(press, events)
        for shown in pager.shown.values():
            if _is_in_vain(shown, press, again_ms):
                yield f"{shown.message.recipient} was paged after {press} was acknowledged"


def _silences(notifier: Store, values: Sequence[bytes]) -> Iterator[str]:
    """Somebody is told that a silence ends, or it is kept why nobody is, each once."""
    query = "SELECT event_id, count(*) FROM notifier_message WHERE kind = 'silence' GROUP BY 1"
    asked = dict(notifier.rows(query))
    for event in map(_silence.decode, values):
        if (count := asked.get(f"silence/{event.id}", 0)) != 1:
            yield f"there are {count} messages about the silence event {event.id}"


def _again_ms(press: Pressed, events: Sequence[IncidentEvent]) -> int:
    """When pages of the incident may begin anew after it was acknowledged."""
    begin = [
        event.time_ms
        for event in events
        if event.incident_id == press.incident_id and event.type in ("unacknowledged", "reopened")
    ]
    return min(begin, default=2**60)


def _is_in_vain(shown: Shown, press: Pressed, again_ms: int) -> bool:
    message = shown.message
    return (
        message.kind == "page"
        and message.incident_id == press.incident_id
        and press.at_ms + _ON_THEIR_WAY_SECONDS * 1000 < shown.at_ms < again_ms
    )
