"""Doing what a playbook says: a signed webhook, or a program from the configuration."""

import asyncio
import contextlib
import os
import signal
from typing import Literal, NamedTuple

import aiohttp
import msgspec

from schemas.configuration import Playbook
from sinks.outgoing import Outgoing
from sinks.redaction import redact_text
from sinks.signing import Signed

LONGEST_OUTPUT = 65_536
LONGEST_TEXT = 500


class Outcome(NamedTuple):
    """What came of a run, and a sentence or the last line of what it said."""

    result: Literal["worked", "failed"]
    text: str


class Asked(msgspec.Struct, frozen=True):
    """What a webhook is told; `id` is the same should it ever be told twice."""

    id: str
    playbook: str
    incident_id: str
    severity: str


async def act(playbook: Playbook, asked: Asked, signed: Signed, outgoing: Outgoing) -> Outcome:
    """Runs the playbook within its time limit; never raises for what the playbook does."""
    try:
        async with asyncio.timeout(playbook.time_limit_seconds):
            if playbook.webhook is not None:
                session = outgoing.session(playbook.time_limit_seconds)
                return await _post(session, playbook.webhook, asked, signed)
            return await _execute(playbook.command, asked)
    except TimeoutError:
        return Outcome("failed", f"stopped after {playbook.time_limit_seconds:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Outcome("failed", redact_text(f"{type(error).__name__}: {error}")[:LONGEST_TEXT])


async def _post(session: aiohttp.ClientSession, url: str, asked: Asked, signed: Signed) -> Outcome:
    """2xx is success; redirects are not followed."""
    body = msgspec.json.encode(asked)
    headers = {"Content-Type": "application/json", **signed.headers(asked.id, body)}
    async with (
        session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        said = last_line(await answer.content.read(LONGEST_OUTPUT))
        worked = 200 <= answer.status < 300
        text = f"HTTP {answer.status}" + (f": {said}" if said else "")
        return Outcome("worked" if worked else "failed", text[:LONGEST_TEXT])


async def _execute(command: tuple[str, ...], asked: Asked) -> Outcome:
    """Exit code 0 is success. The incident's id is in the environment, nothing of telemetry is."""
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "TOCSIN_INCIDENT": asked.incident_id,
        "TOCSIN_SEVERITY": asked.severity,
        "TOCSIN_PLAYBOOK": asked.playbook,
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = await _tail(process.stdout)
        code = await process.wait()
    finally:
        # Whatever it has started goes with it, also when the time limit cuts it short.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    said = last_line(output)
    if code == 0:
        return Outcome("worked", said or "exit code 0")
    return Outcome("failed", f"exit code {code}" + (f": {said}" if said else ""))


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    """The end of what a program prints, however much that is."""
    kept = b""
    while stream is not None and (chunk := await stream.read(LONGEST_OUTPUT)):
        kept = (kept + chunk)[-LONGEST_OUTPUT:]
    return kept


def last_line(output: bytes) -> str:
    """The last line that says anything, printable, short and without secrets of ours."""
    lines = output.decode("utf-8", "replace").splitlines()
    said = redact_text(next((line for line in reversed(lines) if line.strip()), ""))
    return "".join(c if c.isprintable() else " " for c in said).strip()[:LONGEST_TEXT]
