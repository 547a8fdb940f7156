"""The people whom the configuration names: recipients, and who is on call by a schedule."""

from schemas.configuration import Configuration, Recipient
from sinks.notifier.oncall.files import Rosters, known_by


class People:
    """Finds recipients. Raises `CalendarError` or `WallTimeError` for schedules that cannot be
    used.
    """

    def __init__(self, configuration: Configuration) -> None:
        section = configuration.notifier
        self.recipients = {recipient.name: recipient for recipient in section.recipients}
        self.rosters = Rosters(section)
        self._known = known_by(section.recipients)

    def on_call(self, schedule: str, now_ms: int) -> str | None:
        """Who is on call; None in a gap and by a schedule that there is not."""
        return self.rosters.person(schedule, now_ms) if schedule in self.rosters else None

    def resolve(self, name: str, now_ms: int) -> Recipient | None:
        """The recipient of a name, or who is on call by the schedule of that name."""
        person = name if name in self.recipients else self.on_call(name, now_ms)
        return self.recipients.get(person) if person else None

    def known(self, said: str | None) -> Recipient | None:
        """The recipient whose name or address it is."""
        name = self._known(said) if said else None
        return self.recipients.get(name) if name else None
