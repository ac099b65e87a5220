"""Blocks of docs/findings.md that are made from the committed evidence of a profile."""

import csv
import inspect
import json
from pathlib import Path
from statistics import fmean

from evidence_claims import line
from shown import BEYOND

from esc_suite.results.intervals import fold_interval
from esc_suite.results.names import method_title
from esc_suite.tables.view import level
from esc_utils import steps
from esc_utils.beyond import openmatch
from esc_utils.beyond.thresholds import Threshold

# What of the method's code each way of Tables 6 and 7 has to itself
OWN = {
    "flexmatch": [Threshold.flexmatch], "freematch": [Threshold.freematch, Threshold.fairness],
    "softmatch": [Threshold.softmatch], "openmatch": [openmatch, Threshold.openmatch, steps._openmatch],
}  # fmt: skip
BEYOND_HEAD = (
    "Row", "Lines", "Seconds a step", "Folds", "Accuracy / by recording / AUC", "Unlabelled clips",
    "To the control",
)  # fmt: skip
SCORES = ("accuracy", "accuracy_by_recording", "auc_weighted")


def of_synthesised_audio(quick: Path) -> list[str]:
    """What FixMatch adds to its control in Table 5 of `quick`, from the records."""
    if not quick.is_dir():
        return []
    said, folds = _gains(quick)
    return [
        "In Table 5 of `quick` ([`table5.csv`](../outputs/evidence/quick/table5.csv), drawn in the copy of "
        "[notebook 06](../outputs/evidence/quick/notebooks/06_tables_and_claims.ipynb))",
        f"FixMatch's pretrained row and its control have, over {folds} folds:",
        "",
        *said,
    ]


def of_some_folds(folder: Path) -> list[str]:
    """The rows of Table 5 that have run on several folds, pair by pair, and what FixMatch adds to its
    control."""
    rows = [row["experiment"] for row in _csv(folder / "table5.csv")] if folder.is_dir() else []
    found = {name: _records(folder, name) for name in rows if name}
    pairs = {r["fold"]: r["validation"]["folds"][0] for records in found.values() for r in records}
    if len(pairs) < 2:
        return []
    lines = [["Row", *(f"{fold} -> {valid}" for fold, valid in sorted(pairs.items()))]]
    lines.append(["---"] * len(lines[0]))
    for records in (records for records in found.values() if len(records) > 1):
        last = {
            r["fold"]: " / ".join(f"{r['validation']['last'][key]:.1f}" for key in SCORES) for r in records
        }
        lines.append([method_title(records[0]["config"]), *(last.get(fold, "") for fold in sorted(pairs))])
    said, folds = _gains(folder)
    return [
        *map(line, lines),
        "",
        f"FixMatch's row and its control have, over these {folds} pairs:",
        "",
        *said,
    ]


def _records(folder: Path, experiment: str) -> list[dict]:
    """metrics.json of the runs of an experiment with seed 0, by fold."""
    paths = (folder / "runs" / experiment).glob("*_seed0/metrics.json")
    return sorted((json.loads(path.read_text(encoding="utf-8")) for path in paths), key=lambda r: r["fold"])


def _gains(folder: Path) -> tuple[list[str], int]:
    """FixMatch's row of Table 5 against its control: a line a score, with means and the paired difference (t
    over folds); and the number of folds that both have run on."""
    words = {
        "accuracy": ("validation", "accuracy"), "AUC": ("validation", "auc_weighted"),
        "accuracy on the unlabelled folds": ("transductive", "accuracy"),
    }  # fmt: skip
    control, ours = (
        {r["fold"]: r for r in _records(folder, name)} for name in ("pann_control", "fixmatch_tau075")
    )
    folds, said = sorted(control.keys() & ours.keys()), []
    for what, (part, key) in words.items():
        mine, other = ([side[fold][part]["last"][key] for fold in folds] for side in (ours, control))
        gap = [a - b for a, b in zip(mine, other, strict=True)]
        gain = level(fmean(gap), *fold_interval(gap), sign="+")
        said.append(f"- {what}: {fmean(mine):.1f} against {fmean(other):.1f}, {gain} points.")
    return said, len(folds)


def of_one_fold(folder: Path, fold: int = 1) -> list[str]:
    """Of the rows of Tables 2 to 4 on their one labelled fold: scores, and what the pseudo-labels were."""
    if not folder.is_dir():
        return []
    rows = [row for number in (2, 3, 4) for row in _csv(folder / f"table{number}.csv")]
    lines = [("Row", "Accuracy / by recording / AUC", "Unlabelled clips", "Mask rate",
              "Accepted labels right", "Share of the loss"), ["---"] * 6]  # fmt: skip
    for name in dict.fromkeys(row["experiment"] for row in rows):
        run = folder / "runs" / name / f"fold{fold}_seed0"
        if not run.is_dir():
            continue
        record = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        last, other = record["validation"]["last"], record["transductive"]
        title = method_title(record["config"])
        cells = [title, " / ".join(f"{last[key]:.1f}" for key in SCORES), f"{other['last']['accuracy']:.1f}"]
        if record["unlabelled_share"] is None:
            cells += ["", "", ""]
        else:
            end = _csv(run / "history.csv")[-1]
            right = f"{100 * float(found):.0f}%" if (found := end["pseudo_accuracy"]) else "none accepted"
            cells += [f"{float(end['mask_rate']):.2f}", right, f"{100 * record['unlabelled_share']:.1f}%"]
        lines.append(cells)
    return [*map(line, lines)]


def of_tables_beyond(folder: Path) -> list[str]:
    """Of the rows of Tables 6 and 7 that ran: the length of their own code, the time of a step of the
    fastest run, scoring included, the mean scores over the folds that all rows of their table have, and the
    difference to the control, as the tables have it, with its folds."""
    files = [path for path in (folder / f"table{number}.csv" for number in BEYOND) if path.is_file()]
    lines = [BEYOND_HEAD, ["---"] * len(BEYOND_HEAD)] if files else []
    for path in files:
        rows = [row for row in _csv(path) if row["accuracy"]]
        found = {row["experiment"]: _records(folder, row["experiment"]) for row in rows}
        ran = [{r["fold"] for r in records} for records in found.values()]
        common = set.intersection(*ran) if ran else set()
        for row in rows if common else ():
            records = found[row["experiment"]]
            same = [r for r in records if r["fold"] in common]
            last = " / ".join(f"{fmean(r['validation']['last'][key] for r in same):.1f}" for key in SCORES)
            knobs, pace = records[0]["config"], min(r["seconds"] / r["steps"] for r in records)
            own = OWN.get(knobs.get("open_set"), []) or OWN.get(knobs.get("threshold"), [])
            gap = [row[f"control_{end}"] for end in ("difference", "low", "high")]
            lines.append([
                method_title(knobs), str(sum(map(_length, own)) or ""), f"{pace:.1f}",
                ", ".join(map(str, sorted(common))), last,
                f"{fmean(r['transductive']['last']['accuracy'] for r in same):.1f}",
                f"{level(*map(float, gap), sign='+')} ({row['folds']} folds)" if all(gap) else "",
            ])  # fmt: skip
    return [*map(line, lines)]


def _length(of) -> int:
    return len(inspect.getsource(of).splitlines())


def _csv(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
