"""A storm: contacts get no more than their limit, and nothing is unaccounted for."""

from pathlib import Path

import msgspec
import pytest

from deploy.bench.storm import Result, run_storm


def test_a_storm_reaches_each_contact_within_the_limit_and_leaves_nothing_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "storm.json"
    assert run_storm(alerts=120, limit=6, per_seconds=120, json=out) == 0
    result = msgspec.json.decode(out.read_bytes(), type=Result)
    assert (result.alerts, result.unaccounted, result.over_limit) == (120, 0, 0)
    assert 0 < result.longest_wait_seconds < result.intake_seconds + 1
    for contact in result.contacts:
        assert 0 < contact.messages <= 12
        assert contact.most_in_a_span <= 6
    assert "0 unaccounted, 0 over the limit" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_ten_thousand_alerts_in_a_minute(tmp_path: Path) -> None:
    out = tmp_path / "storm.json"
    assert run_storm(alerts=10_000, limit=20, per_seconds=300, json=out) == 0
    result = msgspec.json.decode(out.read_bytes(), type=Result)
    assert (result.alerts, result.unaccounted, result.over_limit) == (10_000, 0, 0)
