"""Bad input through the commands that people type: papermill by hand, the workflow's driver, the modules' own
command lines. Each answers in one line that names the place and the remedy, exits with an error and leaves
earlier results alone."""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from bad_input import one_line
from filelock import FileLock
from permissions import drop_override, read_only

from esc_suite.__main__ import COMMANDS
from esc_suite.records import runs

ROOT = Path(__file__).resolve().parent.parent
PAPERMILL = ("papermill", "{notebook}", "{out}", "--engine", "esc", "--no-progress-bar")
LAYERS = (
    "params/base.yaml",
    "params/profiles/quick.yaml",
    "params/experiments/fixmatch_tau075.yaml",
    "tests/tiny.yaml",
)
EARLIER = "an earlier rendering"


@pytest.fixture
def places(tmp_path):
    """Files that the commands are given, by name."""
    texts = {
        "twice.yaml": "mu: 3\ntau: 0.5\n# later\ntau: 0.9\n",
        "broken.yaml": "tau: [0.5\n",
        "list.yaml": "- tau\n- mu\n",
        "numbers.yaml": "1: 2\n",
        "exponent.yaml": "learning_rate: 1e-4\n",
        "text.ipynb": "not a notebook",
        "empty.ipynb": "",
        "out.ipynb": EARLIER,
        "file": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    found = {name.partition(".")[0]: str(tmp_path / name) for name in texts}
    return found | {"here": str(tmp_path), "notebook": "notebooks/04_fixmatch_ablations.ipynb"}


def run(*words: str, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"} | options.pop("env", {})
    python = [sys.executable, *(() if words[0].startswith("-") or words[0].endswith(".py") else ("-m",))]
    return subprocess.run(
        [*python, *words], cwd=ROOT, env=environment, capture_output=True, text=True, **options
    )


def told(done: subprocess.CompletedProcess, *words: str) -> None:
    """It failed with one line that says all of this (papermill's and nbclient's own, "Input Notebook: ...",
    aside)."""
    assert done.returncode != 0, done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert "Traceback" not in done.stderr
    said = [line for line in lines if line.lower().startswith("error: ")]
    assert len(said) == 1 and said == lines[-1:], done.stderr
    passing = (
        "Input Notebook:",
        "Output Notebook:",
        "Working directory:",
        "Executing notebook with",
        "Kernel died while",
    )
    assert all(line.startswith(passing) or "%|" in line for line in lines[:-1]), done.stderr  # or a bar
    one_line(said[0], *words)


# --- papermill by hand: refused before a kernel starts, the earlier rendering untouched -----------

TWICE = base64.b64encode(b"tau: 0.5\ntau: 0.9\n").decode()
BAD_PAPERMILL = {  # options after PAPERMILL, what the line must hold
    "key twice in a file": (
        ["-f", "{here}/twice.yaml"],
        ("twice.yaml", "line 4", "'tau'", "second time", "remove"),
    ),
    "key twice in the long form": (
        ["--parameters_file={here}/twice.yaml"],
        ("twice.yaml", "line 4", "'tau'"),
    ),
    "key twice before an override": (
        ["-f", "{here}/twice.yaml", "-p", "tau", "0.7"],
        ("twice.yaml", "line 4", "'tau'"),
    ),
    "key twice inline": (["-y", "{{tau: 0.5, tau: 0.9}}"], ("-y", "line 1", "'tau'", "second time")),
    "key twice in base64": (["-b", TWICE], ("-b", "line 2", "'tau'", "second time")),
    "file missing": (["-f", "{here}/nowhere.yaml"], ("nowhere.yaml", "cannot be read", "check the name")),
    "file not YAML": (["-f", "{here}/broken.yaml"], ("broken.yaml", "not valid YAML", "line 1")),
    "file not text": (["-f", "{here}/bytes.yaml"], ("bytes.yaml", "not valid YAML")),
    "file a list": (["-f", "{here}/list.yaml"], ("list.yaml", "flat")),
    "file with a number as key": (["-f", "{here}/numbers.yaml"], ("numbers.yaml", "flat")),
    "inline not YAML": (["-y", "tau: ["], ("-y", "not valid YAML")),
    "key twice on two lines inline": (["-y", "tau: 0.5\ntau: 0.9"], ("-y", "line 2", "'tau'", "second time")),
    "not base64": (["-b", "%%%"], ("-b", "not base64", "-y")),
    "1e-4 in a file": (["-f", "{here}/exponent.yaml"], ("learning_rate", "'1e-4'", "1.0e-4")),
    "unknown": (["-p", "widht", "8"], ("'widht'", "did you mean 'width'")),
    "wrong type": (["-p", "mixup", "1"], ("mixup", "boolean")),
    "text for a number": (["-r", "tau", "0.5"], ("tau", "'0.5'")),
    "out of range": (["-p", "tau", "1.5"], ("tau", "1.5", "less than or equal to 1")),
    "not a number": (["-p", "tau", "nan"], ("tau", "finite")),
    "more threads than any machine": (["-p", "threads", "100000"], ("threads", "1024")),
    "fold 11": (["-p", "train_fold", "11"], ("train_fold", "11")),
    "contradiction": (["-p", "valid_fold", "1"], ("valid_fold", "train_fold", "another fold")),
    "no kernel": (["-k", "nowhere"], ("'nowhere'", "leave out -k")),
}


@pytest.mark.parametrize("case", BAD_PAPERMILL)
def test_papermill_refuses(case, places):
    options, words = BAD_PAPERMILL[case]
    layers = [word for file in LAYERS for word in ("-f", file)]
    done = run(
        *(word.format(**places) for word in (*PAPERMILL, *layers, "-r", "outputs", "{here}/new", *options))
    )
    told(done, *words)
    assert Path(places["out"]).read_text() == EARLIER
    assert not Path(places["here"], "new").exists()


BAD_PLACES = {  # notebook, output notebook, further options, what the line must hold
    "no notebook": (
        "{here}/nowhere.ipynb",
        "{out}",
        (),
        ("nowhere.ipynb", "cannot be read", "check the name"),
    ),
    "text for a notebook": ("{text}", "{out}", (), ("text.ipynb", "not a notebook", "checked in")),
    "empty notebook": ("{empty}", "{out}", (), ("empty.ipynb", "not a notebook", "checked in")),
    "no folder for the output": (
        "{notebook}",
        "{here}/no/out.ipynb",
        (),
        ("no/out.ipynb", "cannot be written", "folder"),
    ),
    "a folder for the output": (
        "{notebook}",
        "{here}/folder.ipynb",
        (),
        ("folder.ipynb", "cannot be written", "elsewhere"),
    ),
    "no working folder": ("{notebook}", "{out}", ("--cwd", "{here}/nowhere"), ("nowhere", "cannot be read")),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_papermill_without_its_files(case, places):
    notebook, out, options, words = BAD_PLACES[case]
    words_given = (PAPERMILL[0], notebook, out, *PAPERMILL[3:], *options)
    told(run(*(word.format(**places) for word in words_given)), *words)
    assert Path(places["out"]).read_text() == EARLIER


def test_debug_keeps_the_traceback(places):
    done = run("papermill", places["text"], places["out"], *PAPERMILL[3:], "-p", "debug", "True")
    assert done.returncode != 0 and "Traceback" in done.stderr


def test_other_engines_are_left_alone(places):
    """A key twice is papermill's own business without --engine esc."""
    done = run("papermill", places["text"], places["out"], "-f", f"{places['here']}/twice.yaml")
    assert done.returncode != 0 and "Traceback" in done.stderr and "second time" not in done.stderr


# --- papermill by hand: what only the run itself can notice ---------------------------------------


@pytest.fixture
def small(tmp_path):
    """A notebook with these cells behind a parameters cell, and its output's path."""

    def make(*cells: str) -> tuple[str, str]:
        parameters = nbformat.v4.new_code_cell("experiment = 'cnn14_10'", metadata={"tags": ["parameters"]})
        book = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, cells)])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, tmp_path / "in.ipynb")
        return str(tmp_path / "in.ipynb"), str(tmp_path / "rendered.ipynb")

    return make


REFUSED = "from esc_utils.errors import UserError\nraise UserError('a file is at fault: mend it')"
TRAIN = """from esc_suite.records import train
from esc_utils import config
train.run(config.from_notebook(globals()))"""


def test_figures_under_a_headless_backend(small):
    """MPLBACKEND=Agg is set by `run`: figures would vanish silently."""
    source, target = small("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    done = run("papermill", source, target, *PAPERMILL[3:])
    assert done.returncode == 0, done.stderr
    outputs = nbformat.read(target, 4).cells[-1].outputs
    assert any("image/png" in output.get("data", {}) for output in outputs)


def test_a_kernel_that_is_killed(small):
    done = run("papermill", *small("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"), *PAPERMILL[3:])
    told(done, "the kernel died", "memory", "goes on")


def test_two_runs_in_one_folder(small, tiny, tmp_path):
    folder = runs.folder(tiny("cnn14_10"))
    words = ["-f", "tests/tiny.yaml", "-r", "outputs", str(tmp_path), "-r", "cache_dir", tiny().cache_dir]
    with runs.claim(folder):
        done = run("papermill", *small(TRAIN), *PAPERMILL[3:], *words)
    told(done, str(folder), "another process", "wait")
    assert not runs.complete(folder)


def test_a_kernel_interrupted_before_its_shutdown_says_nothing(small):
    """jupyter_client interrupts every kernel first, and one that is not yet back at rest would log that
    beside the error."""
    # called after the answer is out
    slow = "get_ipython().kernel._abort_queues = lambda *_: __import__('time').sleep(5)"
    done = run("papermill", *small(f"{slow}\n{REFUSED}"), *PAPERMILL[3:])
    told(done, "at fault", "mend it")


def test_a_read_only_outputs_folder(small, tiny, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    read_only(closed)
    words = ["-f", "tests/tiny.yaml", "-r", "outputs", str(closed), "-r", "cache_dir", tiny().cache_dir]
    done = run("papermill", *small(TRAIN), *PAPERMILL[3:], *words, preexec_fn=drop_override)
    read_only(closed, allow=True)
    told(done, str(closed), "cannot write", "outputs")


# --- the driver of the workflow, and the modules' own command lines -------------------------------


@pytest.fixture
def data(tmp_path):
    """UrbanSound8K's layout, one clip a fold, the one of fold 4 cut short."""
    root = tmp_path / "data"
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        (root / f"audio/fold{fold}").mkdir(parents=True)
        path = root / f"audio/fold{fold}/{fold}-3-0-0.wav"
        soundfile.write(path, np.zeros(1600), 16000)
        rows.append(f"{fold}-3-0-0.wav,{fold},0.0,0.1,1,{fold},3,dog_bark")
        if fold == 4:
            path.write_bytes(path.read_bytes()[:1000])
    (root / "metadata").mkdir()
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def damaged(tmp_path):
    """An outputs folder whose only record is damaged, and one whose only run folder has another name."""
    for name in ("damaged/quick/runs/cnn14_10/fold1_seed0", "renamed/quick/runs/cnn14_10/fold1_seed0 (copy)"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.json").write_text("{")


DRIVE = "workflow/drive.py"
BAD_COMMANDS = {  # the command, what its line must hold
    "tables that are none": ((DRIVE, "--tables", "x"), ("--tables x", "choose from 1, 2")),
    "table 9": ((DRIVE, "--tables", "2,9"), ("--tables 2,9", "choose from 1, 2")),
    "profile": ((DRIVE, "--profile", "quickk"), ("'quickk'", "choose from lite")),
    "profile by a path": ((DRIVE, "--profile", "../base"), ("'../base'", "choose from lite")),
    "no jobs": ((DRIVE, "--jobs", "0"), ("--jobs 0", "1 or more")),
    "jobs in words": ((DRIVE, "--jobs", "two"), ("--jobs two", "1 or more")),
    "workflow profile": ((DRIVE, "--workflow-profile", "slrum"), ("'slrum'", "choose from default, slurm")),
    "outputs is a file": ((DRIVE, "--outputs", "{file}"), ("{file}", "cannot write", "OUTPUTS=")),
    "dataset missing": (
        (DRIVE, "--profile", "lite", "--data", "{here}/nowhere"),
        ("nowhere", "unpack", "data_dir"),
    ),
    "weights missing": (
        (DRIVE, "--profile", "paper", "--data", "{here}/data"),
        ("weights", "make data", "sha256"),
    ),
    "features of a cut clip": (
        ("esc_suite", "features", "--profile", "lite", "--data", "{here}/data", "--outputs", "{here}/new"),
        ("4-3-0-0.wav", "cut short", "unpack"),
    ),
    "features into a file": (
        ("esc_suite", "features", "--outputs", "{file}"),
        ("{file}", "cannot write", "outputs"),
    ),
    "tables of nothing": (("esc_suite", "tables", "--outputs", "{here}/nowhere"), ("nowhere", "make tables")),
    "tables of damage": (
        ("esc_suite", "tables", "--outputs", "{here}/damaged"),
        ("metrics.json", "damaged", "train again"),
    ),
    "tables of a renamed run": (
        ("esc_suite", "tables", "--outputs", "{here}/renamed"),
        ("(copy)", "rename it"),
    ),
    "claims of damage": (
        ("esc_suite", "claims", "--outputs", "{here}/damaged"),
        ("metrics.json", "damaged", "train again"),
    ),
    "report of damage": (
        ("esc_suite", "report", "--outputs", "{here}/damaged"),
        ("metrics.json", "damaged", "train again"),
    ),
    "sensitivity of nothing": (
        ("esc_suite", "sensitivity", "--outputs", "{here}/nowhere"),
        ("nowhere", "make sensitivity"),
    ),
    "page of nothing": (("tools/page.py", "{here}/nowhere.ipynb"), ("nowhere.ipynb", "make tables")),
    "page of text": (("tools/page.py", "{text}"), ("text.ipynb", "make tables")),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_command_refuses(case, places, data, damaged):
    command, words = BAD_COMMANDS[case]
    done = run(*(word.format(**places) for word in command))
    told(done, *(word.format(**places) for word in words))
    assert not list(Path(places["here"]).rglob("*.npy")) and not list(
        Path(places["here"]).rglob("table*.csv")
    )


def test_a_second_make_tables_beside_a_running_one(tmp_path):
    """In a copy, so that it does not meet one that runs in this checkout."""
    for name in ("esc_utils", "esc_suite", "params", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    with FileLock(tmp_path / ".snakemake-driver.lock"):
        done = run(str(tmp_path / DRIVE), env={"PYTHONPATH": str(tmp_path)})
    told(done, "another `make tables`", "wait", "stop")


def test_commands_are_listed():
    """With --help, and with no command, which is an error; one that is not there is told in a line."""
    done = run("esc_suite", "--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} +\S+ \S+", done.stdout, re.M)) == 1, name
    bare = run("esc_suite")
    assert bare.returncode == 2 and bare.stdout == "" and bare.stderr == done.stdout
    unknown = run("esc_suite", "tabels")
    assert unknown.returncode == 2 and unknown.stdout == ""
    told(unknown, "'tabels'", "choose from check", "report")


def test_check_on_a_machine_with_nothing_installed():
    done = run("-S", "-m", "esc_suite", "check")
    assert done.returncode == 1 and done.stderr == ""
    one_line(done.stdout, "fail", "is not installed", "make install")


@pytest.mark.parametrize(
    "words", [["check", "--help"], ["sensitivity", "--help"], ["download", "--help"], ["--help"]]
)
def test_commands_work_without_docstrings(words):
    """PYTHONOPTIMIZE=2, which somebody else's program may need."""
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "esc_suite", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize("words", [["-m", "esc_suite", "--help"], ["-m", "esc_suite", "check", "--quick"]])
def test_a_reader_that_ends_first_is_no_traceback(words):
    """As `| head` is."""
    with subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        running.stdout.close()
        assert not running.stderr.read()
    assert running.returncode == 128 + signal.SIGPIPE


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["check", "--quick"]])
def test_output_on_a_full_disk_is_one_line(words):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "esc_suite", *words]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    one_line(done.stderr, "error: the output cannot be written (No space left on device)", "make room")
