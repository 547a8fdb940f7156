"""A receiver of webhooks that honours the idempotency key, and can be down."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self

from deploy.local_server import LocalServer

PATH = "/hook"


class Receiver:
    """Takes each key once: what comes again under it is answered and not taken; a context manager.

    `taken` has the body by key, `repeats` how often a key came again, and `conflicts` the keys that
    came again with another body.
    """

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.repeats: Counter[str] = Counter()
        self.conflicts: set[str] = set()
        self._is_up = True
        self._lock = threading.Lock()
        self._server = LocalServer(self._handler())

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"{self._server.url}{PATH}"

    def down(self) -> None:
        """Closes every connection without an answer until `up`."""
        self._is_up = False

    def up(self) -> None:
        """Answers again."""
        self._is_up = True

    def forget(self) -> None:
        """Begins anew, for another run."""
        with self._lock:
            self.taken.clear()
            self.repeats.clear()
            self.conflicts.clear()
        self.up()

    def take(self, key: str, body: bytes) -> None:
        """One request has come."""
        with self._lock:
            if key not in self.taken:
                self.taken[key] = body
                return
            self.repeats[key] += 1
            if self.taken[key] != body:
                self.conflicts.add(key)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                if not receiver._is_up:
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                receiver.take(self.headers.get("Idempotency-Key", ""), body)
                self.send_response(204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the comparison says what came."""

        return Handler
