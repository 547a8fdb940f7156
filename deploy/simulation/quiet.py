"""Keeps logs of thousands of crashes, which are meant, from hiding what a run has found."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged meanwhile."""
    before, configured = logging.root.manager.disable, structlog.get_config()
    logging.disable(logging.CRITICAL)
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        logging.disable(before)
        structlog.configure(**configured)


def _drop(*_: object) -> dict[str, object]:
    raise structlog.DropEvent
