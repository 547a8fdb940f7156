"""A corpus of single series with labelled anomalies, as recordings of one service each."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from deploy.bench.faults_recordings import recordings
from deploy.bench.nab_corpus import LABELS, Series, read_corpus
from schemas.anomalies import Call
from streams.scoring import Fault


class Replayed(Protocol):
    """What feedback is measured on: events, and the faults among them."""

    @property
    def name(self) -> str: ...
    @property
    def calls(self) -> Sequence[Call]: ...
    @property
    def faults(self) -> Sequence[Fault]: ...
    @property
    def unlisted(self) -> Sequence[Fault]: ...
    @property
    def within_seconds(self) -> float: ...
    def lines(self) -> Iterator[bytes]: ...


class Labelled:
    """One series of a corpus: a gauge of a service of its name, a fault for each labelled window.

    The windows of a series are all equally long; a fault is to be found within that.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self.name = series.name.removesuffix(".csv")
        self.calls: Sequence[Call] = ()
        self.unlisted: Sequence[Fault] = ()
        times = series.times_ms
        self.faults = [Fault(times[w.first], self.name, "labelled") for w in series.windows]
        lengths = [(times[w.last] - times[w.first]) / 1000 for w in series.windows]
        self.within_seconds = max(lengths, default=0.0)

    def lines(self) -> Iterator[bytes]:
        """Its rows as metric samples."""
        sample = {"service": self.name, "metric": "value"}
        for time_ms, value in zip(self._series.times_ms, self._series.values, strict=True):
            yield json.dumps({"time": time_ms, **sample, "value": float(value)}).encode()


def replayed(folder: Path) -> list[Replayed]:
    """The recordings in a folder, or the series of a corpus in the layout of `bench nab`.

    Raises `RecordingError` or `CorpusError`.
    """
    if (folder / LABELS).is_file():
        return [Labelled(series) for series in read_corpus(folder)]
    return [recording for recording in recordings(folder) if recording.faults]
