"""What Kafka's clients log as they fail to connect, since their errors do not say it.

aiokafka logs that a password is wrong and raises that it is "unable to bootstrap".
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class Complaints(logging.Handler):
    """Remembers the last error that aiokafka has logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listens while the block runs."""
        logger = logging.getLogger("aiokafka")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line of the log."""
        self.last = record.getMessage()

    def forget(self) -> None:
        """It has been mended."""
        self.last = ""
