"""A table made again is compared with the committed evidence to the last digit."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from made_up import ROOT, change

sys.path.insert(0, str(ROOT / "tools"))

import reproduce


@pytest.fixture
def again(made_outputs, tmp_path):
    """The made-up outputs a second time: other times and another place."""
    return another(made_outputs, tmp_path / "again")


def another(outputs: Path, folder: Path) -> Path:
    shutil.copytree(outputs, folder, dirs_exist_ok=True)

    def other(metrics):
        metrics["config"].update(data_dir="/elsewhere")
        metrics.update(seconds=99.0, clips_per_second=1.0)

    for path in (folder / "lite" / "runs").glob("*/*/metrics.json"):
        change(path, other)
    return folder


def compared(capsys, folder: Path, *words) -> tuple[int, str]:
    status = reproduce.main(["--profile", "lite", "--compare-only", str(folder), *words])
    return status, capsys.readouterr().out


def test_the_same_numbers_are_identical_whatever_time_they_took(collected, again, capsys):
    status, text = compared(capsys, again)
    assert status == 0 and re.fullmatch(
        r"identical to the committed evidence: [\d,]+ values in 75 files\n", text
    )
    status, text = compared(capsys, again, "--tables", "2")
    assert status == 0 and "in 13 files" in text  # a table, and six runs of two files
    assert not (again / reproduce.DONE).exists()


def test_every_difference_is_a_line_and_both_sides_say_what_made_them(collected, again, capsys):
    runs = again / "lite" / "runs"

    def other(metrics):
        metrics["validation"]["last"]["accuracy"] += 0.5
        metrics["provenance"]["versions"]["torch"] = "2.12.0"
        metrics["config"]["mu"] = 4

    change(runs / "fixmatch_tau095/fold1_seed0/metrics.json", other)
    history = runs / "pann_table2/fold1_seed0/history.csv"
    history.write_text(history.read_text().replace(",1\n", ",1.25\n", 1))
    table = again / "lite" / "tables" / "table2.csv"
    table.write_text(table.read_text().replace("last epoch", "best epoch", 1))
    status, text = compared(capsys, again, "--tables", "2")
    lines = text.splitlines()
    assert status == 1
    assert "table2.csv, CNN14 [width 8, not 64], checkpoint: committed last epoch, here best epoch" in lines
    assert any(
        re.match(r"fixmatch_tau095/fold1_seed0, validation, last, accuracy: committed .*\(\+0.5\)", x)
        for x in lines
    )
    assert "pann_table2/fold1_seed0, history.csv, 1, loss: committed 1.0, here 1.25 (+0.25)" in lines
    assert (
        any(line.startswith("different: 3 of ") for line in lines) and "knob mu: committed 3, here 4" in lines
    )
    assert any(
        line.startswith("committed: cpu, float32, 1 threads") and "torch 2.11.0" in line for line in lines
    )
    assert any(line.startswith("here: ") and "torch 2.12.0" in line for line in lines)
    assert "another type of CPU" in lines[-1]


def test_what_was_not_made_is_a_difference(collected, again, capsys):
    (again / "lite" / "runs/pann_table2/fold1_seed0/metrics.json").unlink()
    (again / "lite" / "tables/table3.csv").unlink()
    status, text = compared(capsys, again, "--tables", "2,3")
    assert status == 1 and "pann_table2/fold1_seed0: not trained" in text and "table3.csv: not made" in text


def test_a_reproduction_trains_into_a_fresh_folder(collected, made_outputs, tmp_path, monkeypatch, capsys):
    asked = []

    class Ended:
        returncode = 0

    def drive(words, cwd):
        asked.append(words)
        another(made_outputs, tmp_path / "out" / "reproduced" / "lite-table2")
        return Ended()

    monkeypatch.setattr(reproduce.subprocess, "run", drive)
    words = ["--profile", "lite", "--data", "/d", "--tables", "2", "--outputs", str(tmp_path / "out")]
    assert reproduce.main(words) == 0 and "identical" in capsys.readouterr().out
    folder = tmp_path / "out" / "reproduced" / "lite-table2"
    places = ["--profile=lite", f"--outputs={folder}", "--data=/d"]
    assert asked[0][1:] == ["workflow/drive.py", *places, "--tables=2"]
    (folder / "left").touch()  # finished: the next one starts anew
    assert reproduce.main(words) == 0 and not (folder / "left").exists()
    (folder / reproduce.DONE).unlink()
    (folder / "left").touch()  # cut off: the next one goes on
    assert reproduce.main(words) == 0 and (folder / "left").exists()
    Ended.returncode = 1
    with pytest.raises(SystemExit):
        reproduce.main(words)
    assert "goes on where it stopped" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--tables", "9"], ["--tables", "two"], ["--profile", "paper"]])
def test_what_is_not_committed_is_said_in_one_line(collected, again, capsys, words):
    with pytest.raises(SystemExit) as ended:
        reproduce.main(["--profile", "lite", "--compare-only", str(again), *words])
    assert ended.value.code == 1 and re.fullmatch(r"error: no committed [^\n]*\n", capsys.readouterr().err)
