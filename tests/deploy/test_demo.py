"""`tocsin demo` as a user runs it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MARK = "TOCSIN_TEST_MARK"


class Demo:
    """A demo that runs; all that it starts carries a mark in its environment."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.output = folder / "output.txt"
        self._mark = uuid.uuid4().hex
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "demo", *arguments],
                env={**os.environ, MARK: self._mark, "TMPDIR": str(self.temporary)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not happened():
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)

    @property
    def text(self) -> str:
        return self.output.read_text()

    def processes(self) -> list[int]:
        """Every process with the mark that is not yet gone."""
        mark = f"{MARK}={self._mark}".encode()
        return [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and mark in _environment(path)
        ]


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    running = Demo(folder, *arguments)
    try:
        yield running
    finally:
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)
        running.process.wait()


MOMENTS: dict[str, Callable[[Demo], bool]] = {
    "starting": lambda demo: len(demo.processes()) == 5,
    "replaying": lambda demo: "incident opened" in demo.text,
    "showing its pages": lambda demo: "The pages stay up" in demo.text,
}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in Linux's /proc")
@pytest.mark.parametrize(
    ("moment", "number"),
    [*((moment, signal.SIGINT) for moment in MOMENTS), ("replaying", signal.SIGTERM)],
)
def test_the_demo_ends_at_once_and_leaves_nothing_behind(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    with demo(tmp_path, "--speed", "100000" if moment == "showing its pages" else "300") as running:
        running.until(lambda: MOMENTS[moment](running))
        started = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(60) == 0, running.text
        assert time.monotonic() - started < 30  # on a busy machine; else it would go on for ever
        assert running.processes() == []
        assert list(running.temporary.iterdir()) == []
        assert "Traceback" not in running.text
