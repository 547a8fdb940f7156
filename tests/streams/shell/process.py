"""A worker in a process of its own, to be killed: `python -m tests.streams.shell.process FILE`.

FILE holds a configuration as JSON.
"""

import asyncio
import logging
import sys
from pathlib import Path

import msgspec
import uvloop

from schemas.configuration import Configuration
from streams.shell.worker import Worker
from tests.streams.shell.conftest import LimitStages


async def main(configuration: Configuration) -> None:
    """Works until it is killed."""
    await Worker(configuration, stages=LimitStages(configuration)).run(asyncio.Event())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Configuration)))
