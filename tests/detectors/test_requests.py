"""Detectors of requests: failures, durations and traffic."""

import random

import pytest
from scipy.stats import betabinom, nbinom  # type: ignore[import-untyped]

from detectors.latency import LatencyDetector
from detectors.ratio import ErrorRatioDetector
from detectors.tails import beta_binomial_score, gamma_poisson_scores
from detectors.traffic import TrafficDetector
from tests.detectors.series import durations, requests, scores

CHANCE = random.Random


def healthy(n: int, each: int = 20, seed: int = 1, first: int = 0) -> list[object]:
    chance = CHANCE(seed)
    return [
        durations(first + i, [chance.lognormvariate(-4, 0.5) for _ in range(each)])
        for i in range(n)
    ]


@pytest.mark.parametrize(("k", "n", "a", "b"), [(1, 3, 0.1, 9.9), (30, 100, 1, 99), (7, 7, 3, 40)])
def test_the_tail_of_clumped_failures_is_exact(k: int, n: int, a: float, b: float) -> None:
    assert 10 ** -beta_binomial_score(k, n, a, b) == pytest.approx(betabinom.sf(k - 1, n, a, b))


@pytest.mark.parametrize(("count", "mean", "shape"), [(3, 0.5, 0.5), (40, 20, 5), (2, 20, 5)])
def test_the_tails_of_clumped_counts_are_exact(count: int, mean: float, shape: float) -> None:
    more, fewer = gamma_poisson_scores(count, mean, shape)
    p = shape / (shape + mean)
    assert 10**-more == pytest.approx(nbinom.sf(count - 1, shape, p))
    assert 10**-fewer == pytest.approx(nbinom.cdf(count, shape, p))


def test_one_failure_of_few_requests_is_chance_and_half_of_many_is_not() -> None:
    detector = ErrorRatioDetector()
    scores(detector, [requests(i, 20, int(i % 5 == 0)) for i in range(100)])
    assert detector.score_one(requests(100, 3, 1)) < 2
    assert detector.score_one(requests(100, 20, 10)) > 6
    explanation = detector.explain()
    assert explanation.value == 0.5
    assert explanation.expected == pytest.approx(0.01, abs=0.003)
    assert explanation.reason.startswith("errors of cart: 10 of 20 requests failed (50 %)")


def test_a_service_that_often_fails_is_known_to() -> None:
    chance = CHANCE(1)
    samples = [requests(i, 50, chance.choice((5, 8, 15))) for i in range(500)]
    assert max(scores(ErrorRatioDetector(), samples)[50:]) < 6


def test_requests_without_a_status_say_nothing_of_failures() -> None:
    assert max(scores(ErrorRatioDetector(), [requests(i, 50) for i in range(50)])) == 0


def test_scores_of_healthy_durations_are_rare_at_any_number_of_requests() -> None:
    for each in (1, 3, 30, 300):
        said = scores(LatencyDetector(), healthy(600, each))  # type: ignore[arg-type]
        assert sum(s >= 3 for s in said) <= 3, each
        assert max(said) < 6, each


def test_a_shift_of_all_is_told_at_once_where_requests_are_many() -> None:
    detector = LatencyDetector()
    scores(detector, healthy(30))  # type: ignore[arg-type]
    assert detector.score_one(durations(30, [0.4] * 20)) > 6
    explanation = detector.explain()
    assert explanation.kind == "latency"
    assert explanation.value == pytest.approx(0.4, rel=0.06)
    assert explanation.expected == pytest.approx(0.018, rel=0.15)
    assert explanation.lower < explanation.expected < explanation.upper < 0.1


def test_evidence_of_few_slow_requests_adds_up_over_neighbouring_windows() -> None:
    detector = LatencyDetector()
    scores(detector, healthy(100, 2))  # type: ignore[arg-type]
    said = scores(detector, [durations(100 + i, [0.5, 0.6]) for i in range(4)])
    assert said[0] < 6 < said[-1]
    assert said == sorted(said)


def test_what_is_far_out_is_told_soon_although_few_requests_have_been_seen() -> None:
    near, far = LatencyDetector(), LatencyDetector()
    for detector in (near, far):
        scores(detector, healthy(25, 2))  # type: ignore[arg-type]
    somewhat = scores(near, [durations(25 + i, [0.1, 0.1]) for i in range(3)])
    greatly = scores(far, [durations(25 + i, [2.0, 2.0]) for i in range(3)])
    assert max(somewhat) < 6.5 < max(greatly)


def test_evidence_does_not_carry_over_a_gap() -> None:
    detector = LatencyDetector()
    scores(detector, healthy(100, 2))  # type: ignore[arg-type]
    first, second = scores(detector, [durations(100, [0.5, 0.6]), durations(160, [0.5, 0.6])])
    assert first - 1 < second < first + 0.5


def test_an_outage_does_not_make_slowness_usual_and_the_next_is_told() -> None:
    detector = LatencyDetector()
    scores(detector, healthy(60))  # type: ignore[arg-type]
    for outage in range(6):
        at = 60 + outage * 60
        said = scores(detector, [durations(at + i, [0.4] * 20) for i in range(20)])
        assert min(said) > 6
        calm = scores(detector, healthy(40, first=at + 20, seed=outage))  # type: ignore[arg-type]
        assert max(calm) < 3


def test_lasting_slowness_is_adopted_after_an_hour() -> None:
    detector = LatencyDetector()
    scores(detector, healthy(400))  # type: ignore[arg-type]
    said = scores(detector, [durations(400 + i, [0.4] * 20) for i in range(400)])
    assert min(said[:350]) > 6
    assert max(said[370:]) < 3


def test_a_reference_learnt_while_requests_failed_fast_is_given_up_in_a_quarter_of_an_hour() -> (
    None
):
    detector = LatencyDetector()
    scores(detector, [durations(i, [0.0005] * 20) for i in range(18)])
    said = scores(detector, [durations(18 + i, [0.15, 0.1] * 10) for i in range(120)])
    assert min(said[:85]) > 6
    assert max(said[95:]) < 3


def test_a_reference_learnt_while_requests_were_slow_is_soon_given_up_and_the_next_is_told() -> (
    None
):
    detector = LatencyDetector()
    scores(detector, [durations(i, [0.4] * 20) for i in range(18)])
    assert max(scores(detector, healthy(60, first=18))) < 3  # type: ignore[arg-type]
    assert min(scores(detector, [durations(78 + i, [0.2] * 20) for i in range(4)])[1:]) > 6


def test_requests_that_do_nothing_are_suspiciously_fast() -> None:
    detector = LatencyDetector()
    scores(detector, [durations(i, [0.15, 0.2, 0.25, 0.1] * 5) for i in range(60)])
    assert detector.score_one(durations(60, [0.001] * 20)) > 6
    assert "suspiciously fast" in detector.explain().reason
    detector = LatencyDetector()
    scores(detector, [durations(i, [0.15] * 20, "network_seconds") for i in range(60)])
    assert detector.score_one(durations(60, [0.001] * 20, "network_seconds")) == 0


def test_traffic_is_judged_only_after_half_an_hour_without_a_gap() -> None:
    chance = CHANCE(2)

    def counts(first: int, n: int) -> list[object]:
        return [requests(first + i, round(chance.gauss(200, 20))) for i in range(n)]

    detector = TrafficDetector()
    for piece in range(20):
        said = scores(detector, counts(piece * 60, 18))  # type: ignore[arg-type]
        assert max(said) == 0
    assert detector.score_one(requests(1200, 1)) == 0
    scores(detector, counts(1200, 200))  # type: ignore[arg-type]
    assert max(scores(detector, counts(1400, 100))) < 6  # type: ignore[arg-type]
    said = scores(detector, [requests(1500 + i, 3) for i in range(3)])
    assert min(said) > 6
    assert detector.explain().confirmed
    assert detector.explain().expected == pytest.approx(200, rel=0.1)


def test_more_requests_are_told_but_are_no_outage() -> None:
    detector = TrafficDetector()
    scores(detector, [requests(i, 200 + i % 7) for i in range(300)])
    assert min(scores(detector, [requests(300 + i, 900) for i in range(4)])) > 6
    assert not detector.explain().confirmed
