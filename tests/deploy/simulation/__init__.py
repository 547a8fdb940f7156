"""Tests of the simulation and, by it, of everything that it runs."""
