"""What every notebook does alike: where its figures go, and the command and provenance that stand under
each."""

from functools import partial

import numpy as np

import esc_suite.inputs  # noqa: F401  (a notebook may be run with `dataset: table`)
from esc_suite import figures
from esc_suite.records import provenance
from esc_suite.results.names import method_title
from esc_suite.run import needed_runs
from esc_utils import paths
from esc_utils.errors import UserError
from esc_utils.optim import rate_factor
from esc_utils.urbansound import split

RUN_DPI = 110  # a table is dozens of runs with a dozen figures each; the suite's own figures are drawn finer


def ready(config):
    """The config of a run, after what it needs and is small has been fetched (run/download.py)."""
    if config.network == "mn04":
        from esc_suite.run.download import ready as fetched

        return fetched(config)
    return config


def auditable(config, dataset):
    """The split of a run that notebook 04 can show: FixMatch with tau alone, on clips whose true labels,
    hidden from training, are there to compare with. UserError says which notebook to take for any other."""
    if (better := needed_runs.notebook_of(config)) != "04_fixmatch_ablations":
        raise UserError(
            f"notebook 04 shows FixMatch with a fixed tau, and experiment {config.experiment!r} is another "
            f"kind of run: open notebooks/{better}.ipynb with it"
        )
    pools = split(config, dataset)
    true = dataset.clips["class_id"].to_numpy()[pools.unlabelled]
    if lacking := int((true < 0).sum()):
        raise UserError(
            f"{lacking} of {len(true)} unlabelled clips of {dataset.root} have no true label, with which "
            "notebook 04 compares pseudo-labels: open notebooks/07_your_own_clips.ipynb"
        )
    return pools


def say(*sentences: str) -> None:
    """Show sentences with computed numbers as one paragraph of Markdown."""
    from IPython.display import Markdown, display

    display(Markdown(" ".join(sentences)))


def run_intervals(run) -> dict:
    """95% intervals of a run's last validation, by bootstrap over recordings: {"accuracy": ..., "auc":
    ...}."""
    from esc_suite.results import intervals

    arrays = run.predictions
    sums = intervals.recording_sums(arrays["valid_label"], arrays["valid_prob"], arrays["valid_recording"])
    return {metric: intervals.interval([sums], metric) for metric in ("accuracy", "auc")}


def step_rates(run) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, learning rates) of every step of a run, from its config: the history has only those at the
    ends of epochs."""
    config, steps = run.metrics["config"], run.metrics["steps"]
    trained = run.history[run.history["epoch"] > 0]
    if not steps or not len(trained):
        return np.empty(0), np.empty(0)
    law = steps, steps * config["restart_every"] / config["epochs"], config["warmup"]
    factors = [rate_factor(config["schedule"], step, *law) for step in range(steps)]
    epochs = np.interp(np.arange(1, steps + 1), [0, *trained["step"]], [0, *trained["epoch"]])
    return epochs, config["learning_rate"] * np.array(factors)


def fold_scores(results, rows, folds):
    """What `figures.fold_dots` takes, of `comparison.Results` and table rows: row, experiment, fold,
    accuracy, auc (%)."""
    import pandas as pd

    from esc_suite.results.comparison import means

    columns = ["row", "experiment", "fold", "accuracy", "auc"]
    found = []
    for row in rows:
        there = results.folds(row["experiment"], folds)
        scores = (means(results, row["experiment"], there, metric) for metric in ("accuracy", "auc"))
        found += [(row["row"], row["experiment"], *values) for values in zip(there, *scores, strict=True)]
    return pd.DataFrame(found, columns=columns)


def control_pairs(results, rows, folds):
    """What `figures.pairs` takes, of `comparison.Results` and table rows: the rows that have a control, fold
    by fold."""
    import pandas as pd

    from esc_suite.results.comparison import means

    lines, differences = [], {}
    for row in (row for row in rows if row.get("control_difference") is not None):
        control = next(other["experiment"] for other in rows if other["row"] == row["control"])
        shared = [
            fold for fold in results.folds(row["experiment"], folds) if fold in results.folds(control, folds)
        ]
        network = method_title(results.runs(row["experiment"], shared)[0].metrics["config"])
        scores = (means(results, name, shared, "accuracy") for name in (control, row["experiment"]))
        lines += [(network, *values) for values in zip(shared, *scores, strict=True)]
        differences[network] = tuple(row[f"control_{key}"] for key in ("difference", "low", "high"))
    return pd.DataFrame(lines, columns=["network", "fold", "control", "fixmatch"]), differences


def roc_rows(results, rows, folds) -> list[tuple]:
    """What `figures.mean_roc` takes, of `comparison.Results` and table rows: (label, experiment, [(labels,
    prob), ...])."""
    return [
        (
            row["row"],
            row["experiment"],
            [
                (run.predictions["valid_label"], run.predictions["valid_prob"])
                for run in results.runs(row["experiment"], results.folds(row["experiment"], folds))
            ],
        )
        for row in rows
    ]


def scores_table(metrics: dict, found: dict):
    """Scores of one run as a styled table: last epoch (the headline) with its 95% interval, best epoch (of a
    run that was trained), and the unlabelled folds. found: metric -> interval, from `run_intervals`."""
    import pandas as pd

    validation, rest = metrics["validation"], metrics["transductive"]
    trained = metrics["epochs"] > 0
    rows = {"last epoch (headline)" if trained else "frozen probe (headline)": validation["last"]}
    if trained:
        rows[f"best epoch ({validation['best']['epoch']}), with hindsight"] = validation["best"]
    if rest:
        rows["last epoch, on the unlabelled folds" if trained else "on the unlabelled folds"] = rest["last"]
    columns = {
        "accuracy [%]": "accuracy",
        "by recording [%]": "accuracy_by_recording",
        "AUC [%]": "auc_weighted",
    }
    table = pd.DataFrame(
        {name: {column: row.get(key) for column, key in columns.items()} for name, row in rows.items()},
        dtype=float,
    ).T
    for column, metric in (("accuracy [%]", "accuracy"), ("AUC [%]", "auc")):
        low, high = found[metric]["low"], found[metric]["high"]
        shown = "none" if low is None else f"{low:.1f} to {high:.1f}"
        table.insert(table.columns.get_loc(column) + 1, column.replace("[%]", "95 % interval"), "")
        table.iloc[0, table.columns.get_loc(column) + 1] = shown
    numbers = list(columns)
    label = " (synthesised audio)" if metrics["synthesised"] else ""
    return table.style.format("{:.1f}", subset=numbers, na_rep="–").set_caption(
        f"Fold {validation['folds'][0]}: {validation['clips']} clips of {validation['recordings']} "
        f"recordings{label}"
    )


ABLATIONS = ("table2", "table3", "table4")


def ablations(config) -> dict[str, list[dict]]:
    """Rows of Tables 2 to 4 (`tables.build`) from those runs of this profile that are finished. Records that
    cannot be read are left out here; notebook 06 reads every record and names the damaged one."""
    from contextlib import suppress

    from esc_suite.records import runs
    from esc_suite.results import comparison
    from esc_suite.results.spec import read_spec
    from esc_suite.tables import rows
    from esc_utils.errors import UserError

    spec, results, outputs = read_spec(), comparison.Results(), paths.outputs_folder(config).parent
    tables = {name: spec["tables"][name] for name in ABLATIONS}
    wanted = {
        (row["experiment"], fold)
        for table in tables.values()
        for row in table["rows"]
        for fold in table["folds"]
    }
    for experiment, fold in sorted(wanted):
        for path in comparison.run_folders(outputs, config.profile, experiment):
            if path.name.startswith(f"fold{fold}_"):
                with suppress(UserError):
                    comparison.add(results, runs.read(path))
    return {name: rows.build(spec, results, name, config.profile) for name in tables}


def ablations_table(built: dict[str, list[dict]]):
    """Rows of `ablations` that have a run, as a styled table: accuracy with its interval and AUC, printed and
    ours, and the differences to the row that each is compared with and to the control."""
    import pandas as pd

    from esc_suite.results.comparison import daggers, short_name

    lines, there = (
        {},
        [(name, row) for name, rows in built.items() for row in rows if row["accuracy"] is not None],
    )
    for name, row in there:
        interval = (
            "" if row["accuracy_low"] is None else f"{row['accuracy_low']:.1f} to {row['accuracy_high']:.1f}"
        )
        gap, gain = row.get("accuracy_difference"), row.get("control_difference")
        lines[f"Table {name[-1]}", short_name(row["row"])] = {
            "the paper's accuracy [%]": row["paper_accuracy"],
            "accuracy [%]": row["accuracy"],
            "95 % interval": interval,
            "AUC [%]": row["auc"],
            "to its baseline": "" if gap is None else f"{gap:+.1f} ({short_name(row['baseline'])})",
            "to the control": "" if gain is None else f"{gain:+.1f}",
        }
    table = pd.DataFrame(lines).T
    table = table.loc[:, (table != "").any()]
    shown = table.style.format("{:.1f}", subset=[column for column in table if "[%]" in column], na_rep="–")
    return shown.set_caption(". ".join(daggers(row for _, row in there)))


def keeper(config, notebook: str, dataset=None, run=None, of_run: bool = False):
    """`figures.save` for one notebook: call it with a figure and name=...; it returns the picture to show. A
    figure has its own text alternative and caption, unless alt=... and caption=... are given.

    config: RunConfig; notebook: file name without .ipynb; dataset: where the figures are about the data; run:
    where they are about one run, whose record then gives the provenance and whose figures get a folder of
    their own; of_run: they get that folder before the run has a record.
    """
    folder, of_run = paths.outputs_folder(config) / "figures", of_run or run is not None
    if of_run:
        folder = folder / config.experiment / f"fold{config.train_fold}_seed{config.seed}"
    where = _provenance(config, dataset) if run is None else run.metrics["provenance"]
    dpi = RUN_DPI if of_run else 200
    return partial(
        figures.save, folder=folder, command=needed_runs.command(config, notebook, of_run), provenance=where,
        formats=tuple(config.figure_formats), dpi=dpi,
    )  # fmt: skip


def _provenance(config, dataset) -> dict:
    commit, dirty = provenance.commit()
    about = {
        "commit": commit,
        "dirty": dirty,
        "config_hash": config.hash,
        "code_hash": provenance.code_hash(),
    }
    if dataset is not None:
        about["dataset_fingerprint"] = dataset.fingerprint
    return about | {"versions": provenance.versions()}
