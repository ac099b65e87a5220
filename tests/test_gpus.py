"""One GPU a command, by locks alone: the devices are faked, no GPU is needed. And warm kernels leave CUDA
alone."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from esc_suite.run import gpus

ROOT = Path(__file__).resolve().parent.parent
SHOW = ("sh", "-c", 'echo "${CUDA_VISIBLE_DEVICES-unset}"')
# Fails where another command is on its device: making a folder that is there already is an error.
ALONE = (
    "sh",
    "-c",
    'mkdir "$0/$CUDA_VISIBLE_DEVICES" && sleep 0.4 && rmdir "$0/$CUDA_VISIBLE_DEVICES" && echo ok',
)
HOLD = ("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES"; exec sleep 60')


@pytest.fixture
def start(tmp_path):
    """Start a command under esc_suite.run.gpus with these variables and locks of the test's own; all are
    ended after it."""
    started = []

    def make(*command, **variables):
        kept = {
            k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES" and not k.startswith("SLURM_")
        }
        environment = kept | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)} | variables
        words = [sys.executable, "-m", "esc_suite.run.gpus", *command]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(words, cwd=ROOT, env=environment, **pipes))
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.communicate()


def test_four_commands_on_two_gpus_never_share_one(start, tmp_path):
    began = time.monotonic()
    commands = [start(*ALONE, str(tmp_path), CUDA_VISIBLE_DEVICES="0,1") for _ in range(4)]
    answers = [command.communicate()[0] for command in commands]
    assert answers == ["ok\n"] * 4
    assert time.monotonic() - began >= 0.8, "two at a time"


@pytest.mark.parametrize("names", ["MIG-GPU-8a/1/0,MIG-GPU-8a/2/0", "1,0", "GPU-8a,GPU-9b"])
def test_in_one_slurm_job_each_command_has_a_gpu_of_its_own(start, names):
    """However they are named; another job's GPUs of the same names are others, and a name given twice is one
    GPU."""
    given = {"CUDA_VISIBLE_DEVICES": f"{names},{names}", "SLURM_JOB_ID": "7"}
    taken = [start(*HOLD, **given) for _ in range(2)]
    assert {command.stdout.readline().strip() for command in taken} == set(names.split(","))
    third = start(*HOLD, **given)
    assert third.stderr.readline().startswith("waiting for a GPU")
    other = start(*HOLD, **given | {"SLURM_JOB_ID": "8"})
    assert other.stdout.readline().strip() == names.split(",")[0]


def test_the_gpu_of_a_killed_command_is_free_again(start):
    first, second = (start(*HOLD, CUDA_VISIBLE_DEVICES="0,1") for _ in range(2))
    taken = {command.stdout.readline().strip(): command for command in (first, second)}
    assert set(taken) == {"0", "1"}
    third = start(*HOLD, CUDA_VISIBLE_DEVICES="0,1")
    assert third.stderr.readline() == "waiting for a GPU: 0, 1 in use\n"
    os.kill(taken["1"].pid, signal.SIGKILL)
    assert third.stdout.readline() == "1\n"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "3"}, "3"),  # given by a person or a cluster
        ({"CUDA_VISIBLE_DEVICES": ""}, ""),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "-1"),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "7"}, "0"),  # a Slurm job of one run
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": "7"}, "0"),  # of several
        ({"CUDA_VISIBLE_DEVICES": "MIG-GPU-8a/1/0,MIG-GPU-8a/2/0"}, "MIG-GPU-8a/1/0"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-8a5c,MIG-9b5c", "SLURM_JOB_ID": "7"}, "MIG-8a5c"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8a, GPU-9b"}, "GPU-8a"),
    ],
)
def test_what_is_given_is_respected(start, variables, expected):
    assert start(*SHOW, **variables).communicate()[0].strip() == expected


def test_devices_of_the_machine_and_of_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(gpus, "DRIVER", tmp_path / "none")
    assert gpus.devices() == gpus.to_choose_from() == []
    for bus in ("0000:3b:00.0", "0000:5e:00.0"):
        (tmp_path / bus).mkdir()
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    assert gpus.devices() == gpus.to_choose_from() == ["0", "1"]
    for given, expected in {"1": ["1"], "2,0": ["2", "0"], "0,-1,1": ["0"], "": []}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert gpus.devices() == expected


def test_exit_status_is_the_commands_own_and_a_missing_one_is_one_line(start):
    assert start("sh", "-c", "exit 7", CUDA_VISIBLE_DEVICES="0,1").wait() == 7
    missing = start("no-such-command")
    assert (
        missing.communicate()[1]
        == "error: no-such-command cannot be run (No such file or directory): check the name\n"
    )
    assert missing.returncode == 127
    assert start().wait() == 2


def test_what_warm_kernels_preload_leaves_cuda_alone():
    """CUDA reads CUDA_VISIBLE_DEVICES when it is initialised, and is of no use after a fork: neither may be
    before."""
    code = """
import importlib, json, torch
asked = []
for name in ("_cuda_getDeviceCount", "_cuda_init"):
    if hasattr(torch._C, name):
        real = getattr(torch._C, name)
        setattr(torch._C, name, lambda real=real, name=name: (asked.append(name), real())[1])
from esc_suite.run.warm import PRELOADED
for name in PRELOADED:
    importlib.import_module(name)
before = list(asked)
torch.cuda.is_available()
print(json.dumps([before, torch.cuda.is_initialized(), len(asked)]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    asked, initialised, after = json.loads(done.stdout)
    assert asked == [] and not initialised
    assert after or not hasattr(__import__("torch")._C, "_cuda_init"), "the watch would see it"


def test_a_warm_kernel_sees_the_gpu_of_its_papermill(start, tmp_path):
    socket = tmp_path / "warm"
    words = [sys.executable, "-m", "esc_suite.run.warm", str(socket)]
    server = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE)
    try:
        limit = time.monotonic() + 120
        while not socket.exists() and time.monotonic() < limit:
            time.sleep(0.1)
        code = "import os\nprint(os.environ['CUDA_VISIBLE_DEVICES'], os.getppid())"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, tmp_path / "in.ipynb")
        files = [str(tmp_path / name) for name in ("in.ipynb", "out.ipynb")]
        words = [sys.executable, "-m", "papermill", *files, "--engine", "esc"]
        variables = {
            "ESC_WARM": str(socket),
            "JUPYTER_DEFAULT_PROVISIONER_NAME": "esc-warm",
            "CUDA_VISIBLE_DEVICES": "0,1",
        }
        holder = start(*HOLD, CUDA_VISIBLE_DEVICES="0,1")
        assert holder.stdout.readline() == "0\n"
        papermill = start(*words, **variables)
        assert papermill.communicate()[1] is not None and papermill.returncode == 0
        output = nbformat.read(tmp_path / "out.ipynb", 4).cells[0].outputs[0].text.split()
        assert output == ["1", str(server.pid)], "the second GPU, in a fork of the server"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize(
    ("profile", "device", "slurm", "asked"),
    [
        ("paper", "auto", True, 1), ("paper-partial", "auto", True, 1), ("paper-partial", "cpu", True, 0),
        ("paper-partial", "auto", False, 0), ("lite", "auto", True, 0), ("quick", "auto", False, 0),
    ],
)  # fmt: skip
def test_what_a_run_asks_for_where_no_gpu_is_at_hand(monkeypatch, profile, device, slurm, asked):
    """A cluster is asked for a GPU; runs on this machine then still go side by side on its cores."""
    monkeypatch.syspath_prepend(ROOT / "workflow")
    drive = importlib.import_module("drive")
    monkeypatch.setattr(drive.gpus, "devices", list)
    assert drive.gpus_a_run(profile, device, slurm) == asked
