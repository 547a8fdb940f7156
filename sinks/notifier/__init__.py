"""The notifier: tells people of incidents, in words made for them, and hears that they know."""

from sinks.notifier.notifier import Notifier

__all__ = ["Notifier"]
