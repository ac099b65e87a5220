"""tools/compare.py: what is the same passes, each difference is one line that names the file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import records

ROOT = Path(__file__).resolve().parent.parent
RUN = Path("paper/runs/cnn14_10/fold1_seed0")


def compare(*folders) -> tuple[int, list[str]]:
    words = [sys.executable, "tools/compare.py", *map(str, folders)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.fixture
def pair(tmp_path):
    """Two outputs folders with the same two runs and one table, made at other times, elsewhere, by another
    commit."""
    one = tmp_path / "one"
    for fold in (1, 2):
        records.write(one, "cnn14_10", 50.0, fold)
    (one / "paper" / "tables").mkdir()
    (one / "paper" / "tables" / "table4.csv").write_text("row,accuracy\nSGD,50.0\n")
    (one / "paper" / "tables" / "table4.log").write_text("one")
    two = tmp_path / "two"
    shutil.copytree(one, two)
    (two / "paper" / "tables" / "table4.log").write_text("two")
    change(two, lambda record: record.update(seconds=99.0, clips_per_second=1.0))
    change(two, lambda record: record["provenance"].update(commit="f00d", dirty=True))
    change(two, lambda record: record["config"].update(outputs=str(two), data_dir="elsewhere"))
    return one, two


def change(outputs, edit) -> None:
    path = outputs / RUN / "metrics.json"
    record = json.loads(path.read_text())
    edit(record)
    path.write_text(json.dumps(record))


def test_the_same_but_for_times_commit_and_place(pair):
    assert compare(*pair) == (0, ["2 runs and 1 table files compared: no differences"])


def edit_arrays(two, edit) -> None:
    path = two / RUN / "predictions.npz"
    with np.load(path) as arrays:
        kept = dict(arrays)
    edit(kept)
    np.savez_compressed(path, **kept)


def edit_text(path, old, new) -> None:
    path.write_text(path.read_text().replace(old, new))


def last_bit(arrays) -> None:
    arrays["valid_prob"][3, 4] = np.nextafter(arrays["valid_prob"][3, 4], np.float32(1))


DIFFERENT = {  # how the second folder is changed, the one line
    "score": (
        lambda two: change(two, lambda record: record["validation"]["last"].update(accuracy=51.0)),
        f"{RUN}/metrics.json: validation last accuracy 50.0 against 51.0",
    ),
    "knob": (
        lambda two: change(two, lambda record: record["config"].update(tau=0.5)),
        f"{RUN}/metrics.json: config tau 0.95 against 0.5",
    ),
    "code": (
        lambda two: change(two, lambda record: record["provenance"].update(code_hash="beef")),
        f'{RUN}/metrics.json: provenance code_hash "c0de" against "beef"',
    ),
    "history": (
        lambda two: edit_text(two / RUN / "history.csv", "\n3,", "\n3.0,"),
        f"{RUN}/history.csv: line 5 differs",
    ),
    "last bit of a prediction": (
        lambda two: edit_arrays(two, last_bit),
        f"{RUN}/predictions.npz: valid_prob differs",
    ),
    "array missing": (
        lambda two: edit_arrays(two, lambda arrays: arrays.pop("valid_file")),
        f"{RUN}/predictions.npz: valid_file is in one of them only",
    ),
    "run missing": (lambda two: shutil.rmtree(two / RUN), f"only in {{one}}: {RUN}"),
    "table": (
        lambda two: (two / "paper/tables/table4.csv").write_text("row,accuracy\nSGD,50.1\n"),
        "paper/tables/table4.csv: line 2 differs",
    ),
    "longer table": (
        lambda two: (two / "paper/tables/table4.csv").write_text("row,accuracy\nSGD,50.0\nADAM,60.0\n"),
        "paper/tables/table4.csv: line 3 differs",
    ),
    "line ends of a table": (
        lambda two: (two / "paper/tables/table4.csv").write_bytes(b"row,accuracy\r\nSGD,50.0\r\n"),
        "paper/tables/table4.csv: line 1 differs",
    ),
    "table more": (
        lambda two: (two / "paper/tables/table5.md").touch(),
        "only in {two}: paper/tables/table5.md",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_one_line_a_difference(case, pair):
    spoil, line = DIFFERENT[case]
    spoil(pair[1])
    status, lines = compare(*pair)
    assert status == 1
    assert lines[:-1] == [line.format(one=pair[0], two=pair[1])]
    assert lines[-1].endswith("compared: 1 differences")


def test_nothing_to_compare_and_damage_are_one_line(pair, tmp_path):
    status, lines = compare(pair[0], tmp_path / "nowhere")
    assert status == 1 and len(lines) == 1 and "no finished run" in lines[0] and "nowhere" in lines[0]
    (pair[1] / RUN / "metrics.json").write_text("{")
    status, lines = compare(*pair)
    assert status == 1 and len(lines) == 1 and "damaged" in lines[0]
