"""Figures of confidence and threshold (notebooks 04 and 06): whether the confidence can be believed, and what
another tau would have accepted. Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.results import pseudo as counting


@style.figure
def reliability(calibration, tau, title="Reliability of the pseudo-labels"):
    """Accuracy against confidence, for all pseudo-labels and for those that tau accepts, with ECE and counts.

    calibration: {"before", "after"} as `audit.calibration` gives it; its bins are the ones drawn.
    """
    margins = {"left": 0.1, "right": 0.97, "bottom": 0.19, "top": 0.8, "wspace": 0.16, "hspace": 0.12}
    figure = style.new(7.0, 4.6, title, margins)
    panels = figure.subplots(2, 2, sharex="col", height_ratios=(3.2, 1))
    for column, (key, name) in enumerate(
        (("before", "before the threshold"), ("after", f"after it, tau = {tau:g}"))
    ):
        found = calibration[key]
        bins = found["bins"]
        above, below = panels[:, column]
        width, middle = (bins["high"] - bins["low"]) * 0.94, (bins["high"] + bins["low"]) / 2
        low = (
            0.0
            if key == "before"
            else float(bins["low"][bins["high"] > tau + 1e-9].min())
            if tau < 1
            else 0.9
        )
        above.bar(middle, 100 * bins["accuracy"], width, color=style.RIGHT, label="accuracy of the bin")
        above.bar(middle, 100 * (bins["confidence"] - bins["accuracy"]), width, bottom=100 * bins["accuracy"],
                  color="none", edgecolor=style.WRONG, hatch="////", linewidth=0.8,
                  label="gap to its confidence")  # fmt: skip
        above.plot(
            [low, 1],
            [100 * low, 100],
            color="black",
            linestyle="--",
            linewidth=1,
            label="perfectly calibrated",
        )
        ece = "undefined" if found["ece"] is None else f"{found['ece']:.1f} points"
        above.set_title(f"{name}\nECE {ece}, {found['clips']:,} clips", fontsize=9, fontweight="normal")
        above.set(ylim=(0, 102), xlim=(low, 1))
        below.bar(middle, bins["clips"], width, color=style.TRAIN)
        below.set_xlabel("confidence (largest softmax)")
        for axes in (above, below):
            axes.grid(axis="y")
    panels[0, 0].set_ylabel("right [%]")
    panels[1, 0].set_ylabel("clips")
    style.key_below(figure, *panels[0, 0].get_legend_handles_labels(), 3)
    return style.described(
        figure,
        "Accuracy against confidence in bins, for all pseudo-labels and for the accepted ones, with the gap "
        "to the "
        "diagonal; below, the clips of each bin",
        "ECE: expected calibration error, the mean gap between confidence and accuracy.",
    )


@style.figure
def threshold_sweep(found, tau, title="What another threshold would have accepted"):
    """Coverage, accuracy and yield (right less wrong) of the accepted pseudo-labels for every tau.

    found: as `audit.tau_yield` gives it. Hindsight over stored confidences; nothing is trained again.
    """
    table, best = found["table"], found["best"]
    total = (table["accepted"] / table["coverage"]).max()
    figure = style.new(7.0, 3.5, title)
    axes = figure.add_subplot()
    gain = 100 * table["yield"] / total
    axes.plot(
        table["tau"], 100 * table["accuracy"], color=style.RIGHT, linewidth=2, label="right, of the accepted"
    )
    axes.plot(table["tau"], 100 * table["coverage"], color=style.ACCENT, linestyle="--", linewidth=2,
              label="accepted, of all drawn")  # fmt: skip
    axes.plot(
        table["tau"],
        gain,
        color="#009E73",
        linestyle="-.",
        linewidth=2,
        label="yield: accepted right less wrong",
    )
    if best is not None:
        top = 100 * best["yield"] / total
        axes.plot(best["tau"], top, "D", color="white", markeredgecolor="#009E73", markeredgewidth=1.8,
                  markersize=7,
                  zorder=4, label=f"best yield: {top:.1f} at tau = {best['tau']:.2f}")  # fmt: skip
    axes.axvline(tau, color="black", linestyle=":", linewidth=1.5, label=f"tau of this run = {tau:g}")
    axes.set(xlabel="threshold tau", ylabel="unlabelled clips [%]", xlim=(0.1, 1))
    axes.grid()
    figure.legend(loc="outside lower center", ncols=3)
    return style.described(
        figure,
        "Three curves over all thresholds: accuracy of the accepted, accepted share, and yield"
        + (f", which is largest at tau = {best['tau']:.2f}" if best is not None else ""),
        "From the confidences of one finished run; nothing is trained again.",
    )


@style.figure
def confidence_roc(confidence, right, tau, title="Does confidence tell right from wrong?"):
    """ROC of accepting by confidence, over all thresholds, with the point where tau stands.

    confidence, right: (clips,) of one epoch. Up: right labels that are accepted; across: wrong ones that are,
    too.
    """
    figure = style.new(3.6, 3.6, title, {"left": 0.17, "right": 0.95, "bottom": 0.14, "top": 0.86})
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color=style.LINE, linewidth=1, linestyle=(0, (2, 2)))
    curve, point = confidence_curve(confidence, right, tau)
    axes.plot(*curve, color=style.INK, linewidth=2)
    axes.plot(*point, "o", color=style.ACCENT, markersize=8, zorder=4, clip_on=False)
    axes.text(97, 3, "dot: tau", ha="right", color=style.ACCENT, fontsize=8.5)
    axes.set(
        xlabel="wrong labels accepted [%]", ylabel="right labels accepted [%]", xlim=(0, 100), ylim=(0, 101)
    )
    axes.grid()
    return style.described(
        figure, "ROC curve of right against wrong labels accepted, with a dot where tau stands"
    )


def confidence_curve(confidence, right, tau):
    """What `confidence_roc` draws, in per cent: (across, up) over all thresholds, and at tau; empty where
    labels are all right or all wrong, since there is no curve then."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, bool)
    drawn = np.isfinite(confidence)
    confidence, right = confidence[drawn], right[drawn]
    if right.all() or not right.any():
        return ([], []), ([], [])
    ranked = np.argsort(-confidence, kind="stable")
    good, bad = np.cumsum(right[ranked]), np.cumsum(~right[ranked])
    passed = confidence >= np.float32(tau)
    curve = np.r_[0, 100 * bad / bad[-1]], np.r_[0, 100 * good / good[-1]]
    return curve, ([100 * np.mean(passed[~right])], [100 * np.mean(passed[right])])


@style.figure
def threshold_comparison(runs, title="The same labels under each threshold"):
    """Mask rate, accuracy of the accepted, and accepted-and-right over the epochs, one line per run.

    runs: list of (label, experiment, confidence, pseudo, labels, tau); the experiment gives the line its
    colour.
    """
    figure = style.new(7.0, 3.3, title)
    panels = figure.subplots(1, 3, sharey=True)
    heads = (
        ("accepted", "Accepted\n(mask rate)"),
        ("accuracy", "Right,\nof the accepted"),
        ("right", "Accepted\nand right"),
    )
    span = [1]
    for label, experiment, confidence, pseudo, labels, tau in runs:
        share = counting.shares(counting.states(confidence, pseudo, labels, tau))
        numbers = np.arange(1, len(share["accepted"]) + 1)
        span.extend(numbers)
        look = style.method(experiment) | {"markersize": 4, "markevery": max(1, len(numbers) // 8)}
        for axes, (key, _) in zip(panels, heads, strict=True):
            axes.plot(numbers, 100 * share[key], label=label, **look)
    for axes, (_, name) in zip(panels, heads, strict=True):
        axes.set_title(name, fontsize=9)
        axes.set(xlabel="epoch", ylim=(0, 102))
        style.epoch_axis(axes, span)
        axes.grid()
    panels[0].set_ylabel("unlabelled clips drawn [%]")
    handles, names = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=3)
    return style.described(
        figure,
        f"Three panels over epochs, one line a run ({', '.join(label for label, *_ in runs)}): mask rate, "
        "accuracy of the accepted, accepted and right",
        "Each run has its own threshold; the labels are those hidden from training.",
    )
