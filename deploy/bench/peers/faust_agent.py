"""A Faust agent over single events, with a windowed table."""

import os
import sys
from typing import Any

import faust
from job import WINDOW_MS, Watch, add, given, series_of

job, watch = given(), Watch()
app = faust.App(
    job.group,
    broker=f"kafka://{job.servers}",
    store="memory://",
    consumer_auto_offset_reset="earliest",
    topic_disable_leader=True,
    web_enabled=False,
    worker_redirect_stdouts=False,
    topic_partitions=4,
)
raw = app.topic(job.topic, value_serializer="json")
output = app.topic(job.output, value_serializer="json")
sums = app.Table("sums", default=lambda: None, partitions=4)


@app.agent(raw)
async def aggregate(events: Any) -> None:
    """Adds up; what a window held is said when its series' next window begins."""
    async for event in events:
        series, value = series_of(event)
        window = event["time"] // WINDOW_MS
        held = sums[series]
        if held is not None and held[0] != window:
            await output.send(key=series, value=held)
            held = None
        sums[series] = [window, add(held[1] if held else None, value)]
        if watch.one() == job.events:
            watch.stop()
            os._exit(0)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--loglevel=error"]
    app.main()
