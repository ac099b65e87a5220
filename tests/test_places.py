"""Names of folders and files: as they were given, and the same for whoever reads them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import refused
from permissions import drop_override

from esc_suite.inputs import listing
from esc_suite.run import check, needed_runs
from esc_suite.run.together import exit_with
from esc_utils import config, paths, urbansound

ROOT = Path(__file__).resolve().parent.parent
# Numbers to YAML, text to a shell, variables to make, comments, options, and other alphabets.
NAMES = [
    "2024_01", "007", "1e3", "0x10", "-1", "-x", "true", "null", "1:30", "a#b", "it's", 'a "b" c', "$HOME",
    "a$$b", "$(id)",
    "`id`", "50%", "a\\b", "*?[a]", "a;b&c", "a=b", "結果", "naïve ~",
]  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "project"
    shutil.copytree(ROOT / "params", root / "params")
    monkeypatch.setenv("ESC_ROOT", str(root))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return root


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_what_was_said(name, project):
    assert paths.place(name) == project / name
    assert paths.place(f"/elsewhere/{name}") == Path("/elsewhere") / name
    assert paths.place(f"~/{name}") == project.parent / "home" / name


def test_every_place_has_the_same_meaning(project):
    home = project.parent / "home"
    knobs = config.for_run("lite", "pann_10", outputs="~/results", weights_path="~/w.pt", data_dir="~/set")
    assert paths.outputs_folder(knobs) == home / "results" / "lite"
    assert paths.cache_folder(knobs) == home / "results" / "cache"
    assert paths.weights_file(knobs) == home / "w.pt"
    assert urbansound.find_dataset(knobs.data_dir) == home / "set"
    beside = config.for_run("lite", "", cache_dir="../cache", data_dir="../set", weights_path="w.pt")
    assert paths.cache_folder(beside) == project / "../cache"
    assert urbansound.find_dataset(beside.data_dir) == project / "../set"
    assert paths.weights_file(beside) == project / "w.pt"


@pytest.mark.parametrize(
    "text", ["~nobody-of-that-name/x", "s3://bucket/results", "a\nb", "a\udcffb", "a\0b"]
)
def test_what_is_no_place_is_refused(text, project):
    refused(lambda: paths.place(text), repr(text))


@pytest.mark.parametrize("text", ["x" * 300, "ü" * 200 + "/b"])
def test_a_place_that_no_disk_can_hold_is_refused_by_all(text, project):
    for read in (paths.place, urbansound.find_dataset, listing.read_table):
        refused(lambda read=read: read(text), text, "File name too long", "name another place")


def test_a_place_in_another_users_folder_is_refused_by_all(tmp_path, project):
    (tmp_path / "private" / "set").mkdir(parents=True)
    (tmp_path / "private").chmod(0)
    code = (
        "import sys; from esc_suite.inputs import listing; from esc_utils import paths, urbansound\n"
        "from esc_utils.errors import UserError\n"
        "for read in (paths.place, urbansound.find_dataset, listing.read_table):\n"
        "    try:\n        read(sys.argv[1])\n    except UserError as error:\n        print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "private" / "set")],
        preexec_fn=drop_override, capture_output=True, text=True,
    )  # fmt: skip
    (tmp_path / "private").chmod(0o755)
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and not done.stderr, done.stderr
    assert all("Permission denied" in line and "name another place" in line for line in lines)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/x"), OSError(40, "Loop", "/x")])
def test_a_command_line_says_in_one_line_what_it_cannot_use(error, capsys):
    with pytest.raises(SystemExit) as ended, exit_with():
        raise error
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: /x cannot be used ({error.strerror}): mend its permissions or its disk")


def dataset(root: Path) -> Path:
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        (root / "audio" / f"fold{fold}").mkdir(parents=True)
        (root / "audio" / f"fold{fold}" / f"{fold}-3-0-0.wav").write_bytes(b"x")
        rows.append(f"{fold}-3-0-0.wav,{fold},0.0,0.1,1,{fold},3,dog_bark")
    (root / "metadata").mkdir()
    (root / "metadata" / "UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.mark.parametrize("said", ["~/sounds #1", "../my 2024_01"])
def test_a_dataset_in_the_profile_is_found_by_all(said, project, tmp_path):
    """check, the plan of the workflow, a run and a notebook."""
    root = dataset(tmp_path / "home" / "sounds #1" if said.startswith("~") else tmp_path / "my 2024_01")
    profile = project / "params" / "profiles" / "lite.yaml"
    profile.write_text(profile.read_text() + f"data_dir: '{said}'\n")
    knobs = config.for_run("lite", "cnn14_10")
    assert urbansound.open_dataset(knobs).root.resolve() == root
    assert needed_runs.whole_folds(config.for_run("lite", ""))[10] == 1
    (line,) = check._lines(check.dataset, check.setup_of("lite", quick=True))
    assert "10 clips in 10 folds" in line.text
    assert urbansound.open_dataset(config.from_notebook({"profile": "lite"})).root.resolve() == root


@pytest.mark.parametrize("text", ["2024_01", "1e3", "0x10", "true", "null", "~", "2024-01-02", "1:30"])
@pytest.mark.parametrize("knob", ["outputs", "data_dir"])
def test_yaml_that_is_no_text_is_refused_with_the_remedy(knob, text, project):
    """Where PyYAML itself reads text, the text arrives."""
    (project / "own.yaml").write_text(f"{knob}: {text}\n")
    files = [*config.layers_of("quick", ""), project / "own.yaml"]
    if text == "1e3":
        assert getattr(config.from_files(files), knob) == text
    else:
        refused(lambda: config.from_files(files), knob, "own.yaml", "in quotes", "-r instead of -p")


# ---- make ----------------------------------------------------------------------------------------


def made(tmp_path, *words, environment=None) -> list[str]:
    """The command line that the Makefile's python is given."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stub.chmod(0o755)
    command = ["make", "-s", "-o", "install", f"BIN={stub.parent}", *words]
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("OUTPUTS", "DATA", "PROFILE", "JOBS", "TABLE")
    }
    done = subprocess.run(command, cwd=ROOT, env=kept | (environment or {}), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_make_hands_on_what_it_was_given(name, tmp_path):
    given = made(tmp_path, "tables", f"OUTPUTS={name}", f"DATA=/d/{name}")
    assert given == ["workflow/drive.py", "--profile=quick", f"--outputs={name}", f"--data=/d/{name}"]
    assert f"--outputs={name}" in made(tmp_path, "check", environment={"OUTPUTS": name})


def test_make_s_other_targets(tmp_path):
    words = ("OUTPUTS=a $b", "DATA=c #d", "PROFILE=lite", "JOBS=3")
    places = ["--profile=lite", "--outputs=a $b", "--data=c #d"]
    assert made(tmp_path, "reproduce", *words, "TABLE=2") == [
        "tools/reproduce.py",
        *places,
        "--tables=2",
        "--jobs=3",
    ]
    assert made(tmp_path, "table3", *words) == ["workflow/drive.py", *places, "--jobs=3", "--tables", "3"]
    assert made(tmp_path, "pages", *words) == ["tools/page.py", *places[:2]]
    assert made(tmp_path, "check", *words) == ["-m", "esc_suite", "check", *places]


@pytest.mark.parametrize("profile", ["", "..", "no such"])
def test_clean_removes_no_other_folder(profile):
    done = subprocess.run(
        ["make", "-s", "clean", f"PROFILE={profile}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0 and "error: no profile" in done.stdout + done.stderr


# ---- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".work/results", "a.b/.c d"])
def test_pages_of_notebooks_under_a_hidden_folder(place, tmp_path):
    folder = tmp_path / place / "quick" / "notebooks"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for path in (folder / "01.ipynb", folder / ".ipynb_checkpoints" / "01-checkpoint.ipynb"):
        path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    command = [sys.executable, "tools/page.py", f"--outputs={tmp_path / place}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == [str(folder / "01.html")], done.stderr


# ---- the parameters cell -------------------------------------------------------------------------

CELLS = {
    "%load_ext autoreload\ntau = 0.5": {"tau"},
    "!nproc\nfiles = !ls\ntau = 0.5": {"files", "tau"},
    "tau: float = 0.5\nfold: int | None = 1": {"tau", "fold"},
    "a, (b, *c) = 1, (2, 3)\nd = e = 4": {"a", "b", "c", "d", "e"},
    "%%time\ntau = 0.5": {"tau"},
    "%%bash\necho $tau (": set(),
    "tau = 0.5\ntau?": {"tau"},
    "%matplotlib inline\n# a comment\n\ntau = (0.5  # threshold\n)": {"tau"},
}


def declared(source: str) -> set[str]:
    import nbformat
    import papermill  # noqa: F401  it loads the engine itself

    from esc_suite.run import engine

    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    return engine._declared(nbformat.v4.new_notebook(cells=[cell]))


@pytest.mark.parametrize("source", CELLS)
def test_syntax_of_jupyter_in_the_parameters_cell(source):
    assert CELLS[source] <= declared(source)


@pytest.mark.parametrize("source", ["tau = = 1", "def f(:\n    pass", "tau = 0.5\n  mu = 3"])
def test_a_parameters_cell_that_is_no_python_is_one_line(source):
    refused(lambda: declared(source), "parameters cell", "line")
