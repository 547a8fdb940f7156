"""Incidents are held against known faults fairly: early, late and extra ones are told apart."""

import pytest

from streams.scoring import Accuracy, Fault, accuracy, read_faults, score, spread
from tests.streams.incident_helpers import SECOND, START, anomaly, told


def fault(service: str, at: int) -> Fault:
    return Fault(START + at * SECOND, service, "cpu_contention")


def test_an_incident_opened_in_a_faults_time_finds_it_with_rank_and_seconds() -> None:
    events = told(anomaly("cart", at=60), until=90)
    result = score(events, [fault("cart", 30)])
    assert result.verdicts[0].seconds_to_detect == 45
    assert result.verdicts[0].rank == 1
    assert result.false_incidents == ()
    assert result.summary.culprit_first == result.summary.one_each == 1


def test_an_incident_opened_before_the_injection_is_false() -> None:
    events = told(anomaly("cart", at=60), until=90)
    result = score(events, [fault("cart", 90)])
    assert not result.verdicts[0].is_found
    assert len(result.false_incidents) == 1


def test_an_incident_in_an_unlisted_faults_time_is_neither_found_nor_false() -> None:
    events = told(anomaly("cart", at=60), until=90)
    result = score(events, [fault("store", 2_000)], [fault("cart", 50)])
    assert result.summary.detected == result.summary.false_incidents == 0


def test_a_reopened_incident_finds_the_second_fault_of_the_same_culprit() -> None:
    events = told(anomaly("cart", at=60), anomaly("cart", at=460), until=500)
    result = score(events, [fault("cart", 50), fault("cart", 450)])
    assert [verdict.resumed for verdict in result.verdicts] == [False, True]
    assert result.summary.detected == 2


def test_a_reopened_incident_does_not_find_a_fault_of_another_culprit() -> None:
    events = told(anomaly("cart", at=60), anomaly("cart", at=460), until=500)
    assert score(events, [fault("cart", 50), fault("smtp", 450)]).summary.detected == 1


def test_a_second_incident_in_the_same_faults_time_is_counted() -> None:
    events = told(anomaly("cart", at=60), anomaly("smtp", at=80), until=100)
    result = score(events, [fault("cart", 50)])
    assert len(result.verdicts[0].incidents) == 2
    assert result.summary.one_each == 0


def test_fault_lists_are_read_and_a_bad_line_is_named() -> None:
    text = "injected_at,service,instance,kind\n2023-11-14T22:13:20Z,cart,cart-1,return\n"
    assert read_faults(text) == [Fault(1_700_000_000_000, "cart", "return")]
    with pytest.raises(ValueError, match="line 3"):
        read_faults(text + "yesterday,cart,cart-1,return\n")


def test_spread_of_nothing_is_unknown() -> None:
    assert (spread([]).p50, spread([5]).p90, spread([1, 2, 3]).p50) == (None, 5, 2)


def test_accuracy_counts_the_ranks_of_at_most_k_and_unnamed_culprits_as_missed() -> None:
    assert accuracy([1, 1, 3, None]) == Accuracy(ac1=0.5, ac3=0.75, avg5=0.65)
    assert accuracy([]) == Accuracy(None, None, None)


def test_incidents_of_unlisted_faults_are_neither_true_nor_false() -> None:
    events = told(anomaly("cart", at=60), anomaly("smtp", at=800), until=900)
    summary = score(events, [fault("cart", 50)], [fault("smtp", 790)]).summary
    assert (summary.incidents, summary.true_incidents, summary.false_incidents) == (2, 1, 0)
