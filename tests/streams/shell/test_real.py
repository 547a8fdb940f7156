"""What is compiled is compiled before the first partition comes, so that none waits for it."""

import subprocess
import sys

PROGRAM = """
import msgspec
import numba
from schemas.configuration import Configuration, Source
from streams.native import folds, frames, records
from streams.run import Run
from streams.shell.fetch import read_run
from streams.shell.real import RealStages
from tests.streams.shell.test_fetch import TP, batch, fetched

source = Source(topic="raw")
stages = RealStages(Configuration(sources=(source,)))
compiled = frames.take_apart, records.read, records.in_order, folds.fold
before = [list(function.signatures) for function in compiled]
assert all(before), before

stage = stages.ingest(source, 0)
values = [
    msgspec.json.encode(
        {"time": 1_767_225_600_000 + i * 400, "service": "cart", "metric": "m", "value": i}
        if i % 2
        else {"time": 1_767_225_600_000 + i * 400, "service": "cart", "duration_seconds": 0.1}
    )
    for i in range(200)
]
run, _ = read_run(fetched(batch(0, values), 0), TP, 1_000)
run = Run(run.topic, 0, run.offsets, [-1] * len(run), run.keys, run.values)
assert sum(len(b.observations) for b in stage.process(run).batches) > 2
stage.snapshot()
assert [list(function.signatures) for function in compiled] == before
"""


def test_nothing_is_compiled_once_the_stages_are_made() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
