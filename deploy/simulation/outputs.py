"""What ended workers have said, as a new one reads it before it speaks itself."""

import asyncio
from collections.abc import Collection, Mapping

from faust.types import TP

from deploy.simulation.broker import Broker
from deploy.simulation.process import current
from streams.shell.already import Already, Outputs
from streams.shell.checkpoints import Outgoing


class SimulatedOutputs(Outputs):
    """The real one, on the model of a broker."""

    def __init__(self, broker: Broker) -> None:
        super().__init__({})
        self._broker = broker

    async def since(
        self, starts: Mapping[TP, int], places: Collection[TP]
    ) -> tuple[Already, dict[TP, int]]:
        """What stands on the partitions behind these offsets, and where all `places` end."""
        await current().step()
        await asyncio.sleep(self._broker.delay())
        ends = {tp: self._broker.end(tp) for tp in places}
        await asyncio.sleep(self._broker.delay())
        already = Already()
        for tp, start in starts.items():
            for stored in self._broker.logs[tp].after(start, max(ends[tp] - start, 0)):
                headers = tuple(stored.headers)
                already.add(Outgoing(tp.topic, stored.key, stored.value, headers))
        return already, ends
