"""The console channel prints blocks of text that cannot steer the terminal."""

import io

from sinks.notifier.channels.channel import Message
from sinks.notifier.channels.console import Console


async def test_a_message_is_a_block_without_escapes() -> None:
    out = io.StringIO()
    message = Message(
        id="m1",
        event_id="e1",
        incident_id="INC-1",
        stage="opened",
        severity="P2",
        recipient="ops",
        audience="engineer",
        address="",
        subject="P2: cart\nis \x1b[31mslow",
        text="one\n\ntwo \x1b[2J\u202e",
        time_ms=0,
    )
    await Console(out).send(message)
    assert out.getvalue().startswith(
        "P2: cart is \ufffd[31mslow  → ops\n  one\n\n  two \ufffd[2J\ufffd\n"
    )
