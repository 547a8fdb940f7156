"""Who may change something: bearer token for the API, signed cookie and CSRF token for pages."""

import hashlib
import hmac
import uuid
from urllib.parse import urlsplit

import msgspec
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "tocsin_case_store"
SESSION_SECONDS = 12 * 3600


class Session(msgspec.Struct, frozen=True):
    """Someone signed in to the pages."""

    id: str
    actor: str


class Access:
    """Checks what a request carries against the configured token.

    Cookies are signed with keys derived from the token, so that a new token ends every session.
    Without a token nothing may be changed by anyone.
    """

    def __init__(self, token: str | None, public_url: str) -> None:
        self._token = token or None
        self._origin = _origin(public_url)
        self._secure = public_url.startswith("https:")
        key = hashlib.sha256(b"tocsin case store " + (token or uuid.uuid4().hex).encode()).digest()
        self._sessions = URLSafeTimedSerializer(key, salt="session")
        self._csrf = URLSafeTimedSerializer(key, salt="csrf")

    @property
    def writable(self) -> bool:
        """Whether a token is configured at all."""
        return self._token is not None

    def token_is(self, offered: str) -> bool:
        """Compares in a time that tells nothing of how much was right."""
        if self._token is None:
            return False
        return hmac.compare_digest(offered.encode(), self._token.encode())

    def bearer_is_valid(self, request: Request) -> bool:
        """Whether the `Authorization` header holds the token."""
        scheme, _, offered = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.token_is(offered.strip())

    def session(self, request: Request) -> Session | None:
        """Who is signed in, from the cookie; forged and old ones are nobody."""
        if not self.writable:
            return None
        try:
            content = self._sessions.loads(request.cookies.get(COOKIE, ""), max_age=SESSION_SECONDS)
            return msgspec.convert(content, Session)
        except (BadSignature, msgspec.ValidationError):
            return None

    def sign_in(self, response: Response, actor: str) -> Session:
        """Sets the cookie of a new session."""
        session = Session(id=uuid.uuid4().hex, actor=actor)
        response.set_cookie(
            COOKIE,
            self._sessions.dumps(msgspec.to_builtins(session)),
            max_age=SESSION_SECONDS,
            httponly=True,
            samesite="strict",
            secure=self._secure,
        )
        return session

    def sign_out(self, response: Response) -> None:
        """Takes the cookie away."""
        response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=self._secure)

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
