"""The workflow for real, on a copy of the project and the tiny profile: trains once, then only what a change
touches."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
OUTPUTS = 'reader\'s $HOME 2024_01: "a" #b, 50%'  # as folders are called
TABLE2 = {
    "cnn14_table2", "pann_table2", "fixmatch_tau095", "fixmatch_tau095_nomixup", "pann_control", "pann_probe"
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a profile `tiny`."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("esc_utils", "esc_suite", "notebooks", "params", "workflow"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        )
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    quick = yaml.safe_load((ROOT / "params" / "profiles" / "quick.yaml").read_text())
    tiny = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    (copy / "params" / "profiles" / "tiny.yaml").write_text(
        yaml.safe_dump(quick | tiny | {"profile": "tiny"})
    )
    return copy


def drive(project, *words):
    environment = os.environ | {"PYTHONPATH": str(project)}
    environment.pop("ESC_ROOT", None)
    command = [sys.executable, "workflow/drive.py", "--profile", "tiny", f"--outputs={OUTPUTS}", *words]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def would_run(project, *words):
    """Names of the training runs that a dry run lists, and the number of jobs."""
    done = drive(project, *words, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = [line.split("would run ")[1] for line in done.stdout.splitlines() if line.startswith("would run ")]
    return {name.split()[0] for name in jobs if ", seed" in name}, len(jobs)


def test_every_run_of_the_tables_is_listed_once(project):
    done = drive(project, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [line for line in done.stdout.splitlines() if line.startswith("would run ") and ", seed" in line]
    assert len(runs) == len(set(runs)) == 98  # 8 experiments on fold 1 alone, and 9 on all ten folds
    table5 = would_run(project, "--tables", "5")[0]
    ours = {"cnn14_10", "pann_10", "pann_100", "cnn14_fixmatch", "fixmatch_tau075"}
    assert table5 == ours | {"pann_control", "cnn14_control", "pann_probe", "pann_probe_100"}


@pytest.fixture(scope="module")
def trained(project):
    done = drive(project, "--tables", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


def test_table_and_progress(trained):
    project, text = trained
    assert "jobs, 6 of them training runs" in text
    assert text.count("left") >= 7  # a line a job: features, six runs, the table
    assert f"{OUTPUTS}/tiny/tables/table2.md" in text
    records = sorted((project / OUTPUTS / "tiny/runs").glob("*/fold1_seed0/metrics.json"))
    assert {path.parent.parent.name for path in records} == TABLE2
    assert "synthesised audio" in (project / OUTPUTS / "tiny/tables/table2.md").read_text()
    for path in records:
        book = json.loads((path.parent / "notebook.ipynb").read_text())
        outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output["output_type"] == "error"]
        images = sum("image/png" in output.get("data", {}) for output in outputs)
        least = 2 if "probe" in path.parent.parent.name else 3  # a probe has no learning curve
        assert images >= least, f"{path.parent}: {images} figures"


def test_second_time_there_is_nothing_to_do(trained):
    assert would_run(trained[0], "--tables", "2") == (set(), 0)


def test_without_snakemake_s_notes_the_records_decide(trained):
    project = trained[0]
    shutil.rmtree(project / ".snakemake")
    assert would_run(project, "--tables", "2") == (set(), 0)
    path = project / "params" / "experiments" / "fixmatch_tau095_nomixup.yaml"
    original = path.read_text()
    path.write_text(original + "tau: 0.9\n")
    shutil.rmtree(project / ".snakemake")
    assert would_run(project, "--tables", "2")[0] == {"fixmatch_tau095_nomixup"}
    path.write_text(original)


def test_outputs_carried_elsewhere_are_finished_there(trained, tmp_path):
    """Without their times, and on their way under another name."""
    project = trained[0]
    shutil.copytree(project / OUTPUTS, tmp_path / "~007", copy_function=shutil.copyfile)
    assert would_run(project, "--tables", "2", f"--outputs={tmp_path / '~007'}")[0] == set()
    record = tmp_path / "~007" / "tiny/runs/pann_control/fold1_seed0/metrics.json"
    made = json.loads(record.read_text())
    made["provenance"]["identity"] = "0" * 16  # of other data, say
    record.write_text(json.dumps(made))
    assert would_run(project, "--tables", "2", f"--outputs={tmp_path / '~007'}")[0] == {"pann_control"}


def test_data_decide_by_their_content(trained):
    project = trained[0]
    (clip, *_) = sorted((project / OUTPUTS / "cache").glob("synthetic-*/audio/fold2/*.wav"))
    original = clip.read_bytes()
    clip.write_bytes(original)  # at another time
    assert would_run(project, "--tables", "2") == (set(), 0)
    clip.write_bytes(original[:-2] + b"\1\1")
    assert would_run(project, "--tables", "2")[0] == TABLE2
    clip.write_bytes(original)
    assert would_run(project, "--tables", "2") == (set(), 0)


@pytest.mark.parametrize("name", ["1e3", "-x", "null #1"])
def test_results_are_where_they_were_asked_for(project, name):
    done = drive(project, f"--outputs={name}", "--tables", "2", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / name / "tiny" / ".workflow.json").is_file()


def test_changed_sentence_retrains_nothing_and_changed_code_does(trained):
    project = trained[0]
    path = project / "notebooks" / "04_fixmatch_ablations.ipynb"
    original = path.read_text()
    book = json.loads(original)
    prose = next(cell for cell in book["cells"][1:] if cell["cell_type"] == "markdown")
    prose["source"] = ["Another sentence."]
    path.write_text(json.dumps(book))
    assert would_run(project, "--tables", "2") == (set(), 0)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"][-1]
    code["source"] = "1 + 1"
    path.write_text(json.dumps(book))
    assert would_run(project, "--tables", "2")[0] == {"fixmatch_tau095", "fixmatch_tau095_nomixup"}
    path.write_text(original)
    assert would_run(project, "--tables", "2") == (set(), 0)


def test_changed_knob_retrains_its_own_runs_only(trained):
    project = trained[0]
    path = project / "params" / "experiments" / "fixmatch_tau095_nomixup.yaml"
    original = path.read_text()
    path.write_text(original + "tau: 0.9\n")
    assert would_run(project, "--tables", "2")[0] == {"fixmatch_tau095_nomixup"}
    path.write_text(original)
    assert would_run(project, "--tables", "2") == (set(), 0)


def test_comment_in_the_method_retrains_nothing_and_code_retrains_all(trained):
    project = trained[0]
    path = project / "esc_utils" / "losses.py"
    original = path.read_text()
    path.write_text(original + "\n# a comment\n")
    assert would_run(project, "--tables", "2")[0] == set()
    path.write_text(original + "\nEXTRA = 1\n")
    assert would_run(project, "--tables", "2")[0] == TABLE2
    path.write_text(original)


def test_deleted_record_is_made_again(trained):
    project = trained[0]
    folder = project / OUTPUTS / "tiny/runs/pann_table2/fold1_seed0"
    metrics = (folder / "metrics.json").read_text()
    (folder / "metrics.json").unlink()
    assert would_run(project, "--tables", "2")[0] == {"pann_table2"}
    done = drive(project, "--tables", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads((folder / "metrics.json").read_text())
    assert again["validation"] == json.loads(metrics)["validation"]


def test_another_seed_trains_its_own_runs_and_the_table_shows_the_spread(trained):
    project = trained[0]
    path = project / "params" / "profiles" / "tiny.yaml"
    original = path.read_text()
    first = {p: p.read_bytes() for p in (project / OUTPUTS / "tiny/runs").glob("*/fold1_seed0/metrics.json")}
    path.write_text(original + "seeds: [0, 1]\n")
    done = drive(project, "--tables", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of them training runs" in done.stdout
    assert {p: p.read_bytes() for p in first} == first
    with (project / OUTPUTS / "tiny/tables/table2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seeds"] for row in rows] == ["2"] * 6
    for row in rows:
        seeds = [
            json.loads(p.read_text())
            for p in (project / OUTPUTS / "tiny/runs" / row["experiment"]).glob("*/metrics.json")
        ]
        scores = [record["validation"]["last"]["accuracy"] for record in seeds]
        assert float(row["accuracy"]) == pytest.approx(sum(scores) / 2, abs=1e-3)
        assert float(row["accuracy_seed_deviation"]) == pytest.approx(
            abs(scores[0] - scores[1]) / 2**0.5, abs=1e-3
        )
    path.write_text(original)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--profile", "quickk"], "no profile 'quickk'"),
        (["--profile", "lite", "--data", "/nowhere/at/all"], "no dataset folder /nowhere/at/all"),
        (["--tables", "9"], "no such table"),
        (["--outputs={outputs}"], "which Snakemake reads"),
        (["--outputs=s3://bucket/results"], "is an address"),
        (["--outputs=~nobody-of-that-name/x"], "no home folder is known"),
    ],
)
def test_user_errors_are_one_line(project, words, expected):
    done = drive(project, *words)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
