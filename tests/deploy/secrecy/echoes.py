"""Receivers that refuse, and repeat every secret that they were given in what they answer."""

import asyncio
import json
import struct
import threading
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote_plus

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Echo(BaseHTTPRequestHandler):
    """Answers each address as its service does when it refuses, in the words of the request."""

    heard: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """What was sent, sent back."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        said = unquote_plus(f"{self.path} {self.headers.get('Authorization', '')} {body}")
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        if basic != self.headers.get("Authorization", ""):
            said += b64decode(basic).decode()
        self.heard.append(said)
        status, answer = self._answer(said)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Echo", " ".join(said.encode("ascii", "ignore").decode().split())[:2000])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        """The same."""
        self.do_POST()

    def _answer(self, said: str) -> tuple[int, dict[str, object]]:
        if self.path.startswith("/slack"):
            return 200, {"ok": False, "error": self.headers.get("Authorization", "")}
        if self.path.startswith("/taken"):
            return 200, {"id": said, "dedup_key": said, "requestId": said}
        if "token" in self.path:
            secret = said.partition("client_secret=")[2].partition("&")[0]
            return 401, {"error": secret, "error_description": said}
        return 401, {"error": {"code": said, "message": said}, "message": said}

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def echoing_http() -> Iterator[str]:
    """The address of a server of `Echo`."""
    Echo.heard.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A mail server that refuses the login with the password in its words."""
    writer.write(b"220 echo ESMTP\r\n")
    while line := (await reader.readline()).decode().strip():
        if line.upper().startswith("EHLO"):
            writer.write(b"250-echo\r\n250 AUTH PLAIN\r\n")
        elif line.upper().startswith("AUTH PLAIN"):
            login = b64decode(line.split()[2]).replace(b"\0", b" ").decode()
            Echo.heard.append(login)
            writer.write(f"535 5.7.8 {login} {line.split()[2]} is wrong\r\n".encode())
        else:
            writer.write(b"221 bye\r\n" if line.upper() == "QUIT" else b"502 no\r\n")
        await writer.drain()
    writer.close()


async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A database server that asks for the password in clear, and refuses in its words."""
    while True:
        size = struct.unpack("!I", await reader.readexactly(4))[0]
        asked = await reader.readexactly(size - 4)
        if struct.unpack("!I", asked[:4])[0] == 196608:  # the start; before it TLS is asked for
            break
        writer.write(b"N")
    writer.write(b"R" + struct.pack("!II", 8, 3))
    await reader.readexactly(1)
    size = struct.unpack("!I", await reader.readexactly(4))[0]
    password = (await reader.readexactly(size - 4)).rstrip(b"\0")
    Echo.heard.append(password.decode())
    said = b"SFATAL\0C28P01\0Mthe password " + password + b" is wrong\0\0"
    writer.write(b"E" + struct.pack("!I", len(said) + 4) + said)
    await writer.drain()
    writer.close()


@contextmanager
def serving(handler: Handler) -> Iterator[int]:
    """The port of a server of this kind."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opening = asyncio.start_server(handler, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(opening, loop).result(10)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
