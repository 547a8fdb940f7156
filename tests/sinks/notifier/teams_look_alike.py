"""Teams as a bot meets it: sign-in, Graph and the Bot Connector, with their limits.

What breaks a limit is refused as the real ones do. The Connector signs what it sends to us with a
key of its own.
"""

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from schemas.configuration import Secret, TeamsBot
from tests.sinks.notifier.receivers import serving

TENANT, APP, TEAM, PASSWORD = "t-1", "a-1", "g-1", "bot-pass-word"
KEY = RSAKey.generate_key(2048, {"kid": "k-1"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "k-1"})
FORBIDDEN = set("~#%&*{}+/\\:<>?|'\",")


def graph_error(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": text}}, status=status)


class TeamsBotLookAlike:
    """One team with a few people; `script` answers the Connector's requests first.

    With `is_strict` the Connector takes 7 requests a second in a thread, as the real one does.
    """

    def __init__(self) -> None:
        self.users = {
            "ada@example.org": {"id": "u-1", "displayName": "Ada Lovelace"},
            "kim@example.org": {"id": "u-2", "displayName": "Kim <b>"},
        }
        self.team: list[str] = []
        self.channels: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()
        self.room = 1000
        self.posts: dict[str, dict[str, Any]] = {}
        """By thread and message id; the first of a thread is `<thread>/<its id>`."""
        self.edits: list[str] = []
        self.summaries: list[str] = []
        """Of what was posted, in order; of no edit."""
        self.tokens: list[str] = []
        self.is_strict = False
        self.script: list[web.Response] = []
        self.graph_script: list[web.Response] = []
        self.away: dict[str, int] = {}
        """Ends of Graph's paths that answer with this status, once."""
        self.key = KEY
        self.endorsements = ["msteams"]
        self.keys_asked = 0
        self.url = ""
        self._moments: dict[str, list[float]] = {}

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What of the configuration leads here."""
        return {
            "tenant": TENANT,
            "app_id": APP,
            "team": TEAM,
            "service_url": f"{self.url}/connector/",
            "graph_url": f"{self.url}/graph",
            "login_url": f"{self.url}/login",
            "keys_url": f"{self.url}/keys",
        } | changes

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/login/{tenant}/oauth2/v2.0/token", self.login),
            web.get("/keys", self.keys),
            web.route("*", "/graph/{path:.*}", self.graph),
            web.route("*", "/connector/{path:.*}", self.connector),
        ]

    # -- sign-in --------------------------------------------------------------------------

    async def login(self, request: web.Request) -> web.Response:
        form = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        wanted = {"grant_type": "client_credentials", "client_id": APP, "client_secret": PASSWORD}
        if request.match_info["tenant"] != TENANT or any(form.get(k) != wanted[k] for k in wanted):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"{form['scope']}#{len(self.tokens)}"
        self.tokens.append(token)
        return web.json_response({"access_token": token, "expires_in": 3600})

    def is_signed_in(self, request: web.Request, scope: str) -> bool:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        return token in self.tokens and token.startswith(scope)

    async def keys(self, request: web.Request) -> web.Response:
        self.keys_asked += 1
        public = self.key.as_dict(private=False) | {"endorsements": self.endorsements}
        return web.json_response({"keys": [public]})

    # -- Graph ----------------------------------------------------------------------------

    async def graph(self, request: web.Request) -> web.Response:
        if not self.is_signed_in(request, "https://graph.microsoft.com/"):
            return graph_error(401, "InvalidAuthenticationToken", "Access token is empty.")
        if self.graph_script:
            return self.graph_script.pop(0)
        path = unquote(request.path).removeprefix("/graph")
        if status := self.away.pop(path.rpartition("/")[2], None):
            return web.Response(status=status, headers={"Retry-After": "7"})
        asked = await request.json() if request.can_read_body else {}
        if request.method == "GET" and path.startswith("/users/"):
            user = self.users.get(path.removeprefix("/users/"))
            return web.json_response(user) if user else graph_error(404, "NotFound", "no such")
        path = path.removeprefix(f"/teams/{TEAM}")
        if path == "/members":
            return self.add(self.team, asked)
        if path == "/channels":
            if request.method == "GET":
                return self.find(request.query["$filter"])
            return self.create(asked)
        match = re.fullmatch(r"/channels/([^/]+)(/members)?", path)
        if match is None or match[1] not in self.channels:
            return graph_error(404, "NotFound", "no such channel")
        channel = self.channels[match[1]]
        if match[2]:
            if channel["membershipType"] == "standard":
                return graph_error(400, "BadRequest", "a standard channel has no members")
            return self.add(channel["members"], asked, of=self.team)
        if len(asked["description"]) > 1024:
            return graph_error(400, "BadRequest", "description too long")
        channel["description"] = asked["description"]
        return web.Response(status=204)

    def create(self, asked: dict[str, Any]) -> web.Response:
        name = asked["displayName"]
        wrong = FORBIDDEN & set(name) or not 0 < len(name) <= 50 or ".." in name
        if wrong or name[0] in "_." or name[-1] == ".":
            return graph_error(400, "BadRequest", "displayName is not valid")
        taken = {c["displayName"].lower() for c in self.channels.values()} | self.deleted
        if name.lower() in taken:
            return graph_error(400, "NameAlreadyExists", "Channel name already existed.")
        if len(self.channels) + len(self.deleted) >= self.room:
            return graph_error(403, "MaximumNumberOfChannelsReached", "the team is full")
        members = [self.user_in(member) for member in asked.get("members", ())]
        if asked["membershipType"] == "private" and not members:
            return graph_error(400, "BadRequest", "a private channel needs an owner")
        if len(asked["description"]) > 1024:
            return graph_error(400, "BadRequest", "description too long")
        id = f"19:c_{len(self.channels)}@thread.tacv2"
        self.channels[id] = {"id": id, **asked, "members": members}
        return web.json_response({"id": id, "displayName": name}, status=201)

    def find(self, query: str) -> web.Response:
        match = re.fullmatch(r"displayName eq '([^']*)'", query)
        assert match is not None
        found = [c for c in self.channels.values() if c["displayName"] == match[1]]
        return web.json_response(
            {"value": [{k: c[k] for k in ("id", "displayName")} for c in found]}
        )

    def add(
        self, members: list[str], asked: dict[str, Any], of: list[str] | None = None
    ) -> web.Response:
        user = self.user_in(asked)
        if of is not None and user not in of:
            return graph_error(404, "NotFound", "not of the team")
        if user in members:
            return graph_error(400, "BadRequest", "the user is already a member")
        members.append(user)
        return web.json_response({"id": user}, status=201)

    def user_in(self, member: dict[str, Any]) -> str:
        match = re.fullmatch(rf"{self.url}/graph/users\('([^']+)'\)", member["user@odata.bind"])
        assert match is not None, member
        assert match[1] in {user["id"] for user in self.users.values()}
        return match[1]

    # -- the Bot Connector ----------------------------------------------------------------

    async def connector(self, request: web.Request) -> web.Response:
        if not self.is_signed_in(request, "https://api.botframework.com/"):
            return graph_error(401, "Unauthorized", "Authorization has been denied.")
        if self.script:
            return self.script.pop(0)
        body = await request.read()
        if len(body) > 28 * 1024:
            return graph_error(413, "RequestEntityTooLarge", "too large")
        asked = json.loads(body)
        path = unquote(request.path).removeprefix("/connector")
        if path == "/v3/conversations":
            return self.begin(asked)
        match = re.fullmatch(
            r"/v3/conversations/([^/;]+;messageid=[^/]+)/activities(?:/(.+))?", path
        )
        if match is None or f"{match[1]}/{match[1].partition('=')[2]}" not in self.posts:
            return graph_error(404, "ConversationNotFound", "Conversation not found.")
        if self.is_too_fast(match[1]):
            return web.Response(status=429, headers={"Retry-After": "1"})
        if request.method == "PUT":
            return self.edit(f"{match[1]}/{match[2]}", asked)
        return self.post(match[1], asked)

    def begin(self, asked: dict[str, Any]) -> web.Response:
        channel = asked["channelData"]["channel"]["id"]
        if asked["bot"]["id"] != f"28:{APP}" or asked["tenantId"] != TENANT:
            return graph_error(403, "BotNotInConversationRoster", "The bot is not in the team.")
        if channel not in self.channels and not channel.startswith("19:general"):
            return graph_error(404, "ConversationNotFound", "no such channel")
        root = str(1_764_000_000_000 + len(self.posts))
        thread = f"{channel};messageid={root}"
        answer = self.post(thread, asked["activity"], root)
        if answer.status != 201:
            return answer
        return web.json_response({"id": thread, "activityId": root}, status=201)

    def post(self, thread: str, activity: dict[str, Any], id: str | None = None) -> web.Response:
        if not is_whole(activity):
            return graph_error(400, "BadSyntax", "Bad format of the activity.")
        id = id or str(1_764_000_000_000 + len(self.posts))
        self.posts[f"{thread}/{id}"] = activity
        self.summaries.append(activity.get("summary", ""))
        return web.json_response({"id": id}, status=201)

    def edit(self, post: str, activity: dict[str, Any]) -> web.Response:
        if post not in self.posts:
            return graph_error(404, "MessageNotFound", "no such message")
        if not is_whole(activity):
            return graph_error(400, "BadSyntax", "Bad format of the activity.")
        self.posts[post] = activity
        self.edits.append(post)
        return web.json_response({"id": post.rpartition("/")[2]})

    def is_too_fast(self, thread: str) -> bool:
        now = time.monotonic()
        recent = [at for at in self._moments.get(thread, ()) if now - at < 1]
        self._moments[thread] = [*recent, now]
        return self.is_strict and len(recent) >= 7

    # -- what it sends to us --------------------------------------------------------------

    def token(
        self, key: RSAKey | None = None, *, now_s: int, kid: str = "k-1", **claims: Any
    ) -> str:
        """The token of a request to us; of the right kind unless something is changed."""
        said = {
            "iss": "https://api.botframework.com",
            "aud": APP,
            "serviceurl": "https://smba.example.org/emea/",
            "nbf": now_s - 10,
            "exp": now_s + 3600,
        } | claims
        return str(jwt.encode({"alg": "RS256", "kid": kid}, said, key or self.key))

    def activity(self, **changes: Any) -> dict[str, Any]:
        """What somebody said in a channel, as the Connector tells it."""
        return {
            "type": "message",
            "id": "1764000009999",
            "channelId": "msteams",
            "serviceUrl": "https://smba.example.org/emea",
            "from": {"id": "29:x", "name": "Ada Lovelace", "aadObjectId": "u-1"},
            "recipient": {"id": f"28:{APP}", "name": "tocsin"},
            "conversation": {"id": "19:elsewhere@thread.tacv2;messageid=1", "isGroup": True},
            "channelData": {"tenant": {"id": TENANT}},
            "text": "",
        } | changes


def is_whole(activity: dict[str, Any]) -> bool:
    """Whether the Connector takes the activity: a text, or one card that Teams can show."""
    if activity["type"] != "message":
        return False
    if "attachments" not in activity:
        return bool(activity["text"])
    (attachment,) = activity["attachments"]
    card = attachment["content"]
    texts = json.dumps(card["body"])
    mentioned = card["msteams"].get("entities", ())
    return (
        attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        and card["version"] == "1.4"
        and len(card["actions"]) <= 6
        and all(json.dumps(entity["text"])[1:-1] in texts for entity in mentioned)
        and texts.count("<at>") == len(mentioned)
    )


def settings(team: TeamsBotLookAlike, **changes: Any) -> TeamsBot:
    """The configuration of the bot."""
    return TeamsBot(password=Secret(env="BOT"), **team.settings(**changes))


@asynccontextmanager
async def teams_bot() -> AsyncIterator[TeamsBotLookAlike]:
    """A running look-alike."""
    made = TeamsBotLookAlike()
    app = web.Application()
    app.add_routes(made.routes())
    async with serving(app) as base:
        made.url = base
        yield made
