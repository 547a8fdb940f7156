"""A forecast in words: what will be full or used up, and about when."""

import re

from detectors.units import show_in_unit
from schemas.anomalies import Forecast
from schemas.incidents import Prediction, Signal
from schemas.times import DAY_MS, duration, utc
from schemas.units import metric_of, split_unit

_MINUTE_MS = 60_000
_MOVES_MS = 600_000
"""An estimate that moves by less is not told anew."""
_HOUR_MS = 3_600_000
_NOT_THE_THING = re.compile(
    r"\b(usage|used|use|utili[sz]ation|occupancy|full|free|available|avail|remaining|left|open|"
    r"in use|expires? in|expires|expiry|expiration|not after|timestamp|earliest|probe)\b"
)
_EXPIRES = re.compile("expir|not_after")


def thing(series: str) -> str:
    """What fills up: `disk` of `disk_used_ratio`, `connection pool` of `connection_pool_free`."""
    name, _ = split_unit(metric_of(series))
    words = _NOT_THE_THING.sub("", name.replace("_", " "))
    return " ".join(words.split()) or name.replace("_", " ")


def is_expiry(series: str) -> bool:
    """Whether the series tells when something expires."""
    return bool(_EXPIRES.search(metric_of(series)))


def end_of(signal: Signal) -> str:
    """How it ends: `full`, `used up`, `at the limit of 500`, `expired`."""
    limit = signal.expected
    if is_expiry(signal.series):
        return "expired"
    if signal.value > limit or (limit == 0 and signal.value >= limit):
        return "used up"
    unit = split_unit(metric_of(signal.series))[1]
    is_share = (unit, limit) in (("%", 1.0), ("percent", 100.0))
    return (
        "full" if is_share else f"at the limit of {show_in_unit(limit, metric_of(signal.series))}"
    )


def headline(signal: Signal) -> str:
    """`disk of orders-db will be full in about 3 h (2 to 5 h)`."""
    subject = f"{thing(signal.series)} of {signal.instance or signal.service}"
    forecast = signal.forecast
    if forecast is None or forecast.withdrawn is not None:
        return f"{subject} was to be {end_of(signal)} soon"
    if is_expiry(signal.series):
        return f"{subject} expires in {duration(forecast.reached_ms - signal.last_ms)}"
    return f"{subject} will be {end_of(signal)} in {about(forecast, signal.last_ms)}"


def plain(signal: Signal) -> str:
    """Where it stands and when it ends, by the clock: `81 % now, 100 % at about 14:20 UTC`."""
    forecast, metric = signal.forecast, metric_of(signal.series)
    now = f"{show_in_unit(signal.value, metric)} now"
    if forecast is None:
        return now
    if forecast.withdrawn is not None:
        return f"{now}; {forecast.withdrawn}"
    if is_expiry(signal.series):
        return f"expires on {day_and_clock(forecast.reached_ms, None)}"
    limit = show_in_unit(signal.expected, metric)
    return f"{now}, {limit} at about {day_and_clock(forecast.reached_ms, signal.last_ms)}"


def day_and_clock(time_ms: int, now_ms: int | None) -> str:
    """The time of day, with the date where it is not today."""
    time = utc(time_ms)
    today = now_ms is not None and utc(now_ms).date() == time.date()
    return f"{time:%H:%M} UTC" if today else f"{time:%Y-%m-%d %H:%M} UTC"


def about(forecast: Forecast, now_ms: int) -> str:
    """The time left in a round number, with its bounds: `about 3 h (2 to 5 h)`."""
    left_ms = max(forecast.reached_ms - now_ms, 0)
    size_ms, unit = (
        (_MINUTE_MS, "min")
        if left_ms < 100 * _MINUTE_MS
        else (_HOUR_MS, "h")
        if left_ms < 2 * DAY_MS
        else (DAY_MS, "d")
    )
    expected = _round(left_ms / size_ms)
    low = _round(max(forecast.earliest_ms - now_ms, 0) / size_ms)
    if forecast.latest_ms is None:
        return f"about {expected} {unit} ({low} {unit} or more)"
    high = _round(max(forecast.latest_ms - now_ms, 0) / size_ms)
    bounds = "" if low == high else f" ({low} to {high} {unit})"
    return f"about {expected} {unit}{bounds}"


def record_words(prediction: Prediction | None) -> str:
    """How often forecasts were right before: ` Of 12 forecasts before it, 9 came true.`."""
    if prediction is None or prediction.status == "withdrawn":
        return ""
    true, all_before = prediction.came_true_before, prediction.came_true_before
    all_before += prediction.withdrawn_before
    told = f" Of {all_before} forecasts before it, {true} came true." if all_before else ""
    if prediction.status == "came_true":
        return f" It was forecast.{told}"
    return told


def prediction_changes(
    old: Prediction | None, new: Prediction | None, now_ms: int
) -> dict[str, str]:
    """What a reader would call a change of a forecast, as `before → after`."""
    if old is None or new is None:
        return {}
    if old.status != new.status:
        now = new.status.replace("_", " ")
        return {"forecast": f"{old.status.replace('_', ' ')} → {now}: {new.reason}".rstrip(": ")}
    was, will = old.forecast, new.forecast
    moved_ms = abs(will.reached_ms - was.reached_ms)
    if new.status != "standing" or moved_ms <= max((was.reached_ms - now_ms) / 4, _MOVES_MS):
        return {}
    before, after = (day_and_clock(f.reached_ms, now_ms) for f in (was, will))
    return {"limit reached": f"at about {before} → {after}, in {about(will, now_ms)}"}


def _round(value: float) -> str:
    """Whole numbers from ten on, halves below."""
    return f"{round(value)}" if value >= 10 else f"{round(value * 2) / 2:g}"
