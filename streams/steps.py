"""What the services did in a window, step by step: lines, requests and calls, counted."""

import re
from collections.abc import Iterable
from functools import lru_cache

from detectors.error_logs import ERRORS
from detectors.service_steps import Step
from schemas.observations import Observation

_LIST = re.compile(r"<\*>(?:[,;:|/ ]+<\*>)+")
"""Masked values in a row, of which a line has now more and now fewer."""


@lru_cache(maxsize=16_384)
def _without_lists(text: str) -> str:
    return _LIST.sub("<*>", text)


def steps_of(observations: Iterable[Observation]) -> dict[str, dict[Step, int]]:
    """How often each step of each service came.

    Requests count by operation where they name one, and so do calls.
    """
    found: dict[str, dict[Step, int]] = {}
    for o in observations:
        if o.kind == "log" and o.text:
            error = (o.severity or "").upper() in ERRORS
            step = Step("error" if error else "line", _without_lists(o.text))
        elif o.kind == "requests" and o.caller is None and o.operation is not None:
            step = Step("request", o.operation)
        elif o.kind == "calls":
            step = Step("call", f"{o.callee} {o.operation or ''}".rstrip())
        else:
            continue
        steps = found.setdefault(o.service, {})
        steps[step] = steps.get(step, 0) + o.count
    return found
