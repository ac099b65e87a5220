"""The paper's claims, each decided by its rule in params/tables.yaml from the runs: `python -m esc_utils.claims`."""

import argparse
import sys

import numpy as np

from . import comparison, intervals
from .tables import add_places, data_label, row_name, write_and_print

EPOCHS = 8  # evaluated epochs of the second half of training, at least, to speak of unsteadiness


def decide(spec: dict, results: comparison.Results) -> list[dict]:
    """One dict a claim: id, claim (its words), verdict, evidence (words), note, data, scope, the first rule's difference,
    low, high and paper (points), and rules (evidence of each, with p adjusted by Holm over the rules of its table).

    Supported if all rules are, contradicted if one is, else undecided; what is missing is said."""
    pairs = [(claim, rule) for claim in spec["claims"] for rule in claim["rules"]]
    found = [_KINDS[rule["kind"]](spec, results, rule) for _, rule in pairs]
    for table in spec["tables"]:
        own = [i for i, (_, rule) in enumerate(pairs) if rule["left"].startswith(f"{table}.")]
        for i, p in zip(own, intervals.holm([found[i].get("p") for i in own]), strict=True):
            found[i]["p_holm"] = p
    for (_, rule), result in zip(pairs, found, strict=True):
        _judge(rule, result)
    return [
        _claim(claim, [result for (owner, _), result in zip(pairs, found, strict=True) if owner is claim])
        for claim in spec["claims"]
    ]


def _claim(claim: dict, rules: list[dict]) -> dict:
    verdicts = [rule["verdict"] for rule in rules]
    verdict = next((v for v in ("contradicted", "undecided") if v in verdicts), "supported")
    first = rules[0]
    return {
        "id": claim["id"],
        "claim": claim["text"],
        "verdict": verdict,
        "evidence": " ".join(rule["evidence"] for rule in rules),
        "note": claim.get("note", ""),
        "data": next((rule["data"] for rule in rules if rule["data"]), ""),
        "scope": next((rule["scope"] for rule in rules if rule["scope"]), ""),
        "difference": first.get("difference"),
        "low": first.get("low"),
        "high": first.get("high"),
        "paper": first["paper"],
        "rules": rules,
    }


def _frame(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """What every kind of rule reports: names, the printed difference, the data it is about, and what is missing."""
    sides = {side: _row(spec, rule[side]) for side in ("left", "right")}
    wanted = spec["tables"][rule["left"].split(".")[0]]["folds"]
    metric = rule.get("metric", "accuracy")
    printed = [side.get(f"paper_{metric}") for side in sides.values()]
    frame = {
        "kind": rule["kind"],
        "metric": metric,
        "direction": rule.get("direction", ""),
        "margin": rule.get("margin", 0),
        "paper": round(printed[0] - printed[1], 2) if None not in printed else None,
        "stated": rule.get("stated"),
        "stated_relative": rule.get("stated_relative"),
        "folds_wanted": wanted,
        "lacking": [],
        "data": "",
        "scope": "",
    }
    used = []
    for side, row in sides.items():
        experiment, folds = row.get("experiment"), results.folds(row.get("experiment"), wanted)
        frame[side] = row["label"]
        if folds:
            runs = results.runs(experiment, folds)
            used += runs
            frame[side] = row_name(row["label"], runs[0])
        if experiment and len(folds) < len(wanted):
            absent = ", ".join(str(f) for f in wanted if f not in folds)
            frame["lacking"].append(f"{experiment} has no run for fold {absent}")
    if used:
        frame["data"] = data_label(used)
        if any(run.metrics["synthesised"] for run in used):
            frame["scope"] = "about synthesised audio only: says nothing on UrbanSound8K"
        elif any(comparison.stands_in(run) for run in used):
            name = next(comparison.network_name(run) for run in used if comparison.stands_in(run))
            frame["scope"] = f"with {name} in place of PANN"
    return frame


def _row(spec: dict, name: str) -> dict:
    table, _, key = name.partition(".")
    return next(row for row in spec["tables"][table]["rows"] if row["id"] == key)


def _difference(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """Two of our rows, paired by validation fold."""
    frame = _frame(spec, results, rule)
    names = [_row(spec, rule[side])["experiment"] for side in ("left", "right")]
    sign = 1 if rule["direction"] == "greater" else -1
    found = comparison.compare(results, *names, frame["folds_wanted"], rule["metric"], sign * rule["margin"])
    frame |= found | {"what_it_would_take": comparison.needed(found, frame["paper"])}
    if found["difference"] is None:
        return frame
    frame["right_level"] = float(np.mean(comparison.means(results, names[1], found["fold_list"], rule["metric"])))
    if rule.get("equal_steps"):
        steps = [{r.metrics["steps"] for r in results.runs(name, found["fold_list"])} for name in names]
        if steps[0] != steps[1]:
            frame["blocked"] = f"the rows differ in steps ({_words(steps[0])} against {_words(steps[1])})"
    return frame


def _printed(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """One of our rows against another paper's printed mean: a one-sample test over folds, that number taken as exact."""
    frame = _frame(spec, results, rule)
    left, right = _row(spec, rule["left"]), _row(spec, rule["right"])
    folds = results.folds(left["experiment"], frame["folds_wanted"])
    frame |= {"difference": None, "fold_list": folds, "unpaired": True, "seed_low": None, "seed_high": None}
    if not folds:
        return frame
    runs = results.runs(left["experiment"], folds)
    values = np.array(comparison.means(results, left["experiment"], folds, rule["metric"])) - right["paper_accuracy"]
    sign = 1 if rule["direction"] == "greater" else -1
    found = intervals.fold_test(values, sign * rule["margin"], comparison.overlap_of(runs[0]))
    frame |= found | {"test": found["test"].replace("paired", "one-sample"), "deviation": None}
    settings = runs[0].metrics["config"]
    over = [f"{key} is {settings[key]}" for key, most in rule.get("at_most", {}).items() if settings[key] > most]
    if frame["scope"]:
        frame["blocked"] = f"a printed number on UrbanSound8K cannot be compared with runs {frame['scope'].split(':')[0]}"
    elif len(folds) < len(frame["folds_wanted"]):
        frame["blocked"] = f"the printed mean is over ten folds, {len(folds)} are there"
    elif over:
        frame["blocked"] = "the runs exceed the claimed budget: " + ", ".join(over)
    return frame


def _unsteady(spec: dict, results: comparison.Results, rule: dict) -> dict:
    """Whether left's validation accuracy jumps more from epoch to epoch than right's, over the second half of training:
    Brown and Forsythe's test (1974) on the epoch-to-epoch changes. Epochs of one run depend on each other, and it is one
    run a side and seed: weak evidence, and said so."""
    from scipy import stats

    frame = _frame(spec, results, rule) | {"difference": None, "direction": "greater", "margin": 0, "paper": None}
    names = [_row(spec, rule[side])["experiment"] for side in ("left", "right")]
    shared = [f for f in frame["folds_wanted"] if all(f in results.folds(name) for name in names)]
    if not shared:
        return frame
    changes = []
    for name in names:
        accuracy = [run.history["valid_accuracy"].to_numpy(float) for run in results.runs(name, shared)]
        changes.append(np.concatenate([np.diff(values[len(values) // 2 :]) for values in accuracy]))
    if min(map(len, changes)) < EPOCHS:
        frame["lacking"].append(f"at least {EPOCHS + 1} evaluated epochs in the second half of training")
        return frame
    jumps = [float(np.median(np.abs(values - np.median(values)))) for values in changes]
    p = float(stats.levene(*changes, center="median").pvalue) if np.ptp(np.concatenate(changes)) else 1.0
    deviations = [float(values.std(ddof=1)) for values in changes]
    frame |= {"difference": deviations[0] - deviations[1], "p": p, "deviations": deviations, "median_jumps": jumps}
    return frame | {"epochs": [len(v) for v in changes], "test": "Brown-Forsythe on epoch-to-epoch changes"}


_KINDS = {"difference": _difference, "printed": _printed, "unsteady": _unsteady}


def _judge(rule: dict, found: dict) -> None:
    """Add verdict and evidence (one or two sentences) to what a rule has found."""
    if found["difference"] is None:
        found["verdict"] = "undecided"
        found["evidence"] = f"{found['left']} against {found['right']}: undecided, missing: {'; '.join(found['lacking'])}."
        return
    found["verdict"] = "undecided" if found.get("blocked") else comparison.verdict(
        found, found["direction"], found["margin"], found["p_holm"]
    )  # fmt: skip
    words = [_measured(found), found["verdict"]]
    words += [found["blocked"]] if found.get("blocked") else []
    words += [f"missing: {'; '.join(found['lacking'])}"] if found["lacking"] else []
    if found.get("seed_low") is not None:
        words.append(f"over {found['seeds']} seeds [{found['seed_low']:.2f}, {found['seed_high']:.2f}]")
    elif found["kind"] == "difference":
        words.append("one seed, so training noise is not covered")
    if found["paper"] is not None and found.get("low") is not None:
        inside = found["low"] <= found["paper"] <= found["high"]
        words.append(f"printed {found['paper']:+.2f}, {'inside' if inside else 'outside'} our interval")
        found["paper_inside"] = inside
    if found["stated"] is not None:
        words.append(f"the text says {found['stated']:+g}")
    if found["stated_relative"] is not None:
        ours = 100 * found["difference"] / found["right_level"]
        words.append(f"{ours:+.1f}% relative, the text says about {found['stated_relative']:+g}%")
    if found.get("what_it_would_take"):
        words.append(f"the printed difference would take {found['what_it_would_take']} to show with 80% power")
    found["evidence"] = "; ".join(words) + "."


def _measured(found: dict) -> str:
    what = "AUC" if found["metric"] == "auc" else "accuracy"
    pair = f"{found['left']} against {found['right']}"
    if found["kind"] == "unsteady":
        a, b = found["deviations"]
        chance = comparison.p_words(found["p"])
        return f"{pair}: epoch-to-epoch changes deviate by {a:.2f} and {b:.2f} points ({chance}, one run a seed)"
    text = f"{pair}, {what} {found['difference']:+.2f} points"
    if found.get("low") is not None:
        chances = [comparison.p_words(found[key]) for key in ("p", "p_holm")]
        text += f" [{found['low']:.2f}, {found['high']:.2f}], {chances[0]} ({chances[1]} by Holm)"
    margin = f" against a margin of {found['margin']:g}" if found["margin"] else ""
    text += f", {found['test']}{margin}, {len(found['fold_list'])} of {len(found['folds_wanted'])} folds"
    if found.get("recordings"):
        text += f", {found['clips']} clips of {found['recordings']} recordings"
    return text + (", unpaired, the printed number taken as exact" if found.get("unpaired") else "")


def _words(steps: set) -> str:
    return " and ".join(str(s) for s in sorted(steps))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_utils.claims", description=__doc__)
    add_places(parser)
    return write_and_print(parser.parse_args(argv), [], with_claims=True)


if __name__ == "__main__":
    sys.exit(main())
