"""`python -m MODULE WORDS` as a fork of the warm process (warm.py), which has imported everything: it starts
in a tenth of a second. Where no such process answers it starts in the usual way; and where the environment's
own bin/MODULE is a wrapper that somebody put there (`#!/bin/sh`: a profiler, a module system), that is run.

    python -I -S -X utf8 esc_suite/run/forked.py MODULE WORDS ...

The standard library alone, started without site-packages: this file has to start fast itself.
"""

import json
import os
import socket
import sys


def main(words: list[str]) -> int:
    """Exit status of the fork. It writes to this process's standard output and error, and ends with it."""
    if not words:
        print("usage: python -I -S esc_suite/run/forked.py MODULE WORDS ...", file=sys.stderr)
        return 2
    script = os.path.join(os.path.dirname(sys.executable), words[0])  # noqa: PTH118, PTH120
    if _wrapper(script):
        os.execv(script, [script, *words[1:]])
    folder = os.getcwd()  # noqa: PTH109 (pathlib takes as long to import as all the rest)
    request = {"module": words[0], "argv": words[1:], "env": dict(os.environ), "cwd": folder}
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(os.environ.get("ESC_WARM", ""))
        message = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [message], [1, 2])
        connection.sendall(message[sent:])
        answer = connection.makefile("r")
        started = answer.readline()
    except (OSError, AttributeError):  # no server, a dying one, no Unix sockets in this Python
        started = ""
    if not started:
        os.execv(sys.executable, [sys.executable, "-m", *words])
    status = answer.read()
    if not status:
        print("error: the warm process was killed (out of memory?): give JOBS=1", file=sys.stderr)
        return 1
    return int(status) if int(status) >= 0 else 128 - int(status)


def _wrapper(script: str) -> bool:
    """Whether a command of the environment is there and no longer the Python script of its package (whose
    first line may be /bin/sh, too, where the environment's path is long or has spaces)."""
    try:
        with open(script, "rb") as file:  # noqa: PTH123
            return b"import sys" not in file.read(4000)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
