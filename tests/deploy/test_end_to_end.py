"""The shipped recording through all four processes, and what their users then find."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from xml.etree import ElementTree

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from deploy.demo.stage import RAW_PARTITIONS
from tests.deploy.system import System, ask, plain, running
from tests.deploy.test_same_incidents import by_replay
from tests.streams.test_decode import BAD

pytestmark = pytest.mark.slow

ATOM = {"a": "http://www.w3.org/2005/Atom"}
HOUR_MS = 3_600_000
BAD_REASONS = [*(reason for reason, _ in BAD.values()), "in_the_future", "late"]


@cache
def bad_values() -> list[bytes | None]:
    """Sixty kinds, then one from the far future and one that is much too late."""
    now_ms = int(time.time() * 1000)
    # Of a time after the recording's end: nothing but what is wrong with them may be in their way.
    soon = str(now_ms + 100_000)[:8].encode()
    return [
        *(value and value.replace(b"17000000", soon) for _, value in BAD.values()),
        b'{"time":%d,"service":"cart","metric":"m","value":1}' % (now_ms + HOUR_MS),
        b'{"time":%d,"service":"cart","metric":"m","value":1}' % (now_ms - 48 * HOUR_MS),
    ]


places: dict[int, tuple[int, int]] = {}
"""Partition and offset of each bad record."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """After the whole recording, with bad records before it, within it and after it."""
    with running(tmp_path_factory.mktemp("system")) as system:
        left = list(range(20, len(BAD_REASONS)))

        def among_others(system: System) -> None:
            if system.seen.events and len(left) > 20:
                send_bad(system, [left.pop(0) for _ in range(5)])

        send_bad(system, range(20))
        system.replay(system.feed(), among_others)
        send_bad(system, left)
        system.wait_until(lambda: system.seen.dead_letters >= len(BAD_REASONS), 30)
        system.settle()
        yield system


def send_bad(system: System, indices: Sequence[int]) -> None:
    """Writes bad records to the raw topic, each under a key that says which it is."""
    producer = Producer({"bootstrap.servers": system.configuration.kafka.bootstrap_servers})
    for index in indices:
        producer.produce(
            system.configuration.sources[0].topic,
            bad_values()[index],
            str(index),
            index % RAW_PARTITIONS,
            headers={"origin": b"\xff"},
            on_delivery=lambda _, m, i=index: places.update({i: (m.partition(), m.offset())}),
        )
    assert producer.flush(10) == 0


def read_all(system: System, topic: str) -> list[Message]:
    """Every record of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": system.configuration.kafka.bootstrap_servers,
            "group.id": "test",
            "enable.partition.eof": True,
        }
    )
    count = len(consumer.list_topics(topic, 10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(count)])
    messages: list[Message] = []
    try:
        while count:
            message = consumer.poll(10)
            assert message is not None
            if message.error() is None:
                messages.append(message)
            else:
                count -= 1
    finally:
        consumer.close()
    return messages


def test_bad_records_change_no_incident(system: System) -> None:
    (feed,) = system.fed
    undisturbed = by_replay(system.configuration, feed.shift_ms, feed.tail_ms)
    assert len(undisturbed) >= 4
    assert list(system.seen.incidents.values()) == undisturbed


def test_every_bad_record_is_a_dead_letter_untouched_with_where_it_came_from(
    system: System,
) -> None:
    letters = {
        int(letter.key()): letter
        for letter in read_all(system, system.configuration.topics.dead_letters)
    }
    assert sorted(letters) == list(range(len(BAD_REASONS)))
    assert system.seen.dead_letters == len(BAD_REASONS)
    for index, letter in letters.items():
        assert letter.value() == bad_values()[index]
        (name, origin), *added = letter.headers()
        assert (name, origin) == ("origin", b"\xff")
        said = {name: value.decode() for name, value in added}
        partition, offset = places[index]
        assert said["__connect.errors.topic"] == "telemetry"
        assert said["__connect.errors.partition"] == str(partition)
        assert said["__connect.errors.offset"] == str(offset)
        assert (
            f"telemetry/{partition} offset {offset}: " in said["__connect.errors.exception.message"]
        )
        assert said["tocsin.reason"] == BAD_REASONS[index]


def test_each_incident_has_one_case_with_the_whole_log_as_its_timeline(system: System) -> None:
    cases, timelines = system.cases(), system.timelines()
    incidents = system.seen.incidents
    assert [case["number"] for case in cases] == list(range(1, len(incidents) + 1))
    assert Counter(case["incident_id"] for case in cases) == Counter(list(incidents))
    for incident_id, incident in incidents.items():
        rows = timelines[incident_id]["events"]
        log = [event for event in system.events if event.incident_id == incident_id]
        assert [row["version"] for row in rows] == list(range(1, incident.version + 1))
        assert [(row["id"], row["type"], row["text"]) for row in rows] == [
            (event.id, event.type, event.text) for event in log
        ]
        case = system.json("case-store", f"/api/v1/cases/{incident_id}")
        assert case["incident"] == plain([incident])[0]
        page = system.get("case-store", f"/incidents/{incident_id}")
        assert incident_id in page
        assert incident.state in page


def test_each_message_was_sent_once_and_printed_once(system: System) -> None:
    sent = system.sent
    assert len(sent) > 4 * len(system.seen.incidents)
    assert max(Counter(d.message_id for d in sent).values()) == 1
    assert max(Counter((d.event_id, d.recipient, d.channel) for d in sent).values()) == 1
    asked = {d.message_id for d in system.seen.deliveries.values() if d.status == "asked"}
    assert {d.message_id for d in sent} == asked
    blocks = Counter(re.findall(r"^(\S.*)  → (.+)$", system.console(), re.MULTILINE))
    assert blocks == Counter((d.subject, d.recipient) for d in sent)
    in_cases = [d for t in system.timelines().values() for d in t["deliveries"]]
    assert len(in_cases) == len(system.seen.deliveries)


def test_whoever_was_told_of_an_incident_is_told_that_it_is_over(system: System) -> None:
    types = {event.id: event.type for event in system.events}
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for delivery in system.sent:
        told[delivery.incident_id, types[delivery.event_id]].add(delivery.recipient)
    over = [i.id for i in system.seen.incidents.values() if i.state == "resolved"]
    assert len(over) >= 3
    assert all("on-call engineer" in told[incident_id, "opened"] for incident_id in over)
    for (incident_id, _), recipients in list(told.items()):
        if incident_id in over:
            assert recipients <= told[incident_id, "resolved"]


def test_the_status_page_shows_the_public_incidents_as_page_json_and_feed(system: System) -> None:
    public = {i.id: i for i in system.seen.incidents.values() if i.visibility == "public"}
    assert public
    front, history = system.get("status-page", "/"), system.get("status-page", "/history")
    listed = system.json("status-page", "/api/v2/incidents.json")["incidents"]
    assert {incident["id"] for incident in listed} == set(public)
    for incident in listed:
        address = f'href="/incidents/{incident["id"]}"'
        assert address in front or incident["resolved_at"] is not None
        assert address in history
        assert incident["name"] in system.get("status-page", f"/incidents/{incident['id']}")
        assert incident["status"] == public[incident["id"]].public_phase
    feed = ElementTree.fromstring(system.get("status-page", "/history.atom"))
    links = [link.get("href", "") for link in feed.iterfind("a:entry/a:link", ATOM)]
    assert {link.rsplit("/", 1)[1] for link in links} == set(public)
    summary = system.json("status-page", "/api/v2/summary.json")
    unresolved = {i.id for i in public.values() if i.public_phase != "resolved"}
    assert {incident["id"] for incident in summary["incidents"]} == unresolved
    assert (summary["status"]["indicator"] == "none") == (not unresolved)
    assert [c["name"] for c in summary["components"]] == [
        c.name for c in system.configuration.status_page.components
    ]


def test_nothing_public_names_a_service_by_its_internal_name(system: System) -> None:
    internal = [
        s.name for s in system.configuration.catalogue.services if s.name.endswith("service")
    ]
    public = [
        system.get("status-page", path)
        for path in ("/", "/history", "/history.atom", "/api/v2/incidents.json")
    ]
    assert [name for name in internal for text in public if name in text] == []


EVERY_SINK = [
    "tocsin_sink_records_total",
    "tocsin_sink_records_dropped_total",
    "tocsin_sink_lag_records",
    "tocsin_build_info",
]
METRICS = {
    "worker": [
        "tocsin_build_info",
        "tocsin_events_total",
        "tocsin_consumer_lag_records",
        "tocsin_consumer_lag_seconds",
        "tocsin_late_events_total",
        "tocsin_dead_letters_total",
        "tocsin_windows_closed_total",
        "tocsin_detector_seconds_bucket",
        "tocsin_stage_seconds_bucket",
        "tocsin_anomalies_total",
        "tocsin_incidents_total",
        "tocsin_time_to_detect_seconds_bucket",
    ],
    "notifier": [
        *EVERY_SINK,
        "tocsin_notifications_total",
        "tocsin_time_to_communicate_seconds_bucket",
    ],
    "case-store": [*EVERY_SINK, "tocsin_cases"],
    "status-page": [*EVERY_SINK, "tocsin_status_page_publish_delay_seconds_bucket"],
}


@pytest.mark.parametrize("part", METRICS)
def test_every_process_says_how_it_is(system: System, part: str) -> None:
    assert system.json(part, "/health/live") == {"status": "live", "reasons": {}}
    assert system.json(part, "/health/ready") == {"status": "ready", "reasons": {}}
    names = {sample.name for sample in system.samples(part)}
    assert [name for name in METRICS[part] if name not in names] == []
    only_of_others = {"tocsin_windows_closed_total", "tocsin_cases", "tocsin_notifications_total"}
    assert not names & (only_of_others - set(METRICS[part]))


def test_the_metrics_count_what_happened(system: System) -> None:
    seen = system.seen
    worker = total(system, "worker")
    assert worker["tocsin_dead_letters_total"] == len(BAD_REASONS)
    assert worker["tocsin_late_events_total"] == BAD_REASONS.count("late")
    assert worker["tocsin_incidents_total"] == len(seen.incidents)
    assert worker["tocsin_time_to_detect_seconds_count"] == len(seen.incidents)
    assert worker["tocsin_consumer_lag_records"] == 0
    notifier = total(system, "notifier")
    assert notifier["tocsin_notifications_total"] == len(system.sent)
    assert notifier["tocsin_time_to_communicate_seconds_count"] > 0
    assert total(system, "case-store")["tocsin_cases"] == len(seen.incidents)


def total(system: System, part: str) -> Counter[str]:
    """Each metric summed over its labels."""
    sums: Counter[str] = Counter()
    for sample in system.samples(part):
        sums[sample.name] += sample.value  # type: ignore[assignment]  # sums may be fractions
    return sums


def test_an_unknown_address_is_no_page(system: System) -> None:
    for part, address in system.addresses.items():
        assert ask(f"{address}/no/such/page")[0] == 404, part
