"""The embedded broker: librdkafka's mock cluster, from the library inside confluent-kafka's wheel.

It speaks Kafka's protocol on loopback (produce, fetch, groups, offsets, idempotent producers) and
keeps everything in memory. What it does not do:

- a consumer group of one member works (with or without static membership), of several does not:
  a follower that syncs after the leader is refused, and a member that leaves holds the group up
  for its session time-out;
- about 5 MB or 100,000 records a partition are kept, older ones are dropped;
- no compaction, no retention times, no admin calls: topics are created by `create_topic`, by the
  command line, or by themselves with 4 partitions when a client first names them;
- nothing survives the process.

The wheel's Python door to it (`test.mock.num.brokers`) cannot set partition counts, so the
library's public C functions (`rdkafka_mock.h`) are called through ctypes.
"""

import argparse
import ctypes
import importlib.metadata
import signal
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

AUTOMATIC_PARTITIONS: Final = 4
"""Partitions of a topic that no one created; fixed in librdkafka."""

_RD_KAFKA_PRODUCER: Final = 0
_ERROR_BYTES: Final = 512


class MockBrokerError(RuntimeError):
    """The embedded broker cannot be started, or refuses what it was asked."""


class MockBroker:
    """An embedded broker in this process; a context manager.

    Parameters
    ----------
    topics
        Topics to create at the start, with their partition counts.
    brokers
        Number of brokers in the mock cluster.
    """

    def __init__(self, topics: Mapping[str, int] | None = None, *, brokers: int = 1) -> None:
        self._topics = dict(topics or {})
        self._brokers = brokers
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the brokers. Raises `MockBrokerError` unless it runs."""
        library, cluster = self._running()
        servers: bytes = library.rd_kafka_mock_cluster_bootstraps(cluster)
        return servers.decode()

    def start(self) -> Self:
        """Starts it and creates the topics. Raises `MockBrokerError`."""
        library = self._library = _librdkafka()
        conf = library.rd_kafka_conf_new()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        library.rd_kafka_conf_set(conf, b"log_level", b"3", error, _ERROR_BYTES)
        self._client = library.rd_kafka_new(_RD_KAFKA_PRODUCER, conf, error, _ERROR_BYTES)
        if not self._client:
            raise MockBrokerError(f"librdkafka does not start: {error.value.decode()}")
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        if not self._cluster:
            self.stop()
            raise MockBrokerError(
                "the mock cluster does not start; is a port on 127.0.0.1 free to listen on?"
            )
        # The default delays a group's first assignment by 3 s, waiting for members.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 100)
        for topic, partitions in self._topics.items():
            self.create_topic(topic, partitions)
        return self

    def create_topic(self, topic: str, partitions: int) -> None:
        """Creates a topic. Raises `MockBrokerError` if it exists or the count is not positive."""
        library, cluster = self._running()
        if partitions < 1:
            raise MockBrokerError(f"topic {topic}: partitions must be at least 1")
        code = library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1)
        if code:
            reason: bytes = library.rd_kafka_err2str(code)
            raise MockBrokerError(f"topic {topic} cannot be created: {reason.decode()}")

    def stop(self) -> None:
        """Ends it; what it held is gone. Stopping twice is harmless."""
        library, self._library = self._library, None
        if library is None:
            return
        if self._cluster:
            library.rd_kafka_mock_cluster_destroy(self._cluster)
        if self._client:
            library.rd_kafka_destroy(self._client)
        self._cluster = self._client = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _running(self) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._cluster is None:
            raise MockBrokerError("the embedded broker is not running; call start() first")
        return self._library, self._cluster


def _librdkafka() -> ctypes.CDLL:
    """The wheel's own librdkafka, with the signatures of the functions that are used."""
    import confluent_kafka  # noqa: F401, PLC0415  (loads the library with what it depends on)

    files = importlib.metadata.files("confluent-kafka") or []
    paths = [file.locate() for file in files if file.name.startswith("librdkafka")]
    if not paths:
        raise MockBrokerError(
            "confluent-kafka holds no librdkafka of its own: install its wheel, not a build "
            "against the system's library"
        )
    try:
        library = ctypes.CDLL(str(paths[0]))
        for name, result, arguments in _SIGNATURES:
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise MockBrokerError(f"{paths[0]} has no mock cluster: {error}") from error
    return library


_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_SIGNATURES: Final[tuple[tuple[str, Any, list[Any]], ...]] = (
    ("rd_kafka_conf_new", _P, []),
    ("rd_kafka_conf_set", _I, [_P, _S, _S, _S, ctypes.c_size_t]),
    ("rd_kafka_new", _P, [_I, _P, _S, ctypes.c_size_t]),
    ("rd_kafka_destroy", None, [_P]),
    ("rd_kafka_err2str", _S, [_I]),
    ("rd_kafka_mock_cluster_new", _P, [_P, _I]),
    ("rd_kafka_mock_cluster_destroy", None, [_P]),
    ("rd_kafka_mock_cluster_bootstraps", _S, [_P]),
    ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [_P, ctypes.c_int32]),
    ("rd_kafka_mock_topic_create", _I, [_P, _S, _I, _I]),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the embedded broker as a process of its own and prints its address."""
    parser = argparse.ArgumentParser(prog="python -m deploy.brokers.mock", description=main.__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC:PARTITIONS", type=_topic)
    topics = dict(parser.parse_args(arguments).topics)
    # Blocked before the library starts its threads, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with MockBroker(topics) as broker:
            print(broker.bootstrap_servers, flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except MockBrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _topic(text: str) -> tuple[str, int]:
    name, _, partitions = text.rpartition(":")
    if not name or not partitions.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form TOPIC:PARTITIONS")
    return name, int(partitions)


if __name__ == "__main__":
    sys.exit(main())
