"""The figure of growth.py: two rows (seconds, memory), a column for each thing that grows. Rows in, Figure
out."""

import numpy as np

from esc_suite.figures import style

LABELS = {
    "mu": "unlabelled clips per labelled clip, mu",
    "width": "channels of the first block",
    "clips": "clips in the store",
}
UNITS = (
    ("seconds", "seconds, median and quartiles", 1),
    ("peak_bytes", "memory added at the peak [MB]", 1e6),
)
TITLES = {"mu": "FixMatch step", "width": "FixMatch step", "clips": "Feature store"}
LOOKS = {
    "ours": (style.VALID, "o", "-"),
    "reference": (style.ACCENT, "s", "--"),
    "build": (style.VALID, "o", "-"),
    "open": (style.MUTED, "D", ":"),
}
LEAST = {"seconds": 1e-6, "peak_bytes": 4096}  # a logarithmic axis has no zero: a microsecond, a page
NOISE = 1e6  # bytes: what the kernel's counters and the interpreter move by


@style.figure
def growth_figure(rows, title="What a step and the store take, as they grow"):
    """rows: dicts of growth.COLUMNS. Both axes are logarithmic; a line's label says by which power it grows,
    fitted to its points (least squares in logarithms). Peaks that were not measured (None) leave their panel
    out of the fit."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes_of = list(dict.fromkeys(row["axis"] for row in rows))
    figure = style.new(3.4 * len(axes_of), 5.6, title)
    panels = figure.subplots(2, len(axes_of), sharex="col", squeeze=False)
    for column, axis in enumerate(axes_of):
        own = [row for row in rows if row["axis"] == axis]
        ticks = sorted({row["value"] for row in own})
        for axes, (key, unit, scale) in zip(panels[:, column], UNITS, strict=True):
            axes.set(xscale="log", yscale="log")
            axes.grid()
            ends = [_line(axes, own, side, key, scale) for side in dict.fromkeys(row["side"] for row in own)]
            _label(axes, [end for end in ends if end], ticks)
            axes.set_ylabel(unit if column == 0 else "")
            low, high = axes.get_ylim()
            marks = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5) if high < 300 * low else (1,)
            axes.yaxis.set(
                major_locator=LogLocator(subs=marks), minor_locator=NullLocator(), major_formatter=_plain
            )
        panels[0, column].set_title(TITLES[axis])
        panels[1, column].set_xlabel(LABELS[axis])
        panels[1, column].set_xticks(ticks, ticks, minor=False)
        panels[1, column].set_xticks([], minor=True)
        if not any(row["peak_bytes"] is not None for row in own):
            panels[1, column].text(
                0.5, 0.5, "not measured", transform=panels[1, column].transAxes, ha="center"
            )
    return figure


def _plain(value, _) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _line(axes, rows, side: str, key: str, scale: float):
    """Draw one side; (last x, last y, label, colour), or None where nothing was measured."""
    points = sorted((row["value"], max(row[key], LEAST[key]) / scale) for row in rows
                    if row["side"] == side and row[key] is not None)  # fmt: skip
    if not points:
        return None
    x, y = np.array(points, float).T
    colour, marker, dashes = LOOKS[side]
    axes.plot(x, y, color=colour, marker=marker, linestyle=dashes)
    if key == "seconds":
        spread = {
            row["value"]: (row["seconds_low"], row["seconds_high"]) for row in rows if row["side"] == side
        }
        low, high = np.maximum(np.array([spread[value] for value in x]).T, LEAST[key])
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    if key == "peak_bytes" and y.max() * scale < NOISE:
        return x[-1], y[-1], f"{side}\nunder {NOISE / 1e6:g} MB", colour
    power = round(np.polyfit(np.log(x), np.log(y), 1)[0], 1) + 0.0 if len(x) > 1 else 0.0
    return x[-1], y[-1], f"{side}\n\N{PROPORTIONAL TO} {rows[0]['axis']}$^{{{power:.1f}}}$", colour


def _label(axes, ends, ticks) -> None:
    """Names beside the ends of the lines; those that would touch are moved apart."""
    if not ends:
        return
    span = max(ticks[-1] / ticks[0], 2)
    axes.set_xlim(ticks[0] / span**0.06, ticks[-1] * span**0.55)
    low, high = np.log(axes.get_ylim())
    gap, at = 0.16 * (high - low), low - 0.08 * (high - low)
    for _, y, text, colour in sorted(ends, key=lambda end: end[1]):
        at = max(np.log(y), at + gap)
        axes.text(ticks[-1] * span**0.06, np.exp(at), text, color=colour, fontsize=8.5, va="center",
                  linespacing=1.05,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axes.set_ylim(np.exp(low), np.exp(max(high, at + gap / 2)))
