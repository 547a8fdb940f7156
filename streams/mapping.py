"""One's own JSON read through `Source.fields`: paths, units, and constants for what is not said."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from schemas.configuration import Fields, Source
from streams.raw import Raw
from streams.reject import Rejected

Path = tuple[str, ...]

_DURATION_SCALE = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def is_wire_format(source: Source) -> bool:
    """Whether the source's records are as tocsin itself writes them, so that nothing is mapped."""
    return source == Source(topic=source.topic, kind=source.kind)


def parse_path(path: str) -> Path:
    """Segments of a dotted path; `labels.[app.kubernetes.io/name]` has two.

    Raises `ValueError` if a bracket is not closed or a segment is empty.
    """
    segments, rest = [], path
    while rest:
        if rest.startswith("["):
            segment, closed, rest = rest[1:].partition("]")
            if not closed or (rest and not rest.startswith(".")):
                raise ValueError(f"path {path!r}: a bracketed segment ends with ] before . or end")
            dotted, rest = bool(rest), rest[1:]
        else:
            segment, dot, rest = rest.partition(".")
            dotted = bool(dot)
        if not segment or (dotted and not rest):
            raise ValueError(f"path {path!r} has an empty segment")
        segments.append(segment)
    if not segments:
        raise ValueError("a path must not be empty; leave the field out with null")
    return tuple(segments)


def to_ms(time: object, unit: str) -> int | None:
    """A time in the given unit as Unix milliseconds; None if there is none.

    Raises `Rejected`. `auto` takes text as ISO 8601 and tells numbers by their size: seconds until
    1e11 (year 5138), then milliseconds until 1e14, microseconds until 1e17, nanoseconds.
    """
    if time is None:
        return None
    if isinstance(time, str):
        if unit in ("auto", "iso8601"):
            return _iso8601_to_ms(time)
        raise Rejected("wrong_type", f"the time is text but time_unit is {unit}; use auto")
    if isinstance(time, bool) or not isinstance(time, int | float) or unit == "iso8601":
        raise Rejected("wrong_type", f"the time is no {unit} time; set sources[].time_unit to fit")
    size = abs(time)
    if not size < 1e20:
        raise Rejected("out_of_range", "the time is beyond year 5000; set sources[].time_unit")
    if unit == "auto":
        unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
    if unit == "s":
        return round(time * 1000)
    return int(time // {"ms": 1, "us": 1_000, "ns": 1_000_000}[unit])


def _iso8601_to_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected("wrong_type", "the time is not ISO 8601; set sources[].time_unit") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


class Mapping:
    """Reads one's own JSON into `Raw`.

    Parameters
    ----------
    source
        Where the fields are and in which units, with constants for records that lack them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._scale = _DURATION_SCALE[source.duration_unit]
        fields = source.fields
        paths = {name: getattr(fields, name) for name in Fields.__struct_fields__}
        self._paths = {name: parse_path(path) for name, path in paths.items() if path is not None}
        self._written = paths

    def __call__(self, value: bytes) -> Raw:
        """Raises `orjson.JSONDecodeError` for what is no JSON and `Rejected` for wrong contents."""
        record = orjson.loads(value)
        if not isinstance(record, dict):
            raise Rejected("not_an_object", "the record is no object; send one object a record")
        text, number, whole, code = self._text, self._number, self._whole, self._code
        duration = number(record, "duration")
        client = number(record, "client_duration")
        scale = self._scale
        return Raw(
            time=to_ms(self._find(record, "time"), self._source.time_unit),
            service=text(record, "service") or self._source.service,
            instance=text(record, "instance"),
            metric=text(record, "metric") or self._source.metric,
            value=number(record, "value"),
            severity=code(record, "severity"),
            body=text(record, "body"),
            operation=text(record, "operation"),
            caller=text(record, "caller"),
            duration_seconds=None if duration is None else duration * scale,
            client_duration_seconds=None if client is None else client * scale,
            status=code(record, "status"),
            requests=whole(record, "requests"),
            errors=whole(record, "errors"),
        )

    def _find(self, record: Any, name: str) -> object:
        found = record
        for segment in self._paths.get(name, ("",)):
            if not isinstance(found, dict):
                return None
            found = found.get(segment)
        return found

    def _typed(self, record: object, name: str, fits: Callable[[object], bool], wanted: str) -> Any:
        found = self._find(record, name)
        if found is None or fits(found):
            return found
        path = self._written[name]
        raise Rejected("wrong_type", f"$.{path} is not {wanted}; send that type or map {name} anew")

    def _text(self, record: object, name: str) -> str | None:
        text: str | None = self._typed(record, name, lambda x: isinstance(x, str), "text")
        return text

    def _number(self, record: object, name: str) -> float | None:
        found = self._typed(record, name, lambda x: type(x) in (int, float), "a number")
        return None if found is None else float(found)

    def _whole(self, record: object, name: str) -> int | None:
        whole: int | None = self._typed(record, name, lambda x: type(x) is int, "a whole number")
        return whole

    def _code(self, record: object, name: str) -> int | str | None:
        code: int | str | None = self._typed(
            record, name, lambda x: type(x) in (int, str), "text or a whole number"
        )
        return code
