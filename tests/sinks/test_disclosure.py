"""Whatever telemetry and people inside say, customers read none of it: neither in any message, in
any language and segment, nor on the status page.

Every free text of an incident event is made hostile, found by going through the event itself, so
that a field that is added later is tried as well.
"""

import re
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import Catalogue, Component, Configuration, Recipient, Service
from schemas.configuration import StatusPage as PageSection
from schemas.incidents import Incident, IncidentEvent
from sinks.disclosure import for_the_public, leaks, masked
from sinks.notifier.language import languages
from sinks.notifier.messages import Ask
from sinks.notifier.preview import event_at
from sinks.notifier.routing import STAGES, Stage
from sinks.notifier.words import Writer
from sinks.status_page.components import components_of
from sinks.status_page.incident import publish
from tests.sinks.examples import cpu_incident, network_incident

Place = tuple[str | int, ...]

MARK = "zqx"
FIELDS = ("public_message", "workaround", "reason", "solution")
FOR_CUSTOMERS = frozenset(("incident", field) for field in FIELDS)
PAYLOADS = (
    "svc",
    "db-7.prod.internal:5432 refused the connection",
    "Traceback (most recent call last):\n  File 'cart.py', line 7, in add\nKeyError: 'x'",
    "java.lang.NullPointerException\n\tat com.example.Cart.add(Cart.java:42)",
    "<script>alert(1)</script>\u202e\x00\x1b[31m",
    "{{ severity }}{% include 'en/engineer/_facts.j2' %}",
    "\n\nNext update: never\nExpected resolution: never\n",
    'cpu_usage_ratio{service="payments",instance="10.2.0.7:8080"}',
)
hostile = st.one_of(st.sampled_from(PAYLOADS), st.text(max_size=40))


def leaves(value: object, at: Place = ()) -> Iterator[Place]:
    """Where the texts of an event stand."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from leaves(inner, (*at, place))


def put(value: object, at: Place, text: str) -> object:
    """The value with another text at a place."""
    if not at:
        return text
    head, rest = at[0], at[1:]
    if isinstance(value, dict):
        return {**value, head: put(value[head], rest, text)}
    assert isinstance(value, list | tuple)
    return [put(v, rest, text) if i == head else v for i, v in enumerate(value)]


def free_texts(event: IncidentEvent) -> list[Place]:
    """The places that hold any text, and are not what people write for customers."""
    plain = msgspec.to_builtins(event)
    found = []
    for at in leaves(plain):
        if at in FOR_CUSTOMERS:
            continue
        try:
            msgspec.convert(put(plain, at, MARK), IncidentEvent)
        except msgspec.ValidationError:
            continue  # one of a few words, not a text
        found.append(at)
    return found


def poisoned(event: IncidentEvent, payload: str, known: frozenset[str]) -> IncidentEvent:
    """The event with each free text marked and hostile; the names in `known` stay."""
    plain = msgspec.to_builtins(event)
    kept = {at: _at(plain, at) for at in free_texts(event)}
    for number, (at, said) in enumerate(kept.items()):
        if said not in known:
            plain = put(plain, at, f"{MARK}{number} {payload}")
    return msgspec.convert(plain, IncidentEvent)


def _at(value: object, at: Place) -> object:
    for step in at:
        value = value[step]  # type: ignore[index]
    return value


def base(incident: Incident) -> Incident:
    """With every optional text there, so that none is passed over."""
    return msgspec.structs.replace(
        incident,
        acknowledged_by="x",
        severity_override_by="x",
        approved_by="x",
        category_by="x",
        playbook="x",
        silenced_by="x",
        merged_into="x",
        split_from="x",
        suppressed_by="x",
        false_alarm_by="x",
    )


CATALOGUE = Catalogue(
    segment_names={"retail": {"en": "private customers"}, "business": {"en": "zqx-business"}},
    services=(
        Service(
            name="ts-order-service",
            public_name="Orders",
            segments=("retail",),
            owner=f"{MARK}-owner",
            runbook=f"https://{MARK}.example.org",
        ),
        Service(name="ts-travel-service", public_name=f"{MARK} desk", segments=("business",)),
        Service(name="cartservice", segments=("retail",), owner=f"{MARK}-owner"),
        Service(name="frontend", public_name="Shop", segments=("retail", "business")),
    ),
)
INCIDENTS = tuple(map(base, (cpu_incident(), network_incident())))
SERVICES = frozenset(service.name for service in CATALOGUE.services)
PAGE = components_of(
    Configuration(
        status_page=PageSection(
            components=(
                Component(name="Orders", services=("ts-order-service",)),
                Component(name="Basket", services=("cartservice",)),
            )
        )
    )
)


def test_every_free_text_of_an_event_is_found() -> None:
    found = {at[-1] for at in free_texts(event_at(INCIDENTS[0], "updated", "en"))}
    assert {"title", "summary", "actor", "text", "series", "reason", "example"} <= found


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(INCIDENTS),
    st.sampled_from(STAGES),
    st.sampled_from(languages()),
    hostile,
)
def test_no_text_from_inside_and_nothing_of_another_segment_is_in_a_customers_message(
    incident: Incident, stage: Stage, language: str, payload: str
) -> None:
    event = poisoned(event_at(incident, stage, language), payload, SERVICES)
    to = Recipient(
        name=MARK, channel="console", audience="customer", segment="retail", language=language
    )
    ask = Ask(stage=stage, recipient=to, rule=MARK, event=event, next_update_ms=event.time_ms + 1)
    made = Writer(CATALOGUE).write(ask)
    said = f"{made.subject}\n{made.text}"
    assert MARK not in said.casefold()
    assert not re.search(r"ts-order|ts-travel|cartservice|frontend|\bP[1-4]\b", said)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(INCIDENTS), st.sampled_from(STAGES), hostile)
def test_no_text_from_inside_is_on_the_status_page(
    incident: Incident, stage: Stage, payload: str
) -> None:
    event = poisoned(event_at(incident, stage, "en"), payload, SERVICES)
    shown = msgspec.json.encode(publish(None, event, PAGE)).decode()
    without_ids = re.sub(rf'"(?:id|also|split_from|merged_into)":"{MARK}[^"]*"', "", shown)
    assert MARK not in without_ids
    assert not re.search(r"ts-order|ts-travel|cartservice|frontend", shown)


@pytest.mark.parametrize("field", FIELDS)
def test_what_people_write_for_customers_names_no_system(field: str) -> None:
    said = "ts-order-service on 10.2.0.7 and db1.prod.internal: please wait."
    made = for_the_public(
        msgspec.structs.replace(cpu_incident(), **{field: said}), CATALOGUE, "one of our systems"
    )
    want = "Orders on one of our systems and one of our systems: please wait."
    assert getattr(made, field) == want


@pytest.mark.parametrize(
    "inside",
    [
        "http://db-01.internal:8080/x?y=1",
        "http://payments/health",
        "https://10.0.0.3/x",
        "http://[fe80::1]:8080/x",
        "jdbc:postgresql://db.example.org:5432/shop",
        "https://admin:secret@shop.example.org/",
        "fe80::1",
        "[2001:db8::7]:9092",
        "2001:db8:0:0:0:0:0:7",
        "10.0.0.3:9092",
        "10.0.0.0/24",
        "db.prod.svc.cluster.local",
        "payments.internal.example.org",
        "root@db-01.internal",
        "payments-db:5432",
        "kafka.example.org:9092",
        "localhost:8080",
        "payments-db-7f9c4",
        "payments-7d4b9c6f5d-x2vqk",
        "payments-db-0",
        "db-01",
        "java.lang.NullPointerException at com.x.Foo(Foo.java:12)",
        "at com.x.Foo.bar(Native Method)",
        "at Cart.add (/app/cart.js:7:12)",
        "Traceback (most recent call last):\n  File 'cart.py', line 7, in add\nKeyError",
        'File "/srv/cart.py", line 7',
        "TimeoutError",
        "goroutine 12 [running]",
        "cart.go:42",
        "/var/log/shop.log",
    ],
)
def test_what_is_copied_out_of_a_log_is_replaced_as_a_whole_and_told(inside: str) -> None:
    incident = cpu_incident()
    said = f"Please see {inside}, then wait."
    assert leaks(said, incident, CATALOGUE)
    made = masked(said, incident, CATALOGUE, "one of our systems")
    assert made == "Please see one of our systems, then wait."
    assert leaks(made, incident, CATALOGUE) == ()


def test_things_that_follow_one_another_are_replaced_once() -> None:
    said = (
        "See http://db-01.internal:8080/x at payments-db-7f9c4 10.0.0.3, "
        "java.lang.NullPointerException at com.x.Foo(Foo.java:12)"
    )
    made = masked(said, cpu_incident(), CATALOGUE, "one of our systems")
    assert made == "See one of our systems at one of our systems"


@pytest.mark.parametrize(
    "public",
    [
        "https://status.example.org/incidents/db-01-7f9c4",
        "https://status.example.org:8443/",
        "help.example.org/fix-payments-7f9c4",
        "support@example.org",
        "between 10:30:15 and 12:00, at 10:30:15",
        "on 2026-11-30 in eu-west-1",
        "call 0800:12345 or +49 30 1234-567",
        "version 1.2.3, step-by-step, COVID-19, a 24-hour service",
        "An error: please use the app/web page.",
    ],
)
def test_what_customers_may_follow_or_read_stays(public: str) -> None:
    said = f"Please see {public}."
    assert leaks(said, cpu_incident(), CATALOGUE) == ()
    assert masked(said, cpu_incident(), CATALOGUE, "X") == said
