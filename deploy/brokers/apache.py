"""A real Apache Kafka (KRaft, one node) on loopback, for tests and benchmarks.

The jars come from Maven's central repository through `mvn` and are kept in the user's cache
folder, so that only the first start needs the network. Java 17 or newer runs them.
"""

import base64
import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

VERSION: Final = "4.4.0"
_LOGGER_VERSION: Final = "1.7.36"
"""Of slf4j-simple; the same as the slf4j-api that Kafka brings."""

_POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tocsin</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <dependencies>{}
  </dependencies>
</project>
"""
_DEPENDENCY: Final = """
    <dependency>
      <groupId>{}</groupId>
      <artifactId>{}</artifactId>
      <version>{}</version>
    </dependency>"""


class ApacheKafkaError(RuntimeError):
    """Apache Kafka does not start, or refuses what it was asked."""


class ApacheKafkaMissingError(ApacheKafkaError):
    """Java, Maven or the jars are missing."""


class ApacheKafka:
    """One Kafka process on free ports of 127.0.0.1; a context manager.

    `stop` and `start` may be called in turn: address and data stay until `close`.

    Parameters
    ----------
    settings
        Broker settings to add or override, by their names in `server.properties`.
    listeners
        Listeners besides the plain one: their names, in capitals, and security protocols.
    advertised
        What clients of a further listener are told to connect to, `host:port`, where that is not
        the listener itself: a proxy before it.
    cpus
        Processors that Kafka may use; all of them if None.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        listeners: Mapping[str, str] | None = None,
        advertised: Mapping[str, str] | None = None,
        cpus: Set[int] | None = None,
    ) -> None:
        self._settings = dict(settings or {})
        self._protocols = dict(listeners or {})
        self._advertised = dict(advertised or {})
        self._ports: dict[str, int] = {}
        self._cpus = cpus
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the broker; raises `ApacheKafkaError` before the first start."""
        if not self._port:
            raise ApacheKafkaError("Apache Kafka was not started; call start() first")
        return f"127.0.0.1:{self._port}"

    def address(self, listener: str) -> str:
        """`host:port` of a further listener, by its name."""
        return f"127.0.0.1:{self._ports[listener]}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def start(self, timeout_seconds: float = 60) -> Self:
        """Starts Kafka and waits until it answers. Raises `ApacheKafkaError`."""
        command = [_program("java", "a Java 17 runtime"), *_JVM, "-cp", f"{jars()}/*"]
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tocsin-kafka-"))
            self._format(command)
        log = self._folder / "kafka.log"
        with log.open("ab") as output, _affinity(self._cpus):
            self._process = subprocess.Popen(  # noqa: S603
                [*command, "kafka.Kafka", str(self._folder / "server.properties")],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        try:
            self._await_answer(time.monotonic() + timeout_seconds, log)
        except BaseException:
            self.stop()
            raise
        return self

    def create_topic(
        self, topic: str, partitions: int, config: Mapping[str, str] | None = None
    ) -> None:
        """Creates a topic and waits for it. Raises `ApacheKafkaError`."""
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, config=config or {})
        try:
            admin = AdminClient(self._client())
            admin.create_topics([new])[topic].result(timeout=30)
        except KafkaException as error:
            raise ApacheKafkaError(f"topic {topic} cannot be created: {error}") from error

    def stop(self, timeout_seconds: float = 20) -> None:
        """Ends the process by its id; address and data stay for the next `start`."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stops it and removes its data."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder, self._port = None, 0

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _format(self, command: list[str]) -> None:
        """Chooses the ports, writes the settings and formats the data folder."""
        assert self._folder is not None
        self._port, controller, *further = _free_ports(2 + len(self._protocols))
        self._ports = dict(zip(self._protocols, further, strict=True))
        path = self._folder / "server.properties"
        settings = _broker_settings(self._port, controller, self._folder / "data")
        settings |= self._further(settings["listeners"], settings["advertised.listeners"])
        settings |= self._settings
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one word: one random id in 64 begins with a dash and would be taken for an option.
        storage = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(path)]
        done = subprocess.run([*command, *storage], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise ApacheKafkaError(
                f"the data folder cannot be formatted: {_tail(done.stdout + done.stderr)}"
            )

    def _further(self, listeners: str, advertised: str) -> dict[str, str]:
        """The settings that open the further listeners beside those given."""
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"} | self._protocols
        own = {name: self.address(name) for name in self._protocols}
        told = own | self._advertised
        return {
            "listeners": ",".join([listeners, *(f"{k}://{v}" for k, v in own.items())]),
            "advertised.listeners": ",".join(
                [advertised, *(f"{k}://{v}" for k, v in told.items())]
            ),
            "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in protocols.items()),
        }

    def _await_answer(self, deadline: float, log: Path) -> None:
        assert self._process is not None
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ApacheKafkaError(f"Apache Kafka ended at once: {_tail(log.read_text())}")
            if _listens(self._port):
                with contextlib.suppress(KafkaException):
                    if AdminClient(self._client()).list_topics(timeout=1).brokers:
                        return
            time.sleep(0.05)
        raise ApacheKafkaError(f"Apache Kafka does not answer: {_tail(log.read_text())}")

    def _client(self) -> dict[str, str | int]:
        return {"bootstrap.servers": self.bootstrap_servers, "log_level": 2}


def available() -> bool:
    """Whether Java and Maven (or jars fetched before) are there; says nothing of the network."""
    fetched = (_cache() / VERSION).is_dir()
    return bool(shutil.which("java")) and (fetched or bool(shutil.which("mvn")))


def jars() -> Path:
    """The folder of Kafka's jars, fetched if they are not there.

    Raises `ApacheKafkaMissingError`.
    """
    folder = _cache() / VERSION
    if folder.is_dir():
        return folder
    maven = _program("mvn", "Maven")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pom = Path(scratch) / "pom.xml"
        pom.write_text(_POM.format("".join(_DEPENDENCY.format(*line) for line in _JARS)))
        target = Path(scratch) / "jars"
        done = subprocess.run(  # noqa: S603
            [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies",
             f"-DoutputDirectory={target}", "-DincludeScope=runtime"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ApacheKafkaMissingError(
                f"Maven cannot fetch Apache Kafka {VERSION}: {_tail(done.stdout)}"
            )
        # Another process may have been faster; its folder is as good.
        with contextlib.suppress(OSError):
            target.rename(folder)
    return folder


_JARS: Final = (
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.kafka", "kafka-tools", VERSION),
    ("org.slf4j", "slf4j-simple", _LOGGER_VERSION),
)
_JVM: Final = (
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def _broker_settings(port: int, controller: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        # Kafka deletes by the records' own times, and recorded telemetry is old.
        "log.retention.ms": "-1",
        # As in production: whoever needs a topic creates it.
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "100",
        "log.cleaner.backoff.ms": "1000",
    }


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tocsin" / "kafka"


def _program(name: str, what: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ApacheKafkaMissingError(
            f"{name} is not on the path: install {what} to run Apache Kafka here, "
            f"or use the embedded broker"
        )
    return path


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; held together so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def _affinity(cpus: Set[int] | None) -> Iterator[None]:
    """Lends `cpus` to this thread, and so to the process that it starts meanwhile."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _tail(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:]) or "it said nothing"
