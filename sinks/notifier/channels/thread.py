"""What later messages of an incident follow in chat, as it is kept in the store."""

from typing import NamedTuple


class Thread(NamedTuple):
    """The card of an incident: its channel's id, the id of the card there (Slack's `ts`, Teams'
    message id), and whether the channel is the incident's own."""

    channel: str
    root: str
    is_own: bool = False

    @classmethod
    def read(cls, token: str | None) -> "Thread | None":
        """What was kept: `C123:1764000000.000100`, with `:own` for a channel of its own."""
        if not token:
            return None
        is_own = token.endswith(":own")
        channel, _, root = token.removesuffix(":own").rpartition(":")
        return cls(channel, root, is_own)

    def __str__(self) -> str:
        own = ":own" if self.is_own else ""
        return f"{self.channel}:{self.root}{own}"
