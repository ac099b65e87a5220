"""What glibc's malloc does with a freed tensor: kept for the next step, or given back to the system."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of mallopt(3)'s parameters in malloc.h
MIB = 2**20
KEPT = 96 * MIB  # more would keep up to twice what a step holds (docs/performance.md)


def keep_freed() -> bool:
    """Keep freed tensors of up to 96 MiB for the rest of the process; False, and nothing is changed, where
    the C library is not glibc, or one that allows no more than its usual 32 MiB (2.34; 2.36 does).

    Otherwise every tensor over 32 MiB is new memory, whose pages the system clears one by one at first touch
    (what that costs: docs/performance.md)."""
    return set_thresholds(KEPT, -1)


def give_back() -> None:
    """Return to the system what is kept and free."""
    trim = _function("malloc_trim")
    if trim:
        trim(0)


def set_thresholds(mmap: int, trim: int) -> bool:
    """Bytes from which a tensor is memory of its own, and free bytes from which some go back (-1: never)."""
    mallopt = _function("mallopt")
    if not mallopt or not mallopt(MMAP_THRESHOLD, mmap):  # refused first, before either stops sliding
        return False
    return bool(mallopt(TRIM_THRESHOLD, trim))


def _function(name: str):
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return None
