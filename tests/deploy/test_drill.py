"""`tocsin drill` over the true path: worker and notifier as processes, on an embedded broker."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

from deploy.brokers.mock import MockBroker
from deploy.commands.drill import run_drill
from deploy.commands.drill_result import Line, Result, lines_of, missing_of
from deploy.configuration import load
from deploy.demo import CONFIG
from deploy.demo.children import Children
from deploy.demo.stage import Stage, is_ready, prepare
from schemas.configuration import Configuration, Recipient, Route
from schemas.configuration import Notifier as NotifierSection
from schemas.incidents import Delivery
from schemas.oncall import Escalation, Step
from tests.sinks.examples import cpu_incident, event

PARTS = ("worker", "notifier")
CHANNELS = "{webhooks: {dead: {url: 'http://127.0.0.1:9/hook'}}}"
RECIPIENTS = """[
  {name: ada, channel: console},
  {name: kim, channel: 'webhook:dead', fall_back: [{channel: console}]},
  {name: shop, channel: console, audience: customer, segment: retail}
]"""
ROUTES = """[
  {name: all, recipients: [ada], escalation: shop},
  {name: customers, recipients: [shop]}
]"""
ESCALATIONS = """[{name: shop, repeats: 0, steps: [
  {notify: [ada], after_minutes: 0}, {notify: [kim], after_minutes: 30}
]}]"""


@contextmanager
def running(folder: Path, **section: str) -> Iterator[Stage]:
    """Worker and notifier, with parts of the notifier's section as they are given."""
    with prepare(folder) as stage:
        stage.environment.update(
            {f"TOCSIN_NOTIFIER_{key}".upper(): " ".join(v.split()) for key, v in section.items()}
        )
        configuration = load(CONFIG, stage.environment)
        children = Children(CONFIG, stage.environment, folder)
        try:
            children.start(PARTS)
            for listen in (configuration.worker.admin, configuration.notifier.listen):
                url = f"http://{listen.host}:{listen.port}/health/ready"
                for _ in range(600):
                    if is_ready(url):
                        break
                    threading.Event().wait(0.1)
            yield stage
        finally:
            children.stop()


def drill(stage: Stage, file: Path, *arguments: str) -> tuple[int, Result]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.cli", "drill", "--service", "cartservice"),
            *("--config", str(CONFIG), "--json", str(file), "--timeout", "60", *arguments),
        ],
        env={**os.environ, **stage.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert file.exists(), done.stdout + done.stderr
    return done.returncode, msgspec.json.decode(file.read_bytes(), type=Result)


@pytest.mark.slow
def test_a_drill_reaches_everybody_and_nothing_of_it_is_public(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        code, result = drill(stage, tmp_path / "drill.json")
        listen = stage.configuration.notifier.listen
        metrics = urlopen(f"http://{listen.host}:{listen.port}/metrics").read().decode()
    assert (code, result.ok, result.missing) == (0, True, ())
    sent = [line for line in result.messages if line.status == "sent"]
    assert all(line.subject.startswith("[DRILL] ") for line in sent)
    assert {line.audience for line in sent} >= {"engineer", "manager", "support"}
    assert "customer" not in {line.audience for line in sent}
    assert "tocsin_time_to_communicate_seconds_count" not in metrics  # a drill is no measurement


@pytest.mark.slow
def test_a_drill_pages_every_step_soon_and_fails_by_a_dead_channel(tmp_path: Path) -> None:
    sections = {
        "channels": CHANNELS,
        "recipients": RECIPIENTS,
        "routes": ROUTES,
        "escalations": ESCALATIONS,
    }
    with running(tmp_path, **sections) as stage:
        code, result = drill(stage, tmp_path / "drill.json", "--customers")
    assert code == 1
    assert result.missing == ()  # the second step, by her second way
    failed = [line for line in result.messages if line.is_failure]
    assert {(line.recipient, line.channel) for line in failed} == {("kim", "webhook:dead")}
    reached = {(line.recipient, line.channel) for line in result.messages if line.status == "sent"}
    assert reached == {("ada", "console"), ("kim", "console"), ("shop", "console")}


def test_without_a_worker_there_is_no_drill_and_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.commands.drill.OPEN_SECONDS", 0.5)
    topics = ("incident-events", "deliveries", "commands")
    with MockBroker({f"tocsin.{name}.v1": 1 for name in topics}) as broker:
        config = tmp_path / "tocsin.yaml"
        config.write_text(f"kafka: {{bootstrap_servers: '{broker.bootstrap_servers}'}}\n")
        code = run_drill(
            "cart", config=config, severity="P2", customers=False, timeout=5, json=None
        )
    assert code == 2
    assert "is the worker running?" in capsys.readouterr().err


def lines(*steps: Delivery) -> list[Line]:
    return list(lines_of(steps))


def step(status: str, *, time_ms: int = 0, message: str = "m", detail: str = "") -> Delivery:
    made = Delivery(
        message_id=message,
        event_id="DRILL-1/1",
        incident_id="DRILL-1",
        status="asked",
        time_ms=time_ms,
        recipient="ada",
        audience="engineer",
        channel="console",
        rule="all",
        detail=detail,
    )
    return msgspec.structs.replace(made, status=status)


def test_the_seconds_of_a_message_are_those_from_asking_to_taking() -> None:
    (line,) = lines(step("asked", time_ms=1000), step("sent", time_ms=3500))
    assert (line.status, line.seconds, line.is_failure) == ("sent", 2.5, False)


def test_what_was_never_answered_has_failed() -> None:
    (line,) = lines(step("asked"))
    assert (line.status, line.is_failure) == ("no answer", True)


def test_what_was_tried_again_and_taken_has_not_failed() -> None:
    (line,) = lines(step("asked"), step("failed", time_ms=1), step("sent", time_ms=2))
    assert not line.is_failure


@pytest.mark.parametrize("end", ["acknowledged by lead", "the incident is over"])
def test_what_the_end_of_the_drill_took_back_from_a_dead_or_hanging_receiver_has_failed(
    end: str,
) -> None:
    off = step("withheld", time_ms=9, detail=end)
    (hangs,) = lines(step("asked"), off)
    (fails,) = lines(step("asked"), step("failed", time_ms=1), off)
    (reached,) = lines(step("asked"), step("sent", time_ms=1), off)
    assert [line.is_failure for line in (hangs, fails, reached)] == [True, True, False]


def drilled(*deliveries: Delivery) -> list[str]:
    """Who of two steps is missing."""
    people = tuple(Recipient(name=name, channel="console") for name in ("ada", "kim"))
    policy = Escalation(name="shop", steps=(Step(notify=("ada",)), Step(notify=("kim",))))
    section = NotifierSection(
        recipients=people,
        routes=(Route(name="all", recipients=("kim",), escalation="shop"),),
        escalations=(policy,),
    )
    opened = event(cpu_incident(id="DRILL-1"), "opened")
    return list(missing_of(Configuration(notifier=section), opened, deliveries))


def page(number: int, status: str, **changes: str) -> Delivery:
    made = step(status, message=f"page {number}")
    rule = f"shop: step {number} of 2, round 1 of 4"
    return msgspec.structs.replace(made, rule=rule, recipient=("ada", "kim")[number - 1], **changes)


def test_who_got_news_but_no_page_of_their_step_is_missing() -> None:
    news = msgspec.structs.replace(step("sent", message="news"), recipient="kim")
    assert drilled(page(1, "sent"), news) == ["kim (step 2 of shop)"]
    assert drilled(page(1, "asked"), page(2, "sent")) == ["ada (step 1 of shop)"]
    assert drilled(page(1, "sent"), page(2, "sent")) == []


def test_news_that_is_the_page_stands_for_it_if_it_came() -> None:
    news = msgspec.structs.replace(step("sent", message="news"), recipient="kim")
    needless = page(2, "withheld", detail="the news to them is the page")
    assert drilled(page(1, "sent"), news, needless) == []
    assert drilled(page(1, "sent"), needless) == ["kim (step 2 of shop)"]


def test_a_gap_in_a_schedule_is_a_failure_and_what_is_withheld_otherwise_is_not() -> None:
    gap, internal = lines(
        step("withheld", message="1", detail="step 1 of 2: nobody is on call"),
        step("withheld", message="2", detail="the incident is internal"),
    )
    assert (gap.is_failure, internal.is_failure) == (True, False)


def test_a_service_that_the_catalogue_lacks_is_not_drilled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tocsin.yaml"
    config.write_text("catalogue: {services: [{name: cart}]}\n", encoding="utf-8")
    code = run_drill("carts", config=config, severity="P3", customers=False, timeout=1.0, json=None)
    assert code == 2
    assert "carts is none of the catalogue's services cart" in capsys.readouterr().err
