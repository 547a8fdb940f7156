"""Commands of people where there is no case store to send them: what they ask, and when."""

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import msgspec

from deploy.simulation.broker import Broker
from schemas.configuration import Topics
from schemas.incidents import Command, IncidentEvent

_ASKED: Final[tuple[dict[str, Any], ...]] = (
    {"type": "note", "text": "We look into it."},
    {"type": "acknowledge"},
    {"type": "unacknowledge"},
    {"type": "set_severity", "severity": "P2"},
    {"type": "resolve", "text": "It is mended."},
)
_PAUSES_SECONDS: Final = (0.3, 1.0, 3.0)

_event = msgspec.json.Decoder(IncidentEvent)
_encode = msgspec.json.Encoder().encode


async def ask(
    broker: Broker, topics: Topics, chance: random.Random, now_ms: Callable[[], int]
) -> None:
    """Asks something of an incident now and then, for ever."""
    for number in count():
        await asyncio.sleep(chance.choice(_PAUSES_SECONDS) + broker.away_seconds)
        told = broker.values(topics.incident_events)
        if not told:
            continue
        command = Command(
            id=f"asked {number}",
            incident_id=_event.decode(chance.choice(told)).incident_id,
            actor="grace",
            issued_ms=now_ms(),
            **chance.choice(_ASKED),
        )
        broker.append((topics.commands, 0), None, _encode(command))
