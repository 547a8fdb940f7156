"""A worker in a process of its own, to be killed.

`python -m tests.streams.shell.process FILE STAGES`: FILE holds a configuration as JSON, STAGES is
LimitStages or RealStages.
"""

import asyncio
import logging
import sys
from pathlib import Path

import msgspec
import uvloop

from schemas.configuration import Configuration
from streams.shell.real import RealStages
from streams.shell.worker import Worker
from tests.streams.shell.conftest import LimitStages

STAGES: dict[str, type[LimitStages] | type[RealStages]] = {
    "LimitStages": LimitStages,
    "RealStages": RealStages,
}


async def main(configuration: Configuration, stages: str) -> None:
    """Works until it is killed."""
    await Worker(configuration, stages=STAGES[stages](configuration)).run(asyncio.Event())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    file, stages = sys.argv[1:]
    configuration = msgspec.json.decode(Path(file).read_bytes(), type=Configuration)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(configuration, stages))
