"""Read-only means read-only, for root too: run a process without the right to override permission bits."""

import ctypes
import os
import sys
from pathlib import Path

PR_CAPBSET_DROP = 24
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def drop_override() -> None:
    """For subprocess's `preexec_fn`: from the next exec on, permission bits bind root as they bind
    everyone."""
    if sys.platform == "linux" and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in OVERRIDES:
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "cannot drop the capability to override permissions")


def read_only(root: Path, allow: bool = False) -> None:
    """Take away (or give back) the right to write a whole tree."""
    for path in (root, *root.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if allow else mode & ~0o222)
