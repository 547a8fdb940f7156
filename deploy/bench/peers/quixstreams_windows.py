"""Quix Streams: a tumbling window over event time by series."""

import os
from typing import Any

from job import WINDOW_MS, Watch, add, given, series_of
from quixstreams import Application

job, watch = given(), Watch()
app = Application(
    broker_address=job.servers,
    consumer_group=job.group,
    auto_offset_reset="earliest",
    loglevel="ERROR",
    state_dir=f"{job.group}-state",
)
raw = app.topic(
    job.topic, value_deserializer="json", timestamp_extractor=lambda value, *_: value["time"]
)
output = app.topic(job.output, value_serializer="json")


def by_series(held: dict[str, list[float]], event: dict[str, Any]) -> dict[str, list[float]]:
    """The sums of a service's series with one event more; records are keyed by service."""
    series, value = series_of(event)
    held[series] = add(held.get(series), value)
    return held


def counted(_: object) -> None:
    """Notes that a record went through; the last one ends it, as `run(count=…)` lingers."""
    if watch.one() == job.events:
        watch.stop()
        os._exit(0)


frame = app.dataframe(raw)
windows = frame.tumbling_window(WINDOW_MS, grace_ms=5_000).reduce(
    by_series, lambda event: by_series({}, event)
)
windows.final().to_topic(output)
frame.update(counted)

if __name__ == "__main__":
    app.run()
