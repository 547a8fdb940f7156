"""Playbooks are run once an incident, one at a time a target, and their result reaches the log."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer
from standardwebhooks import Webhook
from werkzeug import Request, Response

from schemas.configuration import Configuration, Incidents, Playbook, Playbooks, Secret
from schemas.incidents import Command
from sinks.playbooks import PlaybookRunner
from sinks.sink import Record
from tests.sinks import examples

NOW_MS = examples.CPU_START_MS + 75_000
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


class Log:
    """The commands topic; it can be away."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.away = False

    async def __call__(
        self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        if self.away:
            raise ConnectionError("the broker is away")
        self.commands.append(msgspec.json.decode(value, type=Command))

    async def results(self, count: int) -> list[tuple[str, str]]:
        """What came of the first `count` runs."""
        await until(lambda: len(self.commands) >= count)
        return [(c.solution, c.text) for c in self.commands]


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@asynccontextmanager
async def running(
    folder: Path, log: Log, *playbooks: Playbook, now_ms: Callable[[], int] = lambda: NOW_MS
) -> AsyncIterator[PlaybookRunner]:
    store = f"sqlite:///{folder}/playbooks.sqlite3"
    runner = PlaybookRunner(
        Configuration(incidents=Incidents(playbooks=playbooks), playbooks=Playbooks(store=store)),
        resolve=lambda _: SECRET,
        publish=log,
        now_ms=now_ms,
    )
    await runner.start()
    try:
        yield runner
    finally:
        await runner.stop()


def opened(offset: int = 0, incident: str = "INC-1", **changes: Any) -> Record:
    known: dict[str, Any] = {"playbook": "restart", "playbook_result": "running"}
    told = examples.cpu_incident(id=incident, **(known | changes))
    return examples.record(examples.event(told, "opened"), offset)


async def test_a_program_that_works_says_so_in_the_log_under_an_id_of_the_run(
    tmp_path: Path,
) -> None:
    log, playbook = Log(), Playbook(name="restart", command=python("print('up again')"))
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened()])
        assert await log.results(1) == [("worked", "The playbook restart worked: up again")]
    (command,) = log.commands
    assert (command.id, command.type, command.incident_id, command.actor) == (
        "INC-1/restart/result",
        "playbook_result",
        "INC-1",
        "playbook restart",
    )


@pytest.mark.parametrize(
    ("command", "limit", "says"),
    [
        (python("raise SystemExit('no such unit')"), 20, "exit code 1: no such unit"),
        (python("import time; time.sleep(60)"), 0.5, "stopped after 0.5 s"),
        (("/no/such/program",), 5, "FileNotFoundError"),
        (python("print('\\x1b[31mred\\x00'); raise SystemExit(3)"), 20, "exit code 3: [31mred"),
    ],
)
async def test_a_program_that_fails_says_why(
    tmp_path: Path, command: tuple[str, ...], limit: float, says: str
) -> None:
    log = Log()
    playbook = Playbook(name="restart", command=command, time_limit_seconds=limit)
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened()])
        ((solution, text),) = await log.results(1)
    assert solution == "failed"
    assert says in text


async def test_nothing_of_telemetry_reaches_the_program(tmp_path: Path) -> None:
    log = Log()
    code = "import os, sys; print(sorted(k for k in os.environ if 'TOCSIN' in k), sys.argv[1:])"
    playbook = Playbook(name="restart", command=(*python(code), "a fixed word"))
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened(services=("$(reboot)",), title="`reboot`")])
        ((_, text),) = await log.results(1)
    assert "['TOCSIN_INCIDENT', 'TOCSIN_PLAYBOOK', 'TOCSIN_SEVERITY'] ['a fixed word']" in text


async def test_a_repeat_and_a_restart_run_nothing_twice(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    log, playbook = (
        Log(),
        Playbook(name="restart", command=python(f"open({str(marks)!r}, 'a').write('x')")),
    )
    for _ in range(2):
        async with running(tmp_path, log, playbook) as runner:
            await runner.apply([opened(), opened(1)])
            await log.results(1)
            await asyncio.sleep(0.1)
    assert marks.read_text() == "x"
    assert len(log.commands) == 1


async def test_what_was_interrupted_is_not_run_again_and_lets_the_alert_go(
    tmp_path: Path,
) -> None:
    log = Log()
    slow = Playbook(name="restart", command=python("import time; time.sleep(30)"))
    async with running(tmp_path, log, slow) as runner:
        await runner.apply([opened()])
        await until(lambda: bool(runner._under_way))
        await asyncio.sleep(0.3)
        for task in runner._under_way.values():
            task.cancel()  # as if the process were killed: nothing more is noted
    async with running(tmp_path, log, slow):
        ((solution, text),) = await log.results(1)
    assert solution == "failed"
    assert "was interrupted, and is not run twice" in text


async def test_two_of_one_target_do_not_run_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = f"import os, time\nos.mkdir({str(lock)!r}); time.sleep(0.2); os.rmdir({str(lock)!r})"
    log, playbook = Log(), Playbook(name="restart", command=python(code), target="cart")
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened(0, "INC-1"), opened(1, "INC-2"), opened(2, "INC-3")])
        assert {solution for solution, _ in await log.results(3)} == {"worked"}


async def test_a_result_that_kafka_does_not_take_is_told_later_without_running_again(
    tmp_path: Path,
) -> None:
    marks = tmp_path / "marks"
    log, playbook = (
        Log(),
        Playbook(name="restart", command=python(f"open({str(marks)!r}, 'a').write('x')")),
    )
    log.away = True
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened()])
        await until(marks.exists)
        await asyncio.sleep(0.3)
    log.away = False
    async with running(tmp_path, log, playbook):
        assert [solution for solution, _ in await log.results(1)] == ["worked"]
    assert marks.read_text() == "x"


async def test_what_was_asked_for_long_ago_is_not_run_any_more(tmp_path: Path) -> None:
    log, playbook = Log(), Playbook(name="restart", command=python("print('too late')"))
    later = NOW_MS + 601_000
    async with running(tmp_path, log, playbook, now_ms=lambda: later) as runner:
        await runner.apply([opened()])
        ((solution, text),) = await log.results(1)
    assert (solution, "too long ago" in text) == ("failed", True)


async def test_what_waited_for_its_target_too_long_is_not_run_any_more(tmp_path: Path) -> None:
    marks, go, clock = tmp_path / "marks", tmp_path / "go", [NOW_MS]
    code = (
        f"import os, time\nopen({str(marks)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    )
    log, playbook = Log(), Playbook(name="restart", command=python(code))
    async with running(tmp_path, log, playbook, now_ms=lambda: clock[0]) as runner:
        await runner.apply([opened(0, "INC-1"), opened(1, "INC-2")])
        await until(marks.exists)
        clock[0] += 601_000
        go.touch()
        results = await log.results(2)
    assert [solution for solution, _ in results] == ["worked", "failed"]
    assert "was asked for too long ago" in results[1][1]
    assert marks.read_text() == "x"


async def test_what_was_left_by_a_process_that_stopped_is_not_run_a_day_later(
    tmp_path: Path,
) -> None:
    marks, log = tmp_path / "marks", Log()
    code = f"import time; open({str(marks)!r}, 'a').write('x'); time.sleep(0.3)"
    playbook = Playbook(name="restart", command=python(code))
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened(0, "INC-1"), opened(1, "INC-2")])
        await until(marks.exists)
    log = Log()
    later = NOW_MS + 86_400_000
    async with running(tmp_path, log, playbook, now_ms=lambda: later):
        ((solution, text),) = await log.results(1)
    assert (solution, "too long ago" in text) == ("failed", True)
    assert marks.read_text() == "x"


@pytest.mark.parametrize("state", ["resolved", "closed"])
async def test_what_waits_is_not_run_once_its_incident_is_over(tmp_path: Path, state: str) -> None:
    marks, go = tmp_path / "marks", tmp_path / "go"
    code = (
        f"import os, time\nopen({str(marks)!r}, 'a').write('x')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    )
    log, playbook = Log(), Playbook(name="restart", command=python(code))
    ended = examples.cpu_incident(
        id="INC-2", playbook="restart", playbook_result="running", state=state
    )
    async with running(tmp_path, log, playbook) as runner:
        await runner.apply([opened(0, "INC-1"), opened(1, "INC-2")])
        await until(marks.exists)
        await runner.apply([examples.record(examples.event(ended, "resolved"), 2)])
        go.touch()
        results = await log.results(2)
    assert {c.incident_id: c.solution for c in log.commands} == {
        "INC-1": "worked",
        "INC-2": "failed",
    }
    assert "was not begun before the incident was over" in results[1][1]
    assert marks.read_text() == "x"


async def test_a_webhook_is_signed_and_its_answer_counts(
    tmp_path: Path, httpserver: HTTPServer
) -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append(Webhook(SECRET).verify(request.data, headers))
        return Response("restarted 3 pods", 200 if len(seen) == 1 else 500)

    httpserver.expect_request("/run").respond_with_handler(answer)
    log = Log()
    playbook = Playbook(
        name="restart", webhook=httpserver.url_for("/run"), secret=Secret(env="SECRET")
    )
    now_ms = int(time.time() * 1000)  # a receiver takes no signature that is old
    async with running(tmp_path, log, playbook, now_ms=lambda: now_ms) as runner:
        await runner.apply([replace(opened(0, "INC-1"), timestamp_ms=now_ms)])
        await log.results(1)
        await runner.apply([replace(opened(1, "INC-2"), timestamp_ms=now_ms)])
        assert await log.results(2) == [
            ("worked", "The playbook restart worked: HTTP 200: restarted 3 pods"),
            ("failed", "The playbook restart failed: HTTP 500: restarted 3 pods"),
        ]
    assert seen[0] == {
        "id": "INC-1/restart",
        "playbook": "restart",
        "incident_id": "INC-1",
        "severity": "P2",
    }


async def test_it_stops_in_the_very_moment_when_something_is_asked(tmp_path: Path) -> None:
    """`asyncio.wait_for` of Python 3.11 swallows a cancelling that meets a result."""
    async with running(tmp_path, Log(), Playbook(name="restart", command=python(""))) as runner:
        await asyncio.sleep(0.1)  # until it waits
        await runner.apply([opened()])
        done, _ = await asyncio.wait([asyncio.create_task(runner.stop())], timeout=20)
        assert done
