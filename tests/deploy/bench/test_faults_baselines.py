"""The baselines do what their sources say, so that standing beside them means something."""

from deploy.bench.faults_baselines import SeasonalBands, ThreeSigma, Value
from deploy.bench.faults_suspects import History, random_walk, robust_scaling
from schemas.anomalies import Call
from schemas.configuration import Catalogue
from schemas.observations import Observation, ObservationBatch
from streams.graph import ServiceGraph

MINUTE = 60_000
HOUR = 60 * MINUTE
START = 1_700_000_000_000 // HOUR * HOUR


def fired(rule: Value, values: list[float], step_ms: int = MINUTE) -> list[int]:
    return [
        number
        for number, value in enumerate(values)
        if rule.judge(START + number * step_ms, value) is not None
    ]


def test_three_sigma_fires_at_a_jump_and_not_at_usual_scatter() -> None:
    usual = [10.0 + (number % 3) for number in range(60)]
    assert fired(ThreeSigma(), [*usual, 30.0, 11.0]) == [60]


def test_three_sigma_forgets_what_is_older_than_an_hour() -> None:
    usual = [10.0 + (number % 3) for number in range(30)]
    assert fired(ThreeSigma(), [*usual, *[50.0 + (n % 3) for n in range(90)]])[-1] < 40


def test_the_bands_must_be_left_for_a_minute() -> None:
    usual = [10.0 + (number % 3) for number in range(60)]
    assert fired(SeasonalBands(), [*usual, 90.0, 11.0]) == []
    assert fired(SeasonalBands(), [*usual, 90.0, 90.0]) == [61]


def test_what_comes_at_the_same_hour_every_day_is_within_the_seasonal_band() -> None:
    day = [10.0 + (n % 2) for n in range(144)]
    busy = day[:72] + [40.0] * 6 + day[78:]
    step_ms = 10 * MINUTE
    first = fired(SeasonalBands(), [*day, *busy], step_ms)
    assert first
    again = fired(SeasonalBands(), [*busy, *busy], step_ms)
    assert [number for number in again if number >= 144] == []


def history(**away: float) -> History:
    """Forty windows of usual scatter, then five in which each service is so far away."""
    made = History()
    for number in range(45):
        observations = tuple(
            Observation(
                series=f'depth{{service="{name}"}}',
                service=name,
                kind="gauge",
                count=1,
                sum=10.0 + number % 4 + (further if number >= 40 else 0.0),
            )
            for name, further in sorted(away.items())
        )
        end_ms = START + number * MINUTE
        made.take([ObservationBatch("replay/0", 0, end_ms, observations)])
    return made


def test_robust_scaling_puts_the_furthest_first() -> None:
    made = history(web=20.0, search=60.0, mail=0.0)
    deviations = made.deviations(START + 39 * MINUTE, START + 44 * MINUTE)
    assert robust_scaling(deviations) == ["search", "web", "mail"]


def test_a_random_walk_goes_from_a_caller_to_the_callee_that_is_out_of_order_too() -> None:
    graph = ServiceGraph(Catalogue())
    graph.learn([Call("web", "search"), Call("web", "mail")])
    made = history(web=60.0, search=50.0, mail=0.0)
    deviations = made.deviations(START + 39 * MINUTE, START + 44 * MINUTE)
    assert random_walk(deviations, graph)[0] == "search"
