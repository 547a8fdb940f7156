"""The demo's process tree: each part of tocsin as a process of its own, as in production."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

PARTS = ("worker", "notifier", "case-store", "status-page")
GRACE_SECONDS = 3.0
"""How long a part may take to end by itself before it is killed."""


class PartFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """A part of the demo ended by itself; says which, and the end of what it wrote."""


class Children:
    """Starts the parts, watches that they live, and ends them together."""

    def __init__(self, config: Path, environment: Mapping[str, str], folder: Path) -> None:
        self._command = [sys.executable, "-m", "deploy.cli"]
        self._config = config
        self._environment = {**os.environ, **environment}
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._files = ExitStack()

    def start(self, parts: Sequence[str] = PARTS) -> None:
        """Starts parts, also those that were ended; each writes to `<part>.log` in the folder."""
        for part in parts:
            if ended := self._processes.get(part):
                ended.wait()
            log = self._files.enter_context(self.log(part).open("ab"))
            self._processes[part] = subprocess.Popen(  # noqa: S603 - our own command
                [*self._command, part, "-c", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # A group of its own: Ctrl-C reaches the demo alone, which then ends the parts.
                start_new_session=True,
            )

    def pid(self, part: str) -> int:
        """The process id of a part that was started."""
        return self._processes[part].pid

    def log(self, part: str) -> Path:
        """Where a part's output goes."""
        return self._folder / f"{part}.log"

    def check(self) -> None:
        """Raises `PartFailed` if a part has ended."""
        for part, process in self._processes.items():
            if process.poll() is not None:
                tail = self.log(part).read_text(errors="replace").splitlines()[-15:]
                raise PartFailed(
                    f"the {part} ended with exit code {process.returncode}; it wrote last:\n"
                    + "\n".join(tail)
                )

    def stop(self) -> None:
        """Ends all parts: first politely, after `GRACE_SECONDS` for certain."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._files.close()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
