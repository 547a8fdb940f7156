"""`tocsin demo`: the whole product on one machine, on a recording, with nothing else installed."""

from pathlib import Path

CONFIG = Path(__file__).parent / "tocsin.yaml"
RECORDING = Path(__file__).parent / "recording"
