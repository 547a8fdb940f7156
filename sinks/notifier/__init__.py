"""The notifier: tells people of incidents and hears that they know.

`Notifier` is loaded when it is first asked for: others need its calendars or its languages alone,
and would carry its metrics and the memory of its channels.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinks.notifier.notifier import Notifier

__all__ = ["Notifier"]


def __getattr__(name: str) -> Any:
    if name == "Notifier":
        from sinks.notifier.notifier import Notifier  # noqa: PLC0415

        return Notifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
