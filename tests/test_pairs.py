"""Rows on pairs of folds that no table reports: the tool that trains them, and the pages made from what is
committed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import pairs  # noqa: E402
import pairs_page  # noqa: E402

from esc_suite.run import needed_runs  # noqa: E402


@pytest.mark.parametrize("page", pairs_page.PAGES, ids=lambda path: path.name)
def test_pages_say_what_the_committed_files_say(page):
    text = page.read_text(encoding="utf-8")
    assert any(f"<!-- {name} -->" in text for name in pairs_page.BLOCKS)
    assert pairs_page.written(text) == text, "run python tools/pairs_page.py"


def test_no_pair_is_one_that_a_table_reports():
    whole = {1: 2, 2: 10, 10: 1}  # of the clips at hand, see needed_runs.whole_folds
    every = {fold: fold % 10 + 1 for fold in range(1, 11)}
    own = [tuple(map(int, pair.split("-"))) for pair in pairs.PAIRS.split(",")]
    assert all(pair not in {*whole.items(), *every.items()} for pair in own)
    table = pd.read_csv(pairs_page.EVIDENCE / "pairs.csv")
    assert {(t, v) for t, v in zip(table["train"], table["validate"], strict=True)} <= set(own)
    rows = [row for table in needed_runs.tables().values() for row in table["rows"]]
    names = {row["experiment"] for row in rows if row.get("experiment")}
    assert set(table["experiment"]) <= names


def test_rows_are_trained_once_and_a_bad_name_is_one_line(tmp_path):
    def call(*words):
        command = [
            sys.executable,
            "tools/pairs.py",
            "--profile",
            "quick",
            "--outputs",
            str(tmp_path),
            "--jobs",
            "1",
            *words,
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    words = ("--rows", "pann_control", "--pairs", "2-1", "--set", "steps=3", "--set", "synthetic_clips=1")
    done = call(*words)
    assert done.returncode == 0 and "pann_control 2 -> 1 steps=3" in done.stdout, done.stderr
    record = next(tmp_path.glob("*/quick/runs/pann_control/fold2_seed0/metrics.json"))
    before = record.stat().st_mtime_ns
    assert call(*words).returncode == 0 and record.stat().st_mtime_ns == before
    target = tmp_path / "evidence"
    assert pairs.collect(tmp_path, target) == 1
    table = pd.read_csv(target / "pairs.csv")
    assert table["experiment"].tolist() == ["pann_control"] and table["steps"].tolist() == [3]
    assert str(tmp_path) not in "".join(file.read_text() for file in target.rglob("*.json"))
    # Another session's folder adds to what is there
    later = tmp_path / "later" / "quick" / "runs" / "pann_control"
    shutil.copytree(record.parent, tmp_path / "more" / later.relative_to(tmp_path) / "fold2_seed0")
    assert pairs.collect(tmp_path / "more", target) == 2
    assert sorted(pd.read_csv(target / "pairs.csv")["variant"]) == ["later", "steps=3+synthetic_clips=1"]
    bad = call("--rows", "pann_contrl")
    assert bad.returncode == 1 and "pann_contrl" in bad.stderr and "Traceback" not in bad.stderr
