"""Slack's Web API as far as we use it, with its limits: what breaks one is refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.sinks.notifier.receivers import serving


class SlackLookAlike:
    """A workspace with a few channels and people; answers from `script` first.

    It knows no repeat by any key, and shows applications the metadata of posts if they ask. With
    `is_strict` it takes one message a second in a channel, as Slack does.
    """

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.edited: list[dict[str, Any]] = []
        self.channels: dict[str, dict[str, Any]] = {}
        self.users = {"ada@example.org": "U1", "kim@example.org": "U2"}
        self.script: list[web.Response] = []
        self.calls: list[str] = []
        self.is_strict = False
        self.limited: list[str] = []
        """Methods that are asked too often, once for each time that they are here."""
        self.url = ""
        self.page = 200
        self.hangs_at = ""
        """A method that is done, and not answered."""
        self._last: dict[str, float] = {}

    async def handle(self, request: web.Request) -> web.Response:
        method = request.path.rpartition("/")[2]
        if request.headers.get("Authorization") != "Bearer xoxb-secret":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        if self.script:
            return self.script.pop(0)
        self.calls.append(method)
        is_json = request.content_type == "application/json"
        asked = await request.json() if is_json else dict(await request.post() or request.query)
        if method in self.limited:
            self.limited.remove(method)
            made: dict[str, Any] | str = "ratelimited"
        else:
            made = getattr(self, method.replace(".", "_"))(asked)
        if made == "ratelimited":
            body = {"ok": False, "error": made}
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        if method == self.hangs_at:
            await asyncio.sleep(600)
        if isinstance(made, str):
            return web.json_response({"ok": False, "error": made})
        return web.json_response({"ok": True, **made})

    # -- methods, each with its answer or an error's name ---------------------------------

    def chat_postMessage(self, post: dict[str, Any]) -> dict[str, Any] | str:
        channel = post.get("channel", "")
        if channel.startswith("#"):
            channel = f"C{channel[1:]}"
        elif channel not in self.channels and channel not in self._last:
            return "channel_not_found"
        if self.is_strict and time.monotonic() - self._last.get(channel, 0) < 1:
            return "ratelimited"
        if post.get("thread_ts") and post["thread_ts"] not in {p["ts"] for p in self.posted}:
            return "thread_not_found"
        problem = blocks_problem(post)
        if problem:
            return problem
        self._last[channel] = time.monotonic()
        ts = f"1764000000.{len(self.posted):06d}"
        self.posted.append(post | {"ts": ts, "in": channel})
        return {"ts": ts, "channel": channel}

    def chat_update(self, post: dict[str, Any]) -> dict[str, Any] | str:
        if post["ts"] not in {p["ts"] for p in self.posted}:
            return "message_not_found"
        problem = blocks_problem(post)
        if problem:
            return problem
        self.edited.append(post)
        return {"ts": post["ts"], "channel": post["channel"]}

    def conversations_create(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        name = asked["name"]
        if not 0 < len(name) <= 80 or name != name.lower() or " " in name or "." in name:
            return "invalid_name_specials"
        if name in {channel["name"] for channel in self.channels.values()}:
            return "name_taken"
        made = {"id": f"C{len(self.channels)}", "name": name, "members": [], "topic": ""}
        self.channels[made["id"]] = made
        return {"channel": made}

    def conversations_list(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        named = [{"id": id, "name": id[1:]} for id in self._last if id not in self.channels]
        found = [*self.channels.values(), *named]
        return {"channels": found, "response_metadata": {"next_cursor": ""}}

    def conversations_history(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        if asked["channel"] not in {*self.channels, *self._last}:
            return "channel_not_found"
        found = [
            post
            for post in reversed(self.posted)
            if post["in"] == asked["channel"] and post.get("thread_ts", post["ts"]) == post["ts"]
        ]
        return self._paged(found, asked)

    def conversations_replies(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        found = [
            post
            for post in self.posted
            if post["in"] == asked["channel"] and asked["ts"] in (post["ts"], post.get("thread_ts"))
        ]
        return self._paged(found, asked) if found else "thread_not_found"

    def _paged(self, posts: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
        posts = [post for post in posts if float(post["ts"]) >= float(asked.get("oldest", 0))]
        if str(asked.get("include_all_metadata", "")).lower() not in ("1", "true"):
            posts = [{k: v for k, v in post.items() if k != "metadata"} for post in posts]
        first = int(asked.get("cursor") or 0)
        last = first + min(self.page, int(asked.get("limit", 100)))
        cursor = str(last) if last < len(posts) else ""
        return {"messages": posts[first:last], "response_metadata": {"next_cursor": cursor}}

    def conversations_join(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        return {}

    def conversations_invite(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        members = self.channels[asked["channel"]]["members"]
        users = asked["users"] if isinstance(asked["users"], list) else asked["users"].split(",")
        if any(user in members for user in users):
            return "already_in_channel"
        members += users
        return {}

    def conversations_setTopic(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        if len(asked["topic"]) > 250:
            return "too_long"
        self.channels[asked["channel"]]["topic"] = asked["topic"]
        return {}

    def users_lookupByEmail(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        user = self.users.get(asked["email"])
        return {"user": {"id": user}} if user else "users_not_found"

    def users_info(self, asked: dict[str, Any]) -> dict[str, Any] | str:
        names = {user: email.partition("@")[0] for email, user in self.users.items()}
        if asked["user"] not in names:
            return "user_not_found"
        return {"user": {"id": asked["user"], "name": names[asked["user"]]}}


def blocks_problem(post: dict[str, Any]) -> str | None:
    """Why Slack would refuse the post's text or blocks, None if it would not."""
    if len(post.get("blocks", [])) > 50 or len(post["text"]) > 40_000:
        return "invalid_blocks"
    return next((p for p in map(block_problem, post["blocks"]) if p), None)


def block_problem(block: dict[str, Any]) -> str | None:
    """Why Slack would refuse the block, None if it would not."""
    if block["type"] == "header":
        ok = block["text"]["type"] == "plain_text" and 0 < len(block["text"]["text"]) <= 150
        return None if ok else "invalid_blocks"
    if block["type"] == "actions":
        ok = all(0 < len(e["text"]["text"]) <= 75 and e["action_id"] for e in block["elements"])
        return None if ok and len(block["elements"]) <= 25 else "invalid_blocks"
    if block["type"] != "rich_text":
        return "invalid_blocks"
    for section in block["elements"]:
        texts = [element.get("text", "") for element in section["elements"]]
        if not texts or not all(texts) or sum(map(len, texts)) > 3000:
            return "invalid_blocks"
        if any(element["type"] not in ("text", "link") for element in section["elements"]):
            return "invalid_blocks"
    return None


@asynccontextmanager
async def slack() -> AsyncIterator[SlackLookAlike]:
    """A running Slack look-alike."""
    made = SlackLookAlike()
    app = web.Application()
    app.router.add_route("*", "/api/{method:.*}", made.handle)
    async with serving(app) as base:
        made.url = f"{base}/api/"
        yield made
