"""Figures of folds, for notebook 05: dots, mean ROC. Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.runs import FPR_GRID, one_vs_rest, weighted_mean
from esc_suite.results.comparison import daggers, short_name

METRICS = (("accuracy", "accuracy [%]"), ("auc", "ROC AUC, weighted [%]"))


@style.figure
def fold_dots(folds, paper=None, title="Every fold, their mean and deviation"):
    """One dot per row and fold, mean and standard deviation as a bar, the paper's mean as an open diamond.

    folds: DataFrame with row (label), experiment, fold, accuracy, auc (%). paper: {row: (accuracy, auc)},
    None for a number that was not printed. Rows appear in the order of their first line; each says how many
    folds it has.
    """
    rows = list(dict.fromkeys(folds["row"]))
    figure = style.new(7.0, 1.5 + 0.62 * len(rows), title)
    panels = figure.subplots(1, 2, sharey=True)
    for metric, (axes, (column, unit)) in enumerate(zip(panels, METRICS, strict=True)):
        for at, row in enumerate(rows):
            own = folds[folds["row"] == row].sort_values("fold")
            look = style.method(own["experiment"].iloc[0])
            values = own[column].to_numpy(float)
            offset = np.interp(own["fold"], (1, 10), (-0.22, 0.22))
            axes.scatter(
                values, at + offset, s=16, color=look["color"], alpha=0.6, linewidths=0, marker=look["marker"]
            )
            values = values[np.isfinite(values)]
            if values.size:
                spread = values.std(ddof=1) if values.size > 1 else 0.0
                axes.errorbar(values.mean(), at + 0.36, xerr=spread, color=look["color"], marker="|",
                              markersize=9,
                              markeredgewidth=2.4, elinewidth=2, capsize=0)  # fmt: skip
            printed = (paper or {}).get(row, (None, None))[metric]
            if printed is not None:
                axes.plot(
                    printed,
                    at + 0.36,
                    "D",
                    markerfacecolor="white",
                    markeredgecolor="black",
                    markersize=6,
                    zorder=4,
                )
        axes.set_xlabel(unit)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    counts = [folds.loc[folds["row"] == row, "fold"].nunique() for row in rows]
    panels[0].set_yticks(
        range(len(rows)),
        [f"{wrapped(short_name(row), 28)}\n{n} of 10 folds" for row, n in zip(rows, counts, strict=True)],
    )
    panels[0].set_ylim(len(rows) - 0.4, -0.5)
    notes = ". ".join(daggers({"row": row} for row in rows))
    _paper_key(figure, bool(paper), "one fold", "mean \N{PLUS-MINUS SIGN} standard deviation", notes)
    means = folds.groupby("row", sort=False)["accuracy"].mean()
    return style.described(
        figure,
        "Accuracy and AUC of every fold, by row, with mean and standard deviation; mean accuracy: "
        + "; ".join(f"{short_name(row)} {mean:.1f} %" for row, mean in means.items()),
        "Open diamonds are the paper's means." if paper else "",
    )


def wrapped(text: str, width: int = 24) -> str:
    """Lines of at most `width` characters; a remark in brackets at the end stays together where it can."""
    import re
    import textwrap

    parts = [text] if len(text) <= width else re.split(r" (?=[\[(][^\[(]*$)", text, maxsplit=1)
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_on_hyphens=False)]
    return "\n".join(lines) or text


def _paper_key(figure, paper: bool, dot: str, bar: str, notes: str):
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=style.MUTED, marker="o", linestyle="none", markersize=4, label=dot)]
    keys.append(
        Line2D(
            [], [], color=style.MUTED, marker="|", markersize=9, markeredgewidth=2.4, linewidth=2, label=bar
        )
    )
    if paper:
        keys.append(Line2D([], [], color="black", marker="D", markerfacecolor="white", linestyle="none",
                    markersize=6,
                           label="the paper's number"))  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncols=3, title=notes or None, title_fontsize=8.5)


@style.figure
def mean_roc(rows, class_index=None, class_name="", title=""):
    """Mean ROC of every row with a band of one standard deviation over its folds.

    rows: list of (label, experiment, [(labels (clips,), prob (clips, classes)) of each fold]). class_index:
    that class against the rest; None: classes averaged by their clips first [ledger 20]. Folds without the
    class are left out.
    """
    drawn = [(label, experiment, *fold_curves(folds, class_index)) for label, experiment, folds in rows]
    figure = roc_frame(title or roc_title(class_index, class_name))
    roc_artists(figure, drawn)
    areas = [f"{short_name(label)} {100 * found.mean():.1f} %" for label, _, _, found in drawn if len(found)]
    return style.described(
        figure,
        "Mean ROC curve of each row with a band of one standard deviation over folds; AUC: "
        f"{'; '.join(areas) or 'none'}",
        "The band is one standard deviation over the folds.",
    )


def roc_title(class_index, class_name="") -> str:
    """Title of `mean_roc`."""
    chosen = (
        "weighted mean of the classes"
        if class_index is None
        else style.spoken(class_name or f"class {class_index}")
    )
    return f"Mean ROC over the folds: {chosen}"


@style.figure
def roc_frame(title=""):
    """`mean_roc` without its rows: the axes "roc" and, for their list, "rows"."""
    figure = style.new(
        7.0, 4.3, title, {"left": 0.085, "right": 0.99, "bottom": 0.11, "top": 0.88, "wspace": 0.06}
    )
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    left.set_label("roc")
    right.set_label("rows")
    left.plot([0, 1], [0, 1], color=style.LINE, linewidth=1, linestyle=(0, (2, 2)))
    right.axis("off")
    right.text(0.17, 1.0, "AUC [%], mean \N{PLUS-MINUS SIGN} "
                          "deviation", transform=right.transAxes, fontsize=8.5,
               color=style.MUTED, va="top")  # fmt: skip
    left.set(
        xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.015, 1.01), ylim=(-0.01, 1.015)
    )
    left.set_aspect("equal")
    left.grid()
    return figure


def roc_artists(figure, rows) -> list:
    """Draw rows into a `roc_frame`: the artists that were added, to be laid over it again and removed.

    rows: (label, experiment, curves (folds, points), areas (folds,)) with the latter two from
    `fold_curves`."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon

    left, right = (
        next(axes for axes in figure.axes if axes.get_label() == label) for label in ("roc", "rows")
    )
    made, line_at = [], 1.8  # the list on the right counts in lines of text
    for label, experiment, curves, areas in rows:
        look = style.method(experiment)
        line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 2}
        words = f"{wrapped(short_name(label), 32)}\nno fold has this class"
        if len(curves):
            mean, spread = curves.mean(axis=0), curves.std(axis=0, ddof=1 if len(curves) > 1 else 0)
            low, high = np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1)
            band = np.stack([np.r_[FPR_GRID, FPR_GRID[::-1]], np.r_[low, high[::-1]]], axis=1)
            made.append(left.add_artist(Polygon(band, facecolor=look["color"], alpha=0.16, linewidth=0)))
            # `plot` would measure the limits, which stand
            made.append(left.add_artist(Line2D(FPR_GRID, mean, **line)))
            deviation = 100 * areas.std(ddof=1) if len(areas) > 1 else 0.0
            area = f"{100 * areas.mean():.1f} \N{PLUS-MINUS SIGN} {deviation:.1f}"
            words = f"{wrapped(short_name(label), 32)}\n{area}, n = {len(areas)} folds"
        lines = words.count("\n") + 1
        made.append(right.add_artist(Line2D([0, 0.13], [line_at + 0.45] * 2, **line)))
        made.append(right.text(0.17, line_at, words, va="top", fontsize=8.5, linespacing=1.15))
        line_at += lines + 0.8
    for note in daggers({"row": label} for label, *_ in rows):
        made.append(right.text(0, line_at, note, va="top", fontsize=8, color=style.MUTED))
        line_at += 1.2
    right.set(xlim=(0, 1), ylim=(max(line_at, 20), 0))
    return made


def fold_curves(folds, class_index=None) -> tuple[np.ndarray, np.ndarray]:
    """ROC of every fold on FPR_GRID, (folds, points), and its AUC, (folds,); undefined ones are left out.

    folds: list of (labels (clips,), prob (clips, classes)); class_index: as in `mean_roc`."""
    return _gather([(labels, one_vs_rest(labels, prob)) for labels, prob in folds], class_index)


def all_fold_curves(folds) -> dict:
    """`fold_curves` of the weighted mean (key None) and of every class (its index), each ROC made once."""
    found = [(labels, one_vs_rest(labels, prob)) for labels, prob in folds]
    classes = len(found[0][1]) if found else 0
    return {index: _gather(found, index) for index in (None, *range(classes))}


def _gather(found, class_index):
    curves, areas = [], []
    for labels, curve_of in found:
        if class_index is None:
            tpr, area = weighted_mean(labels, curve_of)
        elif curve_of[class_index]:
            tpr, area = np.interp(FPR_GRID, *curve_of[class_index][:2]), curve_of[class_index][2]
        else:
            continue
        if np.isfinite(area):
            curves.append(tpr)
            areas.append(area)
    return np.array(curves), np.array(areas)
