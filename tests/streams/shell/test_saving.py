"""In which order the stages of a worker save themselves."""

import asyncio

import pytest

from streams.shell.saving import SIDE_BY_SIDE, each


class Kept:
    """A keeper that is seen saving."""

    def __init__(self, name: str, partition: int, saving: list[str], error: str = "") -> None:
        self.name, self.partition, self.saved = name, partition, False
        self.most = 0
        self._saving, self._error = saving, error

    async def close(self) -> None:
        self._saving.append(self.name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.most = len(self._saving)
        self._saving.remove(self.name)
        if self._error:
            raise RuntimeError(self._error)
        self.saved = True


async def test_many_small_stages_save_side_by_side_and_large_ones_one_by_one() -> None:
    saving: list[str] = []
    ingest = [Kept("ingest", p, saving) for p in range(100)]
    detect = [Kept("detect", p, saving) for p in range(4)]
    await each(ingest, detect, lambda kept: kept.close())
    assert all(kept.saved for kept in (*ingest, *detect))
    assert max(kept.most for kept in ingest) == SIDE_BY_SIDE
    assert [kept.most for kept in detect] == [1, 1, 1, 1]


async def test_when_one_cannot_save_itself_the_others_are_done_with_first() -> None:
    saving: list[str] = []
    ingest = [Kept("ingest", p, saving, "no" if p == 3 else "") for p in range(20)]
    with pytest.raises(RuntimeError, match="no"):
        await each(ingest, [], lambda kept: kept.close())
    assert [kept.partition for kept in ingest if not kept.saved] == [3]
