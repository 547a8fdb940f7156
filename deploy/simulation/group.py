"""A model of a consumer group: who has which partitions, and what happens as members come and go.

All give up what they have before anything is handed out anew, as Faust does it. A member that dies
or stands still is waited for until its session has ended.
"""

import asyncio
import random
from collections.abc import Sequence

from deploy.simulation.broker import Partition
from deploy.simulation.process import Process


class Member:
    """One that shares the partitions. Its methods run in its own process, one after the other."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_in = False

    async def revoked(self) -> None:
        """It gives up all that it has; returns when that is done."""
        raise NotImplementedError

    async def assigned(self, partitions: frozenset[Partition]) -> None:
        """It has these now."""
        raise NotImplementedError


class Group:
    """The coordinator.

    Parameters
    ----------
    together
        Partitions that always go to the same member, bundle by bundle.
    session_seconds
        After so long without a sign a member is no member any more.
    """

    def __init__(
        self,
        name: str,
        together: Sequence[frozenset[Partition]],
        chance: random.Random,
        session_seconds: float,
    ) -> None:
        self.name = name
        self.generations = 0
        self._together = together
        self._chance = chance
        self.session_seconds = session_seconds
        self._members: list[Member] = []
        self._changed = asyncio.Event()

    def join(self, member: Member) -> None:
        """One more shares."""
        member.is_in = True
        self._members.append(member)
        self._changed.set()
        member.process.on_death.append(self._changed.set)

    def leave(self, member: Member) -> None:
        """One less, at once."""
        if member.is_in:
            member.is_in = False
            self._members.remove(member)
            self._changed.set()

    def rebalance(self) -> None:
        """As after a change of metadata."""
        self._changed.set()

    async def run(self) -> None:
        """Hands the partitions out again whenever anybody comes, goes or falls silent."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(self._chance.choice((0.01, 0.5)))
            await self._turn()

    async def _turn(self) -> None:
        self.generations += 1
        members = list(self._members)
        giving_up = {m: m.process.spawn(m.revoked()) for m in members if not m.process.is_dead}
        if giving_up:
            await asyncio.wait(giving_up.values(), timeout=self.session_seconds)
        if any(m.process.is_dead for m in members):
            await asyncio.sleep(self.session_seconds)
        for member in members:
            if member.is_in and (member.process.is_dead or not giving_up[member].done()):
                member.is_in = False
                self._members.remove(member)
        members = [m for m in members if m.is_in and not m.process.is_dead]
        if not members:
            return
        shares: dict[Member, set[Partition]] = {member: set() for member in members}
        for number, bundle in enumerate(self._together, self._chance.randrange(len(members))):
            shares[members[number % len(members)]] |= bundle
        for member, share in shares.items():
            member.process.spawn(member.assigned(frozenset(share)))
