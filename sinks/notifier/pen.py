"""Words for whatever happens: what a broken template would lose is written all the same."""

from collections.abc import Callable
from pathlib import Path

import structlog

from schemas.configuration import Catalogue
from sinks.notifier.clean import clean
from sinks.notifier.language import Language, language
from sinks.notifier.messages import Ask, Digest, HandOver, SilenceNotice
from sinks.notifier.words import MAX_SUBJECT, Words, Writer, marked

log = structlog.get_logger("tocsin.notifier")


class Pen:
    """Writes with one's own templates; where one fails, with those that ship; at last by itself.

    `tocsin check` finds a template that fails. An outage is no time to lose messages by one.
    """

    def __init__(self, catalogue: Catalogue, folder: Path | str | None = None) -> None:
        own = [Writer(catalogue, folder)] if folder else []
        self._writers = (*own, Writer(catalogue))

    def write(self, ask: Ask) -> Words:
        """The message that is asked for; never raises for a template."""
        said = self._first(lambda writer: writer.write(ask), ask.stage)
        return said or _plain(ask)

    def digest(self, digest: Digest) -> Words:
        """The list of what was held back."""
        subject = f"{digest.count} messages about {digest.incidents} incidents were held back"
        text = "\n".join(f"- {item.incident_id}: {clean(item.subject)}" for item in digest.items)
        return self._first(lambda writer: writer.digest(digest), "digest") or Words(subject, text)

    def hand_over(self, hand_over: HandOver) -> Words:
        """That a shift begins or ends."""
        side = "on" if hand_over.comes_on else "off"
        bare = Words(f"You are {side} call: {clean(hand_over.schedule)}", "")
        return self._first(lambda writer: writer.hand_over(hand_over), "hand_over") or bare

    def silence(self, notice: SilenceNotice) -> Words:
        """That a silence ends soon, or has ended."""
        event = notice.event
        what = f"Silence {event.type}: {clean(' and '.join(event.silence.matchers))}"
        bare = Words(what, clean(notice.extend))
        return self._first(lambda writer: writer.silence(notice), "silence") or bare

    def _first(self, write: Callable[[Writer], Words], what: str) -> Words | None:
        for number, writer in enumerate(self._writers, start=1):
            try:
                return write(writer)
            except Exception:  # templates and phrases can be anybody's, and so their mistakes
                own = number < len(self._writers)
                mend = "see `tocsin check`" if own else "this is a mistake of tocsin's"
                log.exception("template failed", message=what, mend=mend)
        return None


def _plain(ask: Ask) -> Words:
    """The bare news. Customers read that there is a problem, and nothing else."""
    said: Language = language("en", "UTC")
    incident = ask.event.incident
    words = Words(f"[{incident.severity}] {ask.stage}: {clean(incident.title)}", incident.id)
    if ask.recipient.audience == "customer":
        is_over = incident.state in ("resolved", "closed")
        news = "The problem is over." if is_over else "We are working on a problem."
        words = Words(news, news)
    cut = Words(words.subject[:MAX_SUBJECT], words.text)
    return marked(cut, said) if ask.drill or incident.drill else cut
