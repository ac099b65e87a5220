"""All runs in one table, to sort, filter and compare two of them."""

from . import comparison, intervals

COLUMNS = ("experiment", "fold", "seed", "accuracy", "AUC", "epochs", "steps", "seconds", "network")


def run_frame(runs):
    """One row a run, as a DataFrame: what `run_table` shows."""
    import pandas as pd

    rows = []
    for run in runs:
        found, last = run.metrics, run.metrics["validation"]["last"]
        rows.append(
            {"experiment": found["experiment"], "fold": found["fold"], "seed": found["seed"]}
            | {"accuracy": last["accuracy"], "AUC": last["auc_weighted"], "epochs": found["epochs"]}
            | {"steps": found["steps"], "seconds": found["seconds"], "network": comparison.network_name(run)}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def run_table(runs):
    """Filter by a word, sort by a column, and compare two runs on the same validation clips.

    runs: list of runs.Run. The comparison is paired, with a 95% interval over recordings."""
    import ipywidgets as widgets

    frame = run_frame(runs)
    word = widgets.Text(description="Filter", placeholder="part of a name, e.g. fixmatch")
    by = widgets.Dropdown(options=COLUMNS, value="accuracy", description="Sort by")
    down = widgets.Checkbox(True, description="largest first", indent=False)
    table, answer = widgets.HTML(), widgets.HTML()
    names = [(run.name, i) for i, run in enumerate(runs)]
    left, right = (
        widgets.Dropdown(options=names, value=min(i, len(runs) - 1), description=text, layout={"width": "460px"})
        for i, text in enumerate(("Compare", "with"))
    )

    def show(_=None):
        text = frame.astype(str).agg(" ".join, axis=1)
        kept = frame[text.str.contains(word.value, case=False, regex=False)]
        kept = kept.sort_values(by.value, ascending=not down.value, kind="stable")
        shown = kept.to_html(index=False, float_format="{:.1f}".format, border=0, na_rep="–")
        label = " (synthesised audio)" if any(run.metrics["synthesised"] for run in runs) else ""
        box = f"<div style='max-height:420px;overflow:auto' tabindex='0'>{shown}</div>"
        table.value = f"<p>{len(kept)} of {len(frame)} runs{label}; scores in %, last epoch</p>{box}"

    def compare(_=None):
        answer.value = f"<p>{difference(runs[left.value], runs[right.value])}</p>"

    for control in (word, by, down):
        control.observe(show, "value")
    for control in (left, right):
        control.observe(compare, "value")
    show()
    compare()
    head = widgets.HBox([word, by, down], layout={"flex_flow": "row wrap"})
    return widgets.VBox([head, table, widgets.HBox([left, right], layout={"flex_flow": "row wrap"}), answer])


def difference(left, right) -> str:
    """Two runs in words: difference in accuracy and AUC with interval, where both validated the same clips."""
    from .errors import UserError

    arrays = [run.predictions for run in (left, right)]
    sums = [[intervals.recording_sums(a["valid_label"], a["valid_prob"], a["valid_recording"])] for a in arrays]
    said = []
    for metric, name in (("accuracy", "accuracy"), ("auc", "AUC")):
        try:
            found = intervals.paired_interval(*sums, metric, resamples=500)
        except UserError:
            return f"{left.name} and {right.name} validated on different clips, so they are not compared."
        said.append(f"{name} {found['difference']:+.1f} points [{found['low']:+.1f}, {found['high']:+.1f}]")
    return f"{left.name} less {right.name}: {'; '.join(said)}; 95 % intervals over {found['recordings']} recordings."
