"""What glibc's malloc does with a freed tensor: kept for the next step, or given back to the system."""

import ctypes
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of mallopt(3)'s parameters in malloc.h
MIB = 2**20
KEPT = 96 * MIB  # more would keep up to twice what a step holds (docs/performance.md)
USUAL_MMAP, USUAL_TRIM = 32 * MIB, 64 * MIB  # where glibc's own sliding thresholds end


def keep_freed() -> bool:
    """Keep freed tensors of up to 96 MiB for the rest of the process; False, and nothing is changed, where
    the C library is not glibc, or one that allows no more than its usual 32 MiB (2.34; 2.36 does).

    Otherwise every tensor over 32 MiB is new memory, whose pages the system clears one by one at first touch
    (what that costs: docs/performance.md)."""
    return _set(KEPT, -1)


@contextmanager
def usual():
    """Inside, what a program gets that sets nothing (though it may use again what was kept before); kept
    again after it."""
    changed = _set(USUAL_MMAP, USUAL_TRIM)
    try:
        yield
    finally:
        if changed:
            keep_freed()


def give_back() -> None:
    """Return to the system what is kept and free."""
    trim = _function("malloc_trim")
    if trim:
        trim(0)


def _set(mmap: int, trim: int) -> bool:
    mallopt = _function("mallopt")
    if not mallopt or not mallopt(MMAP_THRESHOLD, mmap):  # refused first, before either stops sliding
        return False
    return bool(mallopt(TRIM_THRESHOLD, trim))


def _function(name: str):
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return None
