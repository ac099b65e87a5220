"""What keeps a comparison of two rows from meaning what it says: unequal budgets, a loss too small to matter,
a network that training made worse than its frozen probe. Reasons in words; nothing is decided here."""

import numpy as np

from esc_suite.results import comparison, intervals
from esc_utils import config, paths

BUDGET = ("steps", "labelled batch", "passes over the labelled clips")
# Knobs that a FixMatch row and its control may have otherwise: names, what only unlabelled clips or
# supervised rows read.
IDLE = {
    "experiment", "method", "tau", "lambda_u", "mu", "pseudo_mode", "forward", "batch_size",
    "threshold", "threshold_ema", "lambda_f", "open_set", "open_warmup", "lambda_oem", "lambda_socr",
    "evaluate_every", *config.PLACES
}  # fmt: skip


def budget_gaps(results: comparison.Results, left: str, right: str, folds: list[int]) -> dict[str, str]:
    """Which of BUDGET two experiments do not share on these folds: name -> "steps (400 against 300)".

    The batch counts labelled clips a step after blending; a pass is one through the labelled clips as loaded,
    so that mixup, which loads two for each, makes twice as many. A frozen probe takes no steps and has no
    batch."""
    sides = [_budget(results.runs(name, folds)) for name in (left, right)]
    pairs = zip(BUDGET, *sides, strict=True)
    return {name: f"{name} ({_words(a)} against {_words(b)})" for name, a, b in pairs if a != b}


def _budget(found) -> tuple[set, set, set]:
    def batch(run):
        made = run.metrics["config"]
        supervised = made["method"] == "supervised"
        return 0 if made["method"] == "probe" else made["batch_size" if supervised else "fixmatch_batch_size"]

    return (
        {run.metrics["steps"] for run in found},
        {batch(run) for run in found},
        {run.metrics["labelled_passes"] for run in found},
    )


def _words(values: set) -> str:
    return " and ".join(
        f"{value:,.4g}" if isinstance(value, float) else str(value) for value in sorted(values)
    )


def other_knobs(results: comparison.Results, left: str, right: str, folds: list[int]) -> list[str]:
    """Knobs that a FixMatch row and its control do not share, outside of the unlabelled branch: "mixup (True
    against False)"."""

    usual = config.read_parameters(paths.project_root() / "params" / "base.yaml")

    def knobs(run):
        # A record that is older than a knob has its usual value; a fold that is named, and the same fold by
        # default (0), are one.
        return usual | run.metrics["config"] | {"valid_fold": run.metrics["validation"]["folds"][0]}

    gaps = {}
    for a, b in zip(
        map(knobs, results.runs(left, folds)), map(knobs, results.runs(right, folds)), strict=False
    ):
        gaps |= {
            key: f"{key} ({a[key]} against {b.get(key)})"
            for key in a
            if key not in IDLE and a[key] != b.get(key)
        }
    return list(gaps.values())


def unlabelled_share(results: comparison.Results, experiment: str, folds: list[int]) -> float | None:
    """Percent of the loss that lambda_u L_u was over a run, mean over these runs; None where it is no
    FixMatch row."""
    shares = [run.metrics["unlabelled_share"] for run in results.runs(experiment, folds)]
    return 100 * float(np.mean(shares)) if shares and None not in shares else None


def small_share(results: comparison.Results, names, folds: list[int], least: float) -> str:
    """Why thresholds cannot be compared: lambda_u L_u stays under `least` percent of the loss in both rows;
    else "".

    One row with enough is sufficient: a row that learns from its labels against one that hardly does is a
    comparison."""
    shares = [unlabelled_share(results, name, folds) for name in names]
    known = [share for share in shares if share is not None]
    if not known or max(known) >= least:
        return ""
    words = " and ".join("no" if share is None else f"{share:.2g}%" for share in shares)
    return (
        f"lambda_u L_u is {words} of the loss, under {least:g}% in both rows, so that the threshold "
        "hardly acts"
    )


def not_trained_out(results: comparison.Results, row: dict, folds: list[int]) -> tuple[str, str]:
    """(why a row does not count, what could not be checked), each "" for nothing.

    A pretrained row names in `probe` the experiment with the same network frozen. It does not count where its
    accuracy (last epoch, the same folds, paired) is below the probe's at p < .05, unadjusted: then training
    has made the network worse than it was, and what is compared is how far it was spoiled."""
    probe = row.get("probe")
    if not probe or not row.get("experiment"):
        return "", ""
    label = comparison.row_name(row["label"], results.runs(row["experiment"], folds)[0])
    there = [fold for fold in folds if fold in results.folds(probe)]
    if not there:
        return "", f"{label} is not checked against its frozen probe: {probe} has no run for these folds"
    found = comparison.compare(results, row["experiment"], probe, there, "accuracy")
    if found["p"] is None or found["p"] >= 1 - intervals.LEVEL or found["difference"] >= 0:
        return "", ""
    ours, frozen = (
        np.mean(comparison.means(results, name, there, "accuracy")) for name in (row["experiment"], probe)
    )
    where = (
        f"{len(there)} of {len(folds)} folds"
        if len(there) < len(folds)
        else f"{found['recordings']} recordings"
    )
    chance = comparison.p_words(found["p"])
    return (
        f"{label} is not trained out: {ours:.1f}% where its frozen probe has {frozen:.1f}% ({chance}, "
        f"unadjusted, {where})",
        "",
    )
