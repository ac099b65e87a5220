"""Tables 1 to 5, the paper's numbers beside ours, and Tables 6 and 7, which are ours, from run records:
`python -m esc_suite tables --profile quick`."""

import numpy as np

from esc_suite.results import comparison, family, intervals, unknowns, validity
from esc_suite.results.comparison import data_label, row_name
from esc_suite.tables.specaugment import table1_rows
from esc_utils import config

NAMES = ("table1", "table2", "table3", "table4", "table5")
BEYOND = ("table6", "table7")
# Columns of Table 7
OPEN_MEASURES = {"open_auroc": unknowns.auroc, "open_accepted": unknowns.accepted_unknown}
METRICS = ("accuracy", "auc")
SCORES = ("accuracy", "auc", comparison.BY_RECORDING)
ENDS = {"difference": "", "low": "_low", "high": "_high"}
# A control is not printed: FixMatch above it, or below
ABOVE = {"supported": "above", "contradicted": "below"}
# Knobs that a profile may change although they are method: what its network or budget cannot bear. Tables
# print them.
METHOD_KNOBS = (
    "labels_per_class", "batch_size", "fixmatch_batch_size", "mu",
    "head_start", "norm_statistics", "dropout_block", "dropout_head", "learning_rate", "schedule", "warmup",
)  # fmt: skip


def build(spec: dict, results: comparison.Results, name: str, profile: str) -> list[dict]:
    """Rows of one table as dicts, in the printed order, rows without runs included. Percent and points
    throughout."""
    table = spec["tables"][name]
    if name == "table1":
        return table1_rows(table, results, profile)
    rows = [_row(table, row, results) for row in table["rows"]]
    _compare(spec, results, name, rows)
    return rows


def _row(table: dict, row: dict, results: comparison.Results) -> dict:
    experiment, wanted = row.get("experiment"), table["folds"]
    answer = {
        "row": row["label"],
        "paper_row": row["label"],
        "group": row.get("group", ""),
        "experiment": experiment or "",
        "paper_accuracy": row.get("paper_accuracy"),
        "paper_auc": row.get("paper_auc"),
    }
    answer |= dict.fromkeys(f"{m}{end}" for m in SCORES for end in ("", "_low", "_high"))
    notes = []
    if experiment is None:
        answer |= {"folds": "", "data": ""} | _footnotes(row)
        return answer | _remarks("printed by another paper, nothing to run")
    folds = results.folds(experiment, wanted)
    answer["folds"] = f"{len(folds)} of {len(wanted)}"
    answer |= {"fold_list": " ".join(map(str, folds))} | _footnotes(row)
    if not folds:
        return answer | {"data": ""} | _remarks("no run yet")
    if len(folds) < len(wanted):
        notes.append("folds missing: " + " ".join(str(f) for f in wanted if f not in folds))
    found = results.runs(experiment, folds)
    first = found[0]
    answer["row"] = row_name(row["label"], first)
    answer |= _levels(results, experiment, folds)
    answer |= _seeds(results, experiment, folds)
    if table.get("open_set"):
        answer |= _open_set(results, experiment, folds)
    for metric in METRICS:
        if answer[f"paper_{metric}"] is not None and answer[metric] is not None:
            answer[f"{metric}_minus_paper"] = answer[metric] - answer[f"paper_{metric}"]
    answer |= {
        "steps": _one_or_range(run.metrics["steps"] for run in found),
        "epochs": _one_or_range(run.metrics["epochs"] for run in found),
        "labelled_passes": _one_or_range(run.metrics["labelled_passes"] for run in found),
        "unlabelled_share": validity.unlabelled_share(results, experiment, folds),
        "checkpoint": "last epoch",
        "best_epoch_accuracy": _mean(run.metrics["validation"]["best"]["accuracy"] for run in found),
        "transductive_accuracy": _mean(
            r.metrics["transductive"]["last"]["accuracy"] for r in found if r.metrics["transductive"]
        ),
        "validation_folds": _one_or_range(f for run in found for f in run.metrics["validation"]["folds"]),
        "network": "; ".join(dict.fromkeys(map(comparison.network_name, found))),
        "data": data_label(found),
    }
    if any(run.metrics["provenance"].get("dataset_missing") for run in found):
        notes.append("part of the dataset was missing")
    if comparison.stands_in(first):
        notes.append(f"{comparison.network_name(first)} stands in place of PANN")
    if (knobs := config.RunConfig.model_construct(**first.metrics["config"])).bands != config.TABLE1_BANDS:
        widths = " and ".join(str(knobs.stripes(view)["freq_width"]) for view in ("weak", "strong"))
        notes.append(
            f"SpecAugment's frequency widths are {widths} of {knobs.bands} bands: Table 1's of 64, to scale"
        )
    made, own = first.metrics["config"], exceptions(first.metrics["profile"], experiment)
    notes += [f"{key} {value} in this row alone" for key, value in own.items() if made.get(key) == value]
    return answer | _remarks(*notes)


def exceptions(profile: str, experiment: str) -> dict:
    """The knobs that one experiment has otherwise than its profile, because its scale cannot bear the common
    value."""
    own = config.layers_of(profile, experiment)[3:]
    read = (config.read_parameters(path) for path in own)
    return {key: value for layer in read for key, value in layer.items() if key != "experiment"}


def _remarks(*notes: str) -> dict:
    """What there is to say of a row: in one text for the CSV, and one by one, so that rows can share them."""
    return {"note": "; ".join(notes), "remarks": list(notes)}


def changed_method(profile: str) -> str:
    """What a profile changes beyond scale against the paper's values, e.g. "mu 3 (paper: 7)"; "" for
    nothing."""
    paper, ours = (
        config.from_files(layers).model_dump()
        for layers in (config.layers_of("paper", ""), config.layers_of(profile, ""))
    )
    changed = [key for key in METHOD_KNOBS if ours[key] != paper[key]]
    for knobs in (ours, paper):
        knobs["labels_per_class"] = knobs["labels_per_class"] or "all"
    return ", ".join(f"{key} {ours[key]} (paper: {paper[key]})" for key in changed)


def _footnotes(row: dict) -> dict:
    return {"footnotes": " ".join(map(str, row.get("footnotes", [])))}


def _levels(results: comparison.Results, experiment: str, folds: list[int]) -> dict:
    """Scores with intervals: over recordings on one fold; over folds on several, and over their recordings
    beside it."""
    sums = [results.fold_sums(experiment, fold) for fold in folds]
    answer: dict = {
        "clips": int(sum(s.size.sum() for s in sums)),
        "recordings": sum(len(s.size) for s in sums),
    }
    for metric in SCORES:
        over_recordings = intervals.interval(sums, metric)
        level = over_recordings["estimate"]
        answer[metric] = level if np.isfinite(level) else None
        answer |= {f"{metric}_low": over_recordings["low"], f"{metric}_high": over_recordings["high"]}
        if len(folds) > 1:
            values = comparison.means(results, experiment, folds, metric)
            low, high = intervals.fold_interval(values)
            answer |= {
                f"{metric}_recordings_low": over_recordings["low"],
                f"{metric}_recordings_high": over_recordings["high"],
                f"{metric}_low": max(0.0, low),
                f"{metric}_high": min(100.0, high),
                f"{metric}_fold_deviation": float(np.std(values, ddof=1)),
            }
    over = (
        f"t over {len(folds)} folds"
        if len(folds) > 1
        else f"bootstrap over {answer['recordings']} recordings"
    )
    return answer | {"interval": f"95%, {over}"}


def _open_set(results: comparison.Results, experiment: str, folds: list[int]) -> dict:
    """Percentages of OPEN_MEASURES, means over the folds (each of its seeds), with a t interval over several
    folds."""
    answer: dict = {}
    for name, measure in OPEN_MEASURES.items():
        means = [_mean(map(measure, results.runs(experiment, [fold]))) for fold in folds]
        known = [value for value in means if value is not None]
        low, high = intervals.fold_interval(known) if len(known) > 1 else (None, None)
        answer |= {name: _mean(known)}
        if low is not None:
            answer |= {f"{name}_low": max(0.0, low), f"{name}_high": min(100.0, high)}
    return answer


def _seeds(results: comparison.Results, experiment: str, folds: list[int]) -> dict:
    """Spread over training seeds, apart from sampling error: deviation of the seeds' scores around their
    fold's mean."""
    seeds_of = {fold: list(results.found[experiment][fold]) for fold in folds}
    answer: dict = {"seeds": _one_or_range(map(len, seeds_of.values()))}
    for metric in METRICS:
        values = [
            [float(intervals.scores(results.fold_sums(experiment, fold, seed), metric)[0]) for seed in seeds]
            for fold, seeds in seeds_of.items()
            if len(seeds) > 1
        ]
        freedom = sum(len(v) - 1 for v in values)
        squares = sum(float(np.var(v)) * len(v) for v in values)
        answer[f"{metric}_seed_deviation"] = float(np.sqrt(squares / freedom)) if freedom else None
    return answer


def _compare(spec: dict, results: comparison.Results, name: str, rows: list[dict]) -> None:
    """Add to each row its differences to its baseline and to its control: interval, p (as it is, and by Holm
    over the table's family), and the mark; what blocks a comparison stands in `blocked` and
    `control_blocked`."""
    table = spec["tables"][name]
    by_id = {row["id"]: (row, answer["row"]) for row, answer in zip(table["rows"], rows, strict=True)}
    marks = family.of_table(spec, results, name)["marks"]
    for row, answer in zip(table["rows"], rows, strict=True):
        if row.get("control"):
            other, answer["control"] = by_id[row["control"]]
            result = marks[row["id"], "control"]
            answer |= {
                f"control_{key}": result.get(key)
                for key in ("difference", "low", "high", "p", "p_holm", "blocked")
            }
            answer["control_mark"] = ABOVE.get(result["verdict"], result["verdict"])
        if not row.get("baseline"):
            continue
        other, answer["baseline"] = by_id[row["baseline"]]
        result = marks[row["id"], "baseline"]
        auc = comparison.compare(results, row["experiment"], other["experiment"], table["folds"], "auc")
        for metric, found in (("accuracy", result), ("auc", auc)):
            answer |= {f"{metric}_difference{end}": found.get(key) for key, end in ENDS.items()}
        answer |= {
            "paper_accuracy_difference": result["paper"],
            "accuracy_by_recording_difference": result["by_recording"],
            "p": result.get("p"),
            "p_holm": result["p_holm"],
            "effect_size": result.get("effect_size"),
            "wilcoxon_p": result.get("wilcoxon_p"),
            "test": result.get("test", ""),
            "seed_difference_low": result["seed_low"],
            "seed_difference_high": result["seed_high"],
            "least_detectable": result.get("least_detectable"),
            "what_it_would_take": result.get("what_it_would_take", ""),
            "mark": result["verdict"],
            "blocked": result["blocked"],
        }


def _mean(values) -> float | None:
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None


def _one_or_range(values) -> str:
    values = sorted(set(values))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
