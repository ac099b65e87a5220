"""Blocks of docs/findings.md that are made from the committed evidence of a profile."""

import csv
import json
from pathlib import Path
from statistics import fmean

from evidence_claims import line

from esc_suite.results.intervals import fold_interval
from esc_suite.results.names import method_title
from esc_suite.tables.view import level

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


def _csv(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
