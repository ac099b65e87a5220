"""Figures of notebook 02: SpecAugment's weak and strong views (Table 1). Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.data import decibels, mel_label, spectrogram

VIEWS = {"weak": (style.VALID, "-"), "strong": (style.ACCENT, "--")}


def specaugment_table(weak, strong):
    """Table 1 as a DataFrame, from (frequency width, frequency stripes, time width, time stripes) of either view.

    A "max drop of W x n" means n stripes, each of a width drawn evenly from 0 to W - 1 [ledger 23].
    """
    import pandas as pd

    rows = [
        {
            "view": name,
            "frequency max drop [mel bands x stripes]": f"{freq_width} \N{MULTIPLICATION SIGN} {freq_stripes}",
            "time max drop [frames x stripes]": f"{time_width} \N{MULTIPLICATION SIGN} {time_stripes}",
        }
        for name, (freq_width, freq_stripes, time_width, time_stripes) in (("weak", weak), ("strong", strong))
    ]
    return pd.DataFrame(rows).set_index("view")


@style.figure
def views(log_mel, weak, strong, title="Weak and strong views of one clip", hop_seconds=0.01, mel_hz=None):
    """The clip, then weak views on the left and strong ones on the right, one row per draw.

    log_mel: (frames, mels) dB; weak, strong: (draws, frames, mels) bool, True where masked. Masked cells are drawn in
    one flat colour; the network gets zero there after bn0, which is the band's mean.
    """
    log_mel = np.asarray(log_mel, dtype=np.float32)
    weak, strong = np.asarray(weak, dtype=bool), np.asarray(strong, dtype=bool)
    draws = max(len(weak), len(strong))
    tall = 1.0 + 1.25 * (draws + 1)
    margins = {"left": 0.105, "right": 0.885, "bottom": 0.52 / tall, "top": 1 - 0.62 / tall, "wspace": 0.06, "hspace": 0.27}
    figure = style.new(7.0, tall, title, margins)
    rows = [["clip", "clip"], [".", "."], *([f"weak{i}", f"strong{i}"] for i in range(draws))]
    cells = figure.subplot_mosaic(rows, height_ratios=(1, 0.12, *[1] * draws))  # room for the clip's time labels
    low, high = decibels(log_mel)
    image = spectrogram(cells["clip"], log_mel, hop_seconds, mel_hz, low, high)
    cells["clip"].set_title("the clip, unmasked", fontsize=9)
    for name, masks in (("weak", weak), ("strong", strong)):
        for i in range(draws):
            axes = cells[f"{name}{i}"]
            if i >= len(masks):
                axes.set_visible(False)
                continue
            spectrogram(axes, log_mel, hop_seconds, mel_hz, low, high)
            overlay(axes, masks[i], hop_seconds)
            axes.set_title(f"{name}, draw {i + 1}: {masks[i].mean():.0%} masked", fontsize=9)
            axes.locator_params(axis="x", nbins=5)  # the last label of the left panel and the first of the right
            if name == "strong":
                axes.tick_params(labelleft=False)
            if i < draws - 1:
                axes.tick_params(labelbottom=False)
    figure.supylabel(mel_label(mel_hz), fontsize=9.5, x=0.005)
    figure.supxlabel("time [s]", fontsize=9.5, y=0.08 / tall)
    low_edge, height = margins["bottom"], margins["top"] - margins["bottom"]
    figure.colorbar(image, cax=figure.add_axes((0.9, low_edge, 0.018, height)), label="level [dB]")
    return figure


def overlay(axes, mask, hop_seconds):
    from matplotlib.colors import to_rgba

    colour = np.zeros((*mask.T.shape, 4))
    colour[mask.T] = to_rgba(style.MASK)
    extent = (0, len(mask) * hop_seconds, -0.5, mask.shape[1] - 0.5)
    axes.imshow(colour, origin="lower", aspect="auto", extent=extent, interpolation="nearest")


@style.figure
def masked_area(weak_shares, strong_shares, weak_expected=None, strong_expected=None, bins=40):
    """Histogram of the masked share over many draws, weak against strong, with drawn and theoretical mean.

    weak_shares, strong_shares: (draws,) share 0..1. *_expected: theoretical mean from `masking.expected_share`.
    """
    figure = style.new(7.0, 3.4, "Masked share of the log-mel")
    axes = figure.add_subplot()
    both = {"weak": (weak_shares, weak_expected), "strong": (strong_shares, strong_expected)}
    top = max((np.max(shares, initial=0.01) for shares, _ in both.values()), default=0.01)
    edges = np.linspace(0, 100 * top, bins + 1)
    tallest = 0.0
    for name, (shares, expected) in both.items():
        percent = 100 * np.asarray(shares, dtype=float)
        colour, dashes = VIEWS[name]
        weights = np.full(percent.size, 100 / max(1, percent.size))
        height, _, _ = axes.hist(percent, edges, weights=weights, color=colour, alpha=0.45, edgecolor=colour,
                                 linewidth=0.6, hatch="" if name == "weak" else "////")  # fmt: skip
        tallest = max(tallest, height.max())
        mean = percent.mean() if percent.size else np.nan
        label = f"{name}: mean {mean:.1f} % of {percent.size:,} draws"
        axes.axvline(mean, color=colour, linestyle=dashes, linewidth=2, label=label)
        if expected is not None:
            axes.plot(100 * expected, 0, marker="^", markersize=10, color="white", markeredgecolor=colour,
                      markeredgewidth=1.8, linestyle="none", clip_on=False, zorder=5,
                      label=f"{name}: theoretical mean {100 * expected:.1f} %")  # fmt: skip
    axes.set(xlabel="masked share of frames \N{MULTIPLICATION SIGN} mel bands [%]", ylabel="draws [%]",
             xlim=(0, 100 * top), ylim=(0, tallest * 1.08 or 1))  # fmt: skip
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return figure
