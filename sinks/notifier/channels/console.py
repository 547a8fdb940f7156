"""Messages as blocks of text on the terminal."""

from typing import TextIO

from schemas.printable import one_line, printable
from sinks.notifier.channels.channel import Message, Receipt


class Console:
    """Writes each message as one block; a repeat after a crash shows the same id's text again."""

    messages = 1000.0
    per_seconds = 1.0
    concurrency = 8

    def __init__(self, out: TextIO) -> None:
        self._out = out

    async def send(self, message: Message) -> Receipt:
        """Prints the message with its links and to whom it goes."""
        lines = [f"{one_line(message.subject)}  → {message.recipient}"]
        lines += [f"  {line}" if line else "" for line in message.text.splitlines()]
        lines += ["", *(f"  {link.label}: {link.url}" for link in message.links)]
        self._out.write(printable("\n".join(lines)) + "\n\n")
        self._out.flush()
        return Receipt()

    async def close(self) -> None:
        """The stream is not ours to close."""
