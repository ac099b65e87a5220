"""papermill by hand: --engine esc turns every user error into one line, and leaves no record behind."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent


def papermill(tmp_path, *words, notebook=None, cell="print(tau)"):
    if notebook is None:
        parameters = nbformat.v4.new_code_cell("tau = 0.5  # threshold", metadata={"tags": ["parameters"]})
        book = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(cell)])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = tmp_path / "in.ipynb"
        nbformat.write(book, notebook)
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(notebook),
        str(tmp_path / "out.ipynb"),
        "--engine",
        "esc",
        *words,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_parameters_reach_the_notebook_without_warnings(tmp_path):
    done = papermill(tmp_path, "-p", "tau", "0.7", "-p", "mu", "3", "--no-progress-bar")
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    book = nbformat.read(tmp_path / "out.ipynb", 4)
    assert book.cells[-1].outputs[0].text.strip() == "0.7"


@pytest.mark.parametrize(("words", "expected"), [(["-p", "tua", "0.7"], "did you mean 'tau'?")])
def test_unknown_parameter_fails_before_a_kernel_starts(tmp_path, words, expected):
    done = papermill(tmp_path, *words, "--no-progress-bar")
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_user_error_in_a_cell_is_one_line(tmp_path):
    cell = "from esc_utils.errors import UserError\nraise UserError('fold 3 is missing: unpack it')"
    done = papermill(tmp_path, "--no-progress-bar", cell=cell)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert lines[-1] == "Error: fold 3 is missing: unpack it"
    assert "Traceback" not in done.stderr


def test_other_errors_keep_their_traceback(tmp_path):
    done = papermill(tmp_path, "--no-progress-bar", cell="1 / 0")
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-p", "learning_rate", "1e-4x"], "learning_rate"),
        (["-p", "train_fold", "12"], "train_fold = 12"),
        (["-r", "experiment", "nonsense"], "no experiment 'nonsense'"),
        (["-r", "dataset", "urbansound8k", "-r", "data_dir", "/nowhere"], "no dataset folder /nowhere"),
    ],
)
def test_bad_parameters_of_a_real_notebook(tmp_path, words, expected):
    notebook = ROOT / "notebooks" / "03_supervised_pann_baseline.ipynb"
    done = papermill(tmp_path, "-r", "outputs", str(tmp_path), *words, "--no-progress-bar", notebook=notebook)
    assert done.returncode != 0
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("metrics.json"))


def test_a_notebook_is_written_seldom_and_whole_in_the_end(tmp_path, monkeypatch):
    """Also where a cell fails; what is written in between is not each cell."""
    from papermill import engines, execute

    from esc_suite.run import engine

    written = []
    usual = engines.write_ipynb

    def count(book, path):
        written.append(path)
        usual(book, path)

    monkeypatch.setattr(engines, "write_ipynb", count)
    monkeypatch.setattr(engine, "SAVE_EVERY", 1000)
    engines.papermill_engines.register("esc", engine.EscEngine)
    for last in ("print(9)", "1 / 0"):
        written.clear()
        cells = [nbformat.v4.new_code_cell(f"print({number})") for number in range(9)]
        book = nbformat.v4.new_notebook(cells=[*cells, nbformat.v4.new_code_cell(last)])
        book.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
        nbformat.write(book, tmp_path / "in.ipynb")
        out = tmp_path / "out.ipynb"
        failed = last == "1 / 0"
        with pytest.raises(execute.PapermillExecutionError) if failed else nullcontext():
            execute.execute_notebook(tmp_path / "in.ipynb", out, engine_name="esc", progress_bar=False)
        assert len(written) == 2  # before the first cell and after the last
        found = [cell for cell in nbformat.read(out, 4).cells if cell.cell_type == "code"]
        assert [cell.outputs[0].text for cell in found[:9]] == [f"{number}\n" for number in range(9)]
        assert ("ename" if failed else "text") in found[9].outputs[0]
