"""The case store: every incident as a numbered case, with its timeline, who was told and audit."""

from sinks.case_store.sink import CaseStore

__all__ = ["CaseStore"]
