"""Disturbed in every way, on a real Kafka, the whole comes to what it comes to in peace."""

from pathlib import Path

import pytest

from deploy.brokers import apache
from deploy.chaos.plan import KINDS, plan
from deploy.chaos.run import run

AWAY_SECONDS = 15.0
"""How long the broker is away; `tocsin chaos` lets it be away for a minute."""


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_disturbance_once_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    steps = plan(seed, len(KINDS), away_seconds=AWAY_SECONDS)
    # A third worker that has joined leaves or crashes.
    assert {step.kind for step in steps} >= set(KINDS) - {"join", "leave", "crash"}
    performance, verdict = run(seed, steps, tmp_path)
    assert len(performance.done) == len(KINDS)
    assert verdict.exact, f"{verdict.unfinished} {verdict.examples}; tocsin chaos --seed {seed}"
