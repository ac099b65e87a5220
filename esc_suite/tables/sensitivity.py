"""What the ledger's open questions change: each alternative against its default, and the leak of ledger 19.

`python -m esc_suite sensitivity --profile quick` writes tables/sensitivity.csv, .md and .html from finished
runs; `make sensitivity` trains what is missing first.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from esc_suite.results import comparison, intervals
from esc_suite.results.spec import read_spec
from esc_suite.run.together import exit_with
from esc_suite.tables.render import as_html, as_markdown, csv_text, save
from esc_suite.tables.view import NO_RUN, level, number
from esc_suite.tables.write import add_places
from esc_utils import config, paths
from esc_utils.errors import UserError

METRICS = ("accuracy", "auc")
COLUMNS = (
    "ledger", "row", "experiment", "baseline", "folds",
    *(f"{m}{end}" for m in METRICS for end in ("", "_default", "_difference", "_low", "_high", "_p",
    "_p_holm")),
    "test", "validation_recordings_trained_on", "steps", "network", "data", "note",
)  # fmt: skip
LEAK_NOTE = (
    "what not to do: validation clips share recordings with training clips; other clips than the default's"
)


def build(spec: dict, results: comparison.Results) -> list[dict]:
    """Rows of the table in the order of the spec, in percent and points; rows without runs have empty
    scores."""
    rows = [_row(row, spec["sensitivity"]["folds"], results) for row in spec["sensitivity"]["rows"]]
    for metric in METRICS:
        for row, p in zip(rows, intervals.holm([row[f"{metric}_p"] for row in rows]), strict=True):
            row[f"{metric}_p_holm"] = p
    return rows


def _row(row: dict, wanted: list[int], results: comparison.Results) -> dict:
    left, right = row["experiment"], row["baseline"]
    shared = [fold for fold in results.folds(left, wanted) if fold in results.folds(right, wanted)]
    answer = dict.fromkeys(COLUMNS) | {
        "ledger": row["ledger"],
        "row": row["label"],
        "experiment": left,
        "baseline": right,
    }
    answer |= {"folds": f"{len(shared)} of {len(wanted)}", "data": "", "note": ""}
    if not shared:
        return answer | {"note": "no run yet"}
    found = results.runs(left, shared)
    leaks = any(run.metrics["config"]["fold_assignment"] == "by_index" for run in found)
    for metric in METRICS:
        result = (unpaired if leaks else comparison.compare)(results, left, right, shared, metric)
        answer[metric] = float(np.mean(comparison.means(results, left, shared, metric)))
        answer[f"{metric}_default"] = float(np.mean(comparison.means(results, right, shared, metric)))
        answer |= {f"{metric}_{key}": result[key] for key in ("difference", "low", "high", "p")}
        answer["test"] = result["test"]
    if leaks:
        shares = [leaked_share(run) for run in found]
        answer["validation_recordings_trained_on"] = None if None in shares else float(np.mean(shares))
    notes = [LEAK_NOTE] if leaks else _cannot_act(found[0], results.runs(right, shared)[0])
    if comparison.stands_in(found[0]):
        notes.append(f"{comparison.network_name(found[0])} stands in place of PANN")
    return answer | {
        "steps": found[0].metrics["steps"], "network": comparison.network_name(found[0]),
        "data": comparison.data_label(found), "note": "; ".join(notes),
    }  # fmt: skip


def _cannot_act(run, default) -> list[str]:
    """Where a profile leaves a knob nothing to change, the row says so instead of passing for an answer."""
    made, notes = run.metrics["config"], []
    if all(
        default.metrics["config"].get(key, value) == value
        for key, value in made.items()
        if key not in config.PLACES
    ):
        notes.append("no answer here: this profile has the alternative as its own default")
    left = made["ema"] ** run.metrics["steps"] if made["ema"] else 0
    if left > 0.05:
        notes.append(f"no answer here: after so few steps {left:.0%} of the average is still the start")
    return notes


def unpaired(results: comparison.Results, left: str, right: str, folds: list[int], metric: str) -> dict:
    """left - right where the two were validated on different clips: standard errors over recordings added in
    squares, Welch's degrees of freedom. Keys as of `intervals.paired_interval`."""
    from scipy import stats

    sides = [
        intervals.interval([results.fold_sums(name, fold) for fold in folds], metric)
        for name in (left, right)
    ]
    difference = sides[0]["estimate"] - sides[1]["estimate"]
    squares = [side["se"] ** 2 for side in sides]
    se = float(np.sqrt(sum(squares)))
    answer = {
        "difference": difference,
        "low": None,
        "high": None,
        "p": None,
        "test": "unpaired, over recordings",
    }
    if se == 0:
        return answer
    df = sum(squares) ** 2 / sum(square**2 / side["df"] for square, side in zip(squares, sides, strict=True))
    half = float(stats.t.ppf((1 + intervals.LEVEL) / 2, df)) * se
    return answer | {
        "low": difference - half,
        "high": difference + half,
        "p": float(2 * stats.t.sf(abs(difference) / se, df)),
    }


def leaked_share(run) -> float | None:
    """Percent of a run's validation clips whose recording has other clips in its training folds; None where
    the dataset that it was trained on is not at hand."""
    from esc_suite.inputs import open_dataset
    from esc_utils.urbansound import split

    known = {
        key: value for key, value in run.metrics["config"].items() if key in config.RunConfig.model_fields
    }
    knobs = config.merge([(f"record of {run.name}", known)])  # without knobs that are gone since
    try:
        dataset = open_dataset(knobs)
    except UserError:
        return None
    parts, recordings = split(knobs, dataset), dataset.clips["fsid"].to_numpy()
    return 100 * float(np.isin(recordings[parts.validation], recordings[parts.labelled]).mean())


def readable(spec: dict, rows: list[dict], profile: str) -> dict:
    """The view that `tables.render` turns into Markdown and HTML."""
    data = "; ".join(dict.fromkeys(row["data"] for row in rows if row["data"]))
    synthesised = comparison.SYNTHESISED in data
    about = (
        "Numbers from synthesised audio: they reproduce nothing of the paper."
        if synthesised
        else f"Data: {data}."
    )
    header = ["Question", "Instead of our default", "Default", "Here", "Change", "Notes"]
    body = [[f"[{row['ledger']}]", row["row"], *_scores(row), _notes(row)] for row in rows]
    used = sorted({row["ledger"] for row in rows})
    return {
        "name": "sensitivity",
        "title": spec["sensitivity"]["title"],
        "profile": profile,
        "synthesised": synthesised,
        "caption": f"Profile {profile}. {about} Accuracy and, below it, AUC in percent, validation fold, "
        "last epoch; "
        "change in points with 95% interval over recordings, p by Holm over the table. Says nothing about "
        "another training seed.",
        "header": header,
        "rows": body,
        "reading": "",
        "row_marks": [[] for _ in body],
        "all_marks": [],
        "groups": [""] * len(body),
        "letters": {},
        "notes": {number: spec["ledger_notes"][number] for number in used},
    }


def _scores(row: dict) -> list[str]:
    """Default, here, change: each with accuracy on its first line and AUC on its second."""
    columns = zip(
        *((number(row[f"{m}_default"]), number(row[m]), _change(row, m)) for m in METRICS), strict=True
    )
    return [accuracy if auc == NO_RUN else f"{accuracy}\nAUC {auc}" for accuracy, auc in columns]


def _change(row: dict, metric: str) -> str:
    difference, low = row[f"{metric}_difference"], row[f"{metric}_low"]
    told = level(difference, low, row[f"{metric}_high"], "+")
    return (
        told
        if difference is None or low is None
        else f"{told}, {comparison.p_words(row[f'{metric}_p_holm'])}"
    )


def _notes(row: dict) -> str:
    share = row["validation_recordings_trained_on"]
    leak = (
        []
        if share is None
        else [f"{share:.0f}% of the validation clips come from recordings that were trained on"]
    )
    return "; ".join([*leak, *filter(None, [row["note"]])])


def write(outputs: Path, profile: str) -> list[Path]:
    """Write the table under outputs/<profile>/tables; UserError where no alternative has been run."""
    spec, results = read_spec(), comparison.read_results(outputs, profile)
    rows = build(spec, results)
    if all(row["accuracy"] is None for row in rows):
        raise UserError(
            f"no finished run of params/sensitivity under {outputs / profile}: `make sensitivity "
            f"PROFILE={profile}`"
        )
    view = readable(spec, rows, profile)
    texts = {
        "sensitivity.csv": csv_text(COLUMNS, rows),
        "sensitivity.md": as_markdown(view),
        "sensitivity.html": as_html(view),
    }
    return save(outputs / profile / "tables", texts)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m esc_suite sensitivity", description=__doc__)
    add_places(parser)
    options = parser.parse_args(argv)
    with exit_with():
        for path in write(paths.place(options.outputs or "outputs"), options.profile):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
