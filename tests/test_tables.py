"""Tables and claims from hand-made run records whose differences are known."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import records

from esc_suite.results import comparison, intervals
from esc_suite.results.spec import read_spec
from esc_suite.tables import claims, view, write
from esc_suite.tables import render as tables_render
from esc_suite.tables import rows as tables
from esc_utils import config
from esc_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def spec():
    return read_spec()


def rows_of(spec, outputs, name, profile="paper"):
    rows = tables.build(spec, comparison.read_results(outputs, profile), name, profile)
    return {row["id"]: built for row, built in zip(spec["tables"][name]["rows"], rows, strict=True)}


def verdicts(spec, outputs, profile="paper"):
    return {claim["id"]: claim for claim in claims.decide(spec, comparison.read_results(outputs, profile))}


# ---- params/tables.yaml --------------------------------------------------------------------------
PRINTED = {  # the paper's tables, typed a second time
    "table2": [(39.55, 84.00), (74.55, 95.54), (75.23, 93.28), (73.91, 92.60)],
    "table3": [(75.23, 93.28), (75.44, 91.79), (79.66, 94.94), (78.41, 93.77)],
    "table4": [(71.29, 94.86), (79.66, 94.94), (75.17, 94.54)],
    "table5": [(76.25, None), (82.04, None), (90.07, None), (97.20, None), (97.52, None), (69.83, 94.40),
                (81.68, 97.97),
               (95.49, 99.83), (81.73, None), (79.42, 97.60), (84.07, 98.35)],
}  # fmt: skip


def test_every_printed_number_is_there(spec):
    for name, numbers in PRINTED.items():
        rows = [row for row in spec["tables"][name]["rows"] if "not in the paper" not in row["label"]]
        assert [(row["paper_accuracy"], row.get("paper_auc")) for row in rows] == numbers
    weak, strong = spec["tables"]["table1"]["rows"]
    assert [weak[k] for k in ("freq_width", "freq_stripes", "time_width", "time_stripes")] == [8, 1, 32, 1]
    assert [strong[k] for k in ("freq_width", "freq_stripes", "time_width", "time_stripes")] == [35, 2, 64, 2]


def test_every_row_has_its_experiment_and_every_ledger_line_its_text(spec):
    for name, table in spec["tables"].items():
        for row in table["rows"]:
            if row.get("experiment"):
                found = config.for_run("paper", row["experiment"])
                assert found.pretrained != row["label"].startswith("CNN14"), (name, row["id"])
            if "not in the paper" in row["label"]:
                assert "paper_accuracy" not in row and found.method in ("control", "probe")
            elif row.get("control"):
                assert found.method == "fixmatch"
    assert list(spec["ledger_notes"]) == list(range(1, 30))
    thresholds = {"tau095": 0.95, "tau085": 0.85, "tau075": 0.75, "accum": 0.75}
    for row in spec["tables"]["table3"]["rows"]:
        if row["id"] in thresholds:
            assert config.for_run("paper", row["experiment"]).tau == thresholds[row["id"]]


def test_the_sizes_that_the_text_states_follow_from_the_printed_rows(spec, tmp_path):
    found = verdicts(spec, tmp_path)
    for claim in found.values():
        for rule in claim["rules"]:
            if rule["stated"] is not None and rule["stated"] % 1:
                assert rule["paper"] == pytest.approx(rule["stated"])
    assert {c[0] for c in found} == set("abcdefgh")
    assert found["b"]["rules"][0]["paper"] == 0.68 and found["g_fixmatch"]["paper"] == 2.39


def test_a_broken_table_file_is_one_line(tmp_path):
    for text, reason in (
        ("tables: {table2: {rows: [{id: a, baseline: b}]}}\nclaims: []\nledger_notes: {}", "no baseline 'b'"),
        ("tables: {}\nclaims: [{id: a, rules: [{left: x.y, right: x.y}]}]", "in no table"),
        ("tables: {table2: {rows: [{id: a, footnotes: [99]}]}}\nclaims: []\nledger_notes: {}", "footnote 99"),
        ("[", "cannot be used"),
    ):
        path = tmp_path / "tables.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=reason):
            read_spec(path)


# ---- tables --------------------------------------------------------------------------------------
def test_a_row_shows_its_run_and_the_difference_to_its_baseline(spec, tmp_path):
    records.write(tmp_path, "cnn14_table2", 40)
    records.write(tmp_path, "pann_table2", 75)
    rows = rows_of(spec, tmp_path, "table2")
    pann, nothing = rows["pann"], rows["fixmatch"]
    assert pann["row"] == "PANN" and pann["folds"] == "1 of 1" and pann["checkpoint"] == "last epoch"
    assert (pann["accuracy"], pann["clips"], pann["recordings"]) == (75, 480, 60)
    sums = comparison.read_results(tmp_path, "paper").fold_sums("pann_table2", 1)
    expected = intervals.interval([sums], "accuracy")
    assert (pann["accuracy_low"], pann["accuracy_high"]) == (expected["low"], expected["high"])
    assert pann["accuracy_difference"] == pytest.approx(35) and pann["accuracy_difference_low"] > 20
    assert pann["mark"] == "supported" and pann["paper_accuracy_difference"] == 35
    # A row without runs stays, with empty cells.
    assert nothing["accuracy"] is None and nothing["folds"] == "0 of 1" and nothing["note"] == "no run yet"


def test_three_missing_folds_are_said(spec, tmp_path):
    for fold in range(1, 11):
        records.write(tmp_path, "cnn14_10", 60 + fold, fold=fold)
        if fold not in (3, 8, 9):
            records.write(tmp_path, "pann_10", 80 + fold, fold=fold)
    rows = rows_of(spec, tmp_path, "table5")
    assert rows["cnn14_10"]["folds"] == "10 of 10"
    assert rows["pann_10"]["folds"] == "7 of 10" and "folds missing: 3 8 9" in rows["pann_10"]["note"]
    # Records are made of 60 recordings, so accuracies are multiples of 1/60; each fold counts the same.
    accuracies = [100 * round((80 + f) * 0.6) / 60 for f in (1, 2, 4, 5, 6, 7, 10)]
    assert rows["pann_10"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert (rows["pann_10"]["accuracy_low"], rows["pann_10"]["accuracy_high"]) == pytest.approx(
        intervals.fold_interval(accuracies)
    )
    # The difference is over the seven folds that both have.
    low = [100 * round((60 + f) * 0.6) / 60 for f in (1, 2, 4, 5, 6, 7, 10)]
    assert rows["pann_10"]["accuracy_difference"] == pytest.approx(np.mean(np.subtract(accuracies, low)))
    for path in tables_render.write(tmp_path, "paper", ["table5"]):
        if path.suffix in (".md", ".html"):
            assert "7 of 10 folds" in path.read_text() and "folds missing: 3 8 9" in path.read_text()
    claim = verdicts(spec, tmp_path)["g_pretraining"]
    assert "7 of 10 folds" in claim["evidence"] and "pann_10 has no run for fold 3, 8, 9" in claim["evidence"]


def test_seed_spread_stands_apart_from_the_interval(spec, tmp_path):
    clips = [records.outcome(a, seed=1) for a in (70, 75, 80)]
    for seed, own in enumerate(clips):
        records.write(tmp_path, "pann_table2", 0, seed=seed, clips=own)
    row = rows_of(spec, tmp_path, "table2")["pann"]
    assert row["seeds"] == "3" and row["accuracy"] == pytest.approx(75)
    assert row["accuracy_seed_deviation"] == pytest.approx(5)


def test_stand_ins_never_go_under_the_name_of_pann(spec, tmp_path):
    records.write(tmp_path, "pann_table2", 70, profile="lite", backbone=records.MN04)
    records.write(tmp_path, "fixmatch_tau095", 75, profile="lite", backbone=records.MN04)
    records.write(tmp_path, "cnn14_table2", 40, profile="lite")
    rows = rows_of(spec, tmp_path, "table2", "lite")
    assert rows["pann"]["row"] == "EfficientAT mn04 (AudioSet) [in place of PANN]"
    assert rows["fixmatch"]["row"] == "+ FixMatch [EfficientAT mn04 (AudioSet) in place of PANN]"
    assert rows["fixmatch"]["baseline"] == rows["pann"]["row"]
    assert rows["cnn14"]["row"] == "CNN14 [width 8, not 64]"
    assert "frequency widths are 16 and 70 of 128 bands" in rows["pann"]["note"]
    assert "bands" not in rows["cnn14"]["note"], "Table 1's own"


@pytest.mark.parametrize("rate", [0.001, 0.2])
def test_a_knob_of_one_row_alone_is_noted_if_the_run_had_it(spec, tmp_path, rate, monkeypatch):
    monkeypatch.setattr(tables, "exceptions", lambda profile, experiment: {"momentum": 0.001})
    records.write(tmp_path, "fixmatch_tau075_sgd", 40, profile="lite", backbone=records.MN04, momentum=rate)
    note = rows_of(spec, tmp_path, "table4", "lite")["sgd"]["note"]
    assert ("momentum 0.001 in this row alone" in note) == (rate == 0.001)


def test_synthesised_numbers_carry_the_label_in_every_file(tmp_path):
    records.write(tmp_path, "cnn14_table2", 40, profile="quick", synthesised=True)
    for path in tables_render.write(tmp_path, "quick"):
        text = path.read_text()
        if path.stem in ("table1", "table2", "claims"):
            assert "synthesised audio" in text, path
    with (tmp_path / "quick/tables/table2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["data"] for row in rows] == ["synthesised audio", *[""] * 5]
    asked = ["row", "experiment", "paper_accuracy", "paper_auc", "accuracy", "accuracy_low", "accuracy_high"]
    assert list(rows[0])[:11] == [*asked, "auc", "auc_low", "auc_high", "folds"]


def columns_of(html: str) -> dict[str, list[str]]:
    """The table of an HTML page by column; rows that only head a group left out."""
    html = html.replace("\u00a0", " ")
    header = re.findall(r'<th scope="col".*?>(.*?)</th>', html)
    rows = [
        [
            re.sub(r"<sup>.*?</sup>|<[^>]+>", "", cell)
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in re.findall(r'<tr role="row"><th scope="row".*?</tr>', html, re.S)
    ]
    return {name: [row[at] for row in rows] for at, name in enumerate(header)}


SIX = ["Row", "Paper", "Ours", "To the baseline", "To the control", "Mark"]


def texts_of(paths) -> dict[str, str]:
    return {path.name: path.read_text() for path in paths}


def test_six_columns_and_what_all_rows_share_is_said_once(spec, tmp_path):
    for accuracy, name in enumerate(
        filter(None, (row.get("experiment") for row in spec["tables"]["table2"]["rows"]))
    ):
        if "probe" not in name:
            records.write(tmp_path, name, 40 + 7 * accuracy)
    texts = texts_of(tables_render.write(tmp_path, "paper"))
    for number in range(2, 6):
        assert list(columns_of(texts[f"table{number}.html"])) == SIX
        assert f"| {' | '.join(SIX)} |" in texts[f"table{number}.md"]
    shown = columns_of(texts["table2.html"])
    assert shown["Row"][2] == "+ FixMatch" and shown["Row"][4] == "PANN, control"
    assert shown["Paper"][2] == "75.23AUC 93.28" and shown["Paper"][4] == "—"
    assert re.fullmatch(r"53\.3 \[[\d., ]+\]AUC [\d.]+ \[[\d., ]+\]", shown["Ours"][2])
    assert shown["To the baseline"][2].startswith("PANN: +") and shown["To the baseline"][2].endswith(
        "printed +0.68"
    )
    assert shown["To the control"][2].startswith("-") and shown["To the control"][1] == "—"
    assert "control: " in shown["Mark"][2]
    same = "Each row that was run has 1 of 1 fold, 480 clips of 60 recordings, 1 seed, 2170 steps."
    assert texts["table2.html"].count(same) == texts["table2.md"].count(same) == 1
    assert (
        len(columns_of(texts["table1.html"])) == 6
        and "its setting from 5 finished runs" in texts["table1.html"]
    )
    # Where rows differ in one of these, it is a note of theirs.
    records.write(tmp_path, "pann_probe", 50)
    records.write(tmp_path, "pann_control", 60, seed=1)
    texts = texts_of(tables_render.write(tmp_path, "paper"))
    assert list(columns_of(texts["table2.html"])) == SIX
    told = r"2 seeds \(accuracy deviates by [\d.]+ between them\), 2170 steps"
    assert "\n- [a] 1 seed, 2170 steps\n" in texts["table2.md"] and re.search(
        rf"\n- \[\w\] {told}\n", texts["table2.md"]
    )
    probe = r"\| PANN, frozen probe <sup>\[25, (\w)\]</sup>(.*\n)+- \[\1\] 1 seed, 0 steps\n"
    assert re.search(probe, texts["table2.md"])
    assert "Each row that was run has 1 of 1 fold, 480 clips of 60 recordings. " in texts["table2.md"]
    # The CSV has every column all the same.
    assert texts["table2.csv"].splitlines()[0].split(",") == list(tables_render.COLUMNS)
    assert {"folds", "clips", "recordings", "seeds", "steps"} < set(tables_render.COLUMNS)


def test_a_table_read_back_from_its_csv_is_the_same_table(spec, tmp_path):
    for name, accuracy in (
        ("cnn14_table2", 40),
        ("pann_table2", 75),
        ("fixmatch_tau095", 80),
        ("pann_control", 76),
    ):
        records.write(
            tmp_path, name, accuracy, profile="lite", backbone=None if "cnn14" in name else records.MN04
        )
    texts = texts_of(tables_render.write(tmp_path, "lite"))
    for name in ("table2", "table5"):
        rows = [view.from_csv(row) for row in csv.DictReader(io.StringIO(texts[f"{name}.csv"]))]
        assert tables_render.as_markdown(view.readable(spec, name, rows, "lite")) == texts[f"{name}.md"]


def test_a_dagger_stands_for_another_network_and_is_explained_once_a_table(tmp_path):
    for name in ("pann_table2", "fixmatch_tau095", "cnn14_table2"):
        records.write(tmp_path, name, 70, profile="lite", backbone=None if "cnn14" in name else records.MN04)
    text = texts_of(tables_render.write(tmp_path, "lite", ["table2"]))["table2.md"]
    assert (
        text.count("† EfficientAT mn04 (AudioSet) in place of PANN.")
        == text.count("‡ CNN14 of width 8, not 64.")
        == 1
    )
    rows = re.findall(r"^\| (.*?)(?: <sup>.*?)? \|", text, re.M)[2:]
    assert rows[:3] == ["CNN14 ‡", "mn04 †", "+ FixMatch †"]


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("PANN 10%", "PANN 10%"), ("EfficientAT mn04 (AudioSet) 10% [in place of PANN]", "mn04 10% †"),
        ("-- w/o mixup [narrow CNN14 in place of "
         "PANN]", "\N{EN DASH} w/o mixup †"), ("CNN14 [width 8, not 64]", "CNN14 ‡"),
        ("EfficientAT mn04 (AudioSet), control of FixMatch (not in the paper) [in place of "
         "PANN]", "mn04, control †"),
        ("CNN14, control of FixMatch (not in the paper) [width 8, not 64]", "CNN14, control ‡"),
        ("tau = 0.95 (run as 0.85)", "tau = 0.95 (run as 0.85)"), ("ResNet 10% (Cances et al. 2021)",) * 2,
    ],
)  # fmt: skip
def test_short_names(long, short):
    assert comparison.short_name(long) == short


def test_notes_stand_once_a_page(spec, tmp_path):
    for name in ("pann_table2", "fixmatch_tau095", "cnn14_table2"):
        records.write(tmp_path, name, 70, profile="lite", backbone=None if "cnn14" in name else records.MN04)
    own = {name: [*rows_of(spec, tmp_path, name, "lite").values()] for name in ("table2", "table4")}
    page = view.lettered([view.readable(spec, name, rows, "lite") for name, rows in own.items()])
    text = tables_render.markdown_notes(page)
    marks = re.findall(r"^- \[(\w+)\] ", text, re.M)
    assert len(marks) == len(set(marks)) and text.count("How to read the tables") == 1
    for note in view.notes_of(page).values():
        assert text.count(f"] {note}\n") + text.endswith(f"] {note}") == 1
    # Both tables name what the profile changes with one letter; a remark that all rows of a table have is one
    # of all rows.
    letter = next(letter for letter, words in page[0]["letters"].items() if words.startswith("beyond scale"))
    assert letter in page[0]["all_marks"] and letter in page[1]["all_marks"]
    none = next(letter for letter, words in page[1]["letters"].items() if words == "no run yet")
    assert none in page[1]["all_marks"] and not any(none in marks for marks in page[1]["row_marks"])
    assert "How to read" not in tables_render.as_markdown(page[0], notes=False)
    html = tables_render.as_html(page[0])
    for mark in (mark for marks in page[0]["row_marks"] for mark in marks):
        assert f'<a href="#note-{mark}">' in html and html.count(f'id="note-{mark}"') == 1


def test_letters_and_lines_do_not_run_out():
    texts = [f"remark {at}" for at in range(60)]
    bare = {"remarks": [[*texts, "all"], ["all"]], "common": [], "marks": [[1], []], "general": [2]}
    made = view.lettered([bare])[0]
    assert list(made["letters"])[24:28] == ["y", "z", "aa", "bb"] and len(made["letters"]) == 61
    assert made["row_marks"] == [[1, *list(made["letters"])[:60]], []] and made["all_marks"] == [
        2,
        list(made["letters"])[60],
    ]
    told = "X [y z]: -1.00 [-5.42, 12.09], p = 0.015; printed +0.68; ? undecided"
    assert tables_render.unbroken(told).split(" ") == [
        "X", "[y", "z]:", "-1.00", "[-5.42,\u00a012.09],", "p\u00a0=\u00a00.015;", "printed\u00a0+0.68;",
        "?\u00a0undecided"
    ]  # fmt: skip


def test_table_1_is_computed(spec, tmp_path):
    records.write(tmp_path, "cnn14_table2", 40)
    rows = rows_of(spec, tmp_path, "table1")
    assert rows["weak"]["masked_expected"] == pytest.approx(8.4, abs=0.1)
    assert rows["strong"]["masked_measured"] == pytest.approx(rows["strong"]["masked_expected"], abs=1)
    assert rows["strong"]["parameters"] == "1 finished runs"
    shown = view.readable(spec, "table1", list(rows.values()), "paper")
    assert not shown["letters"]  # as printed: nothing to remark
    for text in (tables_render.as_markdown(shown), re.sub("<[^>]+>", "", tables_render.as_html(shown))):
        assert "All rows: notes 23.\n" in text
    records.write(tmp_path, "pann_table2", 40, weak_freq_width=16)
    built = tables.build(spec, comparison.read_results(tmp_path, "paper"), "table1", "paper")
    assert [(row["row"], row["freq_width"]) for row in built] == [("Weak", 8), ("Weak", 16), ("Strong", 35)]


# ---- claims --------------------------------------------------------------------------------------
def test_verdicts_on_known_differences(spec, tmp_path):
    for experiment, accuracy in (
        ("cnn14_table2", 40), ("pann_table2", 80), ("fixmatch_tau095", 82), ("fixmatch_tau095_nomixup", 98),
        ("fixmatch_tau085", 82), ("fixmatch_tau075", 60), ("fixmatch_tau075_sgd", 58),
    ):  # fmt: skip
        records.write(tmp_path, experiment, accuracy)
    found = verdicts(spec, tmp_path)
    assert found["a"]["verdict"] == "supported" and found["a"]["difference"] == pytest.approx(40)
    assert found["b"]["verdict"] == "undecided"  # one recording of sixty
    assert found["c"]["verdict"] == "contradicted"  # without mixup it is better by eleven recordings
    assert found["d"]["verdict"] == "contradicted"
    assert (
        found["e"]["verdict"] == "undecided"
        and "missing: fixmatch_tau075_accum has no run" in found["e"]["evidence"]
    )
    # 2 points above SGD is neither clearly more nor less than 5
    assert found["f"]["rules"][1]["verdict"] == "undecided"
    assert "missing" in found["g_fixmatch"]["evidence"]
    assert "60 recordings" in found["a"]["evidence"] and "80% power" in found["a"]["evidence"]


def test_unequal_steps_decide_nothing_at_equal_steps(spec, tmp_path):
    records.write(tmp_path, "cnn14_table2", 40, steps=100)
    records.write(tmp_path, "pann_table2", 90)
    claim = verdicts(spec, tmp_path)["a"]
    assert claim["verdict"] == "blocked" and "differ in steps (2170 against 100)" in claim["evidence"]
    assert claim["on_this_network"] == "blocked: the rows differ in steps (2170 against 100)"


def test_a_difference_that_another_seed_undoes_decides_nothing(spec, tmp_path):
    for seed, accuracy in enumerate((60, 95)):
        records.write(tmp_path, "pann_table2", 50, seed=seed)
        records.write(tmp_path, "fixmatch_tau095", accuracy, seed=seed)
    rule = verdicts(spec, tmp_path)["b"]["rules"][0]
    assert rule["p_holm"] < 0.05 and rule["verdict"] == "undecided"
    assert rule["seed_low"] < 0 < rule["seed_high"]


def test_ten_folds_against_printed_numbers_and_each_other(spec, tmp_path):
    for fold in range(1, 11):
        wobble = 3 * (-1) ** fold
        records.write(tmp_path, "pann_100", 90 + wobble, fold=fold)
        records.write(tmp_path, "pann_10", 75 + wobble / 3, fold=fold)
        records.write(tmp_path, "fixmatch_tau075", 76 - wobble, fold=fold)
    found = verdicts(spec, tmp_path)
    full = found["g_full"]
    assert full["verdict"] == "supported" and "unpaired" in full["evidence"]
    assert full["difference"] == pytest.approx(90 - 82.04, abs=0.1)
    assert "corrected" in full["evidence"]  # nine training folds overlap
    assert found["g_resnet"]["verdict"] == "contradicted" and found["h"]["verdict"] == "contradicted"
    assert (
        found["g_fixmatch"]["verdict"] == "undecided" and "folds to show" in found["g_fixmatch"]["evidence"]
    )
    row = rows_of(spec, tmp_path, "table5")["pann_100"]
    assert "corrected" in row["test"] and row["effect_size"] is not None


def test_printed_numbers_are_not_compared_with_synthesised_audio_or_a_stand_in(spec, tmp_path):
    for profile, backbone, synthesised in (("quick", None, True), ("lite", records.MN04, False)):
        for fold in range(1, 11):
            records.write(
                tmp_path,
                "pann_100",
                95 + fold % 2,
                fold=fold,
                profile=profile,
                backbone=backbone,
                synthesised=synthesised,
            )
        claim = verdicts(spec, tmp_path, profile)["g_full"]
        assert claim["verdict"] == "blocked" and "cannot be compared" in claim["evidence"]


def test_unsteady_validation(spec, tmp_path):
    rng = np.random.default_rng(0)
    records.write(tmp_path, "fixmatch_tau075", 80, history=list(80 + 0.5 * rng.normal(size=60)))
    records.write(tmp_path, "fixmatch_tau075_ranger", 75, history=list(75 + 6 * rng.normal(size=60)))
    rule = verdicts(spec, tmp_path)["f"]["rules"][2]
    assert rule["verdict"] == "supported" and rule["deviations"][0] > rule["deviations"][1]
    records.write(tmp_path, "fixmatch_tau075_ranger", 75, history=[75.0, 76.0])
    assert verdicts(spec, tmp_path)["f"]["rules"][2]["verdict"] == "undecided"


# ---- command line --------------------------------------------------------------------------------
def test_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        write.main(["--outputs", str(tmp_path), "--profile", "paper"])
    error = capsys.readouterr().err
    assert error.startswith("error: no finished run under") and error.count("\n") == 1
    assert write.main(["--outputs", str(tmp_path), "--profile", "paper", "--tables", "1"]) == 0
    assert "params/base.yaml" in (tmp_path / "paper/tables/table1.md").read_text()  # no run is needed for it
    capsys.readouterr()
    records.write(tmp_path, "cnn14_table2", 40)
    for words in (("nonsense",), ("paper", "--tables", "9")):
        with pytest.raises(SystemExit, match="1"):
            write.main(["--outputs", str(tmp_path), "--profile", *words])
    capsys.readouterr()
    assert write.main(["--outputs", str(tmp_path), "--profile", "paper", "--tables", "2"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.name for path in paths] == ["table2.csv", "table2.md", "table2.html"]
    assert write.claims(["--outputs", str(tmp_path), "--profile", "paper"]) == 0
    found = json.loads(Path(capsys.readouterr().out.strip()).read_text())
    assert {claim["verdict"] for claim in found} == {"undecided"}
    first = {path: path.read_bytes() for path in paths}
    assert write.main(["--outputs", str(tmp_path), "--profile", "paper", "--tables", "2"]) == 0
    # The same runs give the same bytes.
    assert first == {path: path.read_bytes() for path in paths}
    html = paths[2].read_text()
    assert not re.search(r"https?://", html) and "<table " in html


def test_a_renamed_run_folder_is_refused(tmp_path):
    run = records.write(tmp_path, "cnn14_table2", 40)
    run.folder.rename(run.folder.with_name("fold2_seed0"))
    with pytest.raises(UserError, match="do not rename"):
        comparison.read_results(tmp_path, "paper")
