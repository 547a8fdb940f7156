"""Structured logs on standard error, for our own code and for every library that logs.

structlog renders both: what comes through the standard library (faust, aiokafka, uvicorn,
apprise, alembic) is bridged, so one process writes one format. Secrets are hidden before anything
is written: by the name of a field, as user information in a URL, and by their value once
`deploy.credentials` has read them.
"""

import logging
import logging.config
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.configuration import Logging
from sinks.redaction import HIDDEN, SECRET_KEY, hide, redact

__all__ = ["HIDDEN", "configure", "hide", "redact"]

TALKATIVE: Final = (
    "alembic",
    "faust",
    "mode",
    "uvicorn",
    # Faust's services too, with some of ours in them.
    "streams.shell.consumer_thread",
    "streams.shell.table",
    "streams.shell.transport",
)
"""They tell dozens of lines at every start that no reader of logs can use; at DEBUG one may."""


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        # The bridge's own entries (`_record`, …) are objects, dropped before rendering.
        key: item if key.startswith("_") else HIDDEN if SECRET_KEY.search(key) else redact(item)
        for key, item in event.items()
    }


def configure(settings: Logging, process: str) -> None:
    """Sets up logging for this process; `process` is its name in every line.

    Replaces whatever handlers the root logger had.
    """
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _name_process(process),
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_renderers(settings),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    # Warnings of the aiokafka kind repeat for every retry; ours say it once, with the reason.
    logging.getLogger("aiokafka").setLevel(max(root.level, logging.ERROR))
    # Compiling, it tells tens of thousands of lines, for which the watchdog would not wait.
    logging.getLogger("numba").setLevel(max(root.level, logging.WARNING))
    for library in TALKATIVE:
        least = logging.DEBUG if settings.level == "DEBUG" else logging.WARNING
        logging.getLogger(library).setLevel(max(root.level, least))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Python's own traceback would show secrets that the error's text holds."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger("deploy").critical("uncaught", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_value is not None:
        _log_uncaught(caught.exc_type, caught.exc_value, caught.exc_traceback)


def _name_process(process: str) -> Processor:
    def name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return name


def _renderers(settings: Logging) -> list[Processor]:
    """Tracebacks become text before redaction, so that no secret hides in one."""
    text_tracebacks = structlog.processors.format_exc_info
    if settings.format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        return [text_tracebacks, _redact_event, renderer]
    return [text_tracebacks, _redact_event, structlog.processors.JSONRenderer()]
