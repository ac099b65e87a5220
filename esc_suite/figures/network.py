"""The network of notebook 03: its layers as a table, and the paper's figure 1 as a drawing. Arrays in, Figure
out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.data import decibels

ROW = 6  # boxes in a row of the drawing
HALVED = ",\n2\N{MULTIPLICATION SIGN}2 average"
POOLING = "mean over frequency, max + mean over time"
FILL, DASHED, LAST = "#E8F1F8", "#FFFFFF", "#FCE9DF"


def layer_shapes(model, frames: int, mels: int) -> dict[str, tuple[tuple[int, ...], int]]:
    """Layer -> (output shape for one clip, parameters) of a Cnn14, in the order in which a clip passes them.

    One clip of (1, frames, mels) goes through the network, which may lie on PyTorch's `meta` device: shapes
    without values.
    """
    import torch

    found = {"log-mel": ((1, frames, mels), 0), "bn0": ((1, frames, mels), _count(model.bn0))}

    def noted(name):
        def hook(layer, given, out):
            if name == "fc1":
                found[POOLING] = tuple(given[0].shape[1:]), 0
            found[name] = tuple(out.shape[1:]), _count(layer)

        return hook

    names = [*(f"conv_block{i}" for i in range(1, 7)), "fc1", "fc_transfer"]
    hooks = [getattr(model, name).register_forward_hook(noted(name)) for name in names]
    training, like = model.training, next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()(like.new_zeros(1, 1, frames, mels))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return found


def _count(layer) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def layer_table(networks: dict):
    """Layers of networks as a DataFrame: output for one clip (channels × frames × bands), and parameters with
    their sum.

    networks: heading -> shapes, as `layer_shapes` gives them."""
    import pandas as pd

    columns = {}
    for heading, shapes in networks.items():
        own = {name: shape_words(shape) for name, (shape, _) in shapes.items()}
        columns[heading, "output for one clip"] = own | {"all": ""}
        counts = {name: f"{count:,}" if count else "" for name, (_, count) in shapes.items()}
        columns[heading, "parameters"] = counts | {"all": f"{sum(count for _, count in shapes.values()):,}"}
    return pd.DataFrame(columns).rename_axis(index="layer")


def shape_words(shape) -> str:
    """(64, 250, 32) -> "64 × 250 × 32"."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape))


@style.figure
def network(shapes, classes, log_mel=None, title="From a log-mel to ten classes"):
    """Boxes from the log-mel to the classes, in two rows, each with what it does and the shape of what leaves
    it.

    shapes: layer -> (shape, parameters), as `layer_shapes` gives it; classes: names; log_mel: (frames, mels)
    dB of one clip, drawn in the first box. The dashed box, SpecAugment and mixup, is there in training only.
    """
    figure = style.new(7.0, 3.3, title, {"left": 0.005, "right": 0.995, "bottom": 0.0, "top": 0.9})
    axes = figure.add_subplot()
    axes.set(xlim=(0, ROW), ylim=(2, 0))
    axes.set_axis_off()
    does = "two 3\N{MULTIPLICATION SIGN}3 conv.,\nbatch norm,\nReLU"
    words = {f"conv_block{i}": (f"conv block {i}", does + (HALVED if i < 6 else "")) for i in range(1, 7)}
    words |= {
        "log-mel": ("log-mel", ""),
        "bn0": ("bn0", "batch norm of\neach mel band"),
        POOLING: ("pooling", "frequency:\nmean; time:\nmax + mean"),
        "fc1": ("fc1", "linear, ReLU:\nthe embedding"),
        "fc_transfer": ("fc_transfer", f"linear: {len(classes)} logits,\nsoftmax: P(x)"),
    }
    boxes = [(name, *words[name], shape_words(shapes[name][0]), "-") for name in words if name in shapes]
    boxes.sort(key=lambda box: list(shapes).index(box[0]))
    boxes.insert(2, ("view", "view", "SpecAugment,\nmixup\n(training only)", boxes[1][3], "--"))
    for at, (name, head, does, shape, line) in enumerate(boxes):
        x, y = at % ROW, at // ROW
        _box(axes, x, y, line, LAST if name == "fc_transfer" else DASHED if name == "view" else FILL)
        axes.text(x + 0.5, y + 0.2, head, ha="center", va="center", fontsize=9, fontweight="bold")
        axes.text(x + 0.5, y + 0.5, does, ha="center", va="center", fontsize=7.8, linespacing=1.2)
        axes.text(x + 0.5, y + 0.8, shape, ha="center", va="center", fontsize=8, color=style.VALID)
        if at + 1 < len(boxes) and x + 1 < ROW:
            _arrow(axes, (x + 0.945, y + 0.5), (x + 1.055, y + 0.5))
    if len(boxes) > ROW:  # from the end of the first row to the beginning of the second
        axes.plot([ROW - 0.5, ROW - 0.5, 0.5], [0.92, 1.0, 1.0], color=style.INK, linewidth=1.2)
        _arrow(axes, (0.5, 1.0), (0.5, 1.085))
    if log_mel is not None:
        log_mel = np.asarray(log_mel, dtype=np.float32)
        low, high = decibels(log_mel)
        inside = axes.inset_axes((0.15, 0.34, 0.7, 0.34), transform=axes.transData)
        inside.imshow(log_mel.T, origin="lower", aspect="auto", vmin=low, vmax=high, interpolation="nearest")
        inside.set_axis_off()
    return style.described(
        figure,
        "Boxes in order: log-mel, batch norm, view, six convolution blocks, pooling, two linear layers, each "
        "with "
        "its output's shape",
        "In blue, the shape of what leaves each box, for one clip.",
    )


def _box(axes, x, y, line, colour):
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            (x + 0.065, y + 0.1),
            0.87,
            0.8,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=colour,
            edgecolor=style.INK,
            linewidth=1,
            linestyle=line,
        )
    )


def _arrow(axes, start, end):
    look = {
        "arrowstyle": "-|>",
        "color": style.INK,
        "linewidth": 1.2,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 8,
    }
    axes.annotate("", end, start, arrowprops=look)
