"""The table of the ledger's alternatives: changes, the leak, what is missing; and that it names every
sensitivity file."""

import csv
from pathlib import Path

import pytest
import records
import yaml

from esc_suite.results import comparison
from esc_suite.results.spec import read_spec
from esc_suite.run import needed_runs
from esc_suite.tables import sensitivity
from esc_utils import config
from esc_utils.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def spec():
    return read_spec()


def test_every_file_has_a_row_whose_baseline_differs_in_what_the_file_says(spec):
    rows = {row["experiment"]: row for row in spec["sensitivity"]["rows"]}
    files = {path.stem: path for path in (ROOT / "params" / "sensitivity").glob("*.yaml")}
    assert set(rows) == set(files)
    for name, row in rows.items():
        text = files[name].read_text()
        assert f"[{row['ledger']}]" in text and f"Default: {row['baseline']}\n" in text
        differs = set()
        for profile in ("paper", "lite"):  # a short profile may have an alternative as its own default
            changed = config.for_run(profile, name).model_dump(exclude={"experiment"})
            default = config.for_run(profile, row["baseline"]).model_dump(exclude={"experiment"})
            differs |= {key for key in changed if changed[key] != default[key]}
        assert differs and differs <= set(yaml.safe_load(text))


def test_jobs_hold_alternatives_and_defaults_once():
    jobs = needed_runs.sensitivity_jobs([1, 2], [0])
    assert len(jobs) == len(set(jobs)) == 18 + 4
    assert {job.fold for job in jobs} == {1}


def test_changes_are_paired_and_the_leak_is_not(spec, tmp_path, monkeypatch):
    for name, accuracy in (("fixmatch_tau075", 60), ("l03_lambda_1", 80), ("pann_100", 60)):
        records.write(tmp_path, name, accuracy)
    records.write(tmp_path, "l19_leaky_folds", 90, clips=records.outcome(90, seed=7))
    results = comparison.read_results(tmp_path, "paper")
    monkeypatch.setattr(sensitivity, "leaked_share", lambda run: 83.0)
    rows = {row["experiment"]: row for row in sensitivity.build(spec, results)}
    changed = rows["l03_lambda_1"]
    assert changed["accuracy_difference"] == pytest.approx(20)
    assert changed["accuracy_low"] > 0 and changed["test"].startswith("paired")
    leak = rows["l19_leaky_folds"]
    assert leak["accuracy_difference"] == pytest.approx(30)
    assert leak["test"].startswith("unpaired") and leak["accuracy_p"] < 0.01
    assert "what not to do" in leak["note"]
    assert rows["l22_ema"]["note"] == "no run yet" and rows["l22_ema"]["accuracy"] is None
    view = sensitivity.readable(spec, list(rows.values()), "paper")
    assert any("83% of the validation clips" in row[-1] for row in view["rows"])


def test_files_are_written_and_say_what_audio(spec, tmp_path):
    for name, accuracy in (("fixmatch_tau075", 60), ("l22_ema", 60)):
        records.write(tmp_path, name, accuracy, synthesised=True, steps=100)
    paths = sensitivity.write(tmp_path, "paper")
    assert [path.name for path in paths] == ["sensitivity.csv", "sensitivity.md", "sensitivity.html"]
    rows = list(csv.DictReader(paths[0].open()))
    same = next(row for row in rows if row["experiment"] == "l22_ema")
    assert float(same["accuracy_difference"]) == 0 and float(same["accuracy_p"]) == 1
    assert "of the average is still the start" in same["note"]
    assert "synthesised audio" in paths[1].read_text() and "synthesised audio" in paths[2].read_text()


def test_nothing_run_is_one_line(tmp_path):
    records.write(tmp_path, "fixmatch_tau075", 60)
    with pytest.raises(UserError, match="make sensitivity"):
        sensitivity.write(tmp_path, "paper")
    assert not list(tmp_path.rglob("sensitivity.*"))


def test_share_of_leaked_clips_is_zero_on_official_folds_and_large_by_index(tiny, tmp_path):
    from esc_suite.records import train

    honest = train.run(tiny("pann_100", synthetic_clips=4), quiet=True)
    leaky = train.run(tiny("l19_leaky_folds", synthetic_clips=4), quiet=True)
    honest.metrics["config"]["gone"] = True  # as in a record from before a knob was removed
    assert sensitivity.leaked_share(honest) == 0
    assert sensitivity.leaked_share(leaky) > 30
