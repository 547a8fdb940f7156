"""The playbooks' runner: tries what is configured, once an incident, and says how it went."""

from sinks.playbooks.sink import PlaybookRunner

__all__ = ["PlaybookRunner"]
