"""What stands in a log, and what never does."""

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
import structlog

from deploy import logs
from schemas.configuration import Logging


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    libraries = {
        name: logging.getLogger(name).level for name in ("aiokafka", "numba", *logs.TALKATIVE)
    }
    yield
    root.handlers[:], root.level = handlers, level
    for name, was in libraries.items():
        logging.getLogger(name).setLevel(was)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_our_lines_and_those_of_libraries_look_alike(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Logging(), "notifier")
    structlog.get_logger("sinks.notifier").info("sent", channel="email", attempt=2)
    logging.getLogger("uvicorn.error").warning("closing %s", "socket")
    ours, theirs = lines(capsys)
    assert ours["event"] == "sent"
    assert ours["attempt"] == 2
    assert theirs["event"] == "closing socket"
    for line in (ours, theirs):
        assert line["process"] == "notifier"
        assert {"level", "logger", "timestamp"} <= line.keys()


def test_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Logging(level="WARNING"), "worker")
    structlog.get_logger("a").info("too quiet")
    logging.getLogger("b").info("too quiet")
    structlog.get_logger("a").warning("heard")
    assert [line["event"] for line in lines(capsys)] == ["heard"]


def test_what_libraries_tell_at_every_start_is_for_debugging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Logging(), "worker")
    logging.getLogger("faust.app.base").info("[^App]: Starting...")
    logging.getLogger("faust.app.base").warning("partition lost")
    logs.configure(Logging(level="DEBUG"), "worker")
    logging.getLogger("faust.app.base").info("[^App]: Starting again...")
    logging.getLogger("numba.core.ssa").debug("on stmt: …")
    assert [line["event"] for line in lines(capsys)] == [
        "partition lost",
        "[^App]: Starting again...",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"sasl_password": "s3cr3t-value"},
        {"headers": {"Authorization": "Bearer s3cr3t-value"}},
        {"url": "postgresql://tocsin:s3cr3t-value@db/cases"},
        {"url": "https://page.example/ack?incident=1&token=s3cr3t-value"},
        {"targets": ["smtp://me:s3cr3t-value@mail"]},
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_are_hidden_by_key_and_in_urls(
    capsys: pytest.CaptureFixture[str], fields: dict[str, object], style: str
) -> None:
    logs.configure(Logging(format="json" if style == "json" else "console"), "notifier")
    structlog.get_logger("x").info("configured", **fields)
    written = capsys.readouterr().err
    assert "s3cr3t-value" not in written
    assert logs.HIDDEN in written


def test_a_secret_once_read_is_hidden_in_tracebacks_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.hide("xoxb-very-secret")
    logs.configure(Logging(), "notifier")
    try:
        raise ValueError("no such token: xoxb-very-secret")
    except ValueError:
        logging.getLogger("slack_sdk").exception("cannot call xoxb-very-secret")
    written = capsys.readouterr().err
    assert "xoxb-very-secret" not in written
    assert "ValueError" in written


def test_what_nobody_caught_is_logged_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    logs.hide("xoxb-very-secret")
    logs.configure(Logging(), "notifier")
    error = ValueError("no such token: xoxb-very-secret")
    sys.excepthook(ValueError, error, None)
    thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error))
    thread.start()
    thread.join()
    written = capsys.readouterr().err
    assert "xoxb-very-secret" not in written
    assert [json.loads(line)["event"] for line in written.splitlines()] == ["uncaught", "uncaught"]
