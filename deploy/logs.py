"""Structured logs on standard error, for our own code and for every library that logs.

structlog renders both: what comes through the standard library (faust, aiokafka, uvicorn,
apprise, alembic) is bridged, so one process writes one format. Secrets are hidden before anything
is written: by the name of a field, as user information in a URL, and by their value once
`deploy.credentials` has read them.
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.configuration import Logging

HIDDEN: Final = "[hidden]"

_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)|secret|token|authorization|api_?key|credential|cookie|private_?key",
    re.IGNORECASE,
)
_USER_INFORMATION: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SECRET_PARAMETER: Final = re.compile(
    r"(?i)\b(password|secret|token|signature|sig|api_?key)=[^&\s\"']+"
)
_SHORTEST_HIDDEN_VALUE: Final = 4
"""Shorter values would hide half of every sentence."""

TALKATIVE: Final = (
    "alembic",
    "faust",
    "mode",
    "uvicorn",
    # Faust's services too, with some of ours in them.
    "streams.shell.table",
    "streams.shell.transport",
)
"""They tell dozens of lines at every start that no reader of logs can use; at DEBUG one may."""

_hidden_values: set[str] = set()


def hide(value: str) -> None:
    """From now on, `value` is never written to a log of this process."""
    if len(value) >= _SHORTEST_HIDDEN_VALUE:
        _hidden_values.add(value)


def redact(value: Any) -> Any:
    """`value` without the secrets in it; containers are gone through."""
    if isinstance(value, str):
        return _redact_text(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _SECRET_KEY.search(str(key)) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return value


def _redact_text(text: str) -> str:
    for value in _hidden_values:
        text = text.replace(value, HIDDEN)
    text = _USER_INFORMATION.sub(HIDDEN, text)
    return _SECRET_PARAMETER.sub(rf"\1={HIDDEN}", text)


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        # The bridge's own entries (`_record`, …) are objects, dropped before rendering.
        key: item if key.startswith("_") else HIDDEN if _SECRET_KEY.search(key) else redact(item)
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
    for library in TALKATIVE:
        least = logging.DEBUG if settings.level == "DEBUG" else logging.WARNING
        logging.getLogger(library).setLevel(max(root.level, least))
    logging.captureWarnings(True)


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
