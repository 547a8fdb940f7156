"""A worker that reads so many records a second, as one with too little of a machine does.

`python -m tests.deploy.chaos.slow_worker FILE RATE`: FILE is the configuration.
"""

import sys
import time
from pathlib import Path

from deploy.processes import worker
from streams.ingest import Ingest, Ingested
from streams.run import Run


def slow_down(records_per_second: float) -> None:
    """Each record that ingest works through takes its time from now on."""
    process = Ingest.process

    def slowly(self: Ingest, run: Run) -> Ingested:
        time.sleep(len(run) / records_per_second)
        return process(self, run)

    Ingest.process = slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    slow_down(float(sys.argv[2]))
    sys.exit(worker(Path(sys.argv[1])))
