"""Warm starts: one process imports torch and the rest once, and every job's papermill and kernel is a fork of
it, seconds earlier.

    python -m esc_suite.run.warm SOCKET      the server: until its standard input closes

`kernels` starts it for the workflow's driver. A kernel is asked for by papermill's `WarmProvisioner`, chosen
by JUPYTER_DEFAULT_PROVISIONER_NAME=esc-warm and $ESC_WARM=SOCKET; papermill itself and the suite's commands
by `forked.py`. Where no server answers, all of them start in the usual way. A connection lasts as long as the
fork: the server reports the exit over it, and ends the fork when the other end of it closes. The forks hold a
pipe to the server, and end when it does, however that ends.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from esc_suite.run.sockets import short_folder

PRELOADED = (
    "torch", "torch._dynamo", "pandas", "scipy.stats", "sklearn.metrics", "sklearn.linear_model", "seaborn",
    "matplotlib.figure", "matplotlib.pyplot", "matplotlib_inline.backend_inline", "IPython.display",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel", "esc_suite.records.train", "esc_suite.figures", "esc_suite.results.audit",
    "esc_suite.notebook", "papermill.cli", "esc_suite.run.papermill_entry", "esc_suite.tables.write",
    "esc_suite.tables.report",
)  # fmt: skip


@contextlib.contextmanager
def kernels(**options):
    """A server that kernels are forked from; yields the variables that lead papermill to it, none where it
    can't serve: no place for its socket, or macOS, whose frameworks do not survive a fork. options: of
    subprocess.Popen."""
    with short_folder() as folder:
        if folder is None or sys.platform != "linux":
            yield {}
            return
        path = f"{folder}/warm"
        words = [sys.executable, "-m", "esc_suite.run.warm", path]
        quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, start_new_session=True, **quiet, **options) as server:
            try:
                yield {"ESC_WARM": path, "JUPYTER_DEFAULT_PROVISIONER_NAME": "esc-warm"}
            finally:
                server.terminate()


class WarmProvisioner(LocalProvisioner):
    """Asks the server for a fork; starts a process of its own where there is none."""

    async def launch_kernel(self, cmd: list[str], **kwargs):
        process = _ask(os.environ.get("ESC_WARM", ""), cmd, kwargs)
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = process, process.pid, process.pid
        self.cwd = kwargs.get("cwd") or os.getcwd()  # noqa: PTH109
        return self.connection_info


def _ask(path: str, cmd: list[str], kwargs: dict) -> "Forked | None":
    if not path or "ipykernel_launcher" not in cmd:
        return None
    request = {
        "argv": cmd[cmd.index("ipykernel_launcher") + 1 :],
        "env": {k: v for k, v in (kwargs.get("env") or os.environ).items() if isinstance(v, str)},
        "cwd": str(kwargs.get("cwd") or os.getcwd()),  # noqa: PTH109
    }
    with contextlib.ExitStack() as unless_served:
        try:
            connection = unless_served.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            pid = int(_line(connection))
        except (OSError, ValueError, AttributeError):
            # No server, a dying one, no Unix sockets in this Python
            return None
        unless_served.pop_all()
        return Forked(connection, pid)


def _line(connection: socket.socket, found: bytes = b"") -> bytes:
    """What is sent, after what was found already, up to the end of a line or of the connection."""
    while not found.endswith(b"\n") and (more := connection.recv(1 << 16)):
        found += more
    return found


class Forked:
    """What LocalProvisioner needs of a Popen, for a process that is the server's child, not ours."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int):
        self.connection, self.pid, self.returncode = connection, pid, None
        connection.setblocking(False)

    def poll(self) -> int | None:
        """Exit status, or None while the kernel lives."""
        if self.returncode is None:
            try:
                self.returncode = int(self.connection.recv(64) or b"-9")
            except BlockingIOError:
                return None
            except OSError:  # the server is gone, and the kernel with it
                self.returncode = -9
            self.connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        if self.poll() is None:
            if not select.select([self.connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("kernel", timeout)
            return self.wait(timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the kernel."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def serve(path: str) -> None:
    """Import, then fork a process a request until SIGTERM or the end of standard input; forks end with the
    server."""
    for name in PRELOADED:
        importlib.import_module(name)
    _warm_up()
    gc.collect()
    gc.freeze()  # children do not touch, and so do not copy, what is here now
    wake, waker = os.pipe()
    alive, held = os.pipe()  # the kernels' end, and the server's, which closes with it
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    kernels: dict[int, socket.socket] = {}  # pid -> connection to who asked for it
    try:
        while True:
            ready = select.select([0, listener, wake, *kernels.values()], [], [])[0]
            if 0 in ready and not os.read(0, 4096):
                return
            if wake in ready:
                os.read(wake, 4096)
                _report(kernels)
            for pid, connection in list(kernels.items()):
                if connection in ready:  # who asked is gone: so is the fork
                    connection.close()
                    del kernels[pid]
                    _end(pid)
            if listener in ready:
                connection, _ = listener.accept()
                streams = []
                with contextlib.suppress(OSError, ValueError):  # who asked was ended as it asked
                    start, streams, _, _ = socket.recv_fds(connection, 1 << 16, 2)
                    request = json.loads(_line(connection, start))
                    others = [listener, connection, *kernels.values()]
                    pid = _fork(request, others, (wake, waker, held), alive, streams)
                    kernels[pid] = connection
                    connection.sendall(f"{pid}\n".encode())
                for stream in streams:
                    os.close(stream)
    finally:
        for pid in kernels:
            _end(pid)


def _report(kernels: dict[int, socket.socket]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            connection = kernels.pop(ended[0], None)
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.send(str(os.waitstatus_to_exitcode(ended[1])).encode())
                connection.close()


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _end_with(pipe: int) -> None:
    """In a kernel: end it and what it started once the pipe's other end closes. (ipykernel watches its parent
    only where a variable names it when ipykernel is imported, long before the fork.)"""
    os.read(pipe, 1)
    os.killpg(0, signal.SIGKILL)


def _warm_up() -> None:
    """What every process would do again: the hash of the method's code, and matplotlib's first figure, which
    finds and loads the fonts."""
    from esc_suite import figures
    from esc_suite.figures import style
    from esc_suite.records import provenance

    provenance.code_hash()
    with style.own_style():
        first = style.new(title="first")
        first.add_subplot().set(title="axes", xlabel="x", ylabel="y")
    figures.draw(first)


def _fork(request: dict, sockets: list[socket.socket], pipes: tuple[int, ...], alive: int, streams) -> int:
    """Process id of a kernel with the request's arguments, or of its module, run as by `python -m`, with
    these streams as standard output and error."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:  # the child: a process group of its own, nothing of the server's left open
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for one in sockets:
            one.close()
        for pipe in pipes:
            os.close(pipe)
        # What a kernel itself prints is lost: its cells speak over their sockets.
        quiet = os.open(os.devnull, os.O_RDWR)
        for number, stream in enumerate([quiet, *(streams or (quiet, quiet))]):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        sys.argv = [request.get("module", "ipykernel_launcher"), *request["argv"]]
        sys.path[:0] = [""]
        if "module" in request:
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        else:
            from ipykernel import kernelapp

            kernelapp.launch_new_instance(argv=request["argv"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            if "module" in request:  # what such a process puts away at its end
                atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m esc_suite.run.warm SOCKET")
    serve(sys.argv[1])
