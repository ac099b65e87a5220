"""The confidence-mask heat map of notebook 04: clips x epochs, accepted right, accepted wrong, rejected.
Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.results import pseudo as counting

IMAGE_ROWS = 640  # thousands of clips are averaged to this many rows, each class apart
LEAST_SHARE = 0.045  # of the height, so that the label of a small class has room


BAR_COLUMNS = 200  # pixels of a bar of 100 %


@style.figure
def mask_heatmap(confidence, pseudo, labels, classes, tau, epochs=None, at=-1, title="Confidence mask"):
    """Every unlabelled clip a row, every epoch a column, coloured by the state of its latest pseudo-label.

    confidence, pseudo: (epochs, clips); labels: (clips,) hidden from training; tau: threshold, which need not
    be the run's own. Clips are grouped by true class and sorted by the epoch of their first acceptance, never
    accepted last. Where a class has more clips than rows, a row is the mean colour of neighbouring clips.
    Above: shares over all clips; right: by class in epoch number `at` (an index). A small class is drawn a
    little taller than its share.
    """
    labels = np.asarray(labels)
    state = counting.states(*counting.latest(confidence, pseudo), labels, tau)
    numbers = np.arange(1, len(state) + 1) if epochs is None else np.asarray(epochs)
    pictures = panels(state, labels, at)
    figure = style.new(7.0, 6.9, title)
    grid = figure.add_gridspec(2, 2, width_ratios=(5.2, 1.5), height_ratios=(1, 6))
    main = figure.add_subplot(grid[1, 0], label="main")
    above = figure.add_subplot(grid[0, 0], label="above")
    side = figure.add_subplot(grid[1, 1], sharey=main, label="side")
    edge = (numbers[0] - 0.5, numbers[-1] + 0.5)
    rows = len(pictures["main"])
    main.imshow(pictures["main"], aspect="auto", extent=(*edge, rows, 0), interpolation="nearest")
    above.imshow(pictures["above"], aspect="auto", extent=(*edge, 0, 100), interpolation="nearest")
    side.imshow(pictures["side"], aspect="auto", extent=(0, 100, rows, 0), interpolation="nearest")
    present, bounds = pictures["present"], pictures["bounds"]
    _class_labels(main, classes, labels, present, bounds)
    _right_of_accepted(side, state[at], labels, present, bounds, numbers[at])
    above.set(ylabel="clips [%]")
    above.set_yticks([0, 50, 100])
    above.tick_params(labelbottom=False, length=2)
    main.set(xlabel="epoch", ylabel="unlabelled clips, by true class (clips); first accepted on top")
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    for axes in (main, above):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    keys = [
        Patch(facecolor=colour, edgecolor="#8C8C8C", linewidth=0.6, label=name)
        for name, colour in style.STATES.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, handlelength=1.2, columnspacing=1.4)
    shares = [f"{np.mean(state == kind):.0%} {name}" for kind, name in enumerate(style.STATES)]
    return style.described(
        figure,
        f"Heat map of {len(labels)} unlabelled clips, by true class, over {len(numbers)} epochs: "
        f"{'; '.join(shares)}",
        f"Each row is a clip, each column an epoch; tau = {tau:g}. A clip keeps its state until it is drawn "
        "again.",
    )


def panels(state, labels, at=-1) -> dict:
    """The three panels as RGB pictures (rows, columns, 3), 0..1: `main` (clips x epochs), `above` (shares by
    epoch), `side` (shares by class in epoch `at`); and `present` (classes) with `bounds` (their rows in
    `main`, closed by the last)."""
    from matplotlib.colors import to_rgb

    palette = np.array([to_rgb(colour) for colour in style.STATES.values()], dtype=np.float32)
    present = [int(c) for c in np.unique(labels)]
    groups = order(state, labels, present)
    sizes = np.array([len(group) for group in groups], float)
    shares = np.maximum(sizes / sizes.sum(), LEAST_SHARE)
    heights = np.maximum(1, np.round(IMAGE_ROWS * shares / shares.sum())).astype(int)
    blocks = []
    for group, height in zip(groups, heights, strict=True):
        cells = palette[state[:, group].T]  # (clips, epochs, 3)
        low = np.arange(height) * len(group) // height
        high = np.maximum(low + 1, np.arange(1, height + 1) * len(group) // height)
        total = np.concatenate([np.zeros_like(cells[:1]), np.cumsum(cells, axis=0)])
        blocks.append((total[high] - total[low]) / (high - low)[:, None, None])
    main = np.clip(np.concatenate(blocks), 0, 1)
    side = np.ones((len(main), BAR_COLUMNS, 3), np.float32)
    bounds = np.r_[0, np.cumsum(heights)]
    for group, start, stop in zip(groups, bounds[:-1], bounds[1:], strict=True):
        margin = (stop - start) // 9
        side[start + margin : stop - margin] = _bars(state[at][None, group], palette)
    above = _bars(state, palette).transpose(1, 0, 2)[::-1]
    return {"main": main, "above": above, "side": side, "present": present, "bounds": bounds}


def _bars(state, palette) -> np.ndarray:
    """Stacked bars of the four states as pixels: (bars, clips) -> (bars, BAR_COLUMNS, 3)."""
    filled = np.cumsum([np.mean(state == kind, axis=1) for kind in range(4)], axis=0)  # (4, bars)
    at = (np.arange(BAR_COLUMNS) + 0.5) / BAR_COLUMNS
    return palette[np.minimum((filled[:, :, None] <= at).sum(axis=0), 3)]


def order(state, labels, present) -> list[np.ndarray]:
    """Clips (indices) of each class in `present`: by first accepted epoch, then by how often accepted and
    right."""
    accepted = (state == counting.RIGHT) | (state == counting.WRONG)
    first = np.where(accepted.any(axis=0), accepted.argmax(axis=0), len(state))
    good, bad = np.sum(state == counting.RIGHT, axis=0), np.sum(state == counting.WRONG, axis=0)
    ranked = np.lexsort((-bad, -good, first))
    return [ranked[labels[ranked] == c] for c in present]


def _class_labels(axes, classes, labels, present, bounds):
    from matplotlib.patches import Rectangle

    middles = (bounds[1:] + bounds[:-1]) / 2
    names = [f"{style.spoken(classes[c])} ({np.sum(labels == c)})" for c in present]
    axes.set_yticks(middles, names)
    axes.tick_params(axis="y", length=0, pad=9)
    for c, start, stop in zip(present, bounds[:-1], bounds[1:], strict=True):
        stripe = Rectangle((-0.022, start + 1), 0.014, stop - start - 2, transform=axes.get_yaxis_transform(),
                           facecolor=style.colour_of(c), clip_on=False)  # fmt: skip
        axes.add_patch(stripe)
        if stop < bounds[-1]:
            axes.axhline(stop, color="white", linewidth=2.2)
            axes.axhline(stop, color="#4D4D4D", linewidth=0.5)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(style.LINE)


def _right_of_accepted(axes, state, labels, present, bounds, epoch):
    """Numbers beside the bars of one epoch: how many of the accepted labels of each class are right."""
    for c, start, stop in zip(present, bounds[:-1], bounds[1:], strict=True):
        own = state[labels == c]
        right, wrong = np.sum(own == counting.RIGHT), np.sum(own == counting.WRONG)
        words = f"{right / (right + wrong):.0%}" if right + wrong else "\N{EN DASH}"
        middle = (start + stop) / 2
        axes.text(1.06, middle, words, transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    head = {"transform": axes.transAxes, "fontsize": 8, "color": style.MUTED, "va": "bottom"}
    axes.text(0.0, 1.008, f"epoch {epoch:g}", **head).set_in_layout(False)
    axes.text(1.06, 1.008, "right", **head)  # may be wider than the numbers below it
    axes.set(xlabel="clips [%]")
    axes.set_xticks([0, 50, 100])
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.spines["left"].set_visible(False)
