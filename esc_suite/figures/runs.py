"""Figures of one run (notebooks 03 and 04): learning curves, confusion matrix, ROC curves. Arrays in, Figure
out."""

import numpy as np

from esc_suite.figures import style

FPR_GRID = np.linspace(0, 1, 401)


@style.figure
def learning_curves(history, rates=None, blended=True, title="Learning curves"):
    """Loss, accuracy and AUC over the epochs, and the learning rate of every step.

    history: DataFrame of a run record's history.csv; rates: (epochs, learning rates) of every step, from
    `notebook.step_rates`; blended: whether mixup was on. Epoch 0 is the start, before any training, which has
    scores but no training loss; a frozen probe has no other. Columns that are absent or empty are left out.
    The last epoch is the headline.
    """
    margins = {"left": 0.1, "right": 0.985, "bottom": 0.205, "top": 0.85, "wspace": 0.24, "hspace": 0.22}
    figure = style.new(7.0, 5.4, title, margins)
    panels = figure.subplots(2, 2, sharex=True)
    shown = "masked blends" if blended else "masked clips"
    alone = not _has(history, "unlabelled_loss")  # a supervised run's loss is its labelled loss
    losses = {
        "loss": (f"training, {shown}" if alone else f"training, sum, {shown}", style.INK, "-"),
        "supervised_loss": (f"training, labelled {shown}", style.TRAIN, "--"),
        "unlabelled_loss": (f"training, unlabelled {shown}", style.ACCENT, "-."),
        "valid_loss": ("validation, clean clips", style.VALID, "-"),
    }
    for column, (label, colour, dashes) in losses.items():
        if not (alone and column == "supervised_loss"):
            _curve(panels[0, 0], history, column, label=label, color=colour, linestyle=dashes)
    panels[0, 0].set_ylabel("loss [nats]")
    for axes, column, label in (
        (panels[0, 1], "valid_accuracy", "accuracy"),
        (panels[1, 0], "valid_auc", "AUC"),
    ):
        _curve(axes, history, column, color=style.VALID)
        axes.set_ylabel(f"validation {label} [%]")
        _mark_ends(axes, history, column)
    rate = panels[1, 1]
    rate.set_ylabel("rate of a step [1e-4]")
    if rates is not None and len(rates[1]):
        rate.plot(rates[0], 1e4 * np.asarray(rates[1]), color=style.INK)
        rate.set_title(
            f"peak {1e4 * np.max(rates[1]):.2g}e-4", loc="right", fontsize=8.5, fontweight="normal"
        )
    for axes in (panels[0, 0], rate):
        _from_zero(axes)
    style.key_below(figure, *panels[0, 0].get_legend_handles_labels(), 2, "Loss in")
    for axes in panels.flat:
        axes.grid()
    for axes in panels[1]:
        axes.set_xlabel("epoch")
        style.epoch_axis(axes, history["epoch"])
    last = history["valid_accuracy"].dropna().iloc[-1]
    return style.described(
        figure,
        f"Four panels over {history['epoch'].max():.0f} epochs: losses in training and validation, "
        "validation "
        f"accuracy, which ends at {last:.1f} %, weighted AUC, and the learning rate of every step",
        "The disc is the last epoch, the headline; the open diamond is the best one.",
    )


def _from_zero(axes):
    tops = [np.nanmax(line.get_ydata()) for line in axes.lines]
    axes.set_ylim(0, 1.08 * max(tops, default=1.0) or 1.0)
    if not tops:
        _nothing(axes)


def _nothing(axes):
    axes.text(0.5, 0.5, "no step of training", transform=axes.transAxes, ha="center", color=style.MUTED)


def _has(history, column: str) -> bool:
    return column in history and bool(np.isfinite(history[column].to_numpy(float)).any())


def _curve(axes, history, column, **style_of):
    if not _has(history, column):
        return
    values = history[column].to_numpy(float)
    there = np.isfinite(values)
    epochs = history["epoch"].to_numpy(float)[there]
    axes.plot(epochs, values[there], marker="o" if there.sum() <= 15 else None, markersize=3.5, **style_of)


def _mark_ends(axes, history, column):
    """Marks at the last epoch (the headline) and at the best one; their numbers stand above the panel, off
    the line."""
    if not _has(history, column):
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=style.MUTED)
        return
    values, epochs = history[column].to_numpy(float), history["epoch"].to_numpy(float)
    last, best = int(np.flatnonzero(np.isfinite(values))[-1]), int(np.nanargmax(values))
    look = {"color": style.ACCENT, "clip_on": False, "linestyle": "none"}
    axes.plot(epochs[last], values[last], marker="o", markersize=6.5, zorder=4, **look)
    axes.plot(epochs[best], values[best], marker="D", markerfacecolor="none", markersize=9, zorder=5, **look)
    words = (
        f"\N{BLACK CIRCLE} last {values[last]:.1f}   \N{WHITE DIAMOND} best {values[best]:.1f} in epoch "
        f"{epochs[best]:.0f}"
    )
    axes.set_title(words, loc="right", fontsize=8.5, fontweight="normal", color=style.ACCENT)
    low, high = np.nanmin(values), np.nanmax(values)
    room = 0.08 * max(high - low, 1.0)
    axes.set_ylim(low - room, high + room)


@style.figure
def confusion_matrix(labels, predicted, classes, title="Confusion matrix", predicted_as="predicted class"):
    """Rows are true classes and sum to 100 %; each cell holds the per cent and, below, the count of clips.

    labels, predicted: (clips,) class ids. A true class without clips is hatched, not shown as 0 %.
    """
    import seaborn

    size = len(classes)
    labels, predicted = np.asarray(labels, dtype=int), np.asarray(predicted, dtype=int)
    counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    totals = counts.sum(axis=1)
    percent = 100 * counts / np.maximum(totals, 1)[:, None]
    cells = np.array([f"{p:.0f}%\n{n}" if n else "" for p, n in zip(percent.flat, counts.flat, strict=True)])
    names = list(map(style.spoken, classes))
    figure = style.new(7.0, 6.1, title)
    axes = figure.add_subplot()
    seaborn.heatmap(
        percent, vmin=0, vmax=100, cmap="Blues", annot=cells.reshape(size, size), fmt="", ax=axes,
        annot_kws={"fontsize": 7.5, "linespacing": 1.05}, linewidths=0.6, linecolor="#E8E8E8",
        yticklabels=[f"{name} ({total})" for name, total in zip(names, totals, strict=True)],
        cbar_kws={"label": "clips of the true class [%]", "pad": 0.015, "fraction": 0.035, "aspect": 35},
    )  # fmt: skip
    axes.set_xticks(np.arange(size) + 0.5, names, rotation=38, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    for row in np.flatnonzero(totals == 0):
        axes.axhspan(row, row + 1, facecolor="#F2F2F2", edgecolor=style.LINE, hatch="////", linewidth=0)
        axes.text(size / 2, row + 0.5, "no clips", ha="center", va="center", fontsize=8, color=style.MUTED,
                  bbox={"facecolor": "#F2F2F2", "edgecolor": "none", "pad": 1})  # fmt: skip
    right = np.trace(counts) / max(1, totals.sum())
    axes.set(xlabel=predicted_as, ylabel="true class (clips)")
    axes.set_title(f"{right:.1%} of {totals.sum():,} clips right", fontsize=9, fontweight="normal")
    return style.described(
        figure,
        f"Table of {size} true classes by {predicted_as}, in per cent of the true class with counts; "
        f"{right:.1%} "
        f"of {totals.sum():,} clips lie on the diagonal",
        f"Each row is a true class; {totals.sum():,} clips.",
    )


def one_vs_rest(labels, prob):
    """ROC of each class against the rest: list over classes of (fpr, tpr, auc), or None where AUC is
    undefined.

    labels: (clips,) class ids; prob: (clips, classes) scores. Undefined: no clip, or every clip, of that
    class.
    """
    from sklearn.metrics import auc, roc_curve

    labels, prob = np.asarray(labels), np.asarray(prob, dtype=float)
    curves = []
    for index in range(prob.shape[1]):
        positive = labels == index
        if not positive.any() or positive.all() or not np.isfinite(prob[:, index]).all():
            curves.append(None)
            continue
        fpr, tpr, _ = roc_curve(positive, prob[:, index])
        curves.append((fpr, tpr, float(auc(fpr, tpr))))
    return curves


def weighted_mean(labels, curves):
    """Mean ROC on FPR_GRID, classes weighted by their clips [ledger 20]: (tpr on the grid, weighted AUC)."""
    weights = np.array(
        [0 if curve is None else np.sum(np.asarray(labels) == i) for i, curve in enumerate(curves)], float
    )
    if not weights.sum():
        return np.full(FPR_GRID.shape, np.nan), np.nan
    weights /= weights.sum()
    tpr = sum(w * np.interp(FPR_GRID, *curve[:2]) for w, curve in zip(weights, curves, strict=True) if curve)
    return tpr, float(sum(w * curve[2] for w, curve in zip(weights, curves, strict=True) if curve))


@style.figure
def roc_curves(labels, prob, classes, title="ROC curves, one class against the rest"):
    """Left: ROC of every class and their weighted mean. Right: AUC of each class, best first, which is the
    legend too.

    labels: (clips,) class ids; prob: (clips, classes). A class without clips is listed as such and has no
    curve.
    """
    labels = np.asarray(labels)
    curves = one_vs_rest(labels, prob)
    mean_tpr, mean_auc = weighted_mean(labels, curves)
    figure = style.new(7.0, 4.1, title)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    left.plot([0, 1], [0, 1], color=style.LINE, linewidth=1, linestyle=(0, (2, 2)))
    left.text(0.70, 0.655, "chance", rotation=45, rotation_mode="anchor", transform_rotates_text=True,
              fontsize=8,
              color=style.MUTED, va="top")  # fmt: skip
    order = sorted(range(len(classes)), key=lambda i: -curves[i][2] if curves[i] else 1)
    for index in order:
        if curves[index]:
            left.plot(
                *curves[index][:2],
                color=style.colour_of(index),
                linestyle=style.DASHES[index % 10],
                linewidth=1.3,
            )
    left.plot(FPR_GRID, mean_tpr, color="white", linewidth=4.2)
    left.plot(FPR_GRID, mean_tpr, color="black", linewidth=2.4)
    left.set(
        xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.015, 1.01), ylim=(-0.01, 1.015)
    )
    left.set_aspect("equal")
    left.grid()
    _auc_list(right, labels, curves, order, classes, mean_auc)
    best = [style.spoken(classes[i]) for i in order if curves[i]]
    ends = f", from {best[0]} (best) to {best[-1]} (worst)" if best else ""
    return style.described(
        figure,
        "ROC curve of each class against the rest with their weighted mean, and a list of classes by "
        f"AUC{ends}",
        "The classes are listed from the best to the worst AUC; the thick line is their weighted mean.",
    )


def _auc_list(axes, labels, curves, order, classes, mean_auc):
    """Legend, ranking and numbers in one: a sample of each line, the class, its clips and its AUC."""
    axes.set(xlim=(0, 1), ylim=(len(order) + 1.4, -1.1))
    axes.axis("off")
    axes.text(0.17, -0.75, "class (clips)", fontsize=8.5, color=style.MUTED, va="center")
    axes.text(1.0, -0.75, "AUC [%]", fontsize=8.5, color=style.MUTED, va="center", ha="right")
    for row, index in enumerate(order):
        clips = int(np.sum(labels == index))
        if curves[index]:
            axes.plot(
                [0, 0.13],
                [row, row],
                color=style.colour_of(index),
                linestyle=style.DASHES[index % 10],
                linewidth=2,
            )
        axes.text(0.17, row, f"{style.spoken(classes[index])} ({clips})", va="center", fontsize=9)
        value = f"{100 * curves[index][2]:.1f}" if curves[index] else "\N{EN DASH}"
        axes.text(1.0, row, value, va="center", ha="right", fontsize=9)
    last = len(order) + 0.35
    axes.axhline(last - 0.7, color=style.LINE, linewidth=0.8)
    axes.plot([0, 0.13], [last, last], color="black", linewidth=2.4)
    axes.text(0.17, last, f"weighted mean ({len(labels)})", va="center", fontsize=9, fontweight="bold")
    value = f"{100 * mean_auc:.1f}" if np.isfinite(mean_auc) else "\N{EN DASH}"
    axes.text(1.0, last, value, va="center", ha="right", fontsize=9, fontweight="bold")
