"""Copies of the last checkpoints on the worker's own disk, so that a restart need not fetch them.

A copy is only a short cut: it counts if the changelog's own manifest says the same digest, so one
that is stale, torn or of another cluster is worth nothing and does no harm. A disk that is full or
slow costs the short cut and no more.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from faust.types import TP
from mode import get_logger

from streams.shell import metrics

logger = get_logger(__name__)

_MAGIC = b"tocsin checkpoint 1\n"


class Copies:
    """The folder of the copies, one file a changelog partition.

    Files are written whole beside the old one and renamed, in a thread, the newest of each
    partition only: who keeps copies never waits for the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pending: dict[TP, tuple[bytes, Sequence[bytes]]] = {}
        self._new = asyncio.Event()
        self._writing = asyncio.Lock()
        self._failing = False

    def keep(self, tp: TP, manifest: bytes, chunks: Sequence[bytes]) -> None:
        """Has a checkpoint written that the broker has acknowledged; returns at once."""
        self._pending[tp] = (manifest, chunks)
        self._new.set()

    async def run(self) -> None:
        """Writes what there is to write, for ever."""
        while True:
            await self._new.wait()
            await self.flush()

    async def flush(self) -> None:
        """Writes what is pending."""
        async with self._writing:
            self._new.clear()
            pending, self._pending = self._pending, {}
            for tp, (manifest, chunks) in pending.items():
                await self._write(tp, manifest, chunks)

    async def _write(self, tp: TP, manifest: bytes, chunks: Sequence[bytes]) -> None:
        try:
            await asyncio.to_thread(_replace, self._file(tp), manifest, chunks)
        except OSError as error:
            metrics.COPIES_FAILED.inc()
            if not self._failing:
                logger.warning(
                    "no copy of a checkpoint can be kept in %s (%s): a restart will read it from "
                    "Kafka; see worker.data_dir",
                    self._folder,
                    error.strerror,
                )
            self._failing = True
        else:
            self._failing = False

    async def load(self, tp: TP, manifest: bytes) -> bytes | None:
        """What follows this very manifest, the chunks in one; None if it is not here.

        It may be torn: whoever reads it holds it against the manifest's digest.
        """
        return await asyncio.to_thread(_load, self._file(tp), manifest)

    def _file(self, tp: TP) -> Path:
        return self._folder / f"{tp.topic}-{tp.partition}.checkpoint"


def _replace(file: Path, manifest: bytes, chunks: Sequence[bytes]) -> None:
    """Raises `OSError`, and leaves what was there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as out:
            out.write(_head(manifest))
            out.writelines(chunks)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _load(file: Path, manifest: bytes) -> bytes | None:
    head = _head(manifest)
    try:
        with file.open("rb") as copy:
            return copy.read() if copy.read(len(head)) == head else None
    except OSError:
        return None


def _head(manifest: bytes) -> bytes:
    return _MAGIC + len(manifest).to_bytes(4, "big") + manifest
