"""Why a grade is another than it was, in words. Pure."""

from collections.abc import Iterable

from schemas.classification import GradingStep
from schemas.incidents import Grading
from schemas.times import duration


def why_regraded(before: Grading, after: Grading) -> str:
    """The lines whose points are others now, with where they come from: `users feel +1 → +2
    (requests to cart take 2.6 s longer)`. A grade that was only held until now says so."""
    old = {name: step.result for name, step in _points(before.steps).items()}
    moved = [
        f"{name} {f'{old[name]} → ' if name in old else ''}{step.result} "
        f"({_counted(step)}{step.source})"
        for name, step in _points(after.steps).items()
        if old.get(name, "0") != step.result
    ]
    if moved:
        return f"Graded anew: {'; '.join(moved)}."
    held = next((step for step in before.steps if step.name == "held"), None)
    if held is None:
        return ""
    return f"It has been milder for {duration(held.value * 1000)}."


def _points(steps: Iterable[GradingStep]) -> dict[str, GradingStep]:
    """The lines that give points; of what counts twice, `users feel`, the first is enough."""
    found: dict[str, GradingStep] = {}
    for step in steps:
        if step.result == "0" or step.result.startswith("+"):
            found.setdefault(step.name, step)
    return found


def _counted(step: GradingStep) -> str:
    """The number that points are given for, if it is not the points themselves."""
    return "" if step.result in (f"+{step.value:.0f}", "0") else f"{step.value:,.10g}, "
