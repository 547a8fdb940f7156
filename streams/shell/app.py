"""Faust's app for a worker, as its configuration says."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import faust
from mode.supervisors import CrashingSupervisor

from schemas.configuration import Configuration
from streams.run import Run
from streams.shell.connection import Client, WorkerError, credentials
from streams.shell.table import CheckpointTables
from streams.shell.transport import RunSchema

MAX_REQUEST_BYTES = 16 * 1024 * 1024
REBALANCE_SECONDS = 30.0
"""How long the group waits for a member; less than the watchdog does, or one that hangs would have
all others begin anew."""


def new_app(configuration: Configuration, client: Client) -> faust.App:
    """An app on the transport of runs, without agents and tables.

    Raises `WorkerError` if its folder cannot be made.
    """
    worker, kafka = configuration.worker, configuration.kafka
    _make_folder(worker.data_dir)
    return faust.App(
        worker.consumer_group,
        broker=[f"runs://{server}" for server in kafka.bootstrap_servers.split(",")],
        broker_client_id=kafka.client_id,
        broker_credentials=credentials(client),
        broker_session_timeout=worker.session_timeout_seconds,
        broker_heartbeat_interval=worker.session_timeout_seconds / 4,
        broker_rebalance_timeout=REBALANCE_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=worker.instance_id,
        producer_max_request_size=MAX_REQUEST_BYTES,
        producer_max_batch_size=256 * 1024,
        producer_linger=0.01,
        producer_compression_type="zstd",
        stream_wait_empty=False,
        TableManager=CheckpointTables,
        table_standby_replicas=0,  # Faust's would be kept in memory, as it was written
        store="memory://",
        datadir=Path(worker.data_dir),
        topic_allow_declare=kafka.create_topics,
        topic_replication_factor=kafka.replication_factor,
        topic_disable_leader=True,
        web_enabled=False,
        agent_supervisor=CrashingSupervisor,
        autodiscover=False,
    )


def add_agent(
    app: faust.App, name: str, topics: list[str], body: Callable[[Run], Awaitable[None]]
) -> None:
    """An agent on a stream without automatic acks: a run is acknowledged after its body.

    Faust acknowledges in `finally`, which would take a run as done that has failed.
    """

    async def agent(stream: faust.StreamT) -> None:
        async for event in stream.noack().events():
            await body(event.value)
            event.ack()

    app.agent(app.topic(*topics, schema=RunSchema()), name=name)(agent)


def _make_folder(data_dir: str) -> None:
    """Faust makes the last folder of the path only. Raises `WorkerError`."""
    try:
        Path(data_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkerError(
            f"the folder {data_dir} cannot be made ({error.strerror}); set worker.data_dir to one "
            "that can"
        ) from error
