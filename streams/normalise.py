"""Severities and statuses as systems write them, brought to one vocabulary."""

from typing import Literal

Severity = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]

_WORDS: dict[Severity, str] = {
    "TRACE": "trace finest finer verbose",
    "DEBUG": "debug fine dbg",
    "INFO": "info information informational notice note log default config",
    "WARN": "warn warning",
    "ERROR": "error err severe failure",
    "FATAL": "fatal critical crit alert emerg emergency panic dpanic",
}
# Syslog counts 0 (emergency) to 7 (debug), RFC 5424; pino and bunyan count 10 (trace) to 60.
_NUMBERS: dict[Severity, tuple[int, ...]] = {
    "TRACE": (10,),
    "DEBUG": (7, 20),
    "INFO": (5, 6, 30),
    "WARN": (4, 40),
    "ERROR": (3, 50),
    "FATAL": (0, 1, 2, 60),
}
_KNOWN: dict[int | str, Severity] = {
    **{word: severity for severity, words in _WORDS.items() for word in words.split()},
    **{number: severity for severity, numbers in _NUMBERS.items() for number in numbers},
}

# What OpenTelemetry counts as a failure of the server: the caller's own mistakes, such as
# NOT_FOUND or INVALID_ARGUMENT, are not, just as HTTP 4xx are not.
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_GRPC_FAILURES = {
    2: "unknown",
    4: "deadline_exceeded",
    12: "unimplemented",
    13: "internal",
    14: "unavailable",
    15: "data_loss",
}
_FAILED_WORDS = frozenset({*_GRPC_FAILURES.values(), "error", "failed", "failure", "timeout"})
_FINE_WORDS = frozenset(
    {
        *("ok", "unset", "success", "succeeded", "cancelled", "canceled", "invalid_argument"),
        *("not_found", "already_exists", "permission_denied", "resource_exhausted"),
        *("failed_precondition", "aborted", "out_of_range", "unauthenticated"),
    }
)


def normal_severity(severity: int | str | None) -> Severity:
    """One of six severities; what is unknown or missing is INFO."""
    if isinstance(severity, str):
        word = severity.strip().lower()
        return _KNOWN.get(int(word) if word.isascii() and word.isdigit() else word, "INFO")
    return _KNOWN.get(severity, "INFO") if severity is not None else "INFO"


def is_failure(status: int | str) -> bool | None:
    """Whether a request with this status failed on the server's side; None if it is not known.

    HTTP statuses fail from 500 on. Numbers below 100 are gRPC codes and fail if the server is at
    fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
    """
    if isinstance(status, int):
        return status in _GRPC_FAILURES if status < 100 else status >= 500
    word = status.strip().lower().removeprefix("status_code_")
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return is_failure(int(word))
    if word in _FAILED_WORDS:
        return True
    return False if word in _FINE_WORDS else None
