"""What the quick path knows: the texts and series that its compiled part gives numbers to."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from streams.native import records, tables
from streams.native.records import LINE, MOST_WINDOWS, NONE, NUMBER_BITS
from streams.windows import LogKey

_LEAST = {"names": 1_024, "tokens": 64, "shapes": 256, "series": 1_024}
_MOST = {"names": 2**17, "tokens": 2**12, "shapes": 2**13, "series": 2**19}
_BYTES_EACH = {"names": 32, "tokens": 16, "shapes": 128}
_MASK = (1 << NUMBER_BITS) - 1

Token = int | str | None


class Series(NamedTuple):
    """What records of one kind and the same names are: `one` and `other` are metric and instance,
    or operation and caller, or a line's severity and masked text."""

    kind: int
    service: str
    one: str | None
    other: str | None


class Known:
    """Texts and series by number; grows as it has to, and forgets all where it would grow too far.

    What is known changes nothing of what is read.

    Parameters
    ----------
    line_key
        What lines of a service, with a severity, and that are like one in which each digit is 0,
        are counted under.
    failed
        Whether a request of a status has failed, None if that is not known.
    """

    def __init__(
        self,
        line_key: Callable[[str, Token, str], LogKey],
        failed: Callable[[Token], bool | None],
    ) -> None:
        self._line_key, self._has_failed = line_key, failed
        self._sizes = dict(_LEAST)
        self._clear()

    def _clear(self) -> None:
        sizes = self._sizes
        self.tables = records.Tables(
            names=tables.texts(sizes["names"], _BYTES_EACH["names"]),
            tokens=tables.texts(sizes["tokens"], _BYTES_EACH["tokens"]),
            shapes=tables.texts(sizes["shapes"], _BYTES_EACH["shapes"]),
            series=tables.keys(sizes["series"]),
            same_as=np.arange(sizes["series"]),
            marks=np.zeros(sizes["series"] * MOST_WINDOWS, np.int64),
            stamp=np.zeros(1, np.int64),
            found=np.zeros(5),
            texts=np.zeros(len(records.FIELDS) + 1, np.int64),
        )
        tables.number_of_nothing(self.tables.names)
        self.series: list[Series] = []
        self.failed = np.full(1, -1, np.int8)
        """By number of a status, 1 if it has failed and 0 if it has not; -1 if that is not known,
        and for the number -1."""
        self._tokens: list[Token] = []
        self._names: list[str] = []
        self._shapes: list[str] = []
        self._lines: dict[Series, int] = {}

    def make_room(self) -> None:
        """Begins anew with more room in what is more than half full, unless it is large already."""
        for name in ("names", "tokens", "shapes"):
            table: tables.Texts = getattr(self.tables, name)
            used = table.starts[table.used[0]] / table.words.size
            if max(used, table.used[0] / table.hashes.size) > 0.5:
                self._sizes[name] = min(2 * self._sizes[name], _MOST[name])
        if self.tables.series.used[0] > self.tables.series.keys.size / 2:
            self._sizes["series"] = min(2 * self._sizes["series"], _MOST["series"])
        self._clear()

    def learn(self) -> None:
        """Takes in what the compiled part has given numbers to."""
        known = self.tables
        for number in range(len(self._tokens), int(known.tokens.used[0])):
            self._tokens.append(msgspec.json.decode(tables.text_of(known.tokens, number)))
        if self.failed.size <= len(self._tokens):
            failed = [self._has_failed(token) for token in self._tokens]
            self.failed = np.array([-1 if f is None else f for f in [*failed, None]], np.int8)
        for number in range(len(self._names), int(known.names.used[0])):
            self._names.append(tables.text_of(known.names, number).decode())
        for number in range(len(self._shapes), int(known.shapes.used[0])):
            shape = b'"' + tables.text_of(known.shapes, number) + b'"'
            self._shapes.append(msgspec.json.decode(shape))
        for number in range(len(self.series), int(known.series.used[0])):
            series = self._series(int(known.series.keys[number]))
            self.series.append(series)
            if series.kind == LINE:
                known.same_as[number] = self._lines.setdefault(series, number)

    def _series(self, key: int) -> Series:
        kind, service, one, other = (
            key >> 3 * NUMBER_BITS,
            self._names[key >> 2 * NUMBER_BITS & _MASK],
            key >> NUMBER_BITS & _MASK,
            key & _MASK,
        )
        if kind == LINE:
            severity = None if one == NONE else self._tokens[one]
            return Series(kind, *self._line_key(service, severity, self._shapes[other]))
        return Series(kind, service, self._name(one), self._name(other))

    def _name(self, number: int) -> str | None:
        return None if number == NONE else self._names[number]
