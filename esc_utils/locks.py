"""One process at a time, also on a disk that has no locks."""

import contextlib
import hashlib
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UserError


@contextlib.contextmanager
def hold(path: Path, taken: str):
    """Hold a lock file for this process, until it ends in whatever way; yields the file that is locked.
    UserError `taken` where another process holds it.

    Where the disk refuses locks (network disks mounted without), a file of the machine's temporary folder
    stands for it: that keeps the processes of one machine apart. UserError where that one can't be locked
    either."""
    try:
        held = _locked(path)
    except (OSError, NotImplementedError) as refused:
        path.open("ab").close()  # where the folder is at fault, OSError says so
        name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        try:
            held = _locked(Path(tempfile.gettempdir()) / f"esc-{name}.lock")
        except (OSError, NotImplementedError) as again:
            where = f"{path.parent} ({_reason(refused)}) and of {tempfile.gettempdir()} ({_reason(again)})"
            raise UserError(
                f"the disks of {where} have no file locks: set TMPDIR to a folder of a local disk"
            ) from None
    if held is None:
        raise UserError(taken)
    try:
        yield Path(held.lock_file)
    finally:
        held.release()


def _locked(path: Path) -> FileLock | None:
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
