"""Reads raw events out of a buffer into columns, grouped by window and series."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.native.compile import compiled, inlined
from streams.native.folds import Values
from streams.native.numbers import to_float
from streams.native.scan import (
    CLOSED,
    COLON,
    COMMA,
    MINUS,
    NINE,
    OPEN,
    QUOTE,
    ZERO,
    Buffer,
    digits,
    literal_end,
    number,
    space,
    string_end,
    value_end,
)
from streams.native.tables import FULL, Keys, Texts, number_of_key, number_of_text
from streams.native.words import WHOLE, load
from streams.raw import EARLIEST_MS, LARGEST_VALUE, LATEST_MS, LONGEST_SECONDS, MAX_NAME_CHARACTERS

FIELDS: Final = (
    "time", "service", "instance", "metric", "value", "severity", "body", "operation", "caller",
    "duration_seconds", "client_duration_seconds", "status", "requests", "errors",
)  # fmt: skip
(
    _TIME, _SERVICE, _INSTANCE, _METRIC, _VALUE, _SEVERITY, _BODY, _OPERATION, _CALLER,
    _SECONDS, _CLIENT, _STATUS, _REQUESTS, _ERRORS,
) = range(len(FIELDS))  # fmt: skip
_UNKNOWN = len(FIELDS)

SAMPLE, LINE, CALL, COUNT = range(4)
"""Kinds of series."""

MOST_WINDOWS: Final = 4
"""Open windows, the latest, that records are read into."""

UNUSUAL, NO_ROOM, LATER = 0, 1, 2
"""Why reading stopped at a record: it is not as nearly all are, a table is full, or its time is not
before the one that was given."""

NUMBER_BITS: Final = 20
"""Of the number of a text in a key of three; `NONE` says that there is none."""
NONE: Final = (1 << NUMBER_BITS) - 1
_OF_VALUE, _OF_SECONDS, _OF_CLIENT, _OF_REQUESTS, _OF_ERRORS = range(5)
"""Where numbers are put that are found in a record."""
_FIRST = np.array([_OF_VALUE, _OF_VALUE, _OF_SECONDS, _OF_REQUESTS], np.int64)
_SECOND = np.array([_OF_VALUE, _OF_VALUE, _OF_CLIENT, _OF_ERRORS], np.int64)
"""Of these, by kind, the two that columns hold."""
_MOST_SHAPE_BYTES = 1_000
_LARGEST_COUNT = 2**53
_SLOTS = 512
_0 = np.uint64(0)
_BITS, _KIND_BITS = np.uint64(NUMBER_BITS), np.uint64(2)


def _keys_of_fields() -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint64]]:
    """The field by length and first letter, and its whole name as words."""
    by_hash = np.full(_SLOTS, -1, np.int8)
    words = np.zeros((len(FIELDS), 3), np.uint64)
    for field, name in enumerate(FIELDS):
        slot = (len(name) * 37 + ord(name[0])) % _SLOTS
        assert by_hash[slot] < 0, name
        by_hash[slot] = field
        words[field] = np.frombuffer(name.encode().ljust(24, b"\0"), np.uint64)
    return by_hash, words


_BY_HASH, _NAMES = _keys_of_fields()
_LENGTHS = np.array([len(name) for name in FIELDS], np.int64)


class Tables(NamedTuple):
    """What is known, and room to work in.

    Names; statuses and severities as they are written; shapes of lines, which are as they are
    written with each digit as 0; series. `same_as` is the number of the series that another is the
    same as, its own if that is not known. `marks` give the group that a series has in a window.
    """

    names: Texts
    tokens: Texts
    shapes: Texts
    series: Keys
    same_as: npt.NDArray[np.int64]
    marks: npt.NDArray[np.int64]
    stamp: npt.NDArray[np.int64]
    found: npt.NDArray[np.float64]
    texts: npt.NDArray[np.int64]


class Columns(NamedTuple):
    """Of the records that were read, in order: time, group, two values, and the token of a status
    or -1."""

    time_ms: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]
    token: npt.NDArray[np.int64]


class Groups(NamedTuple):
    """By group, in order of first appearance: series and window, and how many records.

    Once they are in order also where they end, how many have a known status and how many of those
    have failed, the earliest time, and where its record was, the first of several.
    """

    series: npt.NDArray[np.int64]
    window: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]
    failed: npt.NDArray[np.int64]
    first_ms: npt.NDArray[np.int64]
    first_at: npt.NDArray[np.int64]


@compiled
def read(
    buffer: Buffer,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    first: int,
    windows: npt.NDArray[np.int64],
    length_ms: int,
    until_ms: int,
    most_bytes: int,
    never: int,
    tables: Tables,
    columns: Columns,
    groups: Groups,
) -> tuple[int, int, int]:
    """Reads from record `first` on into the windows that start at `windows`.

    Returns how many it read before one that it does not read, how many groups they are of, and
    why it stopped. No record may have a time of `until_ms` or later, be longer than `most_bytes`
    or missing, or have a field whose bit is in `never`.
    """
    found, texts = tables.found, tables.texts
    window, window_ms = 0, -length_ms
    many = 0
    tables.stamp[0] += 1
    stamp = tables.stamp[0] << NUMBER_BITS
    for index in range(first, starts.size):
        if ends[index] - starts[index] > most_bytes:
            return index - first, many, UNUSUAL
        seen, time_ms = _fields(buffer, starts[index], ends[index], tables, found, texts)
        at = index - first
        if seen < 0:
            return at, many, UNUSUAL if seen == -1 else NO_ROOM
        if seen & never or not seen >> _SERVICE & 1:
            return at, many, UNUSUAL
        if time_ms >= until_ms:
            return at, many, LATER
        if not window_ms <= time_ms < window_ms + length_ms:
            window = _window(time_ms, windows, length_ms)
            if window < 0:
                return at, many, UNUSUAL
            window_ms = windows[window]
        kind = _kind(seen, found)
        if kind < 0:
            return at, many, UNUSUAL
        series = number_of_key(tables.series, _key(kind, seen, texts))
        if series == FULL:
            return at, many, NO_ROOM
        series = int(tables.same_as[series])
        mark = tables.marks[series * MOST_WINDOWS + window]
        group = mark - stamp
        if group < 0:
            group = many
            tables.marks[series * MOST_WINDOWS + window] = stamp + group
            groups.series[group], groups.window[group], groups.size[group] = series, window, 0
            many += 1
        groups.size[group] += 1
        columns.time_ms[at], columns.group[at] = time_ms, group
        columns.first[at] = found[_FIRST[kind]]
        columns.second[at] = found[_SECOND[kind]]
        columns.token[at] = texts[_STATUS] if seen >> _STATUS & 1 else -1
    return starts.size - first, many, UNUSUAL


@compiled
def in_order(
    read: int,
    many: int,
    columns: Columns,
    groups: Groups,
    failed: npt.NDArray[np.int8],
    ordered: Values,
) -> int:
    """Puts what was read in the order of groups, and within each of arrival.

    `failed` says of each token, the last element of -1, whether it is of a failure: 1, 0, or -1 if
    that is not known. Returns the latest time.
    """
    places = groups.end
    place = 0
    for group in range(many):
        places[group] = place
        place += groups.size[group]
        groups.known[group] = groups.failed[group] = 0
        groups.first_ms[group] = LATEST_MS + 1
    latest_ms = -1
    for at in range(read):
        group = columns.group[at]
        place = places[group]
        places[group] = place + 1
        time_ms = columns.time_ms[at]
        ordered.time_ms[place] = time_ms
        ordered.first[place] = columns.first[at]
        ordered.second[place] = columns.second[at]
        has_failed = failed[columns.token[at]]
        groups.known[group] += has_failed >= 0
        groups.failed[group] += has_failed > 0
        latest_ms = max(latest_ms, time_ms)
        if time_ms < groups.first_ms[group]:
            groups.first_ms[group], groups.first_at[group] = time_ms, at
    return latest_ms


@inlined
def _window(time_ms: int, windows: npt.NDArray[np.int64], length_ms: int) -> int:
    for window in range(windows.size):
        if windows[window] <= time_ms < windows[window] + length_ms:
            return window
    return -1


@inlined
def _kind(seen: int, found: npt.NDArray[np.float64]) -> int:
    """What kind of series the record is of, as `streams.kinds.kind_of` says; -1 if of none."""
    if seen >> _METRIC & 1 and seen >> _VALUE & 1:
        return SAMPLE
    if seen >> _BODY & 1:
        return LINE
    if seen >> _SECONDS & 1:
        if not seen >> _CLIENT & 1:
            found[_OF_CLIENT] = np.nan
        return CALL
    if seen >> _REQUESTS & 1:
        if not seen >> _ERRORS & 1:
            found[_OF_ERRORS] = np.nan
        elif found[_OF_ERRORS] > found[_OF_REQUESTS]:
            return -1
        return COUNT
    return -1


@inlined
def _key(kind: int, seen: int, texts: npt.NDArray[np.int64]) -> np.uint64:
    """The names of the series that the record is of, as one word; an empty name is none."""
    if kind == SAMPLE:
        one, other = _METRIC, _INSTANCE
    elif kind == LINE:
        one, other = _SEVERITY, _BODY
    else:
        one, other = _OPERATION, _CALLER
    key = np.uint64(kind)
    for field in (_SERVICE, one, other):
        text = texts[field] if seen >> field & 1 and (kind == LINE or texts[field] > 0) else NONE
        key = key << _BITS | np.uint64(text)
    return key


@inlined
def _fields(
    buffer: Buffer,
    at: int,
    stop: int,
    tables: Tables,
    found: npt.NDArray[np.float64],
    texts: npt.NDArray[np.int64],
) -> tuple[int, int]:
    """Reads one record; returns the bits of its fields and its time, or -1 or -2 (no room)."""
    seen, time_ms = 0, -1
    at = space(buffer, at, stop)
    if at >= stop or buffer[at] != OPEN:
        return -1, -1
    at += 1
    while True:
        at = space(buffer, at, stop)
        if at >= stop or buffer[at] != QUOTE:
            return -1, -1
        key = at + 1
        at, escaped = string_end(buffer, key, stop)
        if at < 0 or escaped:
            return -1, -1
        field = _field(buffer, key, at)
        at = space(buffer, at + 1, stop)
        if at >= stop or buffer[at] != COLON:
            return -1, -1
        at = space(buffer, at + 1, stop)
        if at >= stop:
            return -1, -1
        if field == _UNKNOWN:
            at = value_end(buffer, at, stop)
        elif seen >> field & 1:
            return -1, -1
        elif buffer[at] == QUOTE:
            at, texts[field] = _text(buffer, at, stop, field, tables)
            if at >= 0 and texts[field] == FULL:
                return -2, -1
            seen |= 1 << field
        elif ZERO <= buffer[at] <= NINE or buffer[at] == MINUS:
            if field in (_TIME, _SEVERITY, _STATUS):
                start = at
                at, value = digits(buffer, at, _0)
                if not 1 <= at - start <= 15 or (buffer[start] == ZERO and at > start + 1):
                    return -1, -1
                if field == _TIME:
                    time_ms = int(np.int64(value))
                    if not EARLIEST_MS <= time_ms <= LATEST_MS:
                        return -1, -1
                else:
                    texts[field] = number_of_text(tables.tokens, buffer, start, at, False)
                    if texts[field] == FULL:
                        return -2, -1
            else:
                at = _number(buffer, at, field, found)
            seen |= 1 << field
        else:
            at = literal_end(buffer, at) if buffer[at] == 110 else -1  # null: as if not there
        if at < 0:
            return -1, -1
        at = space(buffer, at, stop)
        if at >= stop:
            return -1, -1
        if buffer[at] == CLOSED:
            break
        if buffer[at] != COMMA:
            return -1, -1
        at += 1
    if space(buffer, at + 1, stop) != stop or not seen & 1:
        return -1, -1
    return seen, time_ms


@inlined
def _field(buffer: Buffer, start: int, stop: int) -> int:
    length = stop - start
    field = int(_BY_HASH[(length * 37 + buffer[start]) % _SLOTS])
    if field < 0 or _LENGTHS[field] != length:
        return _UNKNOWN
    for word in range(3):
        left = length - 8 * word
        if left <= 0:
            break
        have = load(buffer, start + 8 * word) & WHOLE[min(left, 8)]
        if have != _NAMES[field, word]:
            return _UNKNOWN
    return field


@inlined
def _text(buffer: Buffer, at: int, stop: int, field: int, tables: Tables) -> tuple[int, int]:
    """Where the value of a field of text ends, and its number in its table."""
    start = at + 1
    end, escaped = string_end(buffer, start, stop)
    if end < 0:
        return -1, 0
    if field == _BODY:
        if end - start <= _MOST_SHAPE_BYTES:
            return end + 1, number_of_text(tables.shapes, buffer, start, end, True)
        return -1, 0
    if escaped:
        return -1, 0
    if field in (_SEVERITY, _STATUS):
        return end + 1, number_of_text(tables.tokens, buffer, start - 1, end + 1, False)
    if end - start > MAX_NAME_CHARACTERS or (field == _SERVICE and end == start):
        return -1, 0
    if field in (_SERVICE, _INSTANCE, _METRIC, _OPERATION, _CALLER):
        return end + 1, number_of_text(tables.names, buffer, start, end, False)
    return -1, 0


@inlined
def _number(buffer: Buffer, at: int, field: int, found: npt.NDArray[np.float64]) -> int:
    """Where the value of a field of numbers ends; puts it where it belongs."""
    end, negative, value, exponent = number(buffer, at)
    if end < 0:
        return -1
    if field in (_REQUESTS, _ERRORS):
        if end - at > 16 or exponent or negative or value > np.uint64(_LARGEST_COUNT):
            return -1
        for place in range(at, end):
            if not ZERO <= buffer[place] <= NINE:
                return -1
        found[_OF_REQUESTS if field == _REQUESTS else _OF_ERRORS] = float(value)
        return end
    result = to_float(value, exponent)
    if negative:
        result = -result
        if result == 0.0:
            return -1
    if field == _VALUE:
        if not -LARGEST_VALUE <= result <= LARGEST_VALUE:
            return -1
        found[_OF_VALUE] = result
    elif field in (_SECONDS, _CLIENT):
        if not 0.0 <= result <= LONGEST_SECONDS:
            return -1
        found[_OF_SECONDS if field == _SECONDS else _OF_CLIENT] = result
    else:
        return -1
    return end
