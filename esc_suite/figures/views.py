"""Figures of notebook 02: SpecAugment's weak and strong views (Table 1). Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.data import decibels, draw_waveform, mel_label, spectrogram

VIEWS = {"weak": (style.VALID, "-"), "strong": (style.ACCENT, "--")}


def specaugment_table(weak, strong):
    """Table 1 as a DataFrame, from (frequency width, frequency stripes, time width, time stripes) of either
    view.

    A "max drop of W x n" means n stripes, each of a width drawn evenly from 0 to W - 1 [ledger 23].
    """
    import pandas as pd

    rows = [
        {
            "view": name,
            "frequency max drop [mel bands x stripes]": f"{freq_width} \N{MULTIPLICATION SIGN} "
            f"{freq_stripes}",
            "time max drop [frames x stripes]": f"{time_width} \N{MULTIPLICATION SIGN} {time_stripes}",
        }
        for name, (freq_width, freq_stripes, time_width, time_stripes) in (("weak", weak), ("strong", strong))
    ]
    return pd.DataFrame(rows).set_index("view")


@style.figure
def views(
    log_mel,
    weak,
    strong,
    waveform=None,
    sample_rate=16000,
    title="Weak and strong views",
    hop_seconds=0.01,
    mel_hz=None,
):
    """The clip as waveform and log-mel, then its weak and its strong views, one below the other over one axis
    of time.

    log_mel: (frames, mels) dB; weak, strong: (draws, frames, mels) bool, True where masked; waveform:
    (samples,) -1..1. Masked cells are drawn in one flat colour; the network gets zero there after bn0, which
    is the band's mean.
    """
    log_mel = np.asarray(log_mel, dtype=np.float32)
    kinds = {"weak": np.asarray(weak, dtype=bool), "strong": np.asarray(strong, dtype=bool)}
    shown = {f"{kind}{i}": mask for kind, masks in kinds.items() for i, mask in enumerate(masks)}
    names = [*(["waveform"] if waveform is not None else []), "clip", *shown]
    tall = 1.15 + 0.86 * len(names)
    margins = {"left": 0.115, "right": 0.78, "bottom": 0.5 / tall, "top": 1 - 0.6 / tall, "hspace": 0.16}
    figure = style.new(7.0, tall, title, margins)
    cells = figure.subplot_mosaic([[name] for name in names], sharex=True)
    low, high = decibels(log_mel)
    for name, axes in cells.items():
        if name == "waveform":
            words = "waveform"
            draw_waveform(axes, waveform, sample_rate)
        else:
            words = "log-mel:\nno mask"
            image = spectrogram(axes, log_mel, hop_seconds, mel_hz, low, high)
        if name in shown:
            overlay(axes, shown[name], hop_seconds)
            words = f"{name[:-1]} view {int(name[-1]) + 1}:\n{shown[name].mean():.0%} masked"
        axes.text(1.015, 0.5, words, transform=axes.transAxes, va="center", fontsize=8.5)
        axes.tick_params(labelbottom=name == names[-1])
    cells[names[-1]].set(xlabel="time [s]", xlim=(0, len(log_mel) * hop_seconds))
    figure.supylabel(mel_label(mel_hz), fontsize=9.5, x=0.005)
    place = cells[names[-1]].get_position()
    beside = figure.add_axes((0.925, place.y0, 0.018, cells["clip"].get_position().y1 - place.y0))
    figure.colorbar(image, cax=beside, label="level [dB]")
    hidden = {kind: " and ".join(f"{mask.mean():.0%}" for mask in masks) for kind, masks in kinds.items()}
    return style.described(
        figure,
        f"One clip over time: {'waveform, ' if waveform is not None else ''}log-mel, views with stripes "
        "masked; of "
        f"the weak views {hidden['weak']} is masked, of the strong ones {hidden['strong']}",
        "Every row has the same axis of time; grey-blue stripes are masked.",
    )


def overlay(axes, mask, hop_seconds):
    from matplotlib.colors import to_rgba

    colour = np.zeros((*mask.T.shape, 4))
    colour[mask.T] = to_rgba(style.MASK)
    extent = (0, len(mask) * hop_seconds, -0.5, mask.shape[1] - 0.5)
    axes.imshow(colour, origin="lower", aspect="auto", extent=extent, interpolation="nearest")


@style.figure
def masked_area(weak_shares, strong_shares, weak_expected=None, strong_expected=None, bins=40):
    """Histogram of the masked share over many draws, weak against strong, with drawn and theoretical mean.

    weak_shares, strong_shares: (draws,) share 0..1. *_expected: theoretical mean from
    `masking.expected_share`.
    """
    import pandas as pd
    import seaborn

    both = {"weak": (weak_shares, weak_expected), "strong": (strong_shares, strong_expected)}
    drawn = {name: 100 * np.asarray(shares, dtype=float) for name, (shares, _) in both.items()}
    long = pd.DataFrame(
        [(name, share) for name, shares in drawn.items() for share in shares], columns=["view", "share"]
    )
    figure = style.new(7.0, 3.4, "Masked share of the log-mel")
    axes = figure.add_subplot()
    palette = {name: colour for name, (colour, _) in VIEWS.items()}
    seaborn.histplot(
        long, x="share", hue="view", bins=bins, binrange=(0, max(1.0, long["share"].max())), stat="percent",
        common_norm=False, element="step", palette=palette, alpha=0.35, legend=False, ax=axes,
    )  # fmt: skip
    for name, (colour, dashes) in VIEWS.items():
        mean, expected = drawn[name].mean(), both[name][1]
        label = f"{name}: mean {mean:.1f} % of {drawn[name].size:,} draws"
        axes.axvline(mean, color=colour, linestyle=dashes, linewidth=2, label=label)
        if expected is not None:
            axes.plot(100 * expected, 0, marker="^", markersize=10, color="white", markeredgecolor=colour,
                      markeredgewidth=1.8, linestyle="none", clip_on=False, zorder=5,
                      label=f"{name}: theoretical mean {100 * expected:.1f} %")  # fmt: skip
    axes.set(
        xlabel="masked share of frames \N{MULTIPLICATION SIGN} mel bands [%]",
        ylabel="draws [%]",
        xlim=(0, None),
    )
    axes.grid(axis="y")
    axes.legend(loc="upper right")
    return style.described(
        figure,
        f"Histograms of the masked share: weak views around {drawn['weak'].mean():.0f} %, strong ones spread "
        "around "
        f"{drawn['strong'].mean():.0f} %",
        f"{drawn['weak'].size:,} draws of either view; a line is their mean, a triangle the mean by theory.",
    )
