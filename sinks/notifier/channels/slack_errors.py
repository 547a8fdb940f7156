"""What Slack's answers mean when it does not do what it was asked."""

from typing import Any

from slack_sdk.errors import SlackApiError

from schemas.incidents import FailureClass
from sinks.notifier.channels.channel import Refused, Retry, retry_after_seconds

_AUTH = frozenset(
    (
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "no_permission",
        "team_access_not_granted",
        "access_denied",
    )
)
_TRANSIENT = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org")
)


def outcome(error: SlackApiError, now_ms: int) -> Retry | Refused:
    """What Slack's answer means for the message."""
    response: Any = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    headers = {
        str(k).lower(): str(v) for k, v in (getattr(response, "headers", None) or {}).items()
    }
    code = error_code(response)
    after = retry_after_seconds(headers.get("retry-after"), now_ms)
    failure: FailureClass = "unreachable"
    if status == 429 or code in ("ratelimited", "rate_limited"):
        failure = "rate_limited"
    elif code in _AUTH:
        failure = "auth"
    elif code and status < 500 and code not in _TRANSIENT:
        return Refused(f"Slack answered {code}")
    return Retry(failure, f"Slack answered {code or status}", after)


def error_code(response: Any) -> str:
    data = getattr(response, "data", None)
    return str(data.get("error", "")) if isinstance(data, dict) else ""


def passes(error: SlackApiError) -> bool:
    """Whether Slack may do it later by itself, with nobody mending anything."""
    found = outcome(error, now_ms=0)
    return isinstance(found, Retry) and found.failure != "auth"
