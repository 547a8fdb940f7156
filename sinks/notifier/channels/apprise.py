"""Messages to everything that Apprise can reach, for which there is no channel of our own."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import apprise
from apprise.common import OverflowMode

from sinks.notifier.channels.channel import Message, Receipt, Retry

LOCAL_SCHEMAS = frozenset(
    (
        "blink1",
        "dbus",
        "file",
        "gio",
        "glib",
        "gnome",
        "kde",
        "macosx",
        "qt",
        "syslog",
        "vapid",
        "windows",
    )
)
"""Schemas that run programs, drive devices of this machine or keep files on it."""

FILE_ARGUMENTS = frozenset(("attach", "config", "keyfile", "pgp", "pgpkey", "subfile", "template"))
"""Arguments of Apprise URLs that name files on this machine."""


class AppriseUrlError(ValueError):
    """An Apprise URL that is not usable here; says which target and why, never the URL."""


class Apprise:
    """Sends through one Apprise URL, in a thread of its own. Redirects are not followed.

    Apprise says only whether it worked, so that every failure may be tried again, and it knows no
    message ids: a crash between sending and noting it can show the message twice.
    """

    messages = 1.0
    per_seconds = 1.0
    concurrency = 1

    def __init__(self, name: str, url: str) -> None:
        self._name = name
        self._target = target(name, url)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"apprise-{name}")

    async def send(self, message: Message) -> Receipt:
        """Sends the text with its links below. Raises Retry on any failure."""
        links = "\n".join(f"{link.label}: {link.url}" for link in message.links)
        body = f"{message.text.strip()}\n\n{links}".strip()
        taken = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._notify, message.subject, body
        )
        if not taken:
            raise Retry("unreachable", f"Apprise could not send to {self._name}")
        return Receipt()

    async def close(self) -> None:
        """Lets the thread end by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _notify(self, subject: str, body: str) -> bool:
        return bool(self._target.notify(title=subject, body=body, body_format="text"))


def target(name: str, url: str) -> apprise.Apprise:
    """The Apprise target of a URL.

    Raises AppriseUrlError for schemas and arguments that touch this machine's files or programs,
    and for URLs that Apprise cannot read.
    """
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines can hold parts of the URL
    parts = urlsplit(url.strip())
    where = f"notifier.channels.apprise.{name}"
    if parts.scheme.lower() in LOCAL_SCHEMAS:
        raise AppriseUrlError(
            f"{where}: {parts.scheme}:// acts on this machine and is not allowed; "
            "choose a service that is reached over the network"
        )
    if parse_qs(parts.query).get("redirect", ["no"])[0].lower() not in ("no", "false", "0"):
        raise AppriseUrlError(f"{where}: redirects are not followed; leave redirect= out")
    named = FILE_ARGUMENTS & {key.lower().lstrip("+-:") for key in parse_qs(parts.query, True)}
    if named:
        raise AppriseUrlError(f"{where}: the argument {min(named)}= names a file; leave it out")
    asset = apprise.AppriseAsset(
        app_id="tocsin",
        app_desc="tocsin",
        async_mode=False,
        http_redirects=False,
        plugin_paths=[],
        secure_logging=True,
        storage_path=None,
    )
    made = apprise.Apprise(asset=asset)
    if not parts.scheme or not made.add(url.strip()) or len(made) != 1:
        raise AppriseUrlError(
            f"{where}: is not one URL that Apprise can read; see its list of services"
        )
    if "overflow" not in parse_qs(parts.query):
        # What is longer than a service takes goes in parts, instead of being refused there.
        made[0].overflow_mode = OverflowMode.SPLIT
    return made
