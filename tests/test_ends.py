"""Ends that nobody planned: whatever happens to the driver, nothing that it started lives on; a signal is one
line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from esc_suite.run import forked

ROOT = Path(__file__).resolve().parent.parent
# A driver whose command starts another process, as Snakemake does; both write their ids down.
DRIVER = """
import sys
from esc_suite.run import together
with together.one_line():
    script = 'sleep 300 & echo $$ $! > ids.new; mv ids.new ids; {end}'
    sys.exit(together.run(["sh", "-c", script], cwd=sys.argv[1]))
"""


def heard() -> None:
    """Signals as a terminal leaves them, for these tests may run under nohup or in the background."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def driver(tmp_path):
    """Start a driver in a session of its own; (process, ids of what it has started)."""
    started = []

    def start(end: str = "wait", under: tuple[str, ...] = (), **variables):
        words = [*under, sys.executable, "-c", DRIVER.format(end=end), str(tmp_path)]
        environment = (
            {k: v for k, v in os.environ.items() if k != "MAKELEVEL"} | {"PYTHONPATH": str(ROOT)} | variables
        )
        own = {"env": environment, "start_new_session": True, "preexec_fn": heard}
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **own)
        started.append(process)
        wait_for((tmp_path / "ids").exists)
        return process, [int(word) for word in (tmp_path / "ids").read_text().split()]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def wait_for(condition, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_what_the_driver_started_ends_with_it(driver, number):
    process, ids = driver()
    assert all(map(lives, ids))
    process.send_signal(number)
    _, said = process.communicate()
    wait_for(lambda: not any(map(lives, ids)))
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert said.count("\n") == 1 and said.startswith("error: ") and "the same command goes on" in said


def test_what_a_killed_scheduler_leaves_behind_ends_too(driver):
    process, ids = driver(end="kill -9 $$")
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGKILL
    assert said.startswith("error: the workflow was killed (signal 9") and said.count("\n") == 1
    wait_for(lambda: not any(map(lives, ids)))


def test_under_nohup_a_closed_terminal_ends_nothing(driver):
    process, ids = driver(under=("nohup",))
    process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None and all(map(lives, ids))


def test_a_driver_ends_with_the_make_that_started_it(driver, tmp_path):
    """make, killed outright, tells nobody."""
    process, ids = driver(under=("sh", "-c", '"$@"; true', "make"), MAKELEVEL="1")
    process.kill()
    wait_for(lambda: not any(map(lives, ids)))


def test_exit_status_is_the_commands_own(driver):
    process, _ = driver(end="exit 7")
    assert process.communicate()[1] == "" and process.returncode == 7


FORK = """
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
request = {"argv": ["-f", sys.argv[2]], "env": dict(os.environ), "cwd": "/"}
connection.sendall(json.dumps(request).encode() + b"\\n")
print(connection.recv(64).decode().strip(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", ["server", "papermill", "driver"])
def test_a_warm_kernel_ends_with(killed, tmp_path):
    """its server, its papermill, the driver that holds the server's standard input: each killed outright."""
    path = tmp_path / "warm"
    words = [sys.executable, "-m", "esc_suite.run.warm", str(path)]
    server = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE)
    papermill = None
    try:
        wait_for(path.exists, 300)
        words = [sys.executable, "-c", FORK, str(path), str(tmp_path / "connection.json")]
        papermill = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        kernel = int(papermill.stdout.readline())
        wait_for((tmp_path / "connection.json").exists, 120)
        assert lives(kernel)
        if killed == "driver":
            server.stdin.close()
        else:
            {"server": server, "papermill": papermill}[killed].kill()
        wait_for(lambda: not lives(kernel))
        if killed == "driver":
            assert server.wait(60) == 0
    finally:
        for process in filter(None, (server, papermill)):
            process.kill()
            process.wait()


@pytest.mark.parametrize("served", [True, False], ids=["fork", "process of its own"])
def test_a_command_is_the_same_as_a_fork(served, tmp_path):
    """Output, errors, status, folder and variables are those of `python -m`, and it ends with who asked."""
    (tmp_path / "told.py").write_text(
        "import atexit, os, sys, time\n"
        "atexit.register(print, 'put away')\n"
        "print(sys.argv[1:], os.getcwd(), os.environ['TOLD'], flush=True)\n"
        "print('the error', file=sys.stderr)\n"
        "if 'wait' in sys.argv:\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n"
        "if 'raise' in sys.argv:\n    raise ValueError('raised')\n"
        "sys.exit('last words' if 'words' in sys.argv else 7)\n"
    )
    path = tmp_path / "warm"
    own = dict(os.environ, TOLD="variable", ESC_WARM=str(path), PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    server = None
    ask = [sys.executable, "-I", "-S", "-X", "utf8", str(ROOT / "esc_suite/run/forked.py"), "told"]
    try:
        if served:
            words = [sys.executable, "-m", "esc_suite.run.warm", str(path)]
            server = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, env=own)
            wait_for(path.exists, 300)
        for word, status, said in (
            ("é", 7, ""),
            ("raise", 1, "ValueError: raised\n"),
            ("words", 1, "last words\n"),
        ):
            done = subprocess.run([*ask, word], cwd=tmp_path, env=own, capture_output=True, text=True)
            assert done.returncode == status
            assert done.stdout == f"{[word]} {tmp_path} variable\nput away\n"
            assert done.stderr.startswith("the error\n") and done.stderr.endswith(said)
        asked = subprocess.Popen([*ask, "wait"], cwd=tmp_path, env=own, stdout=subprocess.PIPE, text=True)
        asked.stdout.readline()
        fork = int(asked.stdout.readline())
        assert (fork != asked.pid) == served
        asked.kill()
        asked.wait()
        wait_for(lambda: not lives(fork))
    finally:
        if server:
            server.kill()
            server.wait()


def test_a_closed_terminal_ends_a_driver_that_the_system_does_not_tell(tmp_path):
    """It tells the session's leader alone, and make then waits for its child."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = str(ROOT)
        driver = [sys.executable, "-c", DRIVER.format(end="wait"), str(tmp_path)]
        os.execvp("sh", ["sh", "-c", 'trap : HUP; "$@" & wait; wait', "make", *driver])
    wait_for((tmp_path / "ids").exists)
    ids = [int(word) for word in (tmp_path / "ids").read_text().split()]
    os.close(terminal)
    wait_for(lambda: not any(map(lives, ids)))
    os.waitpid(pid, 0)


OWN = "import sys\nfrom papermill.__main__ import papermill\nsys.exit(papermill())\n"


@pytest.mark.parametrize(
    ("script", "wraps"),
    [
        ("#!/bin/sh\nmodule load sox\nexec nice papermill.real $*\n", True),
        ("#!/bin/bash\nexec time python -m papermill $*\n", True),
        (f"#!/a/b/.venv/bin/python\n{OWN}", False),
        (f"#!/bin/sh\n'''exec' '/a b/python' \"$0\" \"$@\"\n' '''\n{OWN}", False),
        (None, False),
    ],
)
def test_a_wrapper_in_place_of_a_command_is_run(script, wraps, tmp_path):
    if script:
        (tmp_path / "papermill").write_text(script)
    assert forked._wrapper(str(tmp_path / "papermill")) == wraps
