"""What Kafka's clients log as they fail to connect, since their errors do not say it.

aiokafka logs that a password is wrong and raises that it is "unable to bootstrap".
"""

import logging


class Complaints(logging.Handler):
    """Remembers the last error that aiokafka has logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        logging.getLogger("aiokafka").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line of the log."""
        self.last = record.getMessage()

    def forget(self) -> None:
        """It has been mended."""
        self.last = ""

    def close(self) -> None:
        """Listens no longer."""
        logging.getLogger("aiokafka").removeHandler(self)
        super().close()
