"""Measurements, always beside a reference taken in the same run."""
