"""What later messages of an incident follow on Slack, as it is kept in the store."""

from typing import NamedTuple


class Thread(NamedTuple):
    """The card of an incident: its channel's id, its `ts`, and whether the channel is the
    incident's own, in which messages stand below each other instead of in a thread."""

    channel: str
    ts: str
    is_own: bool = False

    @classmethod
    def read(cls, token: str | None) -> "Thread | None":
        """What was kept: `C123:1764000000.000100`, with `:own` for a channel of its own."""
        if not token:
            return None
        channel, _, rest = token.rpartition(":") if token.count(":") == 1 else ("", "", "")
        if channel:
            return cls(channel, rest)
        if token.endswith(":own"):
            channel, ts, _ = token.split(":")
            return cls(channel, ts, is_own=True)
        return cls("", token)

    def __str__(self) -> str:
        own = ":own" if self.is_own else ""
        return f"{self.channel}:{self.ts}{own}"

    @property
    def reply_to(self) -> str | None:
        """The `thread_ts` of what follows."""
        return None if self.is_own else self.ts
