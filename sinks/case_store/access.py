"""Who may read and who may change: bearer token for the API, signed cookie and CSRF for pages."""

import hashlib
import hmac
import uuid
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "tocsin_case_store"
SESSION_SECONDS = 12 * 3600

Right = Literal["read", "change"]
"""Who may change something may read too."""


class Session(msgspec.Struct, frozen=True):
    """Someone signed in to the pages."""

    id: str
    actor: str
    right: Right


class Access:
    """Checks what a request carries against the configured tokens.

    Cookies are signed with keys derived from the tokens, so that a new token ends every session.
    Without `token` nothing may be changed by anyone; without `read_token` everyone may read.
    """

    def __init__(self, token: str | None, read_token: str | None, public_url: str) -> None:
        self._tokens: dict[Right, str] = {"change": token or "", "read": read_token or ""}
        self.open = read_token is None
        self._origin = _origin(public_url)
        self._secure = public_url.startswith("https:")
        known = "\0".join(self._tokens.values())
        secret = known if known.strip("\0") else uuid.uuid4().hex
        key = hashlib.sha256(b"tocsin case store " + secret.encode()).digest()
        self._sessions = URLSafeTimedSerializer(key, salt="session")
        self._csrf = URLSafeTimedSerializer(key, salt="csrf")

    @property
    def writable(self) -> bool:
        """Whether there is a token with which something may be changed."""
        return bool(self._tokens["change"])

    @property
    def has_tokens(self) -> bool:
        """Whether anyone can sign in."""
        return any(self._tokens.values())

    def right_of(self, offered: str) -> Right | None:
        """What a token allows, found in a time that tells nothing of how much of it was right."""
        for right, token in self._tokens.items():
            if token and hmac.compare_digest(offered.encode(), token.encode()):
                return right
        return None

    def right_of_bearer(self, request: Request) -> Right | None:
        """What the token in the `Authorization` header allows."""
        scheme, _, offered = request.headers.get("authorization", "").partition(" ")
        return self.right_of(offered.strip()) if scheme.lower() == "bearer" else None

    def session(self, request: Request) -> Session | None:
        """Who is signed in, from the cookie; forged and old ones are nobody."""
        if not self.has_tokens:
            return None
        try:
            content = self._sessions.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_SECONDS)
            return msgspec.convert(content, Session)
        except (BadSignature, msgspec.ValidationError):
            return None

    def sign_in(self, response: Response, actor: str, right: Right) -> Session:
        """Sets the cookie of a new session."""
        session = Session(id=uuid.uuid4().hex, actor=actor, right=right)
        response.set_cookie(
            COOKIE,
            self._sessions.dumps(msgspec.to_builtins(session)),
            max_age=SESSION_SECONDS,
            httponly=True,
            # Not strict: who follows a link in a message is to be known. Forms carry their own.
            samesite="lax",
            secure=self._secure,
        )
        return session

    def sign_out(self, response: Response) -> None:
        """Takes the cookie away."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=self._secure)

    def csrf(self, session: Session) -> str:
        """The token that a form of this session carries."""
        return self._csrf.dumps(session.id)

    def csrf_is_valid(self, session: Session, offered: str) -> bool:
        """Whether a form was made for this session by us."""
        try:
            return bool(self._csrf.loads(offered, max_age=SESSION_SECONDS) == session.id)
        except BadSignature:
            return False

    def origin_is_ours(self, request: Request) -> bool:
        """Whether a browser says that the form came from our own pages, where it says anything."""
        origin = request.headers.get("origin")
        if origin is None:
            return True
        host = request.headers.get("host", "")
        return origin == self._origin or urlsplit(origin).netloc == host


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def safe_path(path: str) -> str:
    """A path within our pages to go back to; anything else becomes the list of cases."""
    ours = path.startswith(("/cases", "/incidents/")) and "\\" not in path and path.isprintable()
    return path if ours else "/cases"
