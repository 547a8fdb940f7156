"""What people say in chat comes back as commands: slash commands, buttons, mentions, threads."""

from sinks.notifier.chat.bot_tokens import BotTokens
from sinks.notifier.chat.desk import ChatDesk
from sinks.notifier.chat.slack import SlackDoor
from sinks.notifier.chat.teams import TeamsDoor
from sinks.notifier.chat.teams_bot import TeamsBotDoor

__all__ = ["BotTokens", "ChatDesk", "SlackDoor", "TeamsBotDoor", "TeamsDoor"]
