"""Bytewax: a tumbling window over event time by series, one worker."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.testing import run_main
from job import WINDOW_MS, Watch, add, given, series_of

job, watch = given(), Watch()
START = datetime(2026, 1, 1, tzinfo=UTC)


def read(message: KafkaSourceMessage[Any, Any]) -> tuple[str, tuple[datetime, float]]:
    """The series, with time and value."""
    event = orjson.loads(message.value)
    series, value = series_of(event)
    watch.one()
    return series, (datetime.fromtimestamp(event["time"] / 1000, UTC), value)


def write(said: tuple[str, tuple[int, list[float] | None]]) -> KafkaSinkMessage[bytes, bytes]:
    """What a window held."""
    series, held = said
    return KafkaSinkMessage(series.encode(), json.dumps(held).encode())


flow = Dataflow("peers")
source = KafkaSource([job.servers], [job.topic], tail=False, batch_size=5_000)
events = op.map("read", op.input("raw", flow, source), read)
windows = windowing.fold_window(
    "sums",
    events,
    windowing.EventClock(lambda x: x[0], wait_for_system_duration=timedelta(seconds=5)),
    windowing.TumblingWindower(timedelta(milliseconds=WINDOW_MS), align_to=START),
    lambda: None,
    lambda held, x: add(held, x[1]),
    lambda a, b: a if b is None else b,
)
kafka.output("out", op.map("write", windows.down, write), brokers=[job.servers], topic=job.output)

if __name__ == "__main__":
    run_main(flow)
    watch.stop()
