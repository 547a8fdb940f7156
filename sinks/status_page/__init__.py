"""The public status page: what customers may know of open and past incidents, and nothing else."""

from sinks.status_page.sink import StatusPage

__all__ = ["StatusPage"]
