"""Saturation, calibration, templates, silence, River's detectors and words."""

import random
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import UnknownDetectorError
from detectors.calibration import FleetCalibrator, TailCalibrator
from detectors.error_logs import LogTemplates
from detectors.registry import Registry
from detectors.river_adapter import RiverDetector, river_class
from detectors.saturation import SaturationDetector, is_utilisation
from detectors.silence import SilenceWatch
from detectors.templates import TemplateTree
from detectors.units import show, show_in_unit
from schemas.configuration import Detection, DetectorRule
from schemas.observations import Observation
from tests.detectors.series import START_MS, gauge, scores

CPU = "cpu_usage_ratio"
RIVER = (
    "river.anomaly.HalfSpaceTrees",
    "river.anomaly.GaussianScorer",
    "river.anomaly.StandardAbsoluteDeviation",
    "river.anomaly.OneClassSVM",
    "river.anomaly.LODA",
)


def test_only_utilisations_can_be_saturated() -> None:
    assert is_utilisation('cpu_usage_ratio{service="cart"}')
    assert not is_utilisation('success_ratio{service="cart"}')
    assert not is_utilisation('latency_p90_seconds{service="cart"}')


def test_a_utilisation_in_per_cent_is_judged_as_its_ratio_is_and_told_in_per_cent() -> None:
    percent = "cpu_utilization_percent"
    shares = [0.1, 0.2, 0.15, 0.2, 0.95, 0.97]
    as_ratio, as_percent = SaturationDetector(), SaturationDetector()
    told = scores(as_percent, [gauge(i, 100 * v, percent) for i, v in enumerate(shares)])
    assert told == pytest.approx(scores(as_ratio, [gauge(i, v, CPU) for i, v in enumerate(shares)]))
    assert told[-1] > 6
    found = as_percent.explain()
    assert found.value == 97
    assert found.expected < found.upper < 97
    assert found.reason.endswith(as_ratio.explain().reason.partition(" is ")[2])


def test_what_counts_processors_one_by_one_has_no_limit_at_one() -> None:
    detector = SaturationDetector()
    assert max(scores(detector, [gauge(i, 2.0 + i % 3, CPU) for i in range(20)])) == 0
    assert detector.score_one(gauge(20, 0.9, CPU)) < 4


def test_the_limit_is_told_after_three_samples_and_the_usual_is_not() -> None:
    detector = SaturationDetector()
    assert max(scores(detector, [gauge(i, 0.25, CPU) for i in range(3)])) == 0
    assert detector.score_one(gauge(3, 0.99, CPU)) > 6.5
    assert detector.explain().confirmed
    assert detector.score_one(gauge(3, 0.6, CPU)) == 0


def test_the_first_sample_of_a_full_resource_is_not_confirmed_and_soon_usual() -> None:
    detector = SaturationDetector()
    said = []
    for i in range(60):
        score = detector.score_one(gauge(i, 0.96, CPU))
        said.append(score > 6 and detector.explain().confirmed)
        detector.learn_one(gauge(i, 0.96, CPU))
    assert not any(said)


def test_a_saturation_that_lasts_is_told_until_it_is_adopted() -> None:
    detector = SaturationDetector()
    chance = random.Random(1)
    scores(detector, [gauge(i, chance.uniform(0.01, 0.05), CPU) for i in range(200)])
    said = scores(detector, [gauge(200 + i, 1.0, CPU) for i in range(300)])
    assert min(said[:60]) > 6
    assert max(said[200:]) < 4


def test_a_true_score_stands_and_an_inflated_one_is_cut() -> None:
    chance = random.Random(1)
    honest, inflated = TailCalibrator(), TailCalibrator(cap=60)
    for _ in range(2000):
        raw = chance.expovariate(2.302585)
        honest.learn(raw)
        inflated.learn(4 * raw)
    assert honest.score(7.0) == pytest.approx(7.0, abs=1.5)
    assert 4 < inflated.score(28.0) < 12
    assert inflated.score(8.0) < 3
    assert honest.score(3.0) <= 3.0


def test_an_outage_counts_once_or_not_at_all() -> None:
    once, never = TailCalibrator(), TailCalibrator(outage_samples=3)
    for calibrator in (once, never):
        for _ in range(500):
            calibrator.learn(0.5)
        for _ in range(50):
            calibrator.learn(40.0)
        calibrator.learn(0.5)
    assert never.score(40.0) == 40.0
    assert 6 < once.score(40.0) < 40.0


def test_noise_of_like_series_is_known_before_a_series_shows_it() -> None:
    fleet = FleetCalibrator()
    others = [TailCalibrator(fleet=fleet) for _ in range(20)]
    for i in range(200):
        for number, other in enumerate(others):
            other.learn(10.0 if (i + 7 * number) % 50 == 0 else 0.2)
        fleet.settle()
    newcomer = TailCalibrator(fleet=fleet)
    newcomer.learn(0.2)
    assert newcomer.score(10.0) < 3
    assert TailCalibrator().score(10.0) == 10.0


words = st.lists(st.sampled_from(["get", "put", "order", "user", "<*>", "failed", "x"]), max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.lists(words, max_size=40), st.integers(0, 40))
def test_a_template_tree_grown_anew_from_its_state_is_the_same(
    lines: list[list[str]], cut: int
) -> None:
    texts = [" ".join(line) for line in lines]
    whole, first, second = TemplateTree(), TemplateTree(), TemplateTree()
    numbers = [whole.add(text) for text in texts]
    before = [first.add(text) for text in texts[:cut]]
    second.load(first.dump())
    assert second.dump() == first.dump()
    assert before + [second.add(text) for text in texts[cut:]] == numbers
    assert second.dump() == whole.dump()


def test_templates_beyond_the_bound_share_one() -> None:
    tree = TemplateTree(most=3)
    numbers = [tree.add(f"{name} alone here {name}") for name in "abcdef"]
    assert numbers == [1, 2, 3, 0, 0, 0]
    assert tree.add("a alone here a") == 1


def line(text: str, count: int, service: str = "cart", severity: str = "ERROR") -> Observation:
    series = f'log{{service="{service}",severity="{severity}"}}'
    return Observation(series, service, "log", count, severity=severity, text=text, example=text)


def watch(logs: LogTemplates, i: int, *lines: Observation) -> list[str]:
    end_ms = START_MS + i * 10_000
    seen = [line("took an order", 3, severity="INFO"), *lines]
    return [
        f.explanation.kind
        for f in logs.process(end_ms - 10_000, end_ms, seen, 4.0)
        if f.explanation.confirmed and f.score >= 6
    ]


def test_a_burst_in_one_window_is_not_confirmed_and_lasting_errors_are() -> None:
    logs = LogTemplates()
    for i in range(60):
        assert watch(logs, i) == []
    assert watch(logs, 60, line("cannot reach the bank", 30)) == []
    for i in range(61, 120):
        watch(logs, i)
    said = [watch(logs, 120 + i, line("out of stock at the depot", 3)) for i in range(6)]
    assert said[:5] == [[]] * 5
    assert said[5] == ["new_error_template"]


def test_errors_after_which_a_service_says_nothing_more_are_told_all_the_same() -> None:
    logs, restored = LogTemplates(), LogTemplates()
    for i in range(60):
        watch(logs, i)
    for i in range(60, 63):
        assert watch(logs, i, line("out of stock at the depot", 3)) == []
    restored.load(msgspec.msgpack.decode(msgspec.msgpack.encode(logs.dump())))
    for one in (logs, restored):
        ends = [START_MS + i * 10_000 for i in range(63, 80)]
        after = [one.process(end_ms - 10_000, end_ms, [], 4.0) for end_ms in ends]
        assert [i for i, found in enumerate(after, 63) if found] == [65]
        assert after[2][0].explanation.confirmed


def test_errors_that_come_from_a_services_start_on_must_last_for_longer() -> None:
    logs = LogTemplates()
    for i in range(60):
        watch(logs, i)
    said = [watch(logs, 90 + i, line("out of stock at the depot", 3)) for i in range(15)]
    assert [i for i, found in enumerate(said) if found] == [12, 13, 14]


def test_errors_that_stop_while_the_service_goes_on_are_not_told() -> None:
    logs = LogTemplates()
    for i in range(60):
        watch(logs, i)
    for i in range(60, 63):
        assert watch(logs, i, line("out of stock at the depot", 3)) == []
    assert [watch(logs, i) for i in range(63, 80)] == [[]] * 17


def test_errors_of_an_earlier_outage_are_told_again_when_they_come_back() -> None:
    logs = LogTemplates()
    for i in range(60):
        watch(logs, i)
    first = [watch(logs, 60 + i, line("out of stock at the depot", 3)) for i in range(12)]
    assert first[-1] == ["new_error_template"]
    for i in range(72, 130):
        assert watch(logs, i) == []
    again = [watch(logs, 130 + i, line("out of stock at the depot", 3)) for i in range(12)]
    assert again[4] == []
    assert again[-1] == ["error_log_rate"]


def test_errors_that_several_services_write_are_not_told_before_they_are_well_known() -> None:
    logs, text = LogTemplates(), "the call of another service has failed"
    for i in range(60):
        watch(logs, i)
    for i in range(12):
        everywhere = [line("took an order", 3, service="web", severity="INFO")]
        everywhere.append(line(text, 3, service="web"))
        said = watch(logs, 60 + i, *everywhere, line(text, 3))
    assert said == []


def test_few_errors_of_a_service_with_little_to_say_are_told() -> None:
    logs = LogTemplates()
    for i in range(400):
        if i % 4 == 0:
            watch(logs, i)
    said = [watch(logs, 400 + 4 * i, line("out of stock at the depot", 1)) for i in range(5)]
    assert said[3] == ["new_error_template"]


def test_errors_that_keep_coming_back_become_usual() -> None:
    logs, told = LogTemplates(), []
    for i in range(480):
        end_ms = START_MS + i * 10_000
        seen = [line("took an order", 3, severity="INFO")]
        if i % 40 >= 32:
            seen.append(line("cannot reach the bank", 3))
        if any(f.score >= 6 for f in logs.process(end_ms - 10_000, end_ms, seen, 4.0)):
            told.append(i // 40)
    assert {0, 1} <= set(told) <= {0, 1, 2, 3}


def test_what_a_forgotten_service_logged_counts_no_more_and_is_new_when_it_returns() -> None:
    text = "out of stock at the depot"

    def watched_service(*, with_other: bool) -> LogTemplates:
        logs = LogTemplates()
        for i in range(60):
            watch(logs, i, line("cannot reach the bank", 1))
            if with_other and i < 20:
                end_ms = START_MS + i * 10_000
                logs.process(end_ms - 10_000, end_ms, [line(text, 2, "mail")], 4.0)
        logs.forget(START_MS + 30 * 10_000)
        return logs

    forgot, never = watched_service(with_other=True), watched_service(with_other=False)
    assert forgot.dump()[1:3] == never.dump()[1:3]
    assert forgot.dump()[4:] == never.dump()[4:]
    restored = LogTemplates()
    restored.load(forgot.dump())
    for i in range(60, 70):
        said = watch(forgot, i, line(text, 3))
        assert said == watch(never, i, line(text, 3)) == watch(restored, i, line(text, 3))
    assert said == ["new_error_template"]


def test_a_service_or_template_beyond_the_bound_is_not_watched_but_counted() -> None:
    full, roomy = LogTemplates(most=1), LogTemplates()
    for i in range(60):
        watch(full, i, line("cannot reach the bank", 1), line("x failed", 2, "mail"))
        watch(roomy, i, line("cannot reach the bank", 1))
    assert full.left_out == 60
    assert full.dump() == roomy.dump()
    watch(full, 60, line("out of stock at the depot", 3))
    assert full.left_out == 61


def watched(*ticks: int, metric: str = "up", instance: str | None = "cart-1") -> SilenceWatch:
    watch = SilenceWatch(10_000, 5)
    for tick in ticks:
        hear(watch, tick, metric, instance)
    return watch


def hear(watch: SilenceWatch, tick: int, metric: str, instance: str | None = "cart-1") -> None:
    label = f',instance="{instance}"' if instance else ""
    series = f'{metric}{{service="cart"{label}}}'
    o = Observation(series, "cart", "gauge", 1, 1, 1, 1, 1, instance=instance)
    watch.heard(o, tick * 10_000)


def test_silence_waits_for_the_learnt_interval_and_repeats() -> None:
    watch = watched(*range(6, 246, 6))
    assert watch.due(2_690_000) == []
    assert watch.next_deadline() == 2_700_000
    (silent,) = watch.due(2_700_000)
    assert (silent.series, silent.since_ms) == (
        'instance{service="cart",instance="cart-1"}',
        2_400_000,
    )
    assert silent.explanation.reason == "cart-1 has not reported for 300 s, expected every 60 s"
    assert watch.next_deadline() == 2_760_000


def test_a_series_that_comes_in_slices_is_never_missed() -> None:
    ticks = [piece * 60 + i for piece in range(30) for i in range(18)]
    assert watched(*ticks).due(50_000_000) == []


def test_a_gauge_that_stops_while_its_instance_goes_on_only_corroborates() -> None:
    watch = SilenceWatch(10_000, 5)
    for tick in range(6, 246, 6):
        hear(watch, tick, "up")
        hear(watch, tick, "queue_length")
    for tick in range(246, 276, 6):
        hear(watch, tick, "up")
    (silent,) = watch.due(2_760_000)
    assert silent.series.startswith("queue_length")
    assert not silent.explanation.confirmed


def test_silence_survives_a_restart() -> None:
    watch, other = watched(*range(6, 246, 6)), SilenceWatch(10_000, 5)
    other.load(watch.dump())
    assert other.dump() == watch.dump()
    assert other.due(2_700_000) == watch.due(2_700_000)


@pytest.mark.parametrize("path", RIVER)
def test_rivers_detectors_tell_an_outlier_and_survive_a_restart(path: str) -> None:
    chance = random.Random(4)
    samples = [gauge(i, chance.gauss(50, 3)) for i in range(1100)]
    detector, restored = (RiverDetector(path, {}, None, 20, 6.0) for _ in range(2))
    said = scores(detector, samples)
    assert sum(s > 6 for s in said) <= 6
    restored.load(detector.dump())
    more = [gauge(1100 + i, v) for i, v in enumerate((50, 49, 53, 400.0, 51))]
    assert scores(restored, more) == scores(detector, more)


def test_a_threshold_in_rivers_own_score_is_where_an_anomaly_begins() -> None:
    path = "river.anomaly.StandardAbsoluteDeviation"
    detector = RiverDetector(path, {}, 5.0, 20, 6.0)
    chance = random.Random(4)
    scores(detector, [gauge(i, chance.gauss(50, 3)) for i in range(200)])
    assert detector.score_one(gauge(200, 60.0)) < 6 < detector.score_one(gauge(200, 70.0))


@pytest.mark.parametrize(
    "path", ["river.anomaly.Nothing", "os.system", "river.stats.Mean", "Half", "river.anomaly.x.y"]
)
def test_what_is_no_detector_of_river_is_refused_with_those_that_are(path: str) -> None:
    with pytest.raises(UnknownDetectorError, match=r"river\.anomaly\.HalfSpaceTrees"):
        river_class(path)


def test_wrong_parameters_are_named_with_those_that_are_taken() -> None:
    rule = DetectorRule(
        series="*", detector="river.anomaly.HalfSpaceTrees", parameters={"trees": 3}
    )
    with pytest.raises(UnknownDetectorError, match=r"trees.*n_trees"):
        Registry(Detection(rules=(rule,)))


def test_river_is_imported_only_if_a_rule_names_one_of_its_detectors() -> None:
    program = (
        "import sys; from detectors.registry import Registry; "
        "from schemas.configuration import Detection, DetectorRule; "
        "Registry(Detection()).detectors('up', 'gauge'); assert 'river' not in sys.modules; "
        "rule = DetectorRule(series='*', detector='river.anomaly.HalfSpaceTrees'); "
        "Registry(Detection(rules=(rule,))); assert 'river' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_wrong_parameters_of_the_default_detector_are_named() -> None:
    rule = DetectorRule(series="*", parameters={"memry": 3})
    with pytest.raises(UnknownDetectorError, match=r"rules\[0\].*memry"):
        Registry(Detection(rules=(rule,)))


def test_numbers_read_well() -> None:
    assert [show(v) for v in (0, 0.98, 1234.5, 0.0041234, -2.5, 1e7)] == [
        "0",
        "0.98",
        "1,230",
        "0.00412",
        "-2.5",
        "10,000,000",
    ]
    assert show_in_unit(0.25, "latency_p90_seconds") == "0.25 s"
    assert show_in_unit(0.25, "cpu_usage_ratio") == "25 %"
