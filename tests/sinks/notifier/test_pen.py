"""No template, whoever broke it, loses a message."""

from pathlib import Path

import msgspec
import pytest

from schemas.configuration import Recipient
from sinks.notifier.messages import Ask
from sinks.notifier.pen import Pen
from sinks.notifier.preview import event_at
from sinks.notifier.words import Writer
from tests.sinks.examples import cpu_fault, cpu_incident
from tests.sinks.notifier.conftest import CATALOGUE, Bench, until


def ask(audience: str = "customer") -> Ask:
    reader = Recipient(name="x", channel="console")
    return Ask(
        stage="updated",
        recipient=msgspec.structs.replace(reader, audience=audience),
        rule="r",
        event=event_at(cpu_incident(), "updated", "en"),
    )


BROKEN = (
    "{{ names",
    "{{ secret }}",
    "{{ 1 // 0 }}",
    "{{ names + 1 }}",
    "{{ names['a'] }}",
    "{% include 'nothing.j2' %}",
    "{{ time_ms | moment(1, 2, 3) }}",
)


@pytest.mark.parametrize("source", BROKEN)
def test_a_template_that_fails_gives_way_to_the_one_that_ships(tmp_path: Path, source: str) -> None:
    (tmp_path / "en/customer").mkdir(parents=True)
    (tmp_path / "en/customer/update.j2").write_text(f"Ours\n{source}")
    assert Pen(CATALOGUE, tmp_path).write(ask()) == Writer(CATALOGUE).write(ask())


@pytest.mark.parametrize("source", ["\n\n\n", "Only a subject\n", "{# nothing #}"])
def test_a_template_that_says_nothing_gives_way_to_the_one_that_ships(
    tmp_path: Path, source: str
) -> None:
    (tmp_path / "en/customer").mkdir(parents=True)
    (tmp_path / "en/customer/update.j2").write_text(source)
    assert Pen(CATALOGUE, tmp_path).write(ask()) == Writer(CATALOGUE).write(ask())


def test_phrases_that_fail_give_way_to_those_that_ship(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en/phrases.toml").write_text("not toml")
    assert Pen(CATALOGUE, tmp_path).write(ask()) == Writer(CATALOGUE).write(ask())


def test_at_last_the_bare_news_is_told_and_customers_read_nothing_internal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Writer, ask: Ask) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Writer, "write", fail)
    assert Pen(CATALOGUE).write(ask("engineer")).subject.startswith("[P2] updated: ts-order")
    assert Pen(CATALOGUE).write(ask()).subject == "We are working on a problem."


async def test_an_outage_is_told_with_a_broken_template_in_place(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "own/en/engineer").mkdir(parents=True)
    (tmp_path / "own/en/engineer/acknowledgement.j2").write_text("{{ nothing }}")
    configuration = bench.configuration()
    section = msgspec.structs.replace(configuration.notifier, templates=str(tmp_path / "own"))
    notifier = await bench.start(msgspec.structs.replace(configuration, notifier=section))
    await bench.feed(notifier, cpu_fault()[0])
    await until(lambda: bench.kafka.deliveries("sent"))
    assert "Where: ts-order-service" in bench.console.getvalue()
