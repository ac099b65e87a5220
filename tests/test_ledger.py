"""Every line of the ledger is a knob with its number in base.yaml, or a footnote that the tables print."""

import re
from pathlib import Path

import pytest
import yaml

from esc_utils.config import RunConfig

ROOT = Path(__file__).parent.parent
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (ROOT / "docs" / "ledger.md").read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]
BASE = (ROOT / "params" / "base.yaml").read_text()
NOTES = yaml.safe_load((ROOT / "params" / "tables.yaml").read_text())["ledger_notes"]
SENSITIVITY = {path.stem for path in (ROOT / "params" / "sensitivity").glob("*.yaml")}


def test_the_ledger_has_all_29_lines():
    assert [int(row[0]) for row in ROWS] == list(range(1, 30))
    assert all(len(row) == 6 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_line_is_a_knob_or_a_footnote(row):
    number = int(row[0])
    numbers = {int(n) for found in re.findall(r"#.*\[([\d, ]+)\]", BASE) for n in found.split(",")}
    assert number in numbers or NOTES.get(number), f"ledger {number} is neither in base.yaml nor a footnote"
    for knob in re.findall(r"`([a-z0-9_]+)`", row[4]):
        if "." not in row[4]:
            assert knob in RunConfig.model_fields


@pytest.mark.parametrize("number", [1, 3, 4, 5, 6, 7, 10, 11, 13, 19, 22, 27, 29])
def test_alternatives_have_a_sensitivity_run(number):
    row = ROWS[number - 1]
    named = set(re.findall(r"`(l\d+_\w+)`", row[5]))
    assert named, f"ledger {number} names no run"
    assert named <= SENSITIVITY
    assert any(name.startswith(f"l{number:02d}_") for name in named)
