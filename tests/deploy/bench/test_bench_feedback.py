"""`tocsin bench feedback`: what one half of a recording teaches about the other."""

import json
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from deploy.bench.faults_recordings import Recording
from deploy.bench.feedback import Eagerness, Trial, eager, main
from schemas.anomalies import Anomaly, AnomalyBatch
from schemas.configuration import Configuration, Topics
from schemas.times import iso
from streams.scoring import Fault
from tests.streams.incident_helpers import START, anomaly, batches

ONE_SHARD = Configuration(topics=Topics(observation_shards=1))
HOUR = 3600
FAULTS = (2 * HOUR, 8 * HOUR)
HIDDEN = (4 * HOUR, 10 * HOUR)


def out(service: str, at: int, score: float) -> list[Anomaly]:
    """Half a minute of a plain sign, in the window `at` seconds after the start."""
    series = f'requests{{service="{service}"}}'
    made = [
        anomaly(service, "error_ratio", at + 10 * i, score=score, series=series, opens=score >= 6.5)
        for i in range(3)
    ]
    return [replace(a, threshold=6.5, value=0.5) for a in made]


class Recorded(Trial):
    """Half a day that was detected already: `mail` cries wolf every hour, `cart` fails twice, and
    `store` twice so little that it does not reach the threshold."""

    def _detect(self, progress: object) -> list[AnomalyBatch]:
        wolf = [a for hour in range(12) for a in out("mail", hour * HOUR + 600, 8.0)]
        real = [a for at in FAULTS for a in out("cart", at + 30, 30.0)]
        weak = [a for at in HIDDEN for a in out("store", at + 30, 5.8)]
        return batches([*wolf, *real, *weak], until=12 * HOUR, calls=())


@pytest.fixture
def trial() -> Trial:
    faults = [
        Fault(START + at * 1000, service, "exception")
        for service, times in (("cart", FAULTS), ("store", HIDDEN))
        for at in times
    ]
    recording = Recording("half a day", (), (), faults)
    return Recorded(recording, ONE_SHARD, lambda _: None)


def test_false_alarms_of_the_other_half_go_and_its_faults_are_found_as_before(trial: Trial) -> None:
    for row in trial.rows([Eagerness(0.0)]):
        assert (row.faults, row.false_alarms_told, row.missed_told) == (2, 6, 1)
        assert row.without.false_incidents == 6
        assert row.with_false_alarms.false_incidents == 0
        assert row.without.found == row.with_false_alarms.found == 1


def test_what_was_missed_in_one_half_is_found_in_the_other(trial: Trial) -> None:
    for row in trial.rows([Eagerness(0.0)]):
        assert (row.with_both.found, row.with_both.false_incidents) == (2, 0)


def test_lower_thresholds_find_more_by_themselves(trial: Trial) -> None:
    for row in trial.rows([Eagerness(1.0)]):
        assert row.without.found == row.with_both.found == 2
        assert row.missed_told == 0


def test_the_numbers_are_written_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(1)
    lines = []
    for minute in range(120):
        usage = 0.99 if 80 <= minute < 85 else chance.uniform(0.05, 0.1)
        time_ms = START + minute * 60_000
        sample = {"time": time_ms, "service": "cart", "metric": "cpu_usage_ratio", "value": usage}
        lines.append(json.dumps(sample))
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    fault = f"{iso(START + 80 * 60_000)},cart,cpu_contention\n"
    (tmp_path / "faults.csv").write_text(f"inject_time,service,kind\n{fault}")
    path = tmp_path / "feedback.json"
    assert main([tmp_path], json=path) == 0
    assert "from 2 lower, unconfirmed: false incidents" in " ".join(capsys.readouterr().out.split())
    written = json.loads(path.read_text())
    assert {"rows", "totals"} == set(written)
    assert [total["recall_without"] for total in written["totals"]] == [1.0] * 4
    assert written["totals"][1]["eagerness"] == {"lowered_by": 2.0, "unconfirmed": False}


def test_a_folder_that_is_no_recording_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([tmp_path]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_eagerness_lets_more_open() -> None:
    def opens(score: float, confirmed: bool, unconfirmed: bool = False) -> bool:
        made = replace(anomaly(score=score, opens=False), threshold=6.5, confirmed=confirmed)
        return (
            eager(AnomalyBatch("shard/0", 0, (made,)), Eagerness(1.0, unconfirmed))
            .anomalies[0]
            .opens
        )

    assert opens(5.6, True)
    assert not opens(5.4, True)
    assert not opens(5.6, False)
    assert opens(5.6, False, unconfirmed=True)
