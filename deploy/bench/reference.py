"""The reference: aiokafka and orjson and nothing else."""

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.bench.task import RUN_RECORDS, BenchError, Measured, Stopwatch, Task, peak_rss_mb


async def bare(task: Task) -> Measured:
    """The loop that anyone would write: aiokafka and orjson, nothing kept."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(task.topic, p) for p in range(task.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        watch, left = Stopwatch(), task.events
        while left:
            fetched = await consumer.getmany(timeout_ms=30_000, max_records=RUN_RECORDS)
            if not fetched:
                raise BenchError(f"{task.topic}: {left} of {task.events} records did not come")
            for records in fetched.values():
                for record in records:
                    orjson.loads(record.value)
                left -= len(records)
        seconds, cpu = watch.read()
    finally:
        await consumer.stop()
    return Measured(
        kind="bare", events=task.events, seconds=seconds, cpu_seconds=cpu, peak_rss_mb=peak_rss_mb()
    )
