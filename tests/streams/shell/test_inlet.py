"""What comes over a connection is read as it was sent, wherever it was cut on the way."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.shell.inlet import Inlet, taken_over

LARGE = 200_000
"""More than is handed out as bytes of its own."""


class Behind(asyncio.Protocol):
    """The protocol that the connection was made with."""

    def __init__(self) -> None:
        self.lost: list[Exception | None] = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


def arrive(inlet: Inlet, data: bytes) -> None:
    """As a transport does it: no more at once than there is room for."""
    while data:
        room = inlet.get_buffer(65_536)
        part = data[: len(room)]
        room[: len(part)] = part
        inlet.buffer_updated(len(part))
        data = data[len(part) :]


async def read_all(inlet: Inlet, sizes: Sequence[int]) -> list[bytes]:
    return [bytes(await inlet.readexactly(size)) for size in sizes]


@settings(deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 4, 4, 65_536, 65_537, LARGE]), max_size=8),
    cuts=st.lists(st.integers(1, 5) | st.integers(1, 150_000), max_size=12),
    eager=st.booleans(),
)
async def test_answers_are_whole_and_in_order_however_they_come(
    sizes: list[int], cuts: list[int], eager: bool
) -> None:
    sent = bytes(i * 31 % 251 for i in range(sum(sizes)))
    inlet, at = Inlet(Behind()), 0
    reading = asyncio.ensure_future(read_all(inlet, sizes))
    await asyncio.sleep(0)
    for size in [*cuts, len(sent)]:
        arrive(inlet, sent[at : at + size])
        at += size
        if eager:
            await asyncio.sleep(0)
    read = await asyncio.wait_for(reading, 30)
    assert [len(each) for each in read] == sizes
    assert b"".join(read) == sent


@pytest.mark.parametrize("size", [4, LARGE])
async def test_an_answer_that_is_cut_off_by_the_end_of_the_connection_is_none(size: int) -> None:
    inlet = Inlet(Behind())
    reading = asyncio.ensure_future(inlet.readexactly(size))
    await asyncio.sleep(0)
    arrive(inlet, b"abc")
    assert not inlet.at_eof()
    inlet.eof_received()
    with pytest.raises(asyncio.IncompleteReadError):
        await asyncio.wait_for(reading, 30)


async def test_who_reads_hears_what_has_broken_the_connection() -> None:
    behind, broken = Behind(), ConnectionResetError("by the broker")
    inlet = Inlet(behind)
    reading = asyncio.ensure_future(inlet.readexactly(LARGE))
    await asyncio.sleep(0)
    inlet.connection_lost(broken)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reading, 30)
    with pytest.raises(ConnectionResetError):
        await inlet.readexactly(1)
    assert behind.lost == [broken]


async def test_what_has_come_before_the_end_is_still_read() -> None:
    inlet = Inlet(Behind())
    arrive(inlet, b"whole")
    inlet.connection_lost(None)
    assert await inlet.readexactly(5) == b"whole"
    assert inlet.at_eof()


@pytest.mark.parametrize("error", [None, ConnectionResetError("by the broker")])
async def test_an_end_that_came_right_after_the_beginning_is_heard_of(
    error: Exception | None,
) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1") as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await reader.read()
        if error is not None:
            reader.set_exception(error)
        inlet = taken_over(writer.transport, writer.transport.get_protocol(), reader)
        with pytest.raises(type(error) if error else asyncio.IncompleteReadError):
            await asyncio.wait_for(inlet.readexactly(4), 30)
        writer.close()
