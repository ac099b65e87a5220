"""Figure of notebook 04: one FixMatch step on single clips (the paper's figure 2). Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style
from esc_suite.figures.data import decibels, mel_label, spectrogram
from esc_suite.figures.views import overlay

COLUMNS = ("weak view", "y_u, eq. 1", "mask, eq. 2", "strong view", "loss, eq. 3")


@style.figure
def fixmatch_step(
    log_mels,
    weak,
    strong,
    prob,
    accepted,
    losses,
    tau,
    classes,
    title="One FixMatch step",
    hop_seconds=0.01,
    mel_hz=None,
):
    """A row for each unlabelled clip: weak view, probabilities against tau, accepted or rejected, strong
    view, loss.

    log_mels: (clips, frames, mels) dB; weak, strong: the same shape, True where a view masks; prob: (clips,
    classes) of the weak views, eq. 1; accepted: (clips,) bool, eq. 2; losses: (clips,) mask CE of the strong
    views, eq. 3, in nats.
    """
    log_mels, prob = np.asarray(log_mels, dtype=np.float32), np.asarray(prob, dtype=float)
    weak, strong = np.asarray(weak, dtype=bool), np.asarray(strong, dtype=bool)
    tall = 1.3 + 1.5 * len(log_mels)
    margins = {
        "left": 0.095,
        "right": 0.985,
        "bottom": 0.55 / tall,
        "top": 1 - 0.75 / tall,
        "wspace": 0.12,
        "hspace": 0.16,
    }
    figure = style.new(7.0, tall, title, margins)
    grid = figure.add_gridspec(len(log_mels), 6, width_ratios=(1.4, 0.92, 1.2, 0.92, 1.4, 0.85))
    low, high = decibels(log_mels)
    for at, log_mel in enumerate(log_mels):
        bottom = at == len(log_mels) - 1
        views = [figure.add_subplot(grid[at, column]) for column in (0, 4)]
        for axes, masks in zip(views, (weak, strong), strict=True):
            spectrogram(axes, log_mel, hop_seconds, mel_hz, low, high)
            overlay(axes, masks[at], hop_seconds)
            axes.tick_params(labelbottom=bottom, labelleft=axes is views[0])
            axes.locator_params(axis="x", nbins=3)
        bars, verdict, loss = (figure.add_subplot(grid[at, column]) for column in (2, 3, 5))
        pseudo = int(prob[at].argmax())
        _bars(bars, prob[at], pseudo, tau, classes, bottom)
        _verdict(verdict, prob[at, pseudo], bool(accepted[at]), tau)
        _loss(loss, float(losses[at]), bool(accepted[at]), style.spoken(classes[pseudo]))
        if not at:
            for axes, head in zip((views[0], bars, verdict, views[1], loss), COLUMNS, strict=True):
                axes.set_title(head, fontsize=9, loc="center")
    figure.supylabel(mel_label(mel_hz), fontsize=9, x=0.004, ha="left")
    for x, text in ((views[0], "time [s]"), (bars, "probability"), (views[1], "time [s]")):
        x.set_xlabel(text, fontsize=9)
    said = [
        f"{style.spoken(classes[own.argmax()])} with {own.max():.2f}, {'accepted' if taken else 'rejected'}"
        for own, taken in zip(prob, accepted, strict=True)
    ]
    return style.described(
        figure,
        f"{len(log_mels)} unlabelled clips in rows: weak view, class probabilities against tau, mask, strong "
        "view, loss; "
        f"pseudo-labels: {'; '.join(said)}",
        f"Equations 1 to 3, tau = {tau:g}; grey-blue stripes are what a view hides.",
    )


def _bars(axes, prob, pseudo, tau, classes, bottom):
    colours = [style.LINE] * len(prob)
    colours[pseudo] = style.colour_of(pseudo)
    axes.barh(range(len(prob)), prob, color=colours, height=0.8)
    axes.axvline(tau, color=style.ACCENT, linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(prob)), [style.spoken(name) for name in classes], fontsize=7.5)
    axes.get_yticklabels()[pseudo].set_color(style.RIGHT)
    axes.set(xlim=(0, 1), ylim=(len(prob) - 0.4, -0.6))
    axes.set_xticks([0, tau, 1], ["0", f"\N{GREEK SMALL LETTER TAU}={tau:g}", ""])
    axes.tick_params(axis="y", length=0, pad=2)
    axes.tick_params(axis="x", labelbottom=bottom)


def _verdict(axes, confidence, accepted, tau):
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    colour = style.RIGHT if accepted else style.MUTED
    sign = "\N{GREATER-THAN OR EQUAL TO}" if accepted else "<"
    digits = 3 if f"{confidence:.3f}" != f"{tau:.3f}" else 5  # else it would read as equal
    axes.text(0.5, 0.74, f"{confidence:.{digits}f} {sign} {tau:g}", ha="center", va="center", fontsize=8.5)
    axes.text(
        0.5,
        0.5,
        f"mask = {int(accepted)}",
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold",
        color=colour,
    )
    axes.text(
        0.5,
        0.26,
        "accepted" if accepted else "rejected",
        ha="center",
        va="center",
        fontsize=8.5,
        color=colour,
    )


def _loss(axes, loss, accepted, label):
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    words = "\n".join(["\N{MINUS SIGN}log P of", *label.split()])
    axes.text(0.5, 0.78, words if accepted else "no part in\nthe loss", ha="center", va="top",
              fontsize=8, color=style.INK if accepted else style.MUTED, linespacing=1.15)  # fmt: skip
    axes.text(0.5, 0.2, f"{loss:.2f}" if accepted else "0", ha="center", va="center", fontsize=11,
              fontweight="bold",
              color=style.RIGHT if accepted else style.MUTED)  # fmt: skip
