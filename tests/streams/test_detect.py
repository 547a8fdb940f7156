"""The detect stage: what it says, in which order, and that restarts and cuts change nothing."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import UnknownDetectorError
from schemas.anomalies import Anomaly, AnomalyBatch, ServiceTraffic
from schemas.configuration import Catalogue, Detection, DetectorRule, Service, Windows
from schemas.observations import Observation, ObservationBatch, Sketch
from schemas.times import DAY_MS
from streams import detect as detect_module
from streams.detect import Detect

WINDOW_MS = 10_000
START_MS = 1_700_000_000_000 // WINDOW_MS * WINDOW_MS
SOURCES = ("telemetry/0", "telemetry/1")


def gauge(value: float, metric: str = "cpu_usage_ratio", service: str = "cart") -> Observation:
    series = f'{metric}{{service="{service}",instance="{service}-1"}}'
    return Observation(
        series, service, "gauge", 1, value, value, value, value, instance=f"{service}-1"
    )


def sketch(seconds: Sequence[float]) -> Sketch:
    gamma = 1.01 / 0.99
    return Sketch(0.01, 0, dict(Counter(ceil(log(s) / log(gamma)) for s in seconds)))


def durations(seconds: Sequence[float], caller: str = "frontend") -> Observation:
    return Observation(
        f'network_seconds{{service="cart",caller="{caller}"}}',
        "cart",
        "duration",
        len(seconds),
        sum(seconds),
        min(seconds),
        max(seconds),
        sketch=sketch(seconds),
        caller=caller,
    )


def requests(count: int, errors: int | None, service: str = "cart") -> Observation:
    return Observation(
        f'requests{{service="{service}"}}', service, "requests", count, errors=errors
    )


def errors(count: int, text: str = "payment <*> was refused by the bank") -> Observation:
    series = 'log{service="cart",severity="ERROR"}'
    return Observation(
        series, "cart", "log", count, severity="ERROR", text=text, example=text.replace("<*>", "7")
    )


def info(count: int = 5) -> Observation:
    series = 'log{service="cart",severity="INFO"}'
    return Observation(series, "cart", "log", count, severity="INFO", text="took an order <*>")


def batch(tick: int, *observations: Observation, source: str = "telemetry/0") -> ObservationBatch:
    return ObservationBatch(source, 0, START_MS + tick * WINDOW_MS, observations)


def stage(
    sources: Sequence[str] = SOURCES[:1],
    detection: Detection | None = None,
    catalogue: Catalogue | None = None,
    windows: Windows | None = None,
) -> Detect:
    return Detect(
        0, sources, windows or Windows(), detection or Detection(), catalogue or Catalogue()
    )


def run(detect: Detect, batches: Sequence[ObservationBatch]) -> list[Anomaly]:
    return [a for said in detect.process(batches) for a in said.anomalies]


def day_of_trouble(ticks: int = 400) -> list[ObservationBatch]:
    """Two sources with gauges, requests, durations and logs, healthy and then not."""
    chance = random.Random(3)
    batches = []
    for tick in range(1, ticks):
        bad = 250 <= tick < 270
        seconds = [chance.lognormvariate(-6, 0.3) + (0.4 if bad else 0) for _ in range(8)]
        told = [requests(20, 8 if bad else 0), durations(seconds), info()]
        if bad:
            told.append(errors(4))
        if tick % 6 == 0:
            told.append(gauge(0.99 if bad else chance.uniform(0.01, 0.03)))
            told.append(gauge(chance.gauss(50, 3), "queue_length"))
        batches.append(batch(tick, *told))
        if tick < 320 and tick % 6 == 1:
            value = chance.gauss(20, 1)
            other = gauge(value, "queue_length", "mail")
            batches.append(batch(tick, other, source="telemetry/1"))
        else:
            batches.append(batch(tick, source="telemetry/1"))
    return batches


def told(said: Sequence[AnomalyBatch]) -> list[AnomalyBatch]:
    """What was said, without mere progress, which depends on how the input was cut."""
    return [b for b in said if b.anomalies or b.calls]


def test_a_resource_at_its_limit_is_told_from_the_first_samples() -> None:
    detect = stage()
    assert (
        run(detect, [batch(6, gauge(0.05)), batch(12, gauge(0.04)), batch(18, gauge(0.06))]) == []
    )
    (anomaly,) = run(detect, [batch(24, gauge(0.99))])
    assert (anomaly.kind, anomaly.opens, anomaly.service) == ("saturation", True, "cart")
    assert anomaly.since_ms == START_MS + 23 * WINDOW_MS
    assert "cpu_usage_ratio of cart-1 is 0.99 of its limit, expected 0 to" in anomaly.reason


def test_a_resource_that_is_always_busy_is_not_told() -> None:
    chance = random.Random(1)
    busy = [batch(6 * i, gauge(chance.uniform(0.75, 0.95))) for i in range(1, 300)]
    assert [a for a in run(stage(), busy) if a.opens and a.window_end_ms > START_MS + 3e6] == []


def test_failures_beyond_the_usual_are_told_with_requests_and_errors() -> None:
    detect = stage()
    run(detect, [batch(i, requests(100, i % 2)) for i in range(1, 60)])
    assert run(detect, [batch(60, requests(100, 3))]) == []
    (said,) = detect.process([batch(61, requests(100, 40))])
    (anomaly,) = said.anomalies
    assert (anomaly.kind, anomaly.requests, anomaly.errors) == ("error_ratio", 100, 40)
    assert said.traffic == (ServiceTraffic("cart", 100, 40),)


def test_a_slow_network_is_told_even_of_few_requests_but_one_slow_request_is_not() -> None:
    chance = random.Random(2)
    detect = stage()
    healthy = [
        batch(i, durations([chance.lognormvariate(-6, 0.4) for _ in range(4)]))
        for i in range(1, 60)
    ]
    assert run(detect, healthy) == []
    assert [a for a in run(detect, [batch(60, durations([0.002, 0.003, 0.9]))]) if a.opens] == []
    slow = [batch(i, durations([0.3, 0.31, 0.29, 0.33])) for i in (61, 62)]
    anomalies = run(detect, slow)
    assert anomalies[-1].kind == "network"
    assert anomalies[-1].opens
    assert anomalies[-1].caller == "frontend"


def test_a_new_error_template_is_told_and_one_that_is_usual_is_not() -> None:
    usual = [batch(i, info(), errors(i % 3, "cart <*> is empty")) for i in range(1, 100)]
    detect = stage()
    assert [a for a in run(detect, usual) if a.opens] == []
    anomalies = run(detect, [batch(i, info(), errors(5)) for i in range(100, 103)])
    assert {a.kind for a in anomalies} == {"new_error_template"}
    assert anomalies[-1].example == "payment 7 was refused by the bank"


def test_logs_and_requests_in_slices_are_neither_missed_nor_news() -> None:
    batches = []
    for piece in range(8):
        for i in range(18):
            tick = 1 + piece * 60 + i
            batches.append(batch(tick, info(), requests(50, None), durations([0.002] * 6)))
    batches.append(batch(2000))
    assert run(stage(), batches) == []


def test_an_instance_that_stops_reporting_is_told_at_its_deadline_and_again() -> None:
    detect = stage()
    run(detect, [batch(6 * i, gauge(0.02)) for i in range(1, 41)])
    said = detect.process([batch(290)])
    silent = [a for b in said for a in b.anomalies if a.kind == "silence"]
    assert silent[0].window_end_ms == START_MS + 270 * WINDOW_MS
    assert silent[0].since_ms == START_MS + 240 * WINDOW_MS
    assert len(silent) == 4
    assert said[-1].window_end_ms == START_MS + 290 * WINDOW_MS


def test_an_instance_that_was_replaced_is_not_missed() -> None:
    detect = stage()
    old = [batch(6 * i, gauge(0.02)) for i in range(1, 41)]
    new = Observation(
        'cpu_usage_ratio{service="cart",instance="cart-2"}',
        "cart",
        "gauge",
        1,
        0.02,
        0.02,
        0.02,
        0.02,
        instance="cart-2",
    )
    assert run(detect, [*old, *(batch(6 * i, new) for i in range(41, 60))]) == []


def test_a_value_that_is_no_number_changes_nothing() -> None:
    detect, other = stage(), stage()
    healthy = [batch(6 * i, gauge(0.02)) for i in range(1, 30)]
    run(detect, healthy)
    run(other, healthy)
    assert run(detect, [batch(180, gauge(float("inf"))), batch(186, gauge(float("nan")))]) == []
    assert run(detect, [batch(192, gauge(0.99))]) == run(other, [batch(192, gauge(0.99))])


def test_an_anomaly_says_how_often_its_series_reports_also_after_a_pause() -> None:
    detect = stage()
    run(detect, [batch(30 * i, gauge(0.02)) for i in range(1, 20)])
    [found] = run(detect, [batch(30 * 20, gauge(0.99))])
    assert found.every_ms == 300_000
    run(detect, [batch(30 * 100, gauge(0.02))])
    assert {a.every_ms for a in run(detect, [batch(30 * 101, gauge(0.99))])} == {300_000}


def test_a_call_is_told_once() -> None:
    detect = stage()
    first = detect.process([batch(1, durations([0.01]))])
    again = detect.process([batch(2, durations([0.01]))])
    assert [(c.caller, c.callee) for c in first[0].calls] == [("frontend", "cart")]
    assert [b.calls for b in again] == [()]


def test_observations_of_a_series_from_two_sources_are_one() -> None:
    apart, together = stage(SOURCES), stage()
    for i in range(1, 40):
        bad = 30 if i > 35 else 0
        one = apart.process(
            [
                batch(i, requests(60, bad)),
                batch(i, requests(40, bad), source="telemetry/1"),
            ]
        )
        other = together.process([batch(i, requests(100, 2 * bad))])
        assert one == other
    assert apart.process([batch(41, requests(50, 50))]) == []


def test_thresholds_follow_the_tier_of_the_service() -> None:
    def opens(tier: int) -> bool:
        catalogue = Catalogue(services=(Service(name="cart", tier=tier),))
        detect = stage(catalogue=catalogue)
        run(detect, [batch(i, requests(100, i % 2)) for i in range(1, 60)])
        (anomaly,) = run(detect, [batch(61, requests(100, 11))])
        assert anomaly.score == pytest.approx(6.4, abs=0.6)
        return anomaly.opens

    assert opens(1)
    assert not opens(4)


def test_a_rule_can_name_any_detector_of_river() -> None:
    rule = DetectorRule(
        series="queue_length*", detector="river.anomaly.GaussianScorer", threshold=0.999
    )
    detect = stage(detection=Detection(rules=(rule,)))
    chance = random.Random(5)
    healthy = [batch(i, gauge(chance.gauss(50, 3), "queue_length")) for i in range(1, 150)]
    assert len([a for a in run(detect, healthy) if a.opens]) <= 2
    (anomaly,) = run(detect, [batch(150, gauge(300, "queue_length"))])
    assert anomaly.opens
    assert "GaussianScorer" in anomaly.reason


def test_a_rule_can_switch_detection_off() -> None:
    off = Detection(rules=(DetectorRule(series="cpu_*", enabled=False),))
    assert run(stage(detection=off), [batch(i, gauge(0.99)) for i in range(6, 60, 6)]) == []


def test_a_detector_that_does_not_exist_is_named_with_those_that_do() -> None:
    wrong = Detection(rules=(DetectorRule(series="*", detector="river.anomaly.HalfSpaceTree"),))
    with pytest.raises(UnknownDetectorError, match=r"rules\[0\].*river.anomaly.HalfSpaceTrees"):
        stage(detection=wrong)


def test_a_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        stage().restore(b"\x91\x63")


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 797), max_size=6), restarts=st.booleans())
def test_neither_cuts_nor_restarts_change_what_is_told(cuts: list[int], restarts: bool) -> None:
    batches = day_of_trouble()
    rules = (DetectorRule(series="queue_length*mail*", detector="river.anomaly.HalfSpaceTrees"),)
    detection = Detection(rules=rules)
    whole = told(stage(SOURCES, detection).process(batches))
    assert {a.kind for b in whole for a in b.anomalies} >= {
        "saturation",
        "error_ratio",
        "network",
        "new_error_template",
    }
    detect, parts = stage(SOURCES, detection), []
    edges = [0, *sorted(cuts), len(batches)]
    for start, end in pairwise(edges):
        parts += detect.process(batches[start:end])
        if restarts:
            snapshot = detect.snapshot()
            detect = stage(SOURCES, detection)
            detect.restore(snapshot)
            assert detect.snapshot() == snapshot
    assert told(parts) == whole


def test_a_rule_silences_what_is_told_of_logs_and_of_silence_too() -> None:
    off = Detection(
        rules=(
            DetectorRule(series="error_log*", enabled=False),
            DetectorRule(series="instance*", enabled=False),
        )
    )
    batches = [batch(i, info(), *([gauge(0.02)] if i % 6 == 0 else [])) for i in range(1, 241)]
    batches += [batch(i, info(), errors(5)) for i in range(241, 300)]
    kinds = {a.kind for a in run(stage(), batches)}
    assert kinds == {"new_error_template", "silence"}
    assert run(stage(detection=off), batches) == []


def test_parameters_of_a_default_rule_reach_the_detector_of_its_kind() -> None:
    def opens(rules: tuple[DetectorRule, ...]) -> bool:
        detect = stage(detection=Detection(rules=rules))
        chance = random.Random(9)
        healthy = [
            batch(i, durations([chance.lognormvariate(-6, 0.4) for _ in range(20)]))
            for i in range(1, 60)
        ]
        return any(a.opens for a in run(detect, [*healthy, batch(60, durations([0.4] * 20))]))

    lenient = DetectorRule(series="network*", parameters={"least_seconds": 1.0})
    assert opens(())
    assert not opens((lenient,))


def test_of_more_series_than_a_shard_watches_the_known_ones_go_on_and_the_rest_is_counted() -> None:
    full, roomy = stage(windows=Windows(max_series=1)), stage()
    known = [batch(6 * i, gauge(0.05)) for i in range(1, 4)]
    assert run(full, known) == run(roomy, known)
    stranger = gauge(0.99, service="mail")
    for i in range(4, 60):
        said = full.process([batch(6 * i, gauge(0.99), stranger)])
        only = roomy.process([batch(6 * i, gauge(0.99))])
        assert said == only
    assert full.series == 1
    assert full.left_out == {
        "unwatched_series": 56,
        "unwatched_logs": 0,
        "unwatched_steps": 0,
        "calls": 0,
    }
    assert roomy.left_out["unwatched_series"] == 0
    assert full.snapshot() == roomy.snapshot()


def test_of_more_calls_than_the_graph_learns_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detect_module, "MAX_EDGES", 1)
    detect = stage()
    said = detect.process([batch(1, durations([0.01], "a"), durations([0.01], "b"))])
    again = detect.process([batch(2, durations([0.01], "a"))])
    assert [c.caller for b in (*said, *again) for c in b.calls] == ["a"]
    assert detect.left_out["calls"] == 1


def test_what_was_not_seen_for_a_fortnight_leaves_nothing_behind() -> None:
    def after(*early: ObservationBatch) -> Detect:
        detect = stage()
        detect.process(early)
        fortnight = 15 * DAY_MS // WINDOW_MS
        detect.process([batch(fortnight), batch(fortnight + DAY_MS // WINDOW_MS)])
        return detect

    passing = [gauge(0.02), gauge(50, "queue_length"), requests(9, 1), info()]
    detect = after(batch(1, *passing), batch(2, gauge(0.03), info()))
    assert detect.series == 0
    assert detect.snapshot() == after(batch(1), batch(2)).snapshot()
    restored = stage()
    restored.restore(detect.snapshot())
    assert restored.snapshot() == detect.snapshot()
