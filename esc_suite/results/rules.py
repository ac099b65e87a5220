"""One rule of a claim, or one mark of a table, on the runs: the difference that it is about, and what blocks
it.

A rule is a dict of params/tables.yaml: kind, left and right ("table2.pann"), metric, direction, margin, and
what it asks for (`equal_budget`, `needs_share`, `at_most`). Percentage points throughout.
"""

import numpy as np

from esc_suite.results import comparison, intervals, power, validity

EPOCHS = 8  # evaluated epochs of the second half of training, at least, to speak of unsteadiness


def find(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """What one rule finds: names, the printed difference, ours with low, high, p and se, the data it is
    about, what is missing (`lacking`), and `blocked`, the reasons why it decides nothing. `difference` is
    None where runs are missing."""
    found = _KINDS[rule["kind"]](spec, results, rule)
    found["blocked"] = "; ".join(found["reasons"])
    found["decidable"] = found["difference"] is not None and found["p"] is not None and not found["blocked"]
    return found


def sign(rule: dict) -> int:
    """1 where left is to be above right, -1 where it is to be below."""
    return {"greater": 1, "less": -1}[rule["direction"]]


def equal_budget(rule: dict) -> list[str]:
    """Which of `validity.BUDGET` a rule wants equal: all of them for `equal_budget: true`, or those it
    names."""
    asked = rule.get("equal_budget", [])
    return list(validity.BUDGET) if asked is True else list(asked)


def row_of(spec: dict, name: str) -> dict:
    """A row of params/tables.yaml by table and id, as in "table2.pann"."""
    table, _, key = name.partition(".")
    return next(row for row in spec["tables"][table]["rows"] if row["id"] == key)


def of_control(spec: dict, rule: dict) -> bool:
    """Whether a rule compares a FixMatch row with its control."""
    return rule["right"].partition(".")[2] == row_of(spec, rule["left"]).get("control")


def _frame(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """What every kind of rule reports: names, the printed difference, the data it is about, and what is
    missing."""
    sides = {side: row_of(spec, rule[side]) for side in ("left", "right")}
    wanted = spec["tables"][rule["left"].split(".")[0]]["folds"]
    metric = rule.get("metric", "accuracy")
    printed = [side.get(f"paper_{metric}") for side in sides.values()]
    frame = {
        "kind": rule["kind"],
        "metric": metric,
        "direction": rule.get("direction", ""),
        "margin": rule.get("margin", 0),
        "labels": [side["label"] for side in sides.values()],
        "control": of_control(spec, rule),
        "paper": round(printed[0] - printed[1], 2) if None not in printed else None,
        "stated": rule.get("stated"),
        "stated_relative": rule.get("stated_relative"),
        "folds_wanted": wanted,
        "lacking": [],
        "reasons": [],
        "remarks": [],
        "untrained": False,
        "data": "",
        "scope": "",
        "of_the_paper": False,
        "difference": None,
        "p": None,
    }
    used = []
    for side, row in sides.items():
        experiment, folds = row.get("experiment"), results.folds(row.get("experiment"), wanted)
        frame[side] = row["label"]
        if folds:
            runs = results.runs(experiment, folds)
            used += runs
            frame[side] = comparison.row_name(row["label"], runs[0])
        if experiment and len(folds) < len(wanted):
            absent = ", ".join(str(f) for f in wanted if f not in folds)
            frame["lacking"].append(f"{experiment} has no run for fold {absent}")
    if used:
        frame["data"] = comparison.data_label(used)
        frame["of_the_paper"] = not frame["lacking"] and all(map(comparison.as_the_paper, used))
        if any(run.metrics["synthesised"] for run in used):
            frame["scope"] = "about synthesised audio only: says nothing on UrbanSound8K"
        elif any(comparison.stands_in(run) for run in used):
            name = next(comparison.network_name(run) for run in used if comparison.stands_in(run))
            frame["scope"] = f"with {name} in place of PANN"
    return frame


def _check(spec: dict, results: comparison.Results, rule: dict, frame: dict, folds: list[int]) -> None:
    """Add to a frame what blocks the comparison of two of our rows, and what is worth a remark."""
    rows = [row_of(spec, rule[side]) for side in ("left", "right")]
    ours = [row for row in rows if row.get("experiment")]
    names = [row["experiment"] for row in ours]
    if len(ours) == 2:
        gaps = validity.budget_gaps(results, *names, folds)
        asked = set(validity.BUDGET if frame["control"] else equal_budget(rule))
        words = [[text for name, text in gaps.items() if (name in asked) == must] for must in (True, False)]
        words[0] += validity.other_knobs(results, *names, folds) if frame["control"] else []
        for said, place in zip(words, ("reasons", "remarks"), strict=True):
            if said:
                frame[place].append(f"the rows differ in {' and in '.join(said)}")
        if rule.get("needs_share"):
            small = validity.small_share(results, names, folds, rule["needs_share"])
            frame["reasons"] += [small] if small else []
    for row in ours:
        why, unchecked = validity.not_trained_out(results, row, folds)
        frame["untrained"] |= bool(why)
        frame["reasons"] += [why] if why else []
        frame["remarks"] += [unchecked] if unchecked else []


def _difference(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """Two of our rows, paired by validation fold."""
    frame = _frame(spec, results, rule)
    names = [row_of(spec, rule[side])["experiment"] for side in ("left", "right")]
    found = comparison.compare(
        results, *names, frame["folds_wanted"], frame["metric"], sign(rule) * frame["margin"]
    )  # fmt: skip
    frame |= found
    if found["difference"] is None:
        return frame
    frame["right_level"] = float(
        np.mean(comparison.means(results, names[1], found["fold_list"], frame["metric"]))
    )
    _check(spec, results, rule, frame, found["fold_list"])
    return frame | _power(rule, frame)


def _printed(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """One of our rows against another paper's printed mean: a one-sample test over folds, that number taken
    as exact."""
    frame = _frame(spec, results, rule)
    left, right = row_of(spec, rule["left"]), row_of(spec, rule["right"])
    folds = results.folds(left["experiment"], frame["folds_wanted"])
    frame |= {"fold_list": folds, "unpaired": True, "seed_low": None, "seed_high": None, "by_recording": None}
    if not folds:
        return frame
    runs = results.runs(left["experiment"], folds)
    values = (
        np.array(comparison.means(results, left["experiment"], folds, frame["metric"]))
        - right["paper_accuracy"]
    )
    found = intervals.fold_test(values, sign(rule) * frame["margin"], comparison.overlap_of(runs[0]))
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    frame |= found | {"test": found["test"].replace("paired", "one-sample"), "deviation": deviation}
    settings = runs[0].metrics["config"]
    over = [
        f"{key} is {settings[key]}" for key, most in rule.get("at_most", {}).items() if settings[key] > most
    ]
    if frame["scope"]:
        about = frame["scope"].split(":")[0]
        frame["reasons"].append(f"a printed number on UrbanSound8K cannot be compared with runs {about}")
    elif len(folds) < len(frame["folds_wanted"]):
        frame["reasons"].append(f"the printed mean is over ten folds, {len(folds)} are there")
    elif over:
        frame["reasons"].append("the runs exceed the claimed budget: " + ", ".join(over))
    _check(spec, results, rule, frame, folds)
    return frame | _power(rule, frame)


def _power(rule: dict, frame: dict) -> dict:
    """`least_detectable` (points beyond the margin) and `what_it_would_take` for the printed difference
    beyond it."""
    beyond = 0 if frame["paper"] is None else sign(rule) * frame["paper"] - frame["margin"]
    signed = sign(rule) * frame["margin"]
    return {
        "least_detectable": power.least_detectable(frame["se"], frame["df"]),
        "what_it_would_take": comparison.needed(frame, frame["paper"], signed) if beyond > 0 else "",
    }


def _unsteady(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """Whether left's validation accuracy jumps more from epoch to epoch than right's, over the second half of
    training: Brown and Forsythe's test (1974) on the epoch-to-epoch changes. Epochs of one run depend on each
    other, and it is one run a side and seed: weak evidence, and said so. Epoch 0, before any training, takes
    no part."""
    from scipy import stats

    frame = _frame(spec, results, rule | {"direction": "greater", "margin": 0}) | {"paper": None}
    names = [row_of(spec, rule[side])["experiment"] for side in ("left", "right")]
    shared = [f for f in frame["folds_wanted"] if all(f in results.folds(name) for name in names)]
    if not shared:
        return frame
    changes = []
    for name in names:
        trained = [run.history[run.history["epoch"] > 0] for run in results.runs(name, shared)]
        accuracy = [history["valid_accuracy"].to_numpy(float) for history in trained]
        changes.append(np.concatenate([np.diff(values[len(values) // 2 :]) for values in accuracy]))
    if min(map(len, changes)) < EPOCHS:
        frame["lacking"].append(f"at least {EPOCHS + 1} evaluated epochs in the second half of training")
        return frame
    _check(spec, results, rule, frame, shared)
    jumps = [float(np.median(np.abs(values - np.median(values)))) for values in changes]
    p = float(stats.levene(*changes, center="median").pvalue) if np.ptp(np.concatenate(changes)) else 1.0
    deviations = [float(values.std(ddof=1)) for values in changes]
    frame |= {
        "difference": deviations[0] - deviations[1],
        "p": p,
        "deviations": deviations,
        "median_jumps": jumps,
    }
    return frame | {"epochs": [len(v) for v in changes], "test": "Brown-Forsythe on epoch-to-epoch changes"}


_KINDS = {"difference": _difference, "printed": _printed, "unsteady": _unsteady}
