"""The history as an Atom feed: one entry an incident, with all that was said of it. Pure."""

from datetime import datetime
from urllib.parse import urlsplit

from feedgenerator import Atom1Feed
from markupsafe import Markup

from schemas.times import iso, utc
from sinks.status_page.board import Board
from sinks.status_page.incident import PublicIncident
from sinks.status_page.tongue import ENGLISH

MAX_ENTRIES = 50


def atom(board: Board, title: str, url: str) -> str:
    """The feed as text; `url` is the page's public address without a slash at its end."""
    feed = _Feed(
        title=f"{title}: incident history",
        link=f"{url}/",
        description=None,
        language="en",
        feed_url=f"{url}/history.atom",
        feed_guid=f"tag:{_authority(url)},2000:status",
        author_name=title,
        updated=utc(board.updated_ms),
    )
    for incident in board.incidents[:MAX_ENTRIES]:
        feed.add_item(
            title=incident.name,
            link=f"{url}/incidents/{incident.id}",
            description=None,
            content=_content(incident),
            unique_id=entry_id(incident, url),
            pubdate=utc(incident.opened_ms),
            updateddate=utc(incident.updated_ms),
        )
    text: str = feed.writeString("utf-8")
    return text


def entry_id(incident: PublicIncident, url: str) -> str:
    """A tag URI (RFC 4151) that stays the same for the life of the incident."""
    opened = (iso(incident.opened_ms) or "")[:10]
    return f"tag:{_authority(url)},{opened}:incidents/{incident.id}"


class _Feed(Atom1Feed):  # type: ignore[misc]  # the library has no types
    def latest_post_date(self) -> datetime:
        """The page's last change; the library would take the wall clock for an empty feed."""
        updated: datetime = self.feed["updated"]
        return updated


def _content(incident: PublicIncident) -> str:
    return Markup("").join(
        Markup("<p><small>{}</small><br><strong>{}</strong> – {}</p>").format(
            ENGLISH.moment(update.time_ms),
            ENGLISH("phase", update.phase),
            Markup("<br>").join(update.body.split("\n")),
        )
        for update in reversed(incident.updates)
    )


def _authority(url: str) -> str:
    return urlsplit(url).hostname or "localhost"
