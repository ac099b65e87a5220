"""Tables 6 and 7: ours, beside the paper's and never among them."""

import csv

import numpy as np
import pytest
import records

from esc_suite.results import comparison, pseudo
from esc_suite.results.names import method_title
from esc_suite.results.spec import read_spec
from esc_suite.run import needed_runs
from esc_suite.tables import render
from esc_suite.tables import rows as tables
from esc_utils import config


def test_they_are_ours_and_no_part_of_the_paper_s():
    assert list(needed_runs.tables()) == [1, 2, 3, 4, 5] and list(needed_runs.tables(beyond=True)) == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    ]
    spec, plain = read_spec(beyond=True), read_spec()
    assert not set(tables.BEYOND) & set(plain["tables"]) and max(plain["ledger_notes"]) == 29
    for name in tables.BEYOND:
        table = spec["tables"][name]
        assert (
            "ours, not the paper's" in table["title"] and table["folds"] == plain["tables"]["table5"]["folds"]
        )
        assert not [row for row in table["rows"] if {"paper_accuracy", "paper_auc"} & set(row)]
        controls = [config.for_run("paper", row["experiment"]).method == "control" for row in table["rows"]]
        assert controls.count(True) == 1


def test_rows_differ_in_their_threshold_alone():
    """So that a difference in Table 6 is the threshold's; those of Table 7 hide the same classes."""
    plain = config.for_run("paper", "fixmatch_tau075").model_dump()
    for name in ("flexmatch", "freematch", "softmatch", "open_fixmatch", "open_openmatch"):
        knobs = config.for_run("paper", name).model_dump()
        changed = {key for key in plain if plain[key] != knobs[key]} - {"experiment"}
        assert changed <= {"threshold", "tau", "unknown_classes", "open_set"}, name
    rows = [config.for_run("quick", f"open_{name}") for name in ("control", "fixmatch", "openmatch")]
    assert {row.unknown_classes for row in rows} == {4}


def test_a_run_is_trained_where_its_labels_can_be_explained():
    at = {name: needed_runs.notebook_of(config.for_run("quick", name))[:2] for name in
          ("fixmatch_tau075", "pann_control", "softmatch", "open_fixmatch", "open_openmatch")}  # fmt: skip
    assert list(at.values()) == ["04", "03", "03", "03", "03"]
    titles = [
        method_title(config.for_run("paper", name).model_dump()) for name in ("freematch", "open_openmatch")
    ]
    assert titles == ["PANN + FreeMatch", "PANN + OpenMatch, 4 classes unknown"]


def test_table_6_from_records(tmp_path):
    for fold in (1, 2, 3):
        records.write(tmp_path, "pann_control", 60 + fold, fold)
        records.write(tmp_path, "fixmatch_tau075", 65 + fold, fold)
        records.write(tmp_path, "freematch", 75 + fold, fold)
    paths = {path.suffix: path for path in render.write(tmp_path, "paper", ["table6"], with_claims=False)}
    lines = list(csv.DictReader(paths[".csv"].open()))
    row = next(line for line in lines if line["experiment"] == "freematch")
    assert tuple(row) == render.COLUMNS and row["folds"] == "3 of 10" and row["control_blocked"] == ""
    assert float(row["control_difference"]) == pytest.approx(15, abs=1.7)
    text = paths[".md"].read_text()
    assert "### Table 6." in text and "| Row | Ours |" in text and "Paper" not in text.splitlines()[4]
    assert "[31] FreeMatch" in text


def open_run(outputs, experiment, sure, **arrays):
    """A record with four known classes, two validation clips of unknown ones, four unlabelled clips."""
    labels = np.tile(np.arange(4), 5)
    prob = np.where(np.eye(4)[labels] > 0, sure, (1 - sure) / 3)
    run = records.write(outputs, experiment, 0, clips=(labels, prob, np.repeat(np.arange(5), 4)))
    own = {"unlabelled_label": np.array([0, 1, 4, 5]), "unknown_prob": np.full((2, 4), 0.25)} | arrays
    np.savez_compressed(run.folder / "predictions.npz", **run.predictions, **own)


def test_table_7_has_two_columns_more(tmp_path):
    labels = {"pseudo_label": np.array([[0, 1, 2, 3], [0, 1, 3, -1]], dtype=np.int8)}
    sure = {"pseudo_confidence": np.array([[0.9, 0.2, 0.9, 0.9], [0.9, 0.9, 0.8, np.nan]], dtype=np.float32)}
    open_run(tmp_path, "open_control", 0.7)
    open_run(tmp_path, "open_fixmatch", 0.7, **labels, **sure)
    weight = np.array([[0, 0, 0, 0], [1, 1, 0, 0]], dtype=np.float32)
    heads = {"valid_inlier": np.full(20, 0.5), "unknown_inlier": np.array([0.6, 0.4])}
    open_run(tmp_path, "open_openmatch", 0.7, **labels, **sure, **heads, pseudo_weight=weight)
    results = comparison.read_results(tmp_path, "paper")
    built = tables.build(read_spec(beyond=True), results, "table7", "paper")
    assert [row["open_auroc"] for row in built] == [100, 100, 50]
    assert [row["open_accepted"] for row in built] == [None, 100, 0]  # of one unknown clip that was drawn
    run = results.runs("open_openmatch", [1])[0]
    assert np.array_equal(pseudo.weights(run)[-1], [1, 1, 0, np.nan], equal_nan=True)
    paths = {p.suffix: p for p in render.write(tmp_path, "paper", ["table7"], with_claims=False)}
    assert set(render.OPEN_COLUMNS) < set(next(csv.reader(paths[".csv"].open())))
    assert "Known against unknown, AUROC | Unknown clips accepted, % |" in paths[".md"].read_text()
