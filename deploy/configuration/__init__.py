"""Reads `tocsin.yaml` and the service catalogue; every mistake at once, with file and line."""

from deploy.configuration.load import load
from deploy.configuration.mistakes import ConfigurationError, Mistake

__all__ = ["ConfigurationError", "Mistake", "load"]
