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
from esc_utils import openmatch, steps
from esc_utils.thresholds import Threshold

# What of the method's code each way of Tables 6 and 7 has to itself
OWN = {
    "flexmatch": [Threshold.flexmatch], "freematch": [Threshold.freematch, Threshold.fairness],
    "softmatch": [Threshold.softmatch], "openmatch": [openmatch, Threshold.openmatch, steps._openmatch],
}  # fmt: skip
BEYOND_HEAD = (
    "Row", "Lines", "Seconds a step", "Folds", "Accuracy", "AUC", "To the control", "Unlabelled clips"
)  # fmt: skip
SCORED = ("accuracy", "auc")
SCORES = ("accuracy", "accuracy_by_recording", "auc_weighted")


def of_synthesised_audio(quick: Path) -> list[str]:
    """What FixMatch adds to its control in Table 5 of `quick`, from the records: means, paired differences, t
    over folds."""
    if not quick.is_dir():
        return []
    words = {
        "accuracy": ("validation", "accuracy"), "AUC": ("validation", "auc_weighted"),
        "accuracy on the unlabelled folds": ("transductive", "accuracy"),
    }  # fmt: skip
    folders = sorted((quick / "runs" / "pann_control").iterdir())
    control, ours = (
        [
            json.loads((folder.parent.parent / name / folder.name / "metrics.json").read_text())
            for folder in folders
        ]
        for name in ("pann_control", "fixmatch_tau075")
    )
    said = []
    for what, (part, key) in words.items():
        mine, other = ([record[part]["last"][key] for record in records] for records in (ours, control))
        gap = [a - b for a, b in zip(mine, other, strict=True)]
        gain = level(fmean(gap), *fold_interval(gap), sign="+")
        said.append(f"- {what}: {fmean(mine):.1f} against {fmean(other):.1f}, {gain} points.")
    return [
        "In Table 5 of `quick` ([`table5.csv`](../outputs/evidence/quick/table5.csv), drawn in the copy of "
        "[notebook 06](../outputs/evidence/quick/notebooks/06_tables_and_claims.ipynb))",
        f"FixMatch's pretrained row and its control have, over {len(folders)} folds:",
        "",
        *said,
    ]


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
    """Of the rows of Tables 6 and 7: the length of their own code, the time of a step, scoring included, the
    scores over the folds that have run, and the difference to the control, as the tables have it."""
    files = [path for path in (folder / f"table{number}.csv" for number in BEYOND) if path.is_file()]
    lines = [BEYOND_HEAD, ["---"] * len(BEYOND_HEAD)] if files else []
    for row in (row for path in files for row in _csv(path)):
        paths = sorted((folder / "runs" / row["experiment"]).glob("*/metrics.json"))
        records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if not records or not row["accuracy"]:
            continue
        knobs, pace = records[0]["config"], fmean(r["seconds"] / r["steps"] for r in records)
        own = OWN.get(knobs.get("open_set"), []) or OWN.get(knobs.get("threshold"), [])
        gap = [row[f"control_{end}"] for end in ("difference", "low", "high")]
        lines.append([
            method_title(knobs), str(sum(map(_length, own)) or ""), f"{pace:.1f}", row["folds"],
            *(level(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))) for name in SCORED),
            level(*map(float, gap), sign="+") if all(gap) else "",
            f"{fmean(r['transductive']['last']['accuracy'] for r in records):.1f}",
        ])  # fmt: skip
    return [*map(line, lines)]


def _length(of) -> int:
    return len(inspect.getsource(of).splitlines())


def _csv(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
