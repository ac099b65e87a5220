"""Each notebook by itself as on Kaggle: project and dataset attached read-only, a working folder
elsewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
import yaml
from permissions import drop_override, read_only

PROJECT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("0*.ipynb"))
METADATA = sorted((PROJECT / "notebooks" / "kernel-metadata").glob("*/kernel-metadata.json"))
SETUP = re.search(r"```python\n(.*?)```", (PROJECT / "docs" / "kaggle.md").read_text(), re.S)[1]
HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
# Laid over the quick profile of the attached copy: the mounted dataset instead of synthesis, and next to no
# training.
TINY = {
    "dataset": "urbansound8k",
    "steps": 1,
    "clip_seconds": 0.64,
    "strong_time_width": 8,
    "weak_time_width": 4,
}

EXECUTE = """
import sys, nbclient, nbformat
path, folder = sys.argv[1:]
notebook = nbformat.read(path, 4)
place = {"metadata": {"path": folder}}
client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place)
try:
    client.execute()
finally:
    nbformat.write(notebook, path)
"""
# A developer's editable installation must not answer for the attached copy.
HIDE = """
import sys
from pathlib import Path
sys.path[:] = [path for path in sys.path if not (Path(path) / "esc_utils").is_dir()]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
"""
MINIMAL = """
from esc_suite.records import train
from esc_utils import config, training
settings = config.from_notebook(globals())
record = train.run(settings, quiet=True)
print(record.metrics["validation"]["clips"], record.folder)
"""


@pytest.fixture(scope="module")
def mounts(tmp_path_factory):
    """Kaggle's folders: input/ (project and dataset, read-only) and working/."""
    from esc_utils.urbansound import CLASSES

    kaggle = tmp_path_factory.mktemp("kaggle")
    project = kaggle / "input" / "esc-fixmatch" / "esc-fixmatch-main"
    for name in ("esc_utils", "esc_suite", "params", "docs"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(PROJECT / name, project)
    profile = project / "params" / "profiles" / "quick.yaml"
    profile.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | TINY))

    data = kaggle / "input" / "datasets" / "chrisfilo" / "urbansound8k"
    noise, rows = np.random.default_rng(0), []
    for fold in range(1, 11):
        (data / f"fold{fold}").mkdir(parents=True)
        for label, name in enumerate(CLASSES):
            file = f"{fold}{label}-{label}-0-0.wav"
            soundfile.write(data / f"fold{fold}" / file, noise.normal(0, 0.1, 8000).astype("float32"), 16000)
            rows.append(f"{file},{fold}{label},0.0,0.5,1,{fold},{label},{name}\n")
    (data / "UrbanSound8K.csv").write_text(HEADER + "".join(rows))
    read_only(kaggle / "input")
    yield kaggle
    read_only(kaggle / "input", allow=True)


def run_all(notebook, mounts: Path, tmp_path: Path) -> tuple[nbformat.NotebookNode, Path]:
    """Execute a notebook as Kaggle does; returns it with its outputs, and the working folder."""
    working = tmp_path / "working"
    for folder in (working, tmp_path / "site", tmp_path / "home"):
        folder.mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE)
    for cell in notebook.cells:
        cell.source = cell.source.replace("/kaggle/input", str(mounts / "input"))
    path = tmp_path / "notebook.ipynb"
    nbformat.write(notebook, path)
    data = mounts / "input" / "datasets" / "chrisfilo" / "urbansound8k"
    environment = {key: value for key, value in os.environ.items() if key != "ESC_ROOT"} | {
        "MPLBACKEND": "Agg",  # with it, figures vanish silently unless the notebook says %matplotlib inline
        "PYTHONPATH": str(tmp_path / "site"),
        "HOME": str(tmp_path / "home"),
        "ESC_KAGGLE_INPUT": f"{mounts / 'input' / 'urbansound8k'}:{data}",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), str(working)],
        env=environment, cwd=working, preexec_fn=drop_override, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(path, 4), working


def printed(cell) -> str:
    return "".join(
        output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
    )


def test_read_only_binds_this_process_group(mounts):
    """Without this, the tests below would prove nothing for root."""
    code = f"open({str(mounts / 'input' / 'new')!r}, 'w')"
    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=drop_override, capture_output=True, text=True
    )
    assert "Permission denied" in done.stderr


def test_set_up_cell_and_a_training_run(mounts, tmp_path):
    """The set-up cell of docs/kaggle.md makes a notebook of three lines train from the mounts."""
    parameters = nbformat.v4.new_code_cell(
        "profile = 'quick'\nexperiment = 'cnn14_10'", metadata={"tags": ["parameters"]}
    )
    where = "import esc_utils\nprint(esc_utils.__file__)"
    cells = [parameters, *map(nbformat.v4.new_code_cell, (SETUP, MINIMAL, where))]
    done, working = run_all(nbformat.v4.new_notebook(cells=cells), mounts, tmp_path)
    clips, folder = printed(done.cells[2]).split()
    assert int(clips) == 10
    assert Path(folder) == working / "outputs" / "quick" / "runs" / "cnn14_10" / "fold1_seed0"
    assert json.loads((Path(folder) / "metrics.json").read_text())["synthesised"] is False
    assert str(mounts / "input") in printed(done.cells[3])


def test_set_up_cell_finds_a_clone_in_the_working_folder(tmp_path):
    """`git clone` into the working folder, or into a folder of any name below or above it."""
    package = tmp_path / "clone" / "esc_utils"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "config.py").touch()
    (tmp_path / "clone" / "notebooks").mkdir()
    code = HIDE + SETUP + "import esc_utils; print(esc_utils.__file__)"
    for folder in (tmp_path, tmp_path / "clone", tmp_path / "clone" / "notebooks"):
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        assert Path(done.stdout.strip()) == package / "__init__.py", done.stderr


def test_set_up_cell_without_the_project(tmp_path):
    done = subprocess.run([sys.executable, "-c", HIDE + SETUP], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "attach or clone the project" in done.stderr


@pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks yet")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_by_itself(path, mounts, tmp_path):
    done, working = run_all(nbformat.read(path, 4), mounts, tmp_path)
    code = [cell for cell in done.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    kinds = {kind for cell in code for out in cell.outputs for kind in out.get("data", {})}
    assert "image/png" in kinds or not any("figures." in cell.source for cell in code)
    assert {file.name for file in working.iterdir()} <= {"outputs", "data"}


@pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks yet")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_holds_the_set_up_cell(path):
    sources = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert any(SETUP.strip() in source for source in sources), "take the set-up cell of docs/kaggle.md"


@pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks yet")
def test_every_notebook_has_metadata():
    assert {path.stem for path in NOTEBOOKS} <= {path.parent.name for path in METADATA}


@pytest.mark.parametrize("path", METADATA, ids=lambda path: path.parent.name)
def test_metadata(path):
    """The fields, types and limits that Kaggle's client documents (kernels push)."""
    found = json.loads(path.read_text())
    lists = {"dataset_sources", "competition_sources", "kernel_sources", "model_sources"}
    flags = {"is_private", "enable_gpu", "enable_internet"}
    assert set(found) == {"id", "title", "code_file", "language", "kernel_type"} | lists | flags
    assert all(isinstance(found[key], list) for key in lists) and all(
        isinstance(found[key], bool) for key in flags
    )
    owner, slug = found["id"].split("/")
    # The slug follows the title
    assert owner == "YOUR_NAME" and slug == re.sub(r"[^a-z0-9]+", "-", found["title"].lower())
    assert 5 <= len(found["title"]) <= 50
    assert (found["language"], found["kernel_type"]) == ("python", "notebook")
    assert found["code_file"] == f"../../{path.parent.name}.ipynb"
    assert "chrisfilo/urbansound8k" in found["dataset_sources"]
    assert all(len(source.split("/")) == 2 for source in found["dataset_sources"])
