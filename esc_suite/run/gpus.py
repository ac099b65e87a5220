"""One GPU a command, where there are several: `python -m esc_suite.run.gpus COMMAND ...`.

Waits for a GPU that no such command holds, takes it, and becomes the command, which sees that GPU alone. The
hold is a lock on an open file: it ends with the command, however that ends. Where there is no GPU, and where
CUDA_VISIBLE_DEVICES names one or none (as in a Slurm job of one run), the command runs as it is.
"""

import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

DRIVER = Path("/proc/driver/nvidia/gpus")
PAUSE = 0.5  # s between two looks at GPUs that are all taken


def devices() -> list[str]:
    """Names that CUDA knows the usable GPUs by: those of CUDA_VISIBLE_DEVICES, else all; without importing
    torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number, _ in enumerate(DRIVER.glob("*"))]
    names = (name.strip() for name in given.split(","))
    # Where CUDA stops reading, too
    read = itertools.takewhile(lambda name: name and not name.startswith("-"), names)
    return list(dict.fromkeys(read))


def to_choose_from() -> list[str]:
    """The GPUs that a command must share out with others; none where that is not for us to do."""
    found = devices()
    return [] if len(found) == 1 and "CUDA_VISIBLE_DEVICES" in os.environ else found


def take(names: list[str]) -> tuple[str, int]:
    """(name, descriptor) of the first GPU that is free, once there is one; it is held until the descriptor is
    closed."""
    told = False
    while True:
        for name in names:
            descriptor = _hold(name)
            if descriptor is not None:
                return name, descriptor
        if not told:
            print(f"waiting for a GPU: {', '.join(names)} in use", file=sys.stderr, flush=True)
            told = True
        time.sleep(PAUSE)


def _hold(name: str) -> int | None:
    import fcntl

    # In a Slurm job GPUs are numbered from 0 again. Names of parts of a GPU (MIG) may hold slashes.
    job = os.environ.get("SLURM_JOB_ID", "")
    path = Path(tempfile.gettempdir()) / f"esc-gpu-{quote(f'{job}-{name}' if job else name, safe='')}.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:
        # Another user's file in a shared /tmp: it can be locked, but not opened to create it
        descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def main(command: list[str]) -> int:
    if not command:
        print("usage: python -m esc_suite.run.gpus COMMAND ...", file=sys.stderr)
        return 2
    names = to_choose_from()
    if names:
        try:
            name, descriptor = take(names)
        except OSError as error:
            where = f"{tempfile.gettempdir()} ({error.strerror})"
            print(
                f"error: no GPU can be held by a lock in {where}: set TMPDIR to a local disk", file=sys.stderr
            )
            return 1
        os.set_inheritable(descriptor, True)  # the command holds it from now on
        os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"error: {command[0]} cannot be run ({error.strerror}): check the name", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
