"""`tocsin oncall`, `route`, `why` and the routing tests of `tocsin check`."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from deploy.cli import app
from deploy.configuration import ConfigurationError, load
from deploy.routing_tests import run_tests
from sinks.notifier import Notifier
from tests.sinks.examples import cpu_fault, record
from tests.sinks.notifier.conftest import Kafka, until

CONFIGURATION = """notifier:
  store: sqlite:///{store}
  stale_after_seconds: 1000000000
  recipients:
    - {{name: ada, channel: console, address: ada@example.org, roles: [lead]}}
    - {{name: grace, channel: console, audience: manager}}
    - {{name: sleeper, channel: console,
        quiet_hours: {{hours: [{{start: "22:00", until: "07:00"}}], severities: [P1]}}}}
    - {{name: retail, channel: console, audience: customer, segment: retail}}
  schedules:
    - name: shop on call
      time_zone: Europe/Berlin
      layers:
        - {{people: [ada, grace], start: 2026-03-16,
            hours: [{{start: "08:00", until: "20:00"}}]}}
  escalations:
    - name: shop first
      repeats: 0
      steps: [{{notify: [shop on call]}}, {{notify: [grace], after_minutes: 10}}]
  routes:
    - {{name: lead, roles: [lead], severities: [P1, P2]}}
    - {{name: night, recipients: [sleeper], severities: [P2]}}
    - {{name: customers, recipients: [retail], severities: [P1]}}
    - {{name: all, escalation: shop first}}
  route_tests: tests.yaml
catalogue:
  services:
    - {{name: cart, public_name: Cart, segments: [retail]}}
    - {{name: ts-order-service, public_name: Orders, segments: [business]}}
    - {{name: ts-travel-service}}
"""
TESTS = """tests:
  - name: severe by day
    incident: {services: [cart], severity: P1}
    at: 2026-11-25T11:00
    told: [retail, ada]
    paged: [ada, grace]
  - name: minor by night
    incident: {services: [cart], severity: P4}
    at: 2026-11-25T23:00
    told: []
    paged: []
    not_told: [ada]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "tocsin.yaml"
    file.write_text(CONFIGURATION.format(store=tmp_path / "notifier.sqlite3"))
    (tmp_path / "tests.yaml").write_text(TESTS)
    return file


def run(*arguments: object) -> int:
    return int(app([str(each) for each in arguments], result_action="return_value") or 0)


def test_oncall_says_who_is_on_now_and_next_and_warns_of_gaps(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    arguments = ("oncall", "-c", config, "--at", "2026-11-24T10:00", "--json", out)
    assert run(*arguments) == 0
    said = capsys.readouterr().out
    assert "now   ada until Tue 2026-11-24 20:00 (9 h left), by layer 1" in said
    assert "next  ada from Wed 2026-11-25 08:00" in said
    assert "gap   Tue 2026-11-24 20:00 until Wed 2026-11-25 08:00" in said
    (found,) = msgspec.json.decode(out.read_bytes())
    assert found["now"]["person"] == "ada"
    assert len(found["gaps"]) == 28


def test_oncall_in_a_gap_says_nobody(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("oncall", "shop on call", "-c", config, "--at", "2026-11-24T23:00+01:00") == 0
    assert "now   nobody" in capsys.readouterr().out
    assert run("oncall", "shp", "-c", config) == 2
    assert "none of the schedules shop on call" in capsys.readouterr().err
    assert run("oncall", "-c", config, "--at", "soon") == 2


def test_oncall_and_check_name_what_of_a_calendar_cannot_be_used(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = ("DTSTART:20261101T000000Z", "DTEND:99991231T000000Z", "SUMMARY:grace")
    event = ("BEGIN:VEVENT", "UID:endless", *endless, "END:VEVENT")
    lines = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN", *event, "END:VCALENDAR", "")
    (config.parent / "team.ics").write_text("\r\n".join(lines))
    zone = "      time_zone: Europe/Berlin\n"
    config.write_text(config.read_text().replace(zone, f"{zone}      calendars: [team.ics]\n"))
    assert run("oncall", "-c", config, "--at", "2026-11-24T10:00") == 0
    said = "calendar team.ics event 'endless' is left out: its times are too far apart; mend it"
    shown = capsys.readouterr().out
    assert "now   ada" in shown
    assert said in shown
    assert run("check", "-c", config, "--offline") == 1
    assert said in capsys.readouterr().out


def test_route_shows_who_would_be_told_and_paged_and_when(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("services=ts-order-service", "severity=P2", "-c", config)
    assert run("route", *arguments, "--at", "2026-11-24T23:00") == 0
    said = capsys.readouterr().out
    assert "ada (engineer), rule lead: opened by console" in said
    assert "in a digest at 2026-11-25 07:00:00: quiet hours" in said
    assert "retail" not in said
    assert "page nobody (nobody is on call by shop on call)" in said
    assert "2026-11-24 23:00:00  page grace, shop first: step 2 of 2" in said


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("services=carts", "carts: none of the catalogue's services"),
        ("severity", "'severity' is no NAME=VALUE"),
        ("severity=P9", "the severity is one of P1, P2, P3, P4"),
    ],
)
def test_route_says_what_makes_no_sense(
    config: Path, capsys: pytest.CaptureFixture[str], test: str, said: str
) -> None:
    assert run("route", "services=cart", test, "-c", config) == 2
    assert said in capsys.readouterr().err


def test_route_without_a_question_says_how_to_ask(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("route", "-c", config) == 2
    assert capsys.readouterr().err.startswith("say whose incident, such as services=cart")


def test_route_takes_recorded_incidents(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    opened, *_ = cpu_fault()
    file = tmp_path / "incidents.jsonl"
    file.write_bytes(msgspec.json.encode(opened.incident) + b"\n")
    assert run("route", "--from", file, "-c", config, "--at", "2026-11-24T10:00") == 0
    assert "P2 of ts-order-service, ts-travel-service" in capsys.readouterr().out
    assert run("route", "--from", file, "--incident", "INC-X", "-c", config) == 2


def test_check_runs_the_routing_tests(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "-c", config, "--offline") == 0
    assert "routing test severe by day" in capsys.readouterr().out
    tests = config.parent / "tests.yaml"
    tests.write_text(TESTS.replace("told: [retail, ada]", "told: [ada]"))
    assert run("check", "-c", config, "--offline") == 1
    assert "told are ada, retail, not ada" in capsys.readouterr().out


def test_a_mistake_in_the_routing_tests_has_its_line(config: Path) -> None:
    tests = config.parent / "tests.yaml"
    for good, bad, line in (
        ("severity: P4", "severity: P9", 8),
        ("[cart], severity: P4", "[x]", 7),
    ):
        tests.write_text(TESTS.replace(good, bad))
        with pytest.raises(ConfigurationError) as raised:
            list(run_tests(tests, load(config, {})))
        assert [made.line for made in raised.value.mistakes] == [line]


async def fill(config: Path) -> None:
    """Lets a notifier take in the life of an incident."""
    kafka = Kafka()
    now_ms = cpu_fault()[0].time_ms
    notifier = Notifier(
        load(config, {}),
        resolve=lambda _: "",
        publish=kafka.publish,
        now_ms=lambda: now_ms,
        settle_seconds=0,
    )
    await notifier.start()
    await notifier.apply([record(made, offset) for offset, made in enumerate(cpu_fault())])
    await until(lambda: len(kafka.deliveries("sent")) >= 2)
    await notifier.stop()


async def test_why_gives_each_event_one_verdict_with_its_steps(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await fill(config)
    out = tmp_path / "why.json"
    incident = cpu_fault()[0].incident_id
    arguments = ("why", incident, "-c", config, "--json", out)
    code = await in_thread(*arguments, "--who", "ADA@example.org")
    assert code == 0
    said = capsys.readouterr().out
    assert "opened (P2): told by rule lead" in said
    assert "routed" in said
    assert "sent" in said
    verdicts = msgspec.json.decode(out.read_bytes())
    assert [made["event_id"] for made in verdicts] == [made.id for made in cpu_fault()]
    assert await in_thread(*arguments, "--who", "retail") == 0
    told = capsys.readouterr().out
    assert "route customers: P2 is none of P1" in told
    assert "route lead: it is for ada, not for retail" in told


async def test_why_says_what_it_does_not_know(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await in_thread("why", "INC-1", "--who", "ada", "-c", config) == 1
    assert "has the notifier run with it?" in capsys.readouterr().err
    await fill(config)
    assert await in_thread("why", "INC-1", "--who", "ada", "-c", config) == 1
    assert "knows no incident INC-1" in capsys.readouterr().err
    assert await in_thread("why", "INC-1", "--who", "eve", "-c", config) == 2
    assert "'eve' is no recipient's name or address" in capsys.readouterr().err


async def in_thread(*arguments: object) -> int:
    """As from a shell: the command has an event loop of its own."""
    return await asyncio.to_thread(run, *arguments)
