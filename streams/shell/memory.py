"""How the worker's process keeps memory: for runs that come and go by the megabyte."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

GC_THRESHOLDS = (50_000, 20, 50)
"""Long-lived state makes every full collection dear, and runs make garbage without cycles."""

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_KEPT_BYTES = 64 * 1024 * 1024
_PADDING_BYTES = 16 * 1024 * 1024
_LARGEST_BYTES = 32 * 1024 * 1024


def suit_runs() -> None:
    """Collects garbage seldom, and keeps memory that a run has freed for the next one.

    By default glibc gives the memory of a fetch back to the system and takes it again, a page
    fault at a time, for the next: a twentieth of all processor time. At most 64 MiB a heap stay.
    Other C libraries are left as they are.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TOP_PAD, _PADDING_BYTES)


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """For making very much that stays: to look for garbage meanwhile would double the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
