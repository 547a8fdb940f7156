"""When what a fault leads to was first seen, by those who wait for it."""

import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec
from confluent_kafka import Consumer

from deploy.local_server import LocalServer
from schemas.anomalies import AnomalyBatch
from schemas.configuration import Configuration
from schemas.incidents import IncidentEvent
from schemas.observations import ObservationBatch

Way = Literal["notification", "page"]
_PATHS: Final[dict[str, Way]] = {"/notification": "notification", "/v2/enqueue": "page"}
_INCIDENT: Final = re.compile(rb"INC-[0-9A-Z]{8}")


def now_ms() -> float:
    """Unix milliseconds."""
    return time.time() * 1000


class Marks:
    """Reads the topics behind the worker as any subscriber does; a context manager.

    All times are Unix milliseconds, of when a record or request had come here.

    Attributes
    ----------
    observed
        By the end of a window, when the last of its observations came.
    found
        By service and the end of a window, when an anomaly that opens incidents came.
    opened
        By service, its first incident and when that came.
    told
        By incident and way, when the first message came.
    """

    def __init__(self, servers: str, configuration: Configuration) -> None:
        topics = configuration.topics
        self.observed: dict[int, float] = {}
        self.found: dict[tuple[str, int], float] = {}
        self.opened: dict[str, tuple[IncidentEvent, float]] = {}
        self.told: dict[tuple[str, Way], float] = {}
        self._readers: dict[str, Callable[[bytes, float], None]] = {
            topics.observations: self._observations,
            topics.anomalies: self._anomalies,
            topics.incident_events: self._incident,
        }
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"{configuration.worker.consumer_group}-marks",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
            }
        )
        self._ending = threading.Event()
        self._reading = threading.Thread(target=self._read, name="marks", daemon=True)
        self._server = LocalServer(self._handler())

    @property
    def url(self) -> str:
        """What `/notification` and PagerDuty's `/v2/enqueue` are under."""
        return self._server.url

    def _read(self) -> None:
        self._consumer.subscribe(list(self._readers))
        while not self._ending.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            at, value = now_ms(), message.value()
            self._readers[message.topic() or ""](value or b"", at)

    def _observations(self, value: bytes, at: float) -> None:
        batch = msgspec.json.decode(value, type=ObservationBatch)
        if not batch.idle:
            self.observed[batch.window_end_ms] = at

    def _anomalies(self, value: bytes, at: float) -> None:
        batch = msgspec.json.decode(value, type=AnomalyBatch)
        for anomaly in batch.anomalies:
            if anomaly.opens:
                self.found.setdefault((anomaly.service, batch.window_end_ms), at)

    def _incident(self, value: bytes, at: float) -> None:
        event = msgspec.json.decode(value, type=IncidentEvent)
        for service in event.incident.services:
            self.opened.setdefault(service, (event, at))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = now_ms()
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                way = _PATHS.get(self.path)
                for incident in set(_INCIDENT.findall(body)) if way is not None else ():
                    told.setdefault((incident.decode(), way), at)  # type: ignore[arg-type]
                answer = b'{"status":"success"}'
                self.send_response(202)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: when it came is all."""

        return Handler

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def start(self) -> None:
        """Reads from now on; the topics must be there."""
        self._reading.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        if self._reading.is_alive():
            self._reading.join(5)
        self._consumer.close()
        self._server.stop()
