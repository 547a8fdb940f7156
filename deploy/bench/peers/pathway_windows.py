"""Pathway: a tumbling window over event time by series, said once, one worker."""

import os
from typing import Any

os.environ.pop("PATHWAY_LICENSE_KEY", None)  # with one it may report to its makers
os.environ.pop("PATHWAY_MONITORING_SERVER", None)

import pathway as pw
from job import WINDOW_MS, Watch, given

job, watch = given(), Watch()


class Event(pw.Schema):
    """A raw event; what another kind of event has is none."""

    time: int
    service: str
    instance: str | None = pw.column_definition(default_value=None)
    metric: str | None = pw.column_definition(default_value=None)
    value: float | None = pw.column_definition(default_value=None)
    operation: str | None = pw.column_definition(default_value=None)
    duration_seconds: float | None = pw.column_definition(default_value=None)
    severity: str | None = pw.column_definition(default_value=None)


settings = {
    "bootstrap.servers": job.servers,
    "group.id": job.group,
    "auto.offset.reset": "earliest",
}
raw = pw.io.kafka.read(settings, job.topic, schema=Event, format="json", autocommit_duration_ms=500)
is_sample, is_call = raw.metric.is_not_none(), raw.duration_seconds.is_not_none()
what = pw.coalesce(raw.metric, pw.if_else(is_call, "duration", "log"))
of_what = pw.if_else(
    is_sample, pw.coalesce(raw.instance, ""), pw.coalesce(raw.operation, raw.severity, "")
)
events = raw.select(
    raw.time,
    series=what + "/" + raw.service + "/" + of_what,
    value=pw.coalesce(raw.value, raw.duration_seconds, 1.0),
)
windows = events.windowby(
    events.time,
    window=pw.temporal.tumbling(duration=WINDOW_MS),
    behavior=pw.temporal.exactly_once_behavior(shift=5_000),
    instance=events.series,
).reduce(
    series=pw.this._pw_instance,
    start=pw.this._pw_window_start,
    count=pw.reducers.count(),
    total=pw.reducers.sum(pw.this.value),
    low=pw.reducers.min(pw.this.value),
    high=pw.reducers.max(pw.this.value),
)
pw.io.kafka.write(windows, settings, job.output, format="json")


def started(*_: object, **__: object) -> None:
    """The engine runs; it tells of records only a batch at a time, so time begins here."""
    watch.begin()


def counted(*, row: dict[str, Any], is_addition: bool, **_: object) -> None:
    """Notes how many records went through; the last one ends it, as the engine would wait."""
    if is_addition and row["count"] == job.events:
        watch.count = row["count"]
        watch.stop()
        os._exit(0)


pw.io.subscribe(pw.debug.table_from_rows(pw.schema_from_types(row=int), [(0,)]), on_change=started)
pw.io.subscribe(events.reduce(count=pw.reducers.count()), on_change=counted)

if __name__ == "__main__":
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
