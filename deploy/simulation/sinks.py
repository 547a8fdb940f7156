"""The sinks in the simulation: the real ones, on stores in memory and simulated receivers."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette

from deploy.admin import Health
from deploy.simulation.broker import Broker
from deploy.simulation.feeding import SETTINGS, SimulatedPublisher, SimulatedSinkConsumer
from deploy.simulation.process import Process
from deploy.simulation.receivers import Receiver, Webhook
from deploy.simulation.stores import MemoryDatabase, Store
from schemas.configuration import Configuration, Secret
from sinks.case_store import CaseStore
from sinks.case_store.tables import SCHEMA as CASE_STORE
from sinks.notifier import Notifier
from sinks.notifier.tables import SCHEMA as NOTIFIER
from sinks.sink import Publish, Sink
from sinks.status_page import StatusPage
from sinks.status_page.store import SCHEMA as STATUS_PAGE

SCHEMAS = {"notifier": NOTIFIER, "case-store": CASE_STORE, "status-page": STATUS_PAGE}
SECRETS = {"TOKEN": "the token of the simulated case store", "LINKS": "the key of simulated links"}


def resolve(secret: Secret) -> str:
    """The simulation's secrets, which are none."""
    return SECRETS[secret.env or ""]


@dataclass(frozen=True, slots=True)
class Outside:
    """What a sink has to do with. `receivers` are by the names of their webhooks."""

    configuration: Configuration
    broker: Broker
    receivers: Mapping[str, Receiver]


class Life:
    """One life of a sink's process, as `deploy.host.SinkHost` leads it.

    Parameters
    ----------
    store
        Outlives it.
    """

    def __init__(self, outside: Outside, name: str, process: Process, store: Store) -> None:
        store.open(process)
        self.is_up = False
        self.stop = asyncio.Event()
        self._publisher = SimulatedPublisher(outside.broker, process)
        self._sink = make(name, outside.configuration, process, self._publisher, outside.receivers)
        self.consumer = SimulatedSinkConsumer(
            outside.broker, self._sink, SETTINGS, name, Health(store="not opened yet")
        )
        self.pages = Starlette(routes=self._sink.routes())

    async def run(self) -> None:
        """Until `stop` is set. Raises what the sink raises."""
        try:
            await self._sink.start()
            self.is_up = True
            connecting = asyncio.create_task(self._publisher.start())
            consuming = asyncio.create_task(self.consumer.run(self.stop))
            stopping = asyncio.create_task(self.stop.wait())
            try:
                await asyncio.wait([consuming, stopping], return_when=asyncio.FIRST_COMPLETED)
                if consuming.done():
                    consuming.result()
            finally:
                for task in (connecting, consuming, stopping):
                    task.cancel()
                await asyncio.gather(connecting, consuming, stopping, return_exceptions=True)
        finally:
            self.is_up = False
            await self._sink.stop()
            await self._publisher.stop()

    def main(self) -> tuple[Coroutine[Any, Any, None], asyncio.Event]:
        """What a host runs, and what asks it to end."""
        return self.run(), self.stop


def make(
    name: str,
    configuration: Configuration,
    process: Process,
    publish: Publish,
    receivers: Mapping[str, Receiver],
) -> Sink:
    """The sink of a name."""
    database = MemoryDatabase(SCHEMAS[name])
    now_ms = process.now_ms
    if name == "notifier":
        return Notifier(
            configuration,
            resolve=resolve,
            publish=publish,
            now_ms=now_ms,
            database=database,
            channels={f"webhook:{n}": Webhook(r, process) for n, r in receivers.items()},
        )
    if name == "case-store":
        return CaseStore(
            configuration, resolve=resolve, publish=publish, now_ms=now_ms, database=database
        )
    return StatusPage(configuration, resolve=resolve, now_ms=now_ms, database=database)
