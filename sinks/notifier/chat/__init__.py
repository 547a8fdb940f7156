"""What people say in chat comes back as commands: slash commands, buttons, mentions, threads."""

from sinks.notifier.chat.desk import ChatDesk
from sinks.notifier.chat.slack import SlackDoor
from sinks.notifier.chat.teams import TeamsDoor

__all__ = ["ChatDesk", "SlackDoor", "TeamsDoor"]
