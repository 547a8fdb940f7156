"""Lets the bytes of a fetch come straight to where they are read, without copies on the way.

aiokafka reads through `asyncio.StreamReader`, which copies all that comes again and again and stops
the socket every 128 KiB.
"""

import asyncio
from typing import Any, Final

import aiokafka.conn

_SMALL_BYTES: Final = 64 * 1024
"""What is read up to this size is handed out as bytes of their own."""

_KEPT_BYTES: Final = 16 * 1024 * 1024
"""Up to this size, the room for one answer is kept for the next."""


class Inlet(asyncio.BufferedProtocol):
    """The reading side of a connection: the transport's protocol and aiokafka's reader in one.

    Only one task reads, and what it asks for is all of an answer or its length.

    Parameters
    ----------
    behind
        The protocol that the connection was made with; it goes on minding the writing side.
    """

    def __init__(self, behind: asyncio.BaseProtocol) -> None:
        self._behind: Any = behind
        self._landing = memoryview(bytearray(_SMALL_BYTES))
        self._arrived = bytearray()
        self._room = bytearray()
        self._answer: memoryview | None = None
        self._filled = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._error: BaseException | None = None

    # what aiokafka asks of a reader

    async def readexactly(self, count: int) -> bytes | memoryview:
        """The next `count` bytes; if they are many, only until the next call.

        Raises `asyncio.IncompleteReadError` where the connection ends before, or what broke it.
        """
        if count > max(_SMALL_BYTES, len(self._arrived)):
            return await self._read_large(count)
        while len(self._arrived) < count:
            await self._wait(len(self._arrived), count)
        found = bytes(memoryview(self._arrived)[:count])
        del self._arrived[:count]
        return found

    def at_eof(self) -> bool:
        """Whether nothing more will come."""
        return self._is_over and not self._arrived

    async def _read_large(self, count: int) -> memoryview:
        answer = self._room_for(count)
        self._filled = len(self._arrived)
        answer[: self._filled] = self._arrived
        self._arrived.clear()
        self._answer = answer
        try:
            while self._filled < count:
                await self._wait(self._filled, count)
        finally:
            self._answer = None
        return answer

    def _room_for(self, count: int) -> memoryview:
        room = self._room
        if len(room) < count:
            room = bytearray(count)
            self._room = room if count <= _KEPT_BYTES else bytearray()
        return memoryview(room)[:count]

    async def _wait(self, have: int, expected: int) -> None:
        """Returns once more has come, or nothing more will."""
        if self._error is not None:
            raise self._error
        if self._is_over:
            raise asyncio.IncompleteReadError(bytes(have), expected)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the transport asks of a protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: into the answer that is waited for, unless it is small."""
        return self._landing if self._answer is None else self._answer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many have come."""
        if self._answer is None:
            self._arrived += self._landing[:nbytes]
            self._wake()
            return
        self._filled += nbytes
        if self._filled == len(self._answer):
            self._wake_with_answer()

    def _wake_with_answer(self) -> None:
        self._answer = None  # what comes from now on is not of it
        self._wake()

    def eof_received(self) -> bool | None:
        """Nothing more will come."""
        self.end(None)
        ending: bool | None = self._behind.eof_received()
        return ending

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come or go."""
        self.end(exc)
        self._behind.connection_lost(exc)

    def end(self, error: BaseException | None) -> None:
        """Nothing more will come, because of this error if there was one."""
        self._is_over, self._error = True, error
        self._wake()

    def pause_writing(self) -> None:
        """Too much waits to be sent."""
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        """There is room to send again."""
        self._behind.resume_writing()


def taken_over(
    transport: asyncio.BaseTransport, protocol: asyncio.BaseProtocol, reader: asyncio.StreamReader
) -> Inlet:
    """An inlet in place of a reader which has read nothing, but may have heard of the end."""
    inlet = Inlet(protocol)
    transport.set_protocol(inlet)
    error = reader.exception()
    if error is not None or reader.at_eof():
        inlet.end(error)
    return inlet


class Connection(aiokafka.conn.AIOKafkaConnection):
    """aiokafka's connection to a broker, read through an `Inlet`."""

    _reader: Any

    def _create_reader_task(self) -> Any:
        # Called once it is connected, and before anything was asked that could be answered.
        self._reader = taken_over(self._writer.transport, self._protocol, self._reader)
        return super()._create_reader_task()
