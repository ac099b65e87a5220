"""The tables of docs/findings.md that come from outputs/evidence/pairs/.

python tools/pairs_page.py     writes them anew
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from esc_suite.results import intervals  # noqa: E402

EVIDENCE = ROOT / "outputs" / "evidence" / "pairs"
PAGES = [ROOT / "docs" / "findings.md"]
SCORES = {"accuracy": "Accuracy", "accuracy_by_recording": "by recording", "auc": "AUC"}
ROWS = {
    "pann_probe": "mn04, frozen probe",
    "pann_table2": "mn04, supervised, strong view",
    "pann_control": "mn04, control of FixMatch (weak view)",
    "fixmatch_tau075": "mn04 + FixMatch, tau = .75",
    "fixmatch_tau095": "mn04 + FixMatch, tau = .95",
    "pann_probe_100": "mn04, frozen probe, all other folds labelled",
    "pann_100": "mn04, supervised (strong view), all other folds labelled",
    "cnn14_table2": "CNN14 of width 8, supervised, strong view",
    "cnn14_control": "CNN14 of width 8, control (weak view)",
    "cnn14_fixmatch": "CNN14 of width 8 + FixMatch, tau = .75",
}
DIFFERENCES = (
    ("fixmatch_tau075", "pann_control"), ("fixmatch_tau095", "pann_control"), ("pann_control", "pann_probe"),
    ("fixmatch_tau075", "pann_probe"), ("pann_control", "pann_table2"), ("pann_100", "pann_table2"),
    ("pann_100", "pann_probe_100"), ("cnn14_fixmatch", "cnn14_control"), ("cnn14_control", "cnn14_table2"),
)  # fmt: skip


def scores(table: pd.DataFrame) -> str:
    """Rows of `lite` as it is, pair by pair and as a mean: accuracy, by recording, AUC."""
    own = table[table["variant"] == "as-is"]
    pairs = sorted(
        {(t, v) for t, v in zip(own["train"], own["validate"], strict=True)}, key=lambda p: (p[0] != 2, p)
    )
    lines = ["| Row | " + " | ".join(f"{t} -> {v}" for t, v in pairs) + " | mean of the pairs |"]
    lines.append("|---" * (len(pairs) + 2) + "|")
    for name in ROWS:
        mine = own[own["experiment"] == name].set_index(["train", "validate"])
        if len(mine):
            cells = [_cell(mine.loc[pair]) if pair in mine.index else "not run" for pair in pairs]
            mean = _cell(mine[list(SCORES)].mean()) if len(mine) == len(pairs) else "--"
            lines.append(f"| {ROWS[name]} | " + " | ".join(cells) + f" | {mean} |")
    return "\n".join(lines)


def heads(table: pd.DataFrame) -> str:
    """The control with a last layer that starts at zero, and at random, pair by pair."""
    own = table[table["experiment"] == "pann_control"]
    words = {"as-is": "zero", "head_start=random": "random"}
    lines = [
        "| Last layer starts | pair | accuracy / by recording / AUC | best accuracy of the run |",
        "|---" * 4 + "|",
    ]
    for row in own[own["variant"].isin(words)].itertuples():
        scores = f"{row.accuracy:.1f} / {row.accuracy_by_recording:.1f} / {row.auc:.1f}"
        lines.append(
            f"| {words[row.variant]} | {row.train} -> {row.validate} | {scores} | {row.best_accuracy:.1f} |"
        )
    return "\n".join(lines)


def _cell(row) -> str:
    return " / ".join(f"{row[key]:.1f}" for key in SCORES)


def differences(table: pd.DataFrame) -> str:
    """Paired differences of rows over the pairs that both have, with a t interval where there are several."""
    own = table[table["variant"] == "as-is"].set_index(["experiment", "train", "validate"])
    lines = ["| Difference, points | pairs | " + " | ".join(SCORES.values()) + " |", "|---" * 5 + "|"]
    for left, right in DIFFERENCES:
        both = [own.loc[name] for name in (left, right) if name in own.index.get_level_values(0)]
        if len(both) < 2:
            continue
        shared = both[0].index.intersection(both[1].index)
        cells = [_difference(both[0].loc[shared, key] - both[1].loc[shared, key]) for key in SCORES]
        lines.append(f"| {ROWS[left]} minus {ROWS[right]} | {len(shared)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(values) -> str:
    low, high = intervals.fold_interval(values)
    return f"{np.mean(values):+.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def pseudo(table: pd.DataFrame) -> str:
    """What the last epoch's pseudo-labels were, and how much of the loss they made over the run."""
    own = table[(table["variant"] == "as-is") & table["unlabelled_share"].notna()]
    lines = ["| Row | pair | mask rate | accepted labels right | share of the loss |", "|---" * 5 + "|"]
    for name in (name for name in ROWS if name in set(own["experiment"])):
        for row in own[own["experiment"] == name].itertuples():
            right = "none accepted" if pd.isna(row.pseudo_accuracy) else f"{row.pseudo_accuracy:.0%}"
            shares = f"{row.mask_rate:.3f} | {right} | {row.unlabelled_share:.1%}"
            lines.append(f"| {ROWS[name]} | {row.train} -> {row.validate} | {shares} |")
    return "\n".join(lines)


def masks(table: pd.DataFrame) -> str:
    """Mean over pairs of what a mask costs the probe, by what fills it."""
    means = table.groupby(["view", "fill"])[["accuracy", "auc"]].mean()
    lines = ["| View of the validated clips | filled with | Accuracy | AUC |", "|---|---|---|---|"]
    lines += [
        f"| {view} | {fill} | {row.accuracy:.1f} | {row.auc:.1f} |" for (view, fill), row in means.iterrows()
    ]
    return "\n".join(lines)


def self_training(table: pd.DataFrame) -> str:
    """The probe and what self-training adds, by labelled recordings a class; standard errors over pairs and
    draws."""
    keys = ["train", "validate", "recordings_a_class", "draw"]
    start = table[table["tau"].isna()].set_index(keys)
    header = (
        "| Recordings a class | clips | Probe | + self-training, tau = .75 | tau = .9 | labels right, "
        ".75 / .9 |"
    )
    lines = [header, "|---" * 6 + "|"]
    for count, own in table.groupby("recordings_a_class", sort=False):
        first = start.loc[start.index.get_level_values(2) == count]
        cells, right = [], []
        for tau in (0.75, 0.9):
            taught = own[own["tau"] == tau].set_index(keys)
            gain = (taught["accuracy"] - first["accuracy"]).dropna()
            cells.append(f"{gain.mean():+.1f} (standard error {gain.std(ddof=1) / np.sqrt(len(gain)):.1f})")
            right.append(f"{taught['right'].mean():.0%}")
        mean = " / ".join(f"{first[key].mean():.1f}" for key in ("accuracy", "by_recording", "auc"))
        lines.append(
            f"| {count} | {first['labelled_clips'].mean():.0f} | {mean} | "
            + " | ".join(cells)
            + f" | {' / '.join(right)} |"
        )
    return "\n".join(lines)


def positive_control(table: pd.DataFrame) -> str:
    """What FixMatch adds to its control on other draws of the synthesised dataset, by setting; t over ten
    folds."""
    setting = ["width", "colour", "clips_per_class", "labels_per_class", "mu", "lambda_u"]
    scored = {
        "accuracy": "Accuracy",
        "transductive_accuracy": "on the unlabelled folds",
        "auc_weighted": "AUC",
    }
    head = ["Width", "Colour, dB", "Clips", "Labels", "mu", "lambda_u", "Draw", "Control", *scored.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (*knobs, draw), own in table.groupby([*setting, "synthetic_seed"]):
        rows = {name: each.set_index("fold") for name, each in own.groupby("experiment")}
        control = rows["pann_control"]
        gains = [_difference(rows["fixmatch_tau075"][key] - control[key]) for key in scored]
        cells = [f"{value:g}" for value in (*knobs, draw)] + [f"{control['accuracy'].mean():.1f}", *gains]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


BLOCKS = {
    "pairs": (scores, "pairs.csv"),
    "differences": (differences, "pairs.csv"),
    "pseudo": (pseudo, "pairs.csv"),
    "heads": (heads, "pairs.csv"),
    "masks": (masks, "masks.csv"),
    "self_training": (self_training, "self_training.csv"),
    "positive_control": (positive_control, "positive_control.csv"),
}


def written(text: str) -> str:
    """A page with every block between <!-- NAME --> and <!-- /NAME --> made anew from the committed files."""
    for name, (make, file) in BLOCKS.items():
        if f"<!-- {name} -->" not in text:
            continue
        before, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}<!-- {name} -->\n{make(pd.read_csv(EVIDENCE / file))}\n<!-- /{name} -->{after}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
