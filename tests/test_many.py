"""Many at once: parallel papermill runs with `--engine esc`, none lost, each with its own parameters.

ESC_ROUNDS rounds of eight: 1 by default, 5 by hand."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
ROUNDS = int(os.environ.get("ESC_ROUNDS", "1"))
AT_ONCE = 8
CELL = """
import json, os
from ipykernel.connect import get_connection_info
print(train_fold, json.loads(get_connection_info())["transport"], os.getpid())
"""


@pytest.fixture
def notebook(tmp_path):
    parameters = nbformat.v4.new_code_cell("train_fold = 0", metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(CELL)])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "in.ipynb")
    return tmp_path / "in.ipynb"


@pytest.mark.timeout(300 * ROUNDS)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_eight_papermill_runs_at_once(notebook, tmp_path, number):
    targets = [tmp_path / f"out{fold}.ipynb" for fold in range(1, AT_ONCE + 1)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "papermill", "--engine", "esc", "--no-progress-bar", str(notebook)]
    started = [
        subprocess.Popen([*command, str(target), "-p", "train_fold", str(fold)], cwd=ROOT, env=environment,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for fold, target in enumerate(targets, start=1)
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in started]
    lost = [error for process, error in zip(started, errors, strict=True) if process.returncode]
    assert not lost, lost[0]
    outputs = [nbformat.read(target, 4).cells[-1].outputs[0].text.split() for target in targets]
    assert [(int(fold), transport) for fold, transport, _ in outputs] == [
        (n, "ipc") for n in range(1, AT_ONCE + 1)
    ]
    assert len({kernel for _, _, kernel in outputs}) == AT_ONCE
