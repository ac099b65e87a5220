"""All runs in one table, to sort, filter and compare two of them."""

from esc_suite.results import comparison, intervals

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
    same_fold = (i for i, run in enumerate(runs) if i and run.metrics["fold"] == runs[0].metrics["fold"])
    left, right = (
        widgets.Dropdown(options=names, value=value, description=text, layout={"width": "460px"})
        for value, text in ((0, "Compare"), (next(same_fold, len(runs) - 1), "with"))
    )

    def show(_=None):
        text = frame.astype(str).agg(" ".join, axis=1)
        kept = frame[text.str.contains(word.value, case=False, regex=False)]
        kept = kept.sort_values(by.value, ascending=not down.value, kind="stable")
        shown = _as_html(kept)
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


def _as_html(frame) -> str:
    """Numbers to the right under their heads, words to the left."""
    from html import escape

    import pandas as pd

    sides = ["right" if pd.api.types.is_numeric_dtype(frame[column]) else "left" for column in frame]

    def line(tag, values):
        look = "padding:2px 10px;line-height:1.3"
        pairs = zip(values, sides, strict=True)
        cells = (f"<{tag} style='text-align:{side};{look}'>{escape(value)}</{tag}>" for value, side in pairs)
        return f"<tr>{''.join(cells)}</tr>"

    def words(value) -> str:
        return ("–" if pd.isna(value) else f"{value:.1f}") if isinstance(value, float) else str(value)

    body = "".join(line("td", map(words, row)) for row in frame.itertuples(index=False))
    return f"<table><thead>{line('th', frame.columns)}</thead><tbody>{body}</tbody></table>"


def difference(left, right) -> str:
    """Two runs in words: difference in accuracy and AUC with interval, where both validated the same
    clips."""
    from esc_utils.errors import UserError

    arrays = [run.predictions for run in (left, right)]
    sums = [
        [intervals.recording_sums(a["valid_label"], a["valid_prob"], a["valid_recording"])] for a in arrays
    ]
    said = []
    for metric, name in (("accuracy", "accuracy"), ("auc", "AUC")):
        try:
            found = intervals.paired_interval(*sums, metric, resamples=500)
        except UserError:
            return f"{left.name} and {right.name} validated on different clips, so they are not compared."
        said.append(f"{name} {found['difference']:+.1f} points [{found['low']:+.1f}, {found['high']:+.1f}]")
    return (
        f"{left.name} less {right.name}: {'; '.join(said)}; 95 % intervals over {found['recordings']} "
        "recordings."
    )
