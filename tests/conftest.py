"""Fixtures that many tests share: brokers, a database server, a browser, golden files."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.brokers import apache
from deploy.brokers.apache import ApacheKafka, ApacheKafkaMissingError
from deploy.brokers.mock import MockBroker


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--update-golden`."""
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write golden files anew instead of comparing; review the difference",
    )


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def mock_broker() -> Iterator[MockBroker]:
    """An embedded broker without topics, new for each test; it starts in a few milliseconds."""
    with MockBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[ApacheKafka]:
    """A real Apache Kafka for the whole run: use topic and group names of the test's own.

    Topics are not created by themselves: call `create_topic`.
    """
    if not apache.available():
        pytest.skip("Apache Kafka needs java (17 or newer) and mvn on the path")
    try:
        apache.jars()
    except ApacheKafkaMissingError as error:
        pytest.skip(str(error))
    with ApacheKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of a PostgreSQL server of this run's own, database `postgres`.

    Tests that need a clean database create a schema or a database of their own in it.
    """
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL's initdb and postgres are neither on the path nor in its folders")
    user = _unprivileged_user()
    if user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-postgres-") as name,
        contextlib.ExitStack() as s,
    ):
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        yield s.enter_context(_postgres(programs, folder, user))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Debian's Chromium, for Playwright's `executable_path`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("Chromium is not on the path")


def _postgres_programs() -> tuple[str, str] | None:
    """initdb and postgres: on the path, or where Debian keeps them (newest version first)."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    initdb, server = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    return (initdb, server) if initdb and server else None


def _unprivileged_user() -> str | None:
    """Whom the server runs as: "" for ourselves, a name if we are root, None if there is none."""
    if os.geteuid() != 0:
        return ""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextlib.contextmanager
def _postgres(programs: tuple[str, str], folder: Path, user: str) -> Iterator[str]:
    initdb, server = programs
    data, log = folder / "data", folder / "postgres.log"
    start = [initdb, "-D", str(data), "-U", "tocsin", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(start, check=True, capture_output=True, user=user or None, cwd=folder)
    port = _free_port()
    options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [server, "-D", str(data), "-p", str(port), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user or None,
            cwd=folder,
        )
    try:
        _await_ready(process, port, log)
        yield f"postgresql+psycopg://tocsin@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(20)


def _await_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Waits until the server says that it is ready."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL does not start on port {port}: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
