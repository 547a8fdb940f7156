"""`tocsin bench bank` on few series: what it measures, and that its telemetry is what it says."""

from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deploy.bench import bank, bank_rivals
from deploy.bench.bank import BankResult
from deploy.bench.bank_workload import STEP_MS, Fleet
from deploy.cli import app


def test_it_prints_the_bank_beside_its_rivals_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank, "RIVALS", bank_rivals.RIVALS[:2])
    monkeypatch.setattr(bank, "_RIVAL_SAMPLES", 100)
    file = tmp_path / "bank.json"
    code = app(
        ["bench", "bank", "--series", "300", "--ticks", "40", "--json", str(file)],
        result_action="return_value",
    )
    assert code == 0
    result = msgspec.json.decode(file.read_bytes(), type=BankResult)
    assert result.series == 300
    assert result.ticks == 40
    assert 0.95 * 12_000 < result.points < 12_000
    assert result.points_per_second > 0
    assert result.bytes_per_series * 300 >= result.snapshot_bytes * 0.9
    assert [o.name for o in result.others] == [r.name for r in bank_rivals.RIVALS[:2]]
    out = capsys.readouterr().out
    assert "bank of 300 series" in out
    assert "river GaussianScorer" in out


@pytest.mark.parametrize("rival", bank_rivals.RIVALS, ids=lambda rival: rival.name)
def test_every_rival_scores_and_learns_and_holds_some_memory(
    rival: bank_rivals.Rival, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_rivals, "_LEARNT", 20)
    rate, held = bank_rivals.measure(rival, samples=20, seconds=0.2)
    assert rate > 0
    assert held > 100


def test_the_telemetry_is_the_same_each_time_and_has_gaps_spikes_and_days() -> None:
    one, two = Fleet(2000), Fleet(2000)
    ticks = [one.next() for _ in range(20)]
    for (time_ms, values), (again_ms, again) in zip(
        ticks, (two.next() for _ in ticks), strict=True
    ):
        assert time_ms == again_ms
        np.testing.assert_array_equal(values, again)
    assert {b - a for (a, _), (b, _) in pairwise(ticks)} == {STEP_MS}
    missing = np.mean([np.isnan(values).mean() for _, values in ticks])
    assert 0.005 < missing < 0.02
