"""What the sinks of a run still have to do."""

from collections.abc import Mapping

from deploy.simulation.broker import Broker
from deploy.simulation.stores import Store
from schemas.configuration import Topics

_UNSENT = (
    "SELECT message_id, state FROM notifier_message WHERE state IN ('waiting', 'sending', 'held')"
)
_UNPUBLISHED = "SELECT count(*) FROM notifier_delivery"
_POSITIONS = {
    "notifier": "SELECT topic, partition, next_offset FROM notifier_position",
    "case-store": "SELECT topic, partition, next_offset FROM position",
    "status-page": "SELECT topic, partition, next_offset FROM status_page_positions",
}


def left_of_sinks(topics: Topics, broker: Broker, stores: Mapping[str, Store]) -> list[str]:
    """What the stores do not hold yet of their topics, and what is still to be sent."""
    left = [
        f"{topic}/{p} at {sink}"
        for sink, read in _read_by_sinks(topics).items()
        for topic in read
        for p in range(broker.partitions[topic])
        if _next_offset(stores[sink], sink, topic, p) < broker.end((topic, p))
    ]
    rows = stores["notifier"].rows
    left += [f"message {id} is {state}" for id, state in rows(_UNSENT)]
    left += [f"{count} records to publish" for (count,) in rows(_UNPUBLISHED) if count]
    return left


def _read_by_sinks(topics: Topics) -> dict[str, tuple[str, ...]]:
    events = (topics.incident_events,)
    return {
        "notifier": (*events, topics.silence_events),
        "case-store": (*events, topics.deliveries),
        "status-page": events,
    }


def _next_offset(store: Store, sink: str, topic: str, partition: int) -> int:
    rows = store.rows(_POSITIONS[sink])
    return next((o for t, p, o in rows if (t, p) == (topic, partition)), 0)
