"""Figures of the pseudo-label audit (notebooks 04 and 06). Arrays in, Figure out; counted in
`esc_suite.results.pseudo`.

Everywhere: confidence, pseudo (epochs, clips); labels (clips,) hidden from training; tau the threshold;
epochs (epochs,) their numbers, 1, 2, ... when not given.
"""

import numpy as np

from esc_suite.figures import style
from esc_suite.results import pseudo as counting


def _numbers(state, epochs):
    return np.arange(1, len(state) + 1) if epochs is None else np.asarray(epochs)


@style.figure
def pseudo_label_curves(confidence, pseudo, labels, tau, epochs=None, title="Pseudo-labels over the epochs"):
    """Mask rate, accuracy of the accepted pseudo-labels, their product, and the accuracy without a
    threshold."""
    state = counting.states(confidence, pseudo, labels, tau)
    numbers, share = _numbers(state, epochs), counting.shares(state)
    free = counting.shares(counting.states(confidence, pseudo, labels, 0.0))["accuracy"]
    figure = style.new(7.0, 3.5, title)
    axes = figure.add_subplot()
    lines = (
        (share["accuracy"], "right, of the accepted", style.RIGHT, "-"),
        (free, "right, of all drawn (no threshold)", style.MUTED, ":"),
        (share["accepted"], "accepted, of all drawn (mask rate)", style.ACCENT, "--"),
        (share["right"], "accepted and right, of all drawn", "#009E73", "-."),
    )
    few = "o" if len(numbers) <= 15 else None
    for values, label, colour, dashes in lines:
        final = f"{100 * values[-1]:.1f}" if np.isfinite(values[-1]) else "\N{EN DASH}"
        axes.plot(numbers, 100 * values, color=colour, linestyle=dashes, marker=few, markersize=3.5,
                  label=f"{label}: {final}", linewidth=2)  # fmt: skip
    style.epoch_axis(axes, numbers)
    axes.set(xlabel="epoch", ylabel="unlabelled clips [%]", ylim=(0, 102))
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2, title=f"tau = {tau:g}; the number is the last epoch's")
    ends = {
        name: "none" if not np.isfinite(value[-1]) else f"{value[-1]:.0%}" for name, value in share.items()
    }
    return style.described(
        figure,
        f"Four curves over {len(numbers)} epochs; at the end {ends['accepted']} of the drawn clips are "
        "accepted, "
        f"and of these {ends['accuracy']} have the right label",
        f"Pseudo-labels against the hidden labels, tau = {tau:g}.",
    )


@style.figure
def pseudo_label_by_class(
    confidence,
    pseudo,
    labels,
    tau,
    classes,
    recordings=None,
    epochs=None,
    title="Pseudo-labels by true class",
):
    """One panel a class: accepted share (area) and accuracy of the accepted (line) over the epochs, hidden
    labels.

    recordings: (clips,) fsID; when given, each panel says how many of the class's recordings were ever
    accepted from.
    """
    state = counting.states(confidence, pseudo, labels, tau)
    numbers, labels = _numbers(state, epochs), np.asarray(labels)
    heard = recordings is not None and counting.recordings_of_accepted(
        state, labels, recordings, len(classes)
    )
    rows, columns = style.panel_grid(len(classes), 5)
    tall = 1.75 + 1.4 * rows
    margins = {
        "left": 0.085,
        "right": 0.985,
        "bottom": 0.85 / tall,
        "top": 1 - 0.9 / tall,
        "wspace": 0.14,
        "hspace": 0.5,
    }
    figure = style.new(7.0, tall, title, margins)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    single = len(numbers) == 1
    area = line = None
    for index, (axes, name) in enumerate(zip(panels.flat, classes, strict=False)):
        axes.set_title(style.spoken(name), fontsize=8.5, pad=13 if heard else None)
        own = state[:, labels == index]
        if not own.shape[1]:
            axes.text(
                0.5, 0.5, "no clips", transform=axes.transAxes, ha="center", va="center", color=style.MUTED
            )
            continue
        share = counting.shares(own)
        if single:
            area = axes.bar(numbers, 100 * share["accepted"], width=0.5, color="#C9D3DC")
        else:
            area = axes.fill_between(numbers, 100 * share["accepted"], color="#C9D3DC", linewidth=0)
        (line,) = axes.plot(numbers, 100 * share["accuracy"], color=style.colour_of(index), linewidth=2,
                            marker="o" if len(numbers) <= 15 else None, markersize=3)  # fmt: skip
        if heard:
            words = f"{heard[index][0]} of {heard[index][1]} recordings"
            axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=7.5, color=style.MUTED)
    for axes in panels.flat:
        axes.set_ylim(0, 104)
        axes.grid(axis="y")
        style.epoch_axis(axes, numbers, most=3)
    for axes in panels.flat[len(classes) :]:
        axes.set_visible(False)
    panels[-1, columns // 2].set_xlabel("epoch")
    figure.supylabel("clips of the class [%]", fontsize=9.5, x=0.005)
    if area is not None:
        keys = [area, line]
        names = ["accepted (mask rate)", "right, of the accepted (line in the class's colour)"]
        style.key_below(figure, keys, names, 2)
    return style.described(
        figure,
        f"{len(classes)} panels, one for each true class, over {len(numbers)} epochs: accepted share as an "
        "area, "
        "accuracy of the accepted as a line",
        f"By true class, tau = {tau:g}; above a panel: the recordings that any accepted clip came from.",
    )


@style.figure
def confidence_histograms(
    confidence, pseudo, labels, tau, epochs=None, bins=20, title="Confidence of the weak view against tau"
):
    """Confidence of right and wrong pseudo-labels at an early, a middle and a late epoch, and what tau lets
    through."""
    state = counting.states(confidence, pseudo, labels, tau)
    numbers, share = _numbers(state, epochs), counting.shares(state)
    picks = sorted({0, (len(state) - 1) // 2, len(state) - 1})
    margins = {"left": 0.085, "right": 0.985, "bottom": 0.255, "top": 0.75, "wspace": 0.1}
    figure = style.new(7.0, 3.4, title, margins)
    panels = figure.subplots(1, len(picks), sharey=True, squeeze=False)[0]
    edges = np.linspace(0, 1, bins + 1)
    for axes, at in zip(panels, picks, strict=True):
        values, hit = np.asarray(confidence[at], float), np.asarray(pseudo[at]) == np.asarray(labels)
        drawn = state[at] != counting.NOT_DRAWN
        kinds = [values[drawn & hit], values[drawn & ~hit]]
        weights = [np.full(kind.size, 100 / max(1, drawn.sum())) for kind in kinds]
        axes.hist(kinds, edges, weights=weights, stacked=True, color=[style.RIGHT, style.WRONG],
                  label=["right", "wrong"], edgecolor="white", linewidth=0.3)  # fmt: skip
        axes.axvline(tau, color="black", linewidth=1.5, linestyle="--", label=f"tau = {tau:g}")
        accuracy = f"{share['accuracy'][at]:.0%}" if np.isfinite(share["accuracy"][at]) else "\N{EN DASH}"
        accepted = f"{share['accepted'][at]:.0%}" if np.isfinite(share["accepted"][at]) else "\N{EN DASH}"
        axes.set_title(f"epoch {numbers[at]:g}\n{accepted} accepted, {accuracy} of it right", fontsize=8.5,
                       fontweight="normal")  # fmt: skip
        axes.set(xlim=(0, 1), xlabel="confidence (largest softmax)")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.grid(axis="y")
    panels[0].set_ylabel("drawn clips [%]")
    style.key_below(figure, *panels[0].get_legend_handles_labels(), 3)
    return style.described(
        figure,
        "Histograms of the confidence of right and wrong pseudo-labels in epochs "
        f"{', '.join(f'{numbers[i]:g}' for i in picks)}, with a line at tau = {tau:g}",
        "Confidence of the weak view in an early, a middle and a late epoch.",
    )
