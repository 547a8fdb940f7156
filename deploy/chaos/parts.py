"""The processes, kept running as a service manager would: what ends is started again."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

RESTART_SECONDS: Final = 0.3
GRACE_SECONDS: Final = 10.0
FULL_BYTES: Final = 4096
"""The longest file of a process whose disk is full."""


@dataclass
class _Part:
    command: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    is_full: bool = False
    starts: int = 0
    ended_at: float = 0.0
    asked: bool = False
    exits: list[int] = field(default_factory=list)


class Parts:
    """Parts of tocsin by name. Each writes to `<name>.log` in the folder.

    Call `tend` often: it starts again what has ended.
    """

    def __init__(self, config: Path, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._parts: dict[str, _Part] = {}
        self._copying: list[threading.Thread] = []

    def add(self, name: str, command: str, environment: Mapping[str, str]) -> None:
        """Makes a part known: `tocsin COMMAND` with its own environment."""
        self._parts[name] = _Part(command, {**os.environ, **environment})

    def start(self, name: str) -> None:
        """Starts it and keeps it running."""
        part = self._parts[name]
        part.wanted = True
        if part.process is None or part.process.poll() is not None:
            self._spawn(name, part)

    def tend(self) -> None:
        """Starts again what has ended and should not have."""
        for name, part in self._parts.items():
            if part.process is None or part.process.poll() is None:
                continue
            if not part.ended_at:
                part.ended_at = time.monotonic()
                if not part.asked:
                    part.exits.append(part.process.returncode)
            if part.wanted and time.monotonic() - part.ended_at >= RESTART_SECONDS:
                self._spawn(name, part)

    def signal(self, name: str, number: int) -> None:
        """Sends a signal, if it runs; SIGTERM and SIGKILL are then no crash of its own."""
        part = self._parts[name]
        if part.process is None or part.process.poll() is not None:
            return
        part.asked = part.asked or number in {signal.SIGTERM, signal.SIGKILL}
        part.process.send_signal(number)

    def leave(self, name: str, number: int) -> None:
        """Ends it by a signal and does not start it again."""
        self._parts[name].wanted = False
        self.signal(name, number)

    def fill_disk(self, name: str, full: bool) -> None:
        """Lets the part's files grow no more (also after its restart), or lets them grow again."""
        part = self._parts[name]
        part.is_full = full
        self._limit(part)

    def runs(self, name: str) -> bool:
        """Whether it runs now."""
        process = self._parts[name].process
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int | None:
        """Process id of a part that was started."""
        process = self._parts[name].process
        return process.pid if process else None

    def exits(self) -> dict[str, list[int]]:
        """Exit codes of ends that nobody asked for, by part."""
        return {name: list(part.exits) for name, part in self._parts.items() if part.exits}

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self._folder / f"{name}.log"

    def stop(self) -> None:
        """Ends all parts: first politely, after `GRACE_SECONDS` for certain."""
        running = [
            p.process for p in self._parts.values() if p.process and p.process.poll() is None
        ]
        for part in self._parts.values():
            part.wanted = False
        for process in running:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in self._copying:
            thread.join(2)

    def _spawn(self, name: str, part: _Part) -> None:
        part.process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "deploy.cli", part.command, "-c", str(self._config)],
            stdin=subprocess.DEVNULL,
            # Through a pipe: a limit to the length of files would cut the log off as well.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=part.environment,
            start_new_session=True,
        )
        part.starts += 1
        part.ended_at, part.asked = 0.0, False
        self._limit(part)
        copying = threading.Thread(target=self._copy, args=(name, part.process), daemon=True)
        copying.start()
        self._copying = [t for t in self._copying if t.is_alive()] + [copying]

    def _copy(self, name: str, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self.log(name).open("ab") as log, process.stdout as said:
            for line in said:
                log.write(line)
                log.flush()

    def _limit(self, part: _Part) -> None:
        if part.process is None or part.process.poll() is not None:
            return
        soft = FULL_BYTES if part.is_full else resource.RLIM_INFINITY
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(
                part.process.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY)
            )
