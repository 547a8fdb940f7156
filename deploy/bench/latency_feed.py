"""What `tocsin bench latency` writes: steady traffic at the pace of the clock, and faults in it.

A process of its own, so that what is measured does not wait for what writes. Started as
`python -m deploy.bench.latency_feed` with a `Plan` as JSON. It writes the history of the services
that will fail, then goes on with them; at the first line on standard input it adds the load, and
lets one service after another fail. It prints a `Fault` as JSON for each, and a `Written` at the
end of its input.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Producer

from deploy.bench.workload import workload

REQUESTS_A_SECOND: Final = 5
"""Of each service that will fail."""

FAULT_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 0.01
_VARIANTS: Final = 64
_TEMPLATES: Final = 50_000
_FIRST_FAULT_SECONDS: Final = 20.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to write. `rate` is events a second of the load, `services` how many fail."""

    servers: str
    topic: str
    partitions: int
    services: int
    rate: float
    fault_every_seconds: float
    history_seconds: int


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A service's first failed request, by its event time, Unix milliseconds."""

    service: str
    first_ms: int


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """Events a second that were written while there was load, and how late the latest was."""

    events_per_second: float
    late_seconds: float


class _Template(NamedTuple):
    """A record but for its time, which stands between `before` and `after`."""

    partition: int
    key: bytes
    before: bytes
    after: bytes


def service_name(number: int) -> str:
    """The service that fails as the `number`-th."""
    return f"till-{number:03}"


def _requests(number: int, partitions: int, *, failed: bool) -> list[_Template]:
    """Requests of a service that nobody is known to call, so that each fault is its own."""
    chance, service = random.Random(number), service_name(number)  # noqa: S311
    made = []
    for variant in range(_VARIANTS):
        fields = {
            "service": service,
            "instance": f"{service}-{variant % 2}",
            "operation": "POST /pay",
            "duration_seconds": round(chance.lognormvariate(-4, 0.4), 6),
            "status": 500 if failed and variant % 2 else 200,
            "trace_id": f"{chance.getrandbits(128):032x}",
        }
        rest = json.dumps(fields, separators=(",", ":"))[1:].encode()
        made.append(_Template(number % partitions, service.encode(), b'{"time":', b"," + rest))
    return made


def _load(partitions: int) -> list[_Template]:
    """The benchmark's workload, before its fault, without calls among its services."""
    made = []
    for event in workload(_TEMPLATES, partitions):
        fields: dict[str, Any] = json.loads(event.value)
        time_ms = fields.pop("time")
        for field in ("caller", "client_duration_seconds"):
            fields.pop(field, None)
        if fields.get("severity") == "ERROR" or fields.get("status") == 500:
            continue
        assert time_ms == event.time_ms
        rest = json.dumps(fields, separators=(",", ":"))[1:].encode()
        made.append(_Template(event.partition, event.key, b'{"time":', b"," + rest))
    return made


class _Writer:
    def __init__(self, plan: Plan) -> None:
        self._topic = plan.topic
        self.failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": plan.servers,
                "linger.ms": 5,
                "batch.num.messages": 2_000,
                "queue.buffering.max.messages": 1_000_000,
                "enable.idempotence": True,
            }
        )

    def write(self, template: _Template, time_ms: int) -> None:
        """Hands a record to Kafka."""
        value = b"%b%d%b" % (template.before, time_ms, template.after)
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value,
                    template.key,
                    partition=template.partition,
                    timestamp=time_ms,
                    on_delivery=self._report,
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def poll(self) -> None:
        """Takes note of what is written."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Until all is written."""
        self._producer.flush(60)

    def _report(self, error: Any, _message: Any) -> None:
        if error is not None:
            self.failed.append(str(error))


class _Feed:
    """Writes what is due, step by step."""

    def __init__(self, plan: Plan, writer: _Writer) -> None:
        self._plan = plan
        self._writer = writer
        self._well = [cycle(_requests(n, plan.partitions, failed=False)) for n in _numbers(plan)]
        self._ill = [cycle(_requests(n, plan.partitions, failed=True)) for n in _numbers(plan)]
        self._load = cycle(_load(plan.partitions))
        self._turn = 0
        self._owed = self._load_owed = 0.0
        self._loaded_at: float | None = None
        self._faults = 0
        self.loaded = 0
        self.late_seconds = 0.0

    def history(self, now: float) -> None:
        """What came before, in order."""
        per_second = REQUESTS_A_SECOND * self._plan.services
        count = self._plan.history_seconds * per_second
        for number in range(count):
            self._one(round((now - (count - number) / per_second) * 1000), now)
            if not number % 1000:
                self._writer.poll()

    def begin_load(self, now: float) -> None:
        """From now on there is load; the first service fails a little later."""
        self._loaded_at = now

    @property
    def loaded_seconds(self) -> float:
        """Since when there has been load."""
        return 0.0 if self._loaded_at is None else time.time() - self._loaded_at

    def step(self, now: float, seconds: float) -> None:
        """What is due of the last so many seconds."""
        time_ms = int(now * 1000)
        self._owed += seconds * REQUESTS_A_SECOND * self._plan.services
        for _ in range(int(self._owed)):
            self._one(time_ms, now)
        self._owed %= 1
        if self._loaded_at is not None:
            self._load_owed += seconds * self._plan.rate
            write = self._writer.write
            for _ in range(int(self._load_owed)):
                write(next(self._load), time_ms)
            self.loaded += int(self._load_owed)
            self._load_owed %= 1
        self._writer.poll()

    def _one(self, time_ms: int, now: float) -> None:
        number = self._turn
        self._turn = (number + 1) % self._plan.services
        if not self._fails(number, now):
            self._writer.write(next(self._well[number]), time_ms)
            return
        template = next(self._ill[number])
        if number == self._faults and b'"status":500' in template.after:
            self._faults += 1
            told = Fault(service=service_name(number), first_ms=time_ms)
            print(msgspec.json.encode(told).decode(), flush=True)
        self._writer.write(template, time_ms)

    def _fails(self, number: int, now: float) -> bool:
        if self._loaded_at is None:
            return False
        since = now - self._loaded_at - _FIRST_FAULT_SECONDS
        begins = number * self._plan.fault_every_seconds
        return begins <= since < begins + FAULT_SECONDS


def _numbers(plan: Plan) -> range:
    return range(plan.services)


def feed(plan: Plan, lines: Iterator[str]) -> Written:
    """Writes until `lines` end; the first of them begins the load."""
    writer = _Writer(plan)
    state = _Feed(plan, writer)
    go, end = threading.Event(), threading.Event()

    def listen() -> None:
        for _ in lines:
            go.set()
        end.set()

    threading.Thread(target=listen, daemon=True).start()
    last = time.time()
    state.history(last)
    while not end.is_set():
        time.sleep(max(0.0, last + _STEP_SECONDS - time.time()))
        now = time.time()
        if go.is_set() and not state.loaded_seconds:
            state.begin_load(now)
        state.step(now, now - last)
        if state.loaded_seconds:
            state.late_seconds = max(state.late_seconds, time.time() - now)
        last = now
    seconds = state.loaded_seconds
    writer.flush()
    if writer.failed:
        raise SystemExit(f"{len(writer.failed)} records not written: {writer.failed[0]}")
    return Written(
        events_per_second=round(state.loaded / seconds) if seconds else 0,
        late_seconds=round(state.late_seconds, 3),
    )


if __name__ == "__main__":
    print(
        msgspec.json.encode(
            feed(msgspec.json.decode(sys.argv[1], type=Plan), iter(sys.stdin.readline, ""))
        ).decode(),
        flush=True,
    )
