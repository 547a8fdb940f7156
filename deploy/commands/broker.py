"""`tocsin broker`: an embedded Kafka with a configuration's topics, to try it without one."""

import signal
import sys
from pathlib import Path

from deploy.brokers.mock import AUTOMATIC_PARTITIONS, MockBroker, MockBrokerError
from deploy.configuration import load
from deploy.topics import partitions_of


def run_broker(config: Path | None) -> int:
    """Runs until Ctrl-C, and says first how the other parts and one's own producer reach it."""
    configuration = load(config)
    raw = {source.topic: AUTOMATIC_PARTITIONS for source in configuration.sources}
    # Blocked before the library starts its threads, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with MockBroker(raw | partitions_of(configuration, raw)) as broker:
            print("# in memory alone, until Ctrl-C; in each other terminal:")
            print(
                f"export TOCSIN_KAFKA_BOOTSTRAP_SERVERS={broker.bootstrap_servers}"
                " TOCSIN_KAFKA_CREATE_TOPICS=false",
                flush=True,
            )
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except MockBrokerError as error:
        print(f"tocsin broker: {error}", file=sys.stderr)
        return 1
    return 0
