"""Runs seeds, and finds out which of its disturbances a failing one needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploy.simulation.plan import Plan, plan_of
from deploy.simulation.quiet import quiet
from deploy.simulation.world import Ended, run


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed with which something did not hold, with no more in the way than it needs."""

    plan: Plan
    ended: Ended

    @property
    def command(self) -> str:
        """What does it again."""
        without = ",".join(map(str, sorted(self.plan.without)))
        rest = f" --without {without}" if without else ""
        return f"tocsin simulate --seed {self.plan.seed}{rest}"

    def __str__(self) -> str:
        more = len(self.ended.violations) - 1
        rest = f" (and {more} more)" if more else ""
        return f"{self.command}: {self.ended.violations[0]}{rest}"


def attempt(plan: Plan) -> Ended:
    """Does one run, without its logs."""
    with quiet():
        return run(plan)


def failures(seeds: Iterable[int]) -> Iterator[Failure | None]:
    """For each seed None, or what went wrong."""
    for seed in seeds:
        plan = plan_of(seed)
        ended = attempt(plan)
        yield shrunk(Failure(plan, ended)) if ended.violations else None


def shrunk(failure: Failure) -> Failure:
    """Leaves away one disturbance after the other, as long as something still does not hold."""
    for number in range(len(failure.plan.disturbances)):
        plan = plan_of(failure.plan.seed, failure.plan.without | {number})
        ended = attempt(plan)
        if ended.violations:
            failure = Failure(plan, ended)
    return failure
