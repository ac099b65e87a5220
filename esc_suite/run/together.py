"""Processes that end together: what the driver starts ends when the driver does, however that ends.

The driver starts a guard in a session of its own, which no Ctrl-C and no closed terminal reaches; the guard
starts the command, and ends it with all that it started once its standard input closes. Only the driver holds
the other end of that pipe, so it closes even where the driver is killed outright.

    python -m esc_suite.run.together SECONDS COMMAND ...      the guard (SECONDS: see `run`)
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

from esc_utils.errors import UserError

ENDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "told to end", signal.SIGHUP: "the terminal was closed"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of a disk that takes no more
GRACE = 5.0  # s for what the command started to put its things away


class Ended(KeyboardInterrupt):
    """A signal that ends a command line: Ctrl-C, `kill`, a closed terminal."""


@contextmanager
def one_line():
    """For command lines: such a signal is one line and exit status 128 + its number; ignored (nohup), it
    stays so. The end of a `make` that started this process is such a signal, too."""
    heard = []

    def end(number, _):
        for other in kept:
            signal.signal(other, signal.SIG_IGN)  # what is put away now is put away once
        heard.append(number)
        raise Ended(ENDS[number])

    kept = {number: old for number in ENDS if (old := signal.getsignal(number)) != signal.SIG_IGN}
    for number in kept:
        signal.signal(number, end)
    parent = os.getppid() if "MAKELEVEL" in os.environ else 0
    threading.Thread(target=_watch, args=(parent, _terminal()), daemon=True).start()
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as after `| head`
        _silence()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        _silence()
        print(f"error: the output cannot be written ({error.strerror}): make room, or send it elsewhere",
              file=sys.stderr)  # fmt: skip
        sys.exit(1)
    except Ended as why:
        with suppress(OSError):  # a closed terminal
            print(
                f"error: {why}: what is finished is kept, the same command goes on",
                file=sys.stderr,
                flush=True,
            )
        sys.exit(128 + heard[0])
    finally:
        if not heard:
            for number, old in kept.items():
                signal.signal(number, old)


def _silence() -> None:
    """Let what is still to be printed go nowhere, so that Python's own end does not fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def exit_with():
    """For command lines: a UserError inside becomes one line on stderr and exit status 1, and so does a file
    or folder of any kind that cannot be used (permission, disk, an endless link)."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        reason = f"cannot be used ({error.strerror}): mend its permissions or its disk, or name another place"
        print(f"error: {error.filename} {reason}", file=sys.stderr)
        sys.exit(1)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _watch(parent: int, terminal: bool) -> None:
    """Signal what nobody else does: a `make` that was killed, and a closed terminal, of which the system
    tells make alone, which then waits for us."""
    while not (parent and os.getppid() != parent) and not (terminal and not _terminal()):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM if parent and os.getppid() != parent else signal.SIGHUP)


def _terminal() -> bool:
    """Whether this process has a terminal still."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    except OSError:
        return False


def run(words: list[str], seconds: float = 0, **options) -> int:
    """Exit status of a command (the workflow) that ends with this process. seconds: where this process ends
    first, how long the command has after Ctrl-C to end by itself; 0: it is ended at once. options: of
    subprocess.Popen."""
    guard = [sys.executable, "-m", "esc_suite.run.together", str(seconds), *words]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True, **options) as process:
        try:
            status = process.wait()
        finally:
            process.stdin.close()
            process.wait()
    status = status if status >= 0 else 128 - status
    if status > 128:
        print(f"error: the workflow was killed (signal {status - 128}; 9 is mostly want of memory: give "
              "JOBS=1): "
              "what is finished is kept, the same command goes on", file=sys.stderr)  # fmt: skip
    return status


def _sweep(group: int) -> None:
    """End what is left of a process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        limit = time.monotonic() + GRACE
        with suppress(ProcessLookupError, PermissionError):  # none is left (macOS: none but the dead)
            os.killpg(group, number)
            while number != signal.SIGKILL and time.monotonic() < limit:
                time.sleep(0.1)
                os.killpg(group, 0)


def main(seconds: str, *words: str) -> int:
    command = subprocess.Popen(words, stdin=subprocess.DEVNULL, process_group=0)
    over = threading.Event()

    def watch() -> None:
        os.read(0, 1)  # returns at the end of it alone: nothing is sent
        if float(seconds):
            command.send_signal(signal.SIGINT)
            over.wait(float(seconds))
        command.kill()  # it first: it starts nothing more, and reports no job as failed that is only ended

    threading.Thread(target=watch, daemon=True).start()
    status = command.wait()
    over.set()
    if status:
        _sweep(command.pid)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
