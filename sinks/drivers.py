"""The databases that a store may be in, apart from what opens them, which takes long to load."""

from typing import Final

DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
"""What SQLAlchemy calls the driver, by the beginning of a store's URL."""


class StoreError(ValueError):
    """The store cannot be opened as configured; the message says how to mend it."""
