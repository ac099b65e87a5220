"""A full disk where test_bad_environment.py does not look: the synthesised dataset, figures, papermill's own
notebook."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bad_input import one_line, refused
from matplotlib.figure import Figure
from small_disk import small_disk

from esc_suite import figures

ROOT = Path(__file__).resolve().parent.parent
FEATURES = ("-m", "esc_suite", "features", "--outputs")


def run(under: tuple[str, ...], *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*under, sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_synthesised_dataset(needs_mount, tmp_path):
    """libsndfile itself would say "System error"."""
    place = tmp_path / "outputs"
    place.mkdir()
    done = run(small_disk(place, 200), *FEATURES, str(place))
    assert done.returncode == 1
    one_line(done.stderr, str(place), "No space left", "outputs or cache_dir elsewhere", "free some space")
    assert not list(Path(f"{place}.seen").rglob("*.wav"))


def test_papermills_own_notebook(needs_mount, tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('x' * 100_000)")])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "in.ipynb")
    place = tmp_path / "place"
    place.mkdir()
    out = str(place / "out.ipynb")
    words = ("-m", "papermill", str(tmp_path / "in.ipynb"), out, "--engine", "esc", "--no-progress-bar")
    done = run(small_disk(place, 32), *words)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    one_line(done.stderr.splitlines()[-1], "Error: ", out, "No space left", "free some space")


@pytest.mark.parametrize("write", [1, 2, 3])
def test_figure(write, tmp_path, monkeypatch):
    """Whichever of its files finds no room: the earlier figure stays."""
    figures.save(Figure((1, 1)), tmp_path, "dot", "alt", "earlier")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3
    calls, plain = iter(range(1, 99)), Path.open

    def full(path, mode="r", *words, **options):
        if "w" in mode and next(calls) == write:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return plain(path, mode, *words, **options)

    monkeypatch.setattr(Path, "open", full)
    refused(
        lambda: figures.save(Figure((2, 2)), tmp_path, "dot", "alt", "later"), "dot.json", "free some space"
    )
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
