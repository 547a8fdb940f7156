"""What must hold of the topics after a run, whatever was in the way."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from deploy.simulation.broker import Broker
from deploy.simulation.journal import Entry, Journal, state_of
from deploy.simulation.reference import Reference
from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration
from schemas.incidents import Command, Incident, IncidentEvent
from schemas.observations import ObservationBatch
from schemas.silences import SilenceEvent
from streams.shell.checkpoints import Checkpoint
from streams.shell.real import RealStages

_encode = msgspec.json.Encoder(order="deterministic").encode
_observed = msgspec.json.Decoder(ObservationBatch)
_found = msgspec.json.Decoder(AnomalyBatch)
_event = msgspec.json.Decoder(IncidentEvent)
_incident = msgspec.json.Decoder(Incident)
_silence = msgspec.json.Decoder(SilenceEvent)
_command = msgspec.json.Decoder(Command)


def core_violations(
    broker: Broker,
    configuration: Configuration,
    reference: Reference,
    journal: Journal,
    last: Checkpoint,
) -> Iterator[str]:
    """What does not hold. `last` is the incident stage's last checkpoint."""
    topics = configuration.topics
    yield from _windows(broker.values(topics.observations), reference)
    yield from _anomalies(broker.values(topics.anomalies), reference)
    yield from _dead_letters(broker, topics.dead_letters, reference)
    yield from _doubled(broker, configuration)
    history = journal.of(last.state)
    yield from _commands(broker.values(topics.commands), history)
    yield from _taken(history, reference)
    yield from _incidents(broker, configuration, reference, history, last)


def _windows(values: list[bytes], reference: Reference) -> Iterator[str]:
    """The counts of every window are what they are without disturbance; repeats are equal."""
    said: dict[tuple[str, int], dict[int, bytes]] = defaultdict(dict)
    for value in values:
        batch = _observed.decode(value)
        if batch.idle:
            continue
        of_source = said[batch.source, batch.shard]
        before = of_source.setdefault(batch.window_end_ms, _encode(batch))
        if before != _encode(batch):
            yield f"window {batch.window_end_ms} of {batch.source} was said in two ways"
    for place, batches in reference.observations.items():
        expected = {batch.window_end_ms: _encode(batch) for batch in batches}
        last_ms = max(expected, default=0)
        found = said[place]
        for end_ms in sorted(expected.keys() - found.keys()):
            yield f"window {end_ms} of {place} is lost"
        for end_ms in sorted(found):
            if end_ms in expected and found[end_ms] != expected[end_ms]:
                yield f"window {end_ms} of {place} holds other counts"
            elif end_ms not in expected and (
                end_ms <= last_ms or _observed.decode(found[end_ms]).observations
            ):
                yield f"window {end_ms} of {place} is one too many"


def _anomalies(values: list[bytes], reference: Reference) -> Iterator[str]:
    """Every window's anomalies are what they are without disturbance."""
    said: dict[str, dict[int, bytes]] = defaultdict(dict)
    for value in values:
        batch = _found.decode(value)
        if batch.anomalies or batch.calls:
            before = said[batch.source].setdefault(batch.window_end_ms, value)
            if before != value:
                yield f"anomalies of {batch.source} at {batch.window_end_ms} were said in two ways"
    for shard, batches in reference.anomalies.items():
        expected = {b.window_end_ms: _encode(b) for b in batches if b.anomalies or b.calls}
        found = {end: _encode(_found.decode(value)) for end, value in said[shard].items()}
        if expected != found:
            wrong = [end for end in expected.keys() | found if expected.get(end) != found.get(end)]
            yield f"anomalies of {shard} at {sorted(wrong)} are others"


def _dead_letters(broker: Broker, topic: str, reference: Reference) -> Iterator[str]:
    """Every bad record is told of, with its value, and no other is."""
    expected = {letter.id: letter.value for letter in reference.dead_letters}
    found = {}
    for partition in range(broker.partitions[topic]):
        for stored in broker.logs[topic, partition].records:
            found[dict(stored.headers)["tocsin.id"].decode()] = stored.value
    if found != expected:
        wrong = [i for i in expected.keys() | found if found.get(i, 0) != expected.get(i, 0)]
        yield f"dead letters differ: {sorted(wrong)}"


def _doubled(broker: Broker, configuration: Configuration) -> Iterator[str]:
    """Nothing stands on a topic twice."""
    topics, said = configuration.topics, list[str]()
    for value in broker.values(topics.observations):
        observed = _observed.decode(value)
        said += [] if observed.idle else [f"observations {observed.id}"]
    for value in broker.values(topics.anomalies):
        found = _found.decode(value)
        # What holds nothing only says how far a shard is, and comes as the fetches come.
        says = found.anomalies or found.calls or found.traffic
        said += [f"anomalies {found.id}"] if says else []
    said += [f"event {_event.decode(v).id}" for v in broker.values(topics.incident_events)]
    said += [f"silence {_silence.decode(v).id}" for v in broker.values(topics.silence_events)]
    for partition in range(broker.partitions[topics.dead_letters]):
        for stored in broker.logs[topics.dead_letters, partition].records:
            said.append(f"dead letter {dict(stored.headers)['tocsin.id'].decode()}")
    for what, times in Counter(said).items():
        if times > 1:
            yield f"{what} was said {times} times"


def _commands(values: list[bytes], history: list[Entry]) -> Iterator[str]:
    """What people asked was taken in once, in the order in which they asked."""
    asked = [_command.decode(value) for value in values]
    taken = [command for entry in history for command in entry.commands]
    if asked != taken:
        yield f"{[c.id for c in taken]} were taken in of the commands {[c.id for c in asked]}"


def _taken(history: list[Entry], reference: Reference) -> Iterator[str]:
    """The incident stage was given every anomaly, each window of a shard in order."""
    said: dict[str, list[bytes]] = defaultdict(list)
    reached: dict[str, int] = {}
    for entry in history:
        for batch in entry.batches:
            if batch.window_end_ms <= reached.get(batch.source, -1):
                continue  # a repeat
            reached[batch.source] = batch.window_end_ms
            if batch.anomalies or batch.calls:
                said[batch.source].append(_encode(batch))
    for shard, batches in reference.anomalies.items():
        if said[shard] != [_encode(b) for b in batches if b.anomalies or b.calls]:
            yield f"the incident stage was not given what {shard} said"


def _incidents(
    broker: Broker,
    configuration: Configuration,
    reference: Reference,
    history: list[Entry],
    last: Checkpoint,
) -> Iterator[str]:
    """The log is what a stage says that takes the same in without any disturbance, byte by byte."""
    stage = RealStages(configuration).incident()
    stage.restore(reference.begin.checkpoints["incident", 0].state)
    before = stage.taken + sum(stage.left_out.values()) + stage.waiting
    expected: dict[str, bytes] = {}
    latest: dict[str, Incident] = {}
    anomalies = 0
    for entry in history:
        events = stage.command(entry.commands) if entry.commands else stage.process(entry.batches)
        for event in events:
            expected[event.id] = _encode(event)
            latest[event.incident_id] = event.incident
    for source_batches in reference.anomalies.values():
        anomalies += sum(len(batch.anomalies) for batch in source_batches)
    yield from _log(broker, configuration.topics.incident_events, expected)
    yield from _latest(broker, configuration.topics.incidents, latest)
    yield from _silences(broker, configuration.topics.silence_events, stage.silence_events)
    accounted = stage.taken + sum(stage.left_out.values()) + stage.waiting - before
    if accounted != anomalies:
        yield f"{accounted} anomalies are in an incident or left out for a reason, of {anomalies}"
    if stage.snapshot() != state_of(last.state):
        yield "the incident stage's last state is another than without disturbance"


def _log(broker: Broker, topic: str, expected: Mapping[str, bytes]) -> Iterator[str]:
    found: dict[str, bytes] = {}
    versions: dict[str, int] = defaultdict(int)
    for value in broker.values(topic):
        event = _event.decode(value)
        if found.setdefault(event.id, _encode(event)) != _encode(event):
            yield f"event {event.id} was said in two ways"
        elif event.version > versions[event.incident_id] + 1:
            yield f"event {event.id} came before what it follows"
        versions[event.incident_id] = max(versions[event.incident_id], event.version)
    for id in sorted(expected.keys() - found.keys()):
        yield f"event {id} is lost"
    for id in sorted(found.keys() - expected.keys()):
        yield f"event {id} is one too many"
    for id in sorted(found.keys() & expected.keys()):
        if found[id] != expected[id]:
            yield f"event {id} is another than without disturbance"


def _silences(broker: Broker, topic: str, said: Sequence[SilenceEvent]) -> Iterator[str]:
    """What is said of silences is what a stage says without any disturbance, byte by byte."""
    expected = {event.id: _encode(event) for event in said}
    for value in broker.values(topic):
        event = _silence.decode(value)
        if expected.pop(event.id, b"") != _encode(event):
            yield f"silence event {event.id} is another than without disturbance, or one too many"
    for id in sorted(expected):
        yield f"silence event {id} is lost"


def _latest(broker: Broker, topic: str, expected: Mapping[str, Incident]) -> Iterator[str]:
    """What compaction leaves of the topic of incidents is how each of them stands."""
    found = {}
    for partition in range(broker.partitions[topic]):
        for stored in broker.logs[topic, partition].records:
            incident = _incident.decode(stored.value or b"")
            found[incident.id] = incident
    if found != expected:
        wrong = [i for i in found.keys() | expected if found.get(i) != expected.get(i)]
        yield f"incidents {sorted(wrong)} stand otherwise on {topic}"
