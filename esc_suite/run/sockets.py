"""A place for Unix sockets: their paths are short by law, and not every disk can hold them."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile

MOST = 107 if sys.platform == "linux" else 103  # bytes of a path
# After the usual temporary folder
PLACES = (os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/dev/shm", "/var/tmp")
LONGEST = 8  # bytes of a socket's name


@contextlib.contextmanager
def short_folder():
    """An empty folder whose path leaves room for a socket in it, removed in the end; None where there is no
    such place."""
    folder = next(filter(None, map(_made, (tempfile.gettempdir(), *PLACES))), None)
    try:
        yield folder
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _made(place: str | None) -> str | None:
    """A new folder in this place, in which a socket could be bound; None where it can't."""
    if not place:
        return None
    try:
        folder = tempfile.mkdtemp(prefix="esc-", dir=place)
    except OSError:
        return None
    try:
        path = os.path.join(folder, "t" * LONGEST)  # noqa: PTH118 (a socket name)
        if len(os.fsencode(path)) > MOST:
            raise OSError
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.bind(path)
        os.unlink(path)  # noqa: PTH108
        return folder
    except (OSError, AttributeError):  # too long, a disk without sockets, a Python without them
        shutil.rmtree(folder, ignore_errors=True)
        return None
