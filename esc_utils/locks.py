"""One process at a time, also on a disk that has no locks."""

import contextlib
import hashlib
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import UserError


@contextlib.contextmanager
def hold(path: Path, taken: str = ""):
    """Hold a lock file for this process, until it ends in whatever way; yields the file that is locked.
    UserError `taken` where another process holds it; without `taken` it is waited for.

    Where the disk refuses locks (network disks mounted without), a file of the machine's temporary folder
    stands for it: that keeps the processes of one machine apart. UserError where that one can't be locked
    either."""
    refusals = []
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    for file in (path, Path(tempfile.gettempdir()) / f"esc-{name}.lock"):
        held = FileLock(file, timeout=0 if taken else -1)
        try:
            held.acquire()
            break
        except Timeout:
            raise UserError(taken) from None
        except (OSError, NotImplementedError) as error:
            if file == path:
                path.open("ab").close()  # where the folder is at fault, OSError says so
            refusals.append(f"{file.parent} ({getattr(error, 'strerror', None) or error})")
    else:
        where = " and of ".join(refusals)
        raise UserError(f"the disks of {where} have no file locks: set TMPDIR to a folder of a local disk")
    try:
        yield file
    finally:
        held.release()
