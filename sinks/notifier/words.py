"""The words of each message, by language, audience and stage, from templates. Pure.

A template is `<language>/<audience>/<stage>.j2`, or `<stage>.<type>.j2` for a type alone; notices
are `<language>/notices/<kind>.j2`. Its first line is the subject, the rest the text. A folder of
one's own comes before those that ship, and English is the last resort.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from jinja2 import Template, TemplateNotFound, TemplateRuntimeError

from schemas.configuration import Catalogue, Recipient
from sinks.notifier.clean import clean
from sinks.notifier.facts import Facts, Reader
from sinks.notifier.language import DEFAULT, FOLDER, Language, language
from sinks.notifier.messages import Ask, Digest, HandOver, Kind, SilenceNotice, Stage
from sinks.notifier.sandbox import Sandbox

__all__ = ["PHASES", "Phase", "Words", "Writer"]

MAX_SUBJECT = 200
MAX_TEXT = 8000

Phase = Literal["acknowledgement", "update", "workaround", "resolved", "follow-up", "final"]
"""What a message is to its reader; several types of message can be the same."""
PHASES: dict[Stage, Phase] = {
    "opened": "acknowledgement",
    "reopened": "acknowledgement",
    "updated": "update",
    "severity_changed": "update",
    "acknowledged": "update",
    "unacknowledged": "update",
    "public_message": "update",
    "no_change": "update",
    "retracted": "update",
    "workaround": "workaround",
    "resolved": "resolved",
    "follow_up": "follow-up",
    "final": "final",
}
NOTICES: frozenset[Kind] = frozenset(("reminder", "update_due", "review"))
"""Kinds that ask their reader for something and have words of their own."""


class Words(msgspec.Struct, frozen=True):
    """A subject of one line, and a plain text."""

    subject: str
    text: str


class Writer:
    """Fills the templates.

    Parameters
    ----------
    catalogue
        What customers call services and segments.
    folder
        Templates of one's own, which come first.
    """

    def __init__(self, catalogue: Catalogue, folder: Path | str | None = None) -> None:
        self._facts = Facts(catalogue)
        self._folders = (*([Path(folder)] if folder else []), FOLDER)
        self._environments: dict[tuple[str, str], Sandbox] = {}

    def write(self, ask: Ask) -> Words:
        """The message that is asked for.

        Raises jinja2.TemplateError for a template that does not work, and ValueError or LookupError
        for phrases that do not.
        """
        recipient = ask.recipient
        said = self._language(recipient)
        if ask.event.incident.drill and not ask.drill:
            ask = msgspec.structs.replace(ask, drill=True)
        facts = self._facts.of(ask, Reader(recipient.audience, said, recipient.segment))
        if ask.kind in NOTICES and recipient.audience != "customer":
            return self._notice(ask.kind, recipient, facts, drill=ask.drill)
        phase = PHASES[ask.stage].replace("-", "_")
        names = (f"{phase}.{ask.stage}", phase)
        return self._fill(said, [f"{recipient.audience}/{n}.j2" for n in names], facts, ask.drill)

    def digest(self, digest: Digest) -> Words:
        """The list of what was held back. Raises as `write`."""
        return self._notice("digest", digest.recipient, {"digest": digest})

    def hand_over(self, hand_over: HandOver) -> Words:
        """That a shift begins or ends. Raises as `write`."""
        return self._notice("hand_over", hand_over.recipient, {"hand_over": hand_over})

    def silence(self, notice: SilenceNotice) -> Words:
        """That a silence ends soon, or has ended. Raises as `write`."""
        event = notice.event
        facts: dict[str, object] = {"notice": notice, "event": event, "silence": event.silence}
        return self._notice("silence", notice.recipient, facts)

    def _notice(
        self, name: str, recipient: Recipient, facts: dict[str, object], *, drill: bool = False
    ) -> Words:
        return self._fill(self._language(recipient), [f"notices/{name}.j2"], facts, drill)

    def _language(self, recipient: Recipient) -> Language:
        return language(recipient.language, recipient.time_zone, self._folders)

    def _fill(
        self, said: Language, names: Sequence[str], facts: dict[str, object], drill: bool
    ) -> Words:
        environment = self._environment(said)
        template = _first_of(environment, said, names)
        rendered = environment.fill(template, facts)
        subject, _, text = rendered.strip().partition("\n")
        words = Words(_with_capital(clean(subject))[:MAX_SUBJECT], _tidy(text)[:MAX_TEXT])
        if not words.subject or not words.text:
            part = (
                "text: the subject is its first line, the text the rest" if subject else "subject"
            )
            raise TemplateRuntimeError(f"{template.filename}:1: the message has no {part}")
        return marked(words, said) if drill else words

    def _environment(self, said: Language) -> Sandbox:
        key = (said.code, str(said.at(0).tzinfo))
        if key not in self._environments:
            self._environments[key] = environment_of(said, self._folders)
        return self._environments[key]


def environment_of(said: Language, folders: Sequence[Path]) -> Sandbox:
    """The templates, with times and figures as the language and zone have them."""
    made = Sandbox(folders, clean)
    made.filters.update(
        moment=said.moment,
        clock=said.clock,
        near=said.near,
        day=said.day,
        span=said.span,
        duration=said.duration,
        about=said.about,
        number=said.number,
        percent=said.percent,
        words=said.words,
        quoted=said.quoted,
        short=said.short,
        severity=lambda name: said.phrase("severity", name),
    )
    return made


def marked(words: Words, said: Language) -> Words:
    """The words of a drill: whatever the template, its subject and its first line say so."""
    mark, what = said.phrase("drill", "mark"), said.phrase("drill", "text")
    return Words(f"{mark} {words.subject}"[:MAX_SUBJECT], f"{mark} {what}\n\n{words.text}")


def _first_of(environment: Sandbox, said: Language, names: Sequence[str]) -> Template:
    """The first of the templates that is there, in the language or else in English."""
    wanted = [f"{code}/{name}" for code in (said.code, said.name, DEFAULT) for name in names]
    for name in dict.fromkeys(wanted):
        try:
            return environment.find(name)
        except TemplateNotFound as error:
            if error.name != name:
                raise
    raise TemplateNotFound(wanted[0])


def _with_capital(subject: str) -> str:
    return subject[:1].upper() + subject[1:]


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
