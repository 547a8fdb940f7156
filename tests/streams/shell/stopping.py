"""A worker in a process of its own that stands still in the middle of a checkpoint.

`python -m tests.streams.shell.stopping FILE FLAG`: FILE holds a configuration as JSON. Once FLAG
exists, the process stops itself when it is about to write a checkpoint of ingest that it has been
confirmed for; when it goes on, it writes that, and stops again.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import uvloop

from schemas.configuration import Configuration
from streams.shell.table import CheckpointTable
from tests.streams.shell.process import main

_put = CheckpointTable.put


def stop_at(flag: Path) -> None:
    """Lets the process stop itself, once."""

    def stops_now(self: CheckpointTable) -> bool:
        if not (self.name.startswith("ingest") and flag.exists()):
            return False
        flag.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)
        return True

    async def put(
        self: CheckpointTable, partition: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        stops = stops_now(self)
        await _put(self, partition, records)
        if stops:
            os.kill(os.getpid(), signal.SIGSTOP)

    CheckpointTable.put = put  # type: ignore[method-assign]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    file, flag = sys.argv[1:]
    stop_at(Path(flag))
    configuration = msgspec.json.decode(Path(file).read_bytes(), type=Configuration)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(configuration, "LimitStages"))
