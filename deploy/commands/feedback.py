"""`tocsin feedback`: says that something was no incident, or that there was trouble and none."""

import getpass
import re
import sys
import uuid
from pathlib import Path

from confluent_kafka import KafkaException

from deploy.commands import moments
from deploy.commands.say import give, not_sent, send
from deploy.configuration import load
from deploy.credentials import SecretError
from schemas.incidents import Command
from schemas.times import moment_of, stamp


def run_feedback(
    incident: str | None,
    *,
    not_an_incident: bool,
    missed: str | None,
    since: str | None,
    until: str | None,
    text: str,
    config: Path | None,
    actor: str | None,
) -> int:
    """Sends one or the other; returns the exit code, 2 for what is neither."""
    if incident and not_an_incident and missed is None:
        return give("not_an_incident", incident, config=config, actor=actor, text=text)
    if missed is None or incident or not_an_incident or since is None:
        print(
            "tocsin feedback: say `INC-… --not-an-incident`, or `--missed SERVICE --from TIME`",
            file=sys.stderr,
        )
        return 2
    now_ms = moments.now_ms()
    try:
        from_ms = past(since, now_ms)
        to_ms = past(until, now_ms) if until else now_ms
        if not from_ms <= to_ms <= now_ms:
            raise ValueError("--from must be before --to, and both in the past")
    except ValueError as error:
        print(f"tocsin feedback: {error}", file=sys.stderr)
        return 2
    configuration = load(config)
    command = Command(
        id=str(uuid.uuid4()),
        type="missed",
        incident_id="",
        actor=actor or getpass.getuser(),
        issued_ms=now_ms,
        text=text,
        service=missed,
        from_ms=from_ms,
        to_ms=to_ms,
    )
    try:
        send(configuration, command)
    except (KafkaException, SecretError) as error:
        return not_sent(configuration, error)
    print(
        f"sent: trouble of {missed} from {stamp(from_ms)} to {stamp(to_ms)} UTC was missed; "
        "the worker's log says which thresholds that lowers"
    )
    return 0


def past(when: str, now_ms: int) -> int:
    """Unix ms of a time with its zone, or of a span ago (`2h`, `1h30m`). Raises ValueError."""
    moment_ms = moment_of(when, now_ms)
    is_span = re.match(r"\d+\s*[hm]", when.strip()) is not None
    return 2 * now_ms - moment_ms if is_span else moment_ms
