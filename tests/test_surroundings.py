"""Places and settings that are not as here: temporary folders, homes, names, locks, sockets, limits of a job,
and what a person has set up for other programs."""

import errno
import fcntl
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bad_input import one_line, refused
from permissions import drop_override

from esc_suite.run import check_place, environment, limits, sockets
from esc_utils import locks

ROOT = Path(__file__).resolve().parent.parent


# --- sockets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 90, "é" * 60, "a/" * 45])
def test_a_long_temporary_folder_is_passed_over(name, tmp_path, monkeypatch):
    """Bytes count, not characters."""
    long = tmp_path / name
    long.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with sockets.short_folder() as folder:
        assert folder and not Path(folder).is_relative_to(long)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"{folder}/kernel-1")
    assert not Path(folder).exists() and not list(long.iterdir())


@pytest.mark.parametrize("error", [errno.EPROTONOSUPPORT, errno.EPERM, errno.EAFNOSUPPORT])
def test_without_unix_sockets_there_is_no_folder_and_no_server(error, tmp_path, monkeypatch):
    from esc_suite.run import warm

    class Socket(socket.socket):
        def __init__(self, *rest, **more):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sockets, "PLACES", ())
    monkeypatch.setattr(socket, "socket", Socket)
    with sockets.short_folder() as folder:
        assert folder is None
    with warm.kernels() as variables:
        assert variables == {}
    assert warm._ask("/nowhere", ["python", "-m", "ipykernel_launcher"], {}) is None
    assert not list(tmp_path.iterdir())
    assert ("warn", "sockets") in [line[:2] for line in check_place.sockets()]


# --- home, name, a person's settings --------------------------------------------------------------


@pytest.mark.parametrize("home", ["", "/proc/nowhere", "relative"])
def test_a_home_that_cannot_be_written_is_not_needed(home, tmp_path):
    found = environment.settled(tmp_path / "own", {"HOME": home})
    cache = Path(found.get("XDG_CACHE_HOME", found["HOME"]))
    assert cache.is_absolute() and environment.writable(cache) and not (tmp_path / "own").exists()


def test_a_home_that_can_be_written_stays(tmp_path):
    found = environment.settled(tmp_path / "own", {"HOME": str(tmp_path)})
    assert found["HOME"] == str(tmp_path) and "XDG_CACHE_HOME" not in found


@pytest.mark.parametrize("given", [{}, {"USER": ""}, {"LOGNAME": "", "USER": ""}])
def test_an_id_without_a_name_gets_one(given, tmp_path, monkeypatch):
    def unknown(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert environment.settled(tmp_path, given)["USER"] == "user"
    assert environment.settled(tmp_path, {"LOGNAME": "somebody"}).get("USER") is None


PERSONAL = {
    "GIT_DIR": "/x", "GIT_INDEX_FILE": "/x", "SNAKEMAKE_PROFILE": "slurm", "JUPYTER_PATH": "/x",
    "IPYTHONDIR": "/x",
    "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii", "PYTHONSTARTUP": "/x",
    "MATPLOTLIBRC": "/x", "MPLBACKEND": "tkagg", "MPLCONFIGDIR": "/x", "BASH_ENV": "/x", "PAPERMILL": "0",
    "BASH_FUNC_python%%": "() { false; "
                          "}", "NVIDIA_TF32_OVERRIDE": "1", "JUPYTER_DEFAULT_PROVISIONER_NAME": "x",
}  # fmt: skip
KEPT = {
    "PATH": "/bin",
    "PYTHONPATH": "/y",
    "HTTPS_PROXY": "p",
    "CUDA_VISIBLE_DEVICES": "1",
    "SSL_CERT_FILE": "/c",
    "LANG": "C",
}


def test_personal_settings_are_left_out_and_the_rest_stays(tmp_path):
    found = environment.settled(tmp_path, PERSONAL | KEPT)
    assert {name for name in PERSONAL if found.get(name) == PERSONAL[name]} == set()
    assert {name: found[name] for name in KEPT} == KEPT


def test_a_kernel_is_this_environments_own_whatever_a_person_has_set_up(tmp_path):
    """A kernel of the same name, IPython's startup files, a backend for a screen, warnings as errors, a long
    TMPDIR."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    kernel.joinpath("kernel.json").write_text(
        '{"argv": ["false"], "display_name": "mine", "language": "python"}'
    )
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    startup.joinpath("00.py").write_text("mine = 1")
    long = tmp_path / ("t" * 100)
    long.mkdir()
    code = (
        "import sys, matplotlib\nprint(sys.executable, 'mine' in globals(), "
        "matplotlib.rcParams['text.usetex'])"
    )
    (tmp_path / "matplotlibrc").write_text("text.usetex: True")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "in.ipynb")
    personal = {
        "JUPYTER_PATH": str(tmp_path / "jupyter"), "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLBACKEND": "nonsense",
        "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "TMPDIR": str(long),
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "none",
        "GIT_DIR": str(tmp_path), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    words = [
        sys.executable,
        "-m",
        "papermill",
        str(tmp_path / "in.ipynb"),
        str(tmp_path / "out.ipynb"),
        "--engine",
        "esc",
    ]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | personal, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = nbformat.read(tmp_path / "out.ipynb", 4).cells[0].outputs[0].text.split()
    assert printed == [sys.executable, "False", "False"]


def test_a_figure_looks_the_same_whatever_matplotlibrc_says(monkeypatch):
    import matplotlib
    import numpy as np

    from esc_suite import figures

    def drawn() -> bytes:
        np.random.seed(0)  # seaborn spreads the dots by it
        seconds = np.linspace(0.1, 4, 20)
        return figures.draw(figures.durations(np.arange(20) % 10, seconds, list("abcdefghij"), window=2.0))

    plain = drawn()
    for personal in (
        {"text.usetex": True},
        {"axes.facecolor": "black", "xtick.color": "red", "savefig.transparent": True},
    ):
        with matplotlib.rc_context(personal):
            assert drawn() == plain


# --- locks, read-only places ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_disk_without_locks_is_stood_in_for(error, tmp_path, monkeypatch):
    """By the temporary folder, whose lock keeps others out all the same; where that has none either, one
    line."""
    for name in ("disk", "local"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "local"))
    real = fcntl.flock

    def flock(descriptor, how):
        if Path(f"/proc/self/fd/{descriptor}").resolve().parent.name in without:
            raise OSError(error, os.strerror(error))
        return real(descriptor, how)

    without = {"disk"}
    monkeypatch.setattr(fcntl, "flock", flock)
    file = tmp_path / "disk" / "a.lock"
    with locks.hold(file, "taken: wait until it ends") as where:
        assert where.parent == tmp_path / "local"
        refused(lambda: locks.hold(file, "taken: wait until it ends").__enter__(), "taken", "wait")
    without = {"disk", "local"}
    refused(lambda: locks.hold(file, "").__enter__(), str(file.parent), os.strerror(error), "set TMPDIR")


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_check_says_that_a_checkout_cannot_be_written(mode, tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir(mode=mode)
    imports = (
        "import sys; from pathlib import Path; from esc_suite.run import check_place; sys.tracebacklimit = 0"
    )
    words = [sys.executable, "-c", f"{imports}\nlist(check_place.place(Path(sys.argv[1])))", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, preexec_fn=drop_override, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    one_line(done.stderr, str(folder), "cannot write", "copy")


# --- limits of a job ------------------------------------------------------------------------------

GB = 10**9
LIMITS = {  # lines of /proc/self/cgroup, files under /sys/fs/cgroup, variables: memory, cores
    "a container, version 2": ("0::/\n", {"memory.max": 2 * GB, "cpu.max": "150000 100000"}, {}, 2 * GB, 2),
    "no limit, version 2": ("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"}, {}, None, None),
    "a job deep in the tree": (
        "0::/a.slice/job_7/step\n",
        {"a.slice/job_7/memory.max": 3 * GB, "a.slice/memory.max": 9 * GB,
         "a.slice/job_7/cpu.max": "100000 100000"},
        {}, 3 * GB, 1,
    ),
    "version 1": (
        "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n",
        {"memory/docker/a/memory.limit_in_bytes": GB, "cpu/docker/a/cpu.cfs_quota_us": 100000,
         "cpu/docker/a/cpu.cfs_period_us": 100000},
        {}, GB, 1,
    ),
    "version 1, seen from "
    "within": ("4:memory:/docker/a\n", {"memory/memory.limit_in_bytes": GB}, {}, GB, None),
    "version 1 without a limit": (
        "4:memory:/\n", {"memory/memory.limit_in_bytes": 2**63 - 4096, "cpu/cpu.cfs_quota_us": -1}, {}, None,
        None,
    ),
    "Slurm's node": ("", {}, {"SLURM_MEM_PER_NODE": "1000", "SLURM_CPUS_ON_NODE": "1"}, 1000 * 2**20, 1),
    "Slurm's cores": ("", {}, {"SLURM_MEM_PER_CPU": "500", "SLURM_CPUS_ON_NODE": "2"}, 1000 * 2**20, 2),
    "Slurm's whole node": ("", {}, {"SLURM_MEM_PER_NODE": "0"}, None, None),
    "Grid Engine": ("", {}, {"NSLOTS": "1"}, None, 1),
}  # fmt: skip


@pytest.mark.parametrize("case", LIMITS)
def test_limits_are_the_jobs(case, tmp_path, monkeypatch):
    own, files, variables, memory, cores = LIMITS[case]
    (tmp_path / "own").write_text(own)
    for name, value in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{value}\n")
    for name in (*limits.GIVEN_CORES, "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(limits, "OWN", tmp_path / "nowhere")
    machine, bound = limits.memory(), limits.cores()
    monkeypatch.setattr(limits, "OWN", tmp_path / "own")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert limits.memory() == min(memory or machine, machine)
    assert limits.cores() == min(cores or bound, bound)
    assert limits.free_memory() <= limits.memory()


def test_a_process_bound_to_one_core_computes_on_one():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be bound to cores here")
    code = """import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from esc_suite.run import limits
print(limits.cores())"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_run_gets_the_cores_of_its_job(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "cores", lambda: 1)
    code = "import joblib; print(joblib.cpu_count())"
    given = environment.settled(tmp_path, os.environ)
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    """Nothing waits for a lock that cannot be made."""
    (tmp_path / "cache" / "features").mkdir(parents=True)
    (tmp_path / "cache" / "features").chmod(0o555)
    code = """import sys
from types import SimpleNamespace
from esc_utils import features
from esc_suite.run.together import exit_with
config = SimpleNamespace(cache_dir=sys.argv[1], network="cnn14", clip_seconds=1.0)
with exit_with():
    features.open_store(config, SimpleNamespace(audio="", fingerprint="x", clips=[]))"""
    words = [sys.executable, "-c", code, str(tmp_path / "cache")]
    done = subprocess.run(words, preexec_fn=drop_override, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    one_line(done.stderr, "cannot write", str(tmp_path / "cache"), "cache_dir")
