"""A kind of error line, or a change, that services share makes one outage of what no calls join."""

import pytest

from schemas.anomalies import Anomaly, AnomalyKind
from schemas.incidents import Command, IncidentEvent
from streams.incidents import IncidentStage
from tests.streams.incident_helpers import SECOND, START, anomaly, batches, stage, told


def line(
    service: str,
    template: str,
    at: int = 0,
    *,
    kind: AnomalyKind = "new_error_template",
    opens: bool = True,
) -> Anomaly:
    series = f'error_log{{service="{service}",template="{template}"}}'
    return anomaly(service, kind, at, series=series, opens=opens)


def change(*services: str, at: int = 0) -> Command:
    return Command(
        id="c1",
        type="change",
        incident_id="",
        actor="pipeline",
        issued_ms=START,
        text="new certificate",
        services=services,
        from_ms=START + at * SECOND,
    )


def after(asked: Command, *found: Anomaly) -> list[IncidentEvent]:
    """What a stage says of anomalies after a change that was told at the start."""
    made: IncidentStage = stage()
    made.process(batches([], until=0))
    made.command([asked])
    return made.process(batches(found, until=(found[-1].window_end_ms - START) // SECOND + 10))


def opened(events: list[IncidentEvent]) -> list[tuple[str, ...]]:
    """The services of each incident, in the end."""
    last = {event.incident_id: event.incident.services for event in events}
    return sorted(tuple(sorted(services)) for services in last.values())


@pytest.mark.parametrize("at", [0, 60])
def test_the_same_new_line_of_error_at_the_same_time_is_one_outage(at: int) -> None:
    found = [line("cart", "a1"), line("smtp", "a1", at, kind="error_log_rate")]
    assert opened(told(*found, until=at + 20)) == [("cart", "smtp")]


@pytest.mark.parametrize(("template", "at"), [("b2", 0), ("b2", 60), ("a1", 120)])
def test_another_line_or_the_same_one_later_is_another_outage(template: str, at: int) -> None:
    found = [line("cart", "a1"), line("smtp", template, at)]
    assert opened(told(*found, until=at + 20)) == [("cart",), ("smtp",)]


def test_a_line_that_is_sure_nowhere_joins_nothing() -> None:
    found = [line("cart", "a1", opens=False), line("smtp", "a1", opens=False)]
    assert opened(told(*found, anomaly("cart"), anomaly("smtp"), until=20)) == [
        ("cart",),
        ("smtp",),
    ]


@pytest.mark.parametrize("at", [30, 120])
def test_services_that_fail_after_a_change_to_both_are_one_outage(at: int) -> None:
    asked = change("cart", "smtp")
    assert opened(after(asked, anomaly("cart", at=20), anomaly("smtp", at=at))) == [
        ("cart", "smtp")
    ]


def test_services_that_fail_at_once_after_a_change_to_both_are_one_outage() -> None:
    found = [anomaly("cart", at=20), anomaly("smtp", at=20)]
    assert opened(after(change("cart", "smtp", "web"), *found)) == [("cart", "smtp")]
    assert opened(after(change("cart", "web"), *found)) == [("cart",), ("smtp",)]


def test_a_change_made_after_one_of_them_failed_joins_nothing() -> None:
    found = [anomaly("cart", at=20), anomaly("smtp", at=120)]
    assert opened(after(change("cart", "smtp", at=100), *found)) == [("cart",), ("smtp",)]
