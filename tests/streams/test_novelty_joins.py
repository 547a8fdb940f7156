"""Novelty is evidence on a service that is out of order, and drags in no neighbour."""

from schemas.anomalies import Anomaly
from schemas.incidents import Incident
from streams.words import headline, plain
from tests.streams.incident_helpers import anomaly, told


def novelty(service: str, at: int) -> Anomaly:
    series = f'depth{{service="{service}"}}'
    return anomaly(service, "novelty", at, score=8.0, series=series, opens=False)


def last(*anomalies: Anomaly) -> Incident:
    return told(*anomalies, until=120)[-1].incident


def signals(incident: Incident) -> set[tuple[str, str]]:
    return {(signal.service, signal.kind) for signal in incident.signals}


def test_a_novelty_of_the_service_that_is_out_of_order_is_evidence() -> None:
    before = last(novelty("cart", 0), anomaly("cart", at=10))
    after = last(anomaly("cart", at=0), novelty("cart", 20))

    for incident in (before, after):
        assert signals(incident) == {("cart", "saturation"), ("cart", "novelty")}
        cause = incident.causes[0]
        assert cause.service == "cart"


def test_a_novelty_next_door_is_not_drawn_in_before_or_after() -> None:
    incident = last(novelty("store", 0), anomaly("cart", at=10), novelty("web", 30))

    assert signals(incident) == {("cart", "saturation")}
    assert incident.suspected_causes == ("cart",)


def test_a_service_that_only_corroborates_takes_no_novelty_in_later() -> None:
    vague = anomaly("store", "level", 0, score=5.0, opens=False)

    incident = last(vague, anomaly("cart", at=0), novelty("store", 30))

    assert signals(incident) == {("cart", "saturation"), ("store", "level")}


def test_novelties_alone_open_nothing_however_many() -> None:
    many = [novelty(service, at) for service in ("cart", "store", "web") for at in (0, 10, 20)]

    assert told(*many, until=600) == []


def test_the_evidence_reads_well() -> None:
    incident = last(anomaly("cart", at=0), novelty("cart", 20))

    (signal,) = [s for s in incident.signals if s.kind == "novelty"]
    assert plain(signal) == "depth is 0.99, unlike any before"
    assert headline(signal) == "cart has unusual depth"
