"""Fills the raw topic of a measurement."""

from typing import Any

from confluent_kafka import Producer

from deploy.bench.task import BenchError, Measured, Stopwatch, Task, peak_rss_mb
from deploy.bench.workload import RawEvent, workload


def load(task: Task) -> Measured:
    """Writes the workload to the raw topic, with event times as Kafka's timestamps."""
    failed: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap_servers,
            "linger.ms": 50,
            "batch.num.messages": 1_000,
            "queue.buffering.max.messages": 200_000,
            "enable.idempotence": True,
        }
    )
    watch = Stopwatch()
    for event in workload(task.events, task.partitions, task.rate, services=task.services):
        _produce(producer, task.topic, event, failed)
    producer.flush(60)
    if failed or len(producer):
        raise BenchError(f"{task.topic}: {len(failed) + len(producer)} records not written")
    seconds, cpu = watch.read()
    return Measured(
        kind="load", events=task.events, seconds=seconds, cpu_seconds=cpu, peak_rss_mb=peak_rss_mb()
    )


def _produce(producer: Producer, topic: str, event: RawEvent, failed: list[str]) -> None:
    def report(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    while True:
        try:
            producer.produce(
                topic,
                event.value,
                event.key,
                partition=event.partition,
                timestamp=event.time_ms,
                on_delivery=report,
            )
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)
