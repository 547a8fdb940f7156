"""A TCP proxy before the broker that can be slow, and can cut everybody off."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

_CHUNK: Final = 64 * 1024


class Proxy:
    """Passes bytes on to `upstream` from a port of its own; a context manager.

    What changes while it runs may be called from any thread.
    """

    def __init__(self) -> None:
        self.upstream: tuple[str, int] | None = None
        self.port = 0
        self._delay_seconds = 0.0
        self._is_open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"127.0.0.1:{self.port}"

    def lead_to(self, address: str) -> None:
        """Where connections go from now on, `host:port`."""
        host, _, port = address.rpartition(":")
        self.upstream = (host, int(port))

    def delay(self, seconds: float) -> None:
        """Every byte from the broker takes so much longer; 0 for no delay."""
        self._call(lambda: setattr(self, "_delay_seconds", seconds))

    def cut(self) -> None:
        """Ends every connection and takes no new one until `mend`."""
        self._call(self._cut)

    def mend(self) -> None:
        """Lets connections through again."""
        self._call(lambda: setattr(self, "_is_open", True))

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._await(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _call(self, change: Callable[[], None]) -> None:
        async def changed() -> None:
            change()

        self._await(changed())

    def _await(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _cut(self) -> None:
        self._is_open = False
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open or self.upstream is None:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(
                self._pass(reader, far_writer), self._pass_late(far_reader, writer)
            )
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _pass_late(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads at once and writes later, so that a delay is one of time and not of width."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        writing = asyncio.ensure_future(self._write_late(waiting, writer))
        try:
            with contextlib.suppress(OSError):
                while data := await reader.read(_CHUNK):
                    await waiting.put((self._loop.time() + self._delay_seconds, data))
            await waiting.put((0.0, b""))
            await writing
        finally:
            writing.cancel()

    async def _write_late(
        self, waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await waiting.get()
                if not data:
                    break
                if (left := due - self._loop.time()) > 0:
                    await asyncio.sleep(left)
                writer.write(data)
                await writer.drain()
        writer.close()
