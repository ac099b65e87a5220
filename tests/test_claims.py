"""Claims: controls, budgets, probes and shares that block, one family of p values with the marks, verdicts in
two parts."""

import json

import numpy as np
import pytest
import records
from scipy import stats

from esc_suite.results import comparison, family, intervals, validity
from esc_suite.results.spec import read_spec
from esc_suite.tables import claims, view
from esc_suite.tables import render as tables_render
from esc_suite.tables import rows as tables
from esc_utils import config
from esc_utils.errors import UserError

BUDGET = {"batch_size": 16}  # of supervised rows, as FixMatch's


@pytest.fixture(scope="module")
def spec():
    return read_spec()


def verdicts(spec, outputs, profile="paper"):
    return {claim["id"]: claim for claim in claims.decide(spec, comparison.read_results(outputs, profile))}


def rows_of(spec, outputs, name, profile="paper"):
    rows = tables.build(spec, comparison.read_results(outputs, profile), name, profile)
    return {row["id"]: built for row, built in zip(spec["tables"][name]["rows"], rows, strict=True)}


def write(outputs, **accuracies):
    """One run of each experiment on fold 1, supervised ones with FixMatch's batch."""
    for experiment, accuracy in accuracies.items():
        records.write(outputs, experiment, accuracy, **BUDGET)


# ---- FixMatch needs its control ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("baseline", "control", "expected"),
    [
        (60, 60, "supported"),
        (60, 88, "undecided"),
        (88, 60, "undecided"),
        (60, 99, "contradicted"),
        (99, 60, "contradicted"),
    ],
)
def test_fixmatch_adds_something_only_beyond_its_baseline_and_its_control(
    spec, tmp_path, baseline, control, expected
):
    write(tmp_path, pann_table2=baseline, pann_control=control, fixmatch_tau095=88)
    claim = verdicts(spec, tmp_path)["b"]
    assert claim["verdict"] == expected
    words = [
        "supported" if side == 60 else "undecided" if side == 88 else "contradicted" for side in (baseline,
        control)
    ]  # fmt: skip
    assert (
        claim["parts"]
        == f"FixMatch against the printed baseline: {words[0]}; against the control: {words[1]}."
    )
    assert claim["evidence"].startswith(claim["parts"])
    row = rows_of(spec, tmp_path, "table2")["fixmatch"]
    assert row["control_mark"] == {"supported": "above", "contradicted": "below"}.get(words[1], words[1])
    assert row["mark"] == words[0] and row["control_difference"] == pytest.approx(
        claim["rules"][1]["difference"]
    )


def test_the_claims_about_what_fixmatch_adds_have_a_control_and_nothing_else_has(spec):
    from esc_suite.results.rules import of_control

    own = {claim["id"] for claim in spec["claims"] if any(of_control(spec, rule) for rule in claim["rules"])}
    assert own == {"b", "b_auc", "g_fixmatch"}


# ---- What blocks ---------------------------------------------------------------------------------
def test_other_budgets_are_named_and_block_where_a_rule_asks_for_equality(spec, tmp_path):
    records.write(tmp_path, "cnn14_table2", 40, labelled_passes=80.0)
    records.write(tmp_path, "pann_table2", 90, labelled_passes=160.0, **BUDGET)
    claim = verdicts(spec, tmp_path)["a"]
    words = (
        "the rows differ in labelled batch (16 against 32) and in passes over the labelled clips (160 "
        "against 80)"
    )
    assert claim["on_this_network"] == f"blocked: {words}" and words in claim["evidence"]
    # Claim b says "same iterations": the batch is named, and does not block.
    records.write(tmp_path, "pann_table2", 60, labelled_passes=160.0)
    write(tmp_path, fixmatch_tau095=90, pann_control=60)
    claim = verdicts(spec, tmp_path)["b"]
    assert claim["verdict"] == "supported"
    assert (
        "differ in labelled batch (16 against 32) and in passes over the labelled clips (79.5 against 160)"
        in claim["evidence"]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 100}, "differ in steps (2170 against 100)"),
        ({"labelled_passes": 12.5}, "differ in passes over the labelled clips (79.5 against 12.5)"),
        ({"fixmatch_batch_size": 8}, "differ in labelled batch (16 against 8)"),
        ({"labelled_view": "strong"}, "differ in labelled_view (auto against strong)"),
    ],
)
def test_a_control_must_be_equal_in_everything(spec, tmp_path, change, words):
    write(tmp_path, pann_table2=60, fixmatch_tau095=90)
    records.write(tmp_path, "pann_control", 60, **change)
    claim = verdicts(spec, tmp_path)["b"]
    assert claim["verdict"] == "blocked" and words in claim["on_this_network"]
    row = rows_of(spec, tmp_path, "table2")["fixmatch"]
    assert row["control_mark"] == "blocked" and words in row["control_blocked"] and row["mark"] == "supported"


def test_a_row_below_its_frozen_probe_decides_nothing(spec, tmp_path):
    write(tmp_path, cnn14_table2=20, pann_table2=70, fixmatch_tau095=90, pann_control=70, pann_probe=72)
    found = verdicts(spec, tmp_path)
    assert found["a"]["verdict"] == found["b"]["verdict"] == "supported"  # two points are within noise
    write(tmp_path, pann_probe=88)
    found = verdicts(spec, tmp_path)
    for name in ("a", "b"):
        assert found[name]["verdict"] == "blocked"
        assert (
            "PANN is not trained out: 70.0% where its frozen probe has 88.3% (p = 0.00052, unadjusted"
            in found[name]["on_this_network"]
        )
    # The mark under the table is blocked with it, and says the same.
    row = rows_of(spec, tmp_path, "table2")["pann"]
    assert row["mark"] == "blocked" and "not trained out" in row["blocked"] and row["p_holm"] is None
    text = tables_render.as_markdown(
        view.readable(spec, "table2", [*rows_of(spec, tmp_path, "table2").values()], "paper")
    )
    assert "blocked: PANN is not trained out: 70.0%" in text


def test_without_a_probe_the_evidence_says_that_it_is_not_checked(spec, tmp_path):
    write(tmp_path, cnn14_table2=20, pann_table2=70)
    claim = verdicts(spec, tmp_path)["a"]
    assert claim["verdict"] == "supported"
    assert (
        "PANN is not checked against its frozen probe: pann_probe has no run for these folds"
        in claim["evidence"]
    )


@pytest.mark.parametrize(
    ("shares", "verdict"), [((0.017, 0.02, 0.03), "blocked"), ((0.017, 0.08, 0.2), "supported")]
)
def test_thresholds_are_not_compared_where_the_unlabelled_loss_is_too_small(spec, tmp_path, shares, verdict):
    names = ("fixmatch_tau095", "fixmatch_tau085", "fixmatch_tau075")
    for name, accuracy, share in zip(names, (50, 70, 90), shares, strict=True):
        records.write(tmp_path, name, accuracy, unlabelled_share=share)
    claim = verdicts(spec, tmp_path)["d"]
    assert claim["verdict"] == verdict
    rows = rows_of(spec, tmp_path, "table3")
    assert rows["tau085"]["mark"] == verdict and rows["tau085"]["unlabelled_share"] == pytest.approx(
        100 * shares[1]
    )
    if verdict == "blocked":
        assert "lambda_u L_u is 2% and 1.7% of the loss, under 5% in both rows" in claim["on_this_network"]


# ---- One family ----------------------------------------------------------------------------------
def test_a_rule_and_a_mark_that_are_one_comparison_are_counted_once(spec, tmp_path):
    write(tmp_path, fixmatch_tau075=70, fixmatch_tau075_accum=60)
    found = family.of_table(spec, comparison.read_results(tmp_path, "paper"), "table3")
    assert found["counted"] == 1  # the mark under Table 3, which is claim e, too
    mark, rule = found["marks"]["accum", "baseline"], found["rules"]["e"][0]
    assert mark["p"] == mark["p_holm"] == rule["p_holm"]


def test_holm_runs_over_marks_and_claims_and_not_over_the_rules_of_a_claim(spec, tmp_path):
    write(tmp_path, fixmatch_tau095=60, fixmatch_tau085=70, fixmatch_tau075=85)
    found = family.of_table(spec, comparison.read_results(tmp_path, "paper"), "table3")
    first, second, third = found["rules"]["d"]
    # Two marks, and the rule of claim d that is none; accumulation and the control have no run.
    assert found["counted"] == 3
    expected = intervals.holm([first["p"], second["p"], third["p"]])
    assert [rule["p_holm"] for rule in (first, second, third)] == pytest.approx(expected)


def test_rules_of_a_claim_that_are_no_marks_share_their_largest_p(spec, tmp_path):
    rng = np.random.default_rng(0)
    records.write(tmp_path, "fixmatch_tau075", 90, history=list(80 + 0.5 * rng.normal(size=60)))
    records.write(tmp_path, "fixmatch_tau075_sgd", 70)
    records.write(tmp_path, "fixmatch_tau075_ranger", 75, history=list(75 + 6 * rng.normal(size=60)))
    found = family.of_table(spec, comparison.read_results(tmp_path, "paper"), "table4")
    ranger, sgd, unsteady = found["rules"]["f"]
    assert found["counted"] == 3  # both marks, and the two other rules together
    assert (
        sgd["p_holm"] == unsteady["p_holm"] >= max(sgd["p"], unsteady["p"])
        and ranger["p_holm"] >= ranger["p"]
    )
    # One of them the other way round: it counts twice, and the other one cannot be shown with it.
    records.write(tmp_path, "fixmatch_tau075_sgd", 99)
    found = family.of_table(spec, comparison.read_results(tmp_path, "paper"), "table4")
    _, sgd, unsteady = found["rules"]["f"]
    assert sgd["verdict"] == "contradicted" and sgd["p_holm"] >= 2 * sgd["p"]
    assert unsteady["p_holm"] is None and unsteady["verdict"] == "undecided"


def test_what_cannot_be_decided_is_not_counted(spec, tmp_path):
    for fold in range(1, 11):
        records.write(tmp_path, "pann_100", 95 + fold % 2, fold=fold, profile="lite", backbone=records.MN04)
        records.write(tmp_path, "pann_10", 70 + fold % 3, fold=fold, profile="lite", backbone=records.MN04)
    found = family.of_table(spec, comparison.read_results(tmp_path, "lite"), "table5")
    assert found["counted"] == 1  # the mark of PANN 100%; its claim against a printed number is blocked
    assert found["marks"]["pann_100", "baseline"]["p_holm"] == found["marks"]["pann_100", "baseline"]["p"]


@pytest.mark.parametrize("effects", [(0, 0), (5, 0), (-5, 0), (0, 0, 0)])
def test_the_joint_p_of_a_claims_own_rules_keeps_its_level(effects):
    """Simulated: rules at their margins, or some far on one side, are wrongly decided in at most 5% of the
    cases."""
    rng, wrong = np.random.default_rng(3), 0
    for _ in range(4000):
        scores = rng.normal(effects)
        frame = {"direction": "greater", "margin": 0, "decidable": True}
        own = [frame | {"difference": z, "p": float(2 * stats.norm.sf(abs(z)))} for z in scores]
        joint = family._joint_p(own)
        shared = [family._shared(found, own, joint) for found in own]
        wrong += any(
            p is not None and p < 0.05 for p, effect in zip(shared, effects, strict=True) if not effect
        )
    assert wrong / 4000 < 0.058


OPPOSITE = {"supported": "contradicted", "contradicted": "supported"}


@pytest.mark.parametrize("seed", range(6))
def test_marks_and_claims_never_disagree_about_a_comparison(spec, tmp_path, seed):
    """Random accuracies, shares, seeds and budgets, runs missing: the same comparison has one p and one
    verdict."""
    rng = np.random.default_rng(seed)
    fold_1 = {row["experiment"] for n in (2, 3, 4) for row in spec["tables"][f"table{n}"]["rows"]}
    ten = {row["experiment"] for row in spec["tables"]["table5"]["rows"] if row.get("experiment")}
    for experiment in sorted(fold_1 | ten):
        if rng.uniform() < 0.15:
            continue
        level = rng.uniform(45, 90)
        for fold in (1, 2, 3, 4) if experiment in ten else (1,):
            for own in range(1 if rng.uniform() < 0.8 else 2):
                records.write(
                    tmp_path, experiment, float(np.clip(level + rng.normal(0, 4), 0, 100)), fold=fold,
                    seed=own,
                    unlabelled_share=float(rng.choice([0.01, 0.2])), steps=int(rng.choice([2170, 2170, 2170,
                    300])),
                )  # fmt: skip
    results, compared = comparison.read_results(tmp_path, "paper"), 0
    for name in ("table2", "table3", "table4", "table5"):
        found = family.of_table(spec, results, name)
        rows = rows_of(spec, tmp_path, name)
        for claim in spec["claims"]:
            for rule, result in zip(claim["rules"], found["rules"].get(claim["id"], []), strict=False):
                if rule["kind"] != "difference" or rule["metric"] != "accuracy" or rule["margin"]:
                    continue
                ends = [rule[side].split(".")[1] for side in ("left", "right")]
                for (row_id, kind), mark in found["marks"].items():
                    other = next(row for row in spec["tables"][name]["rows"] if row["id"] == row_id)[kind]
                    if {row_id, other} != set(ends):
                        continue
                    turned = (row_id == ends[1]) != (mark["direction"] != rule["direction"])
                    verdict = OPPOSITE.get(mark["verdict"], mark["verdict"]) if turned else mark["verdict"]
                    assert (result["verdict"], result["p_holm"]) == (verdict, mark["p_holm"]), (
                        claim["id"],
                        row_id,
                    )
                    shown = rows[row_id]["mark" if kind == "baseline" else "control_mark"]
                    words = {"supported": "above", "contradicted": "below"} if kind == "control" else {}
                    assert shown == words.get(mark["verdict"], mark["verdict"])
                    compared += 1
    assert compared >= 8
    for claim in claims.decide(spec, results):
        inner = {rule["verdict"] for rule in claim["rules"]}
        assert claim["verdict"] != "supported" or inner == {"supported"}
        assert claim["verdict"] != "contradicted" or "contradicted" in inner


# ---- Verdicts in two parts, and what could be decided --------------------------------------------
def test_the_verdict_of_the_paper_is_open_until_its_own_weights_have_run_on_the_whole_dataset(spec, tmp_path):
    write(tmp_path / "whole", cnn14_table2=20, pann_table2=70)
    claim = verdicts(spec, tmp_path / "whole")["a"]
    assert claim["verdict"] == claim["on_this_network"] == claim["of_the_paper"] == "supported"
    ways = ({"missing": {"3": 5}}, {"synthesised": True}, {"backbone": records.MN04})
    for number, way in enumerate(ways):
        write(tmp_path / str(number), cnn14_table2=20)
        records.write(tmp_path / str(number), "pann_table2", 70, **BUDGET, **way)
        claim = verdicts(spec, tmp_path / str(number))["a"]
        assert (claim["on_this_network"], claim["of_the_paper"]) == ("supported", "open"), way
    # Seven of ten folds are not the paper's table.
    for fold in range(1, 8):
        for experiment, accuracy in (("cnn14_10", 50), ("pann_10", 80)):
            records.write(tmp_path / "seven", experiment, accuracy + fold % 2, fold=fold)
    claim = verdicts(spec, tmp_path / "seven")["g_pretraining"]
    assert (claim["verdict"], claim["of_the_paper"]) == ("supported", "open")


def test_what_these_runs_could_decide_at_all(spec, tmp_path):
    assert claims.summary([*verdicts(spec, tmp_path).values()]) == ""
    # Noise in which 35 points can be found, and .68 cannot.
    for experiment, accuracy in (
        ("cnn14_table2", 40),
        ("pann_table2", 75),
        ("fixmatch_tau095", 76),
        ("pann_control", 74),
    ):
        records.write(tmp_path, experiment, 0, clips=records.outcome(accuracy, seed=1, noise=0.2), **BUDGET)
    found = verdicts(spec, tmp_path)
    assert found["a"]["could_be_decided"] and found["a"]["least_detectable"] < found["a"]["paper"] - 10
    assert not found["b"]["could_be_decided"] and found["b"]["least_detectable"] > found["b"]["paper"]
    expected = f"{sum(c['could_be_decided'] for c in found.values())} of 12 claims could be decided here"
    assert claims.summary([*found.values()]).startswith(expected)
    rule = found["a"]["rules"][0]
    assert "to show beyond the margin with 80% power" in rule["evidence"]
    # 25 points beyond the margin of 10 take more recordings than 35 would.
    count = int(rule["what_it_would_take"].split()[0])
    assert count > comparison.power.recordings_needed(35, rule["se"], rule["recordings"], rule["df"])


def test_epoch_0_takes_no_part_in_unsteadiness(spec, tmp_path):
    for experiment in ("fixmatch_tau075", "fixmatch_tau075_ranger"):
        records.write(tmp_path, experiment, 80, history=list(range(70, 86)))
    rule = verdicts(spec, tmp_path)["f"]["rules"][2]
    assert rule["difference"] is None and "at least 9 evaluated epochs" in rule["evidence"]


def test_accuracy_by_recording_stands_in_the_table_and_in_the_evidence(spec, tmp_path):
    labels, prob, recordings = records.outcome(50, recordings=20, clips=4, seed=1)
    # A large recording that is wrong counts for much by clips, and for little by recordings.
    labels, prob = (
        np.append(labels, np.zeros(80, int)),
        np.append(prob, np.tile([0.05, 0.55, *[0.05] * 8], (80, 1)), axis=0),
    )
    clips = labels, prob, np.append(recordings, np.full(80, 9))
    records.write(tmp_path, "pann_table2", 0, clips=clips, **BUDGET)
    right = clips[0], np.eye(10)[clips[0]] * 0.5 + 0.05, clips[2]
    records.write(tmp_path, "cnn14_table2", 0, clips=right, **BUDGET)
    row = rows_of(spec, tmp_path, "table2")["pann"]
    assert row["accuracy"] == pytest.approx(25) and row["accuracy_by_recording"] == pytest.approx(1000 / 21)
    assert row["accuracy_by_recording_low"] < row["accuracy_by_recording"] < row["accuracy_by_recording_high"]
    assert row["accuracy_by_recording_difference"] == pytest.approx(1000 / 21 - 100)
    assert "accuracy -75.00 points" in (evidence := verdicts(spec, tmp_path)["a"]["evidence"])
    assert "by recording -52.4" in evidence
    paths = tables_render.write(tmp_path, "paper")
    header = next(path for path in paths if path.name == "table2.csv").read_text().splitlines()[0].split(",")
    assert "accuracy_by_recording" in header and "median5_accuracy" not in header
    found = json.loads(paths[-1].read_text())
    assert all(
        {"claim", "verdict", "on_this_network", "of_the_paper", "evidence"} <= set(claim) for claim in found
    )


# ---- Units ---------------------------------------------------------------------------------------
def test_budget_gaps_of_a_probe_and_the_mean_share_over_runs(tmp_path):
    for fold, share in ((1, 0.1), (2, 0.3)):
        records.write(tmp_path, "fixmatch_tau075", 80, fold=fold, unlabelled_share=share)
        records.write(tmp_path, "pann_probe", 80, fold=fold)
    results = comparison.read_results(tmp_path, "paper")
    gaps = validity.budget_gaps(results, "fixmatch_tau075", "pann_probe", [1, 2])
    assert list(gaps) == list(validity.BUDGET) and gaps["labelled batch"] == "labelled batch (16 against 0)"
    assert validity.unlabelled_share(results, "fixmatch_tau075", [1, 2]) == pytest.approx(20)
    assert validity.unlabelled_share(results, "pann_probe", [1, 2]) is None


def test_every_probe_shares_network_and_labelled_folds_with_its_row(spec):
    for table in spec["tables"].values():
        for row in table["rows"]:
            if row.get("probe"):
                ours, probe = (config.for_run("paper", row[key]) for key in ("experiment", "probe"))
                assert probe.method == "probe" and (ours.backbone, ours.labelled) == (
                    probe.backbone,
                    probe.labelled,
                )


def test_a_broken_rule_is_one_line(tmp_path):
    rows = "tables: {table2: {rows: [{id: a}, {id: b}]}, table3: {rows: [{id: a, control: c}]}}"
    for text, reason in (
        (f"{rows}\nclaims: []\nledger_notes: {{}}", "no control 'c'"),
        (
            f"{rows.replace(', control: c', '')}\nclaims: [{{id: x, rules: [{{left: table2.a, right: "
            f"table3.a}}]}}]",
            "several",
        ),
        (
            f"{rows.replace(', control: c', '')}\n"
            "claims: [{id: x, rules: [{left: table2.a, right: table2.b, equal_budget: [luck]}]}]",
            "wants 'luck' equal",
        ),
    ):
        path = tmp_path / "tables.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=reason):
            read_spec(path)


def test_a_record_that_is_older_than_a_knob_has_its_usual_value(tmp_path):
    write(tmp_path, pann_control=60, fixmatch_tau095=88)
    (file,) = (tmp_path / "paper" / "runs" / "pann_control").glob("*/metrics.json")
    made = json.loads(file.read_text())
    assert made["config"].pop("unknown_classes") == 0
    file.write_text(json.dumps(made))
    found = comparison.read_results(tmp_path, "paper")
    for pair in (("fixmatch_tau095", "pann_control"), ("pann_control", "fixmatch_tau095")):
        assert validity.other_knobs(found, *pair, [1]) == []


def test_a_validation_fold_that_is_named_is_no_other_than_the_same_by_default(tmp_path):
    records.write(tmp_path, "fixmatch_tau075", 70, valid_fold=2)
    records.write(tmp_path, "pann_control", 65)
    gaps = validity.other_knobs(
        comparison.read_results(tmp_path, "paper"), "fixmatch_tau075", "pann_control", [1]
    )
    assert not [words for words in gaps if "valid_fold" in words]
    records.write(tmp_path, "fixmatch_tau075", 70, valid_fold=3)
    gaps = validity.other_knobs(
        comparison.read_results(tmp_path, "paper"), "fixmatch_tau075", "pann_control", [1]
    )
    assert "valid_fold (3 against 2)" in gaps
