"""Figures of notebooks 01 and 02: the dataset and the two SpecAugment views. Arrays in, Figure out."""

import numpy as np

from esc_suite.figures import style


def mel_centres(mels: int = 64, low: float = 50.0, high: float = 8000.0) -> np.ndarray:
    """Centre of every mel band in Hz, (mels,), on the Slaney scale: linear to 1 kHz, logarithmic above."""
    step, factor = 200 / 3, 27 / np.log(6.4)
    ends = [hz / step if hz < 1000 else 15 + factor * np.log(hz / 1000) for hz in (low, high)]
    points = np.linspace(*ends, mels + 2)[1:-1]
    return np.where(points < 15, points * step, 1000 * np.exp((np.maximum(points, 15) - 15) / factor))


@style.figure
def class_fold_counts(class_id, fold, classes, folds=range(1, 11)):
    """Heat map of clips per class and fold. class_id, fold: (clips,) int; classes: names by class id."""
    counts = _count(class_id, fold, len(classes), list(folds))
    return _heat(counts, classes, list(folds), "Clips per class and fold", "clips")


@style.figure
def recordings_per_fold(class_id, fold, recording, classes, folds=range(1, 11)):
    """Heat map of distinct recordings (fsID) per class and fold: what a fold's clips are really cut from."""
    unique = np.unique(np.stack([np.asarray(class_id), np.asarray(fold), np.asarray(recording)]), axis=1)
    counts = _count(unique[0], unique[1], len(classes), list(folds))
    return _heat(counts, classes, list(folds), "Recordings per class and fold", "recordings")


def _count(class_id, fold, classes: int, folds: list) -> np.ndarray:
    class_id, fold = np.asarray(class_id), np.asarray(fold)
    return np.array([[np.sum((class_id == c) & (fold == f)) for f in folds] for c in range(classes)])


def _heat(counts, classes, folds, title, unit):
    import seaborn

    figure = style.new(7.0, 4.3, title)
    axes = figure.add_subplot()
    seaborn.heatmap(
        counts, annot=True, fmt="d", cmap="Blues", vmin=0, ax=axes, annot_kws={"fontsize": 8.5},
        xticklabels=[f"{fold}\n({total:,})" for fold, total in zip(folds, counts.sum(axis=0), strict=True)],
        yticklabels=[f"{style.spoken(name)} "
                     f"({total:,})" for name, total in zip(classes, counts.sum(axis=1), strict=True)],
        cbar_kws={"label": f"{unit} per class and fold", "pad": 0.02, "fraction": 0.04},
    )  # fmt: skip
    axes.tick_params(length=0)
    axes.set(xlabel=f"fold ({unit})", ylabel=f"class ({unit})")
    return style.described(
        figure,
        f"Table of the number of {unit} in {len(classes)} classes and {len(folds)} folds: {counts.min()} to "
        f"{counts.max()}, "
        f"{counts.sum():,} in all",
        f"Sums of rows and columns stand in brackets; {counts.sum():,} in all.",
    )


@style.figure
def durations(class_id, seconds, classes, window=None):
    """Durations by class: every clip a dot, median as a bar, share of clips shorter than the longest at the
    right.

    seconds: (clips,) duration of each clip in s. window: seconds that a clip is padded to, drawn as a line.
    """
    import seaborn

    class_id, seconds = np.asarray(class_id), np.asarray(seconds, dtype=float)
    figure = style.new(7.0, 4.2, "Duration of the clips by class")
    axes = figure.add_subplot()
    full = np.nanmax(seconds, initial=0.0)
    state = np.random.get_state()
    np.random.seed(0)  # seaborn spreads the dots by NumPy's global state: the same figure each time
    seaborn.stripplot(
        x=seconds, y=class_id, hue=class_id, order=range(len(classes)), orient="h",
        palette=list(style.CLASS_COLOURS),
        hue_order=range(len(classes)), jitter=0.3, size=2.4, alpha=0.6, legend=False, rasterized=True,
        ax=axes,
    )  # fmt: skip
    np.random.set_state(state)
    for index in range(len(classes)):
        own = seconds[class_id == index]
        label = f"{np.mean(own < full - 0.01):.0%} short, n = {own.size}" if own.size else "no clips"
        if own.size:
            axes.plot([np.median(own)] * 2, [index - 0.38, index + 0.38], color=style.INK, linewidth=2)
        axes.text(
            1.01,
            index,
            label,
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8,
            color=style.MUTED,
        )
    if window:
        axes.axvline(window, color=style.MUTED, linestyle="--", linewidth=1)
        axes.text(
            window, -0.75, f"padded to {window:g} s ", ha="right", va="center", fontsize=8, color=style.MUTED
        )
    _class_axis(axes, classes)
    axes.set(xlabel="duration [s]   (bar: median)", xlim=(0, None))
    axes.grid(axis="x")
    return style.described(
        figure,
        f"One dot a clip, in a row for each class, by duration from {seconds.min():.2f} to {full:.2f} s, "
        "with a bar at the "
        "median of the class",
        "A clip shorter than the dashed line is padded with silence up to it; short: shorter than the "
        "longest clip."
        if window
        else "Short: shorter than the longest clip.",
    )


@style.figure
def salience(class_id, salience, classes):
    """Share of foreground (salience 1) and background (2) clips by class, as stacked bars with counts."""
    class_id, salience = np.asarray(class_id), np.asarray(salience)
    figure = style.new(7.0, 3.9, "Salience by class")
    axes = figure.add_subplot()
    shades = {1: ("foreground", "#0072B2", ""), 2: ("background", "#D0DCE6", "///")}
    for index in range(len(classes)):
        left = 0
        total = max(1, np.sum(class_id == index))
        for value, (_, colour, hatch) in shades.items():
            count = int(np.sum((class_id == index) & (salience == value)))
            share = 100 * count / total
            axes.barh(index, share, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.8)
            if share > 7:
                box = {"facecolor": colour, "edgecolor": "none", "pad": 1}
                axes.text(left + share / 2, index, f"{count}", ha="center", va="center", fontsize=8.5,
                          color=style.on(colour), bbox=box)  # fmt: skip
            left += share
    _class_axis(axes, classes)
    axes.set(xlabel="clips of the class [%]", xlim=(0, 100))
    from matplotlib.patches import Patch

    keys = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for name, colour, hatch in shades.values()
    ]
    figure.legend(handles=keys, loc="outside lower right", ncols=2)
    return style.described(
        figure,
        f"Bars by class: the share of clips in the foreground; {np.mean(salience == 1):.0%} over all classes",
        "Numbers in the bars are clips.",
    )


def _class_axis(axes, classes):
    axes.set_yticks(range(len(classes)), list(map(style.spoken, classes)))
    axes.set_ylim(len(classes) - 0.4, -1.0)
    axes.set_ylabel("class")
    axes.tick_params(axis="y", length=0)


@style.figure
def example_grid(log_mels, names, hop_seconds=0.01, mel_hz=None, columns=2):
    """One log-mel per panel. log_mels: (panels, frames, mels) dB; names: panel titles; mel_hz: centre of each
    band."""
    log_mels = np.asarray(log_mels, dtype=np.float32)
    rows, columns = style.panel_grid(len(log_mels), columns)
    figure = style.new(7.0, 0.7 + 1.15 * rows, "Log-mel spectrograms, one clip per class")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    low, high = decibels(log_mels)
    image = None
    for axes, mel, name in zip(panels.flat, log_mels, names, strict=False):
        image = spectrogram(axes, mel, hop_seconds, mel_hz, low, high)
        axes.set_title(style.spoken(name), fontsize=9)
    _outer_labels(figure, panels, len(log_mels), mel_hz)
    if image is not None:
        figure.colorbar(image, ax=panels, label="level [dB]", pad=0.015, fraction=0.03, aspect=40)
    return style.described(
        figure,
        f"Log-mel spectrograms of {len(log_mels)} clips, time against frequency: "
        f"{', '.join(map(style.spoken, names))}",
        "All panels have the same axes and the same scale of colours.",
    )


@style.figure
def clip_view(waveform, sample_rate, log_mel, title="", hop_seconds=0.01, mel_hz=None):
    """Waveform over log-mel of one clip. waveform: (samples,) -1..1; log_mel: (frames, mels) dB."""
    waveform, log_mel = np.asarray(waveform, dtype=float), np.asarray(log_mel, dtype=np.float32)
    figure = style.new(
        7.0, 3.9, style.spoken(title), {"left": 0.12, "right": 0.88, "bottom": 0.12, "top": 0.88}
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    draw_waveform(above, waveform, sample_rate)
    above.set_ylabel("amplitude")
    image = spectrogram(below, log_mel, hop_seconds, mel_hz, *decibels(log_mel))
    below.set(xlabel="time [s]", ylabel=mel_label(mel_hz), xlim=(0, len(log_mel) * hop_seconds))
    place = below.get_position()
    beside = figure.add_axes((place.x1 + 0.012, place.y0, 0.016, place.height))
    figure.colorbar(image, cax=beside, label="level [dB]")
    return style.described(
        figure,
        f"Waveform above, log-mel spectrogram below, over the same {len(log_mel) * hop_seconds:.2f} seconds",
        "Both panels have the same axis of time.",
    )


def draw_waveform(axes, waveform, sample_rate):
    """The outline of (samples,) amplitudes over time."""
    low, high, at = _envelope(np.asarray(waveform, dtype=float), sample_rate)
    axes.fill_between(at, low, high, color=style.VALID, linewidth=0.4)
    peak = 1.05 * max(np.abs(waveform).max(initial=0), 1e-3)
    axes.set_ylim(-peak, peak)
    axes.grid(axis="y")


def _envelope(waveform, sample_rate, columns=900):
    """Lowest and highest sample per pixel column: a 4 s clip has 64,000 samples, a figure 700 pixels."""
    step = max(1, len(waveform) // columns)
    cut = waveform[: len(waveform) // step * step].reshape(-1, step)
    return cut.min(axis=1), cut.max(axis=1), (np.arange(len(cut)) + 0.5) * step / sample_rate


def decibels(log_mels) -> tuple[float, float]:
    """Colour range: loudest per mille down to 70 dB below, never below the data (digital silence is -100
    dB)."""
    finite = log_mels[np.isfinite(log_mels)]
    if not finite.size:
        return -100.0, 0.0
    high = float(np.percentile(finite, 99.9))
    return max(high - 70.0, float(finite.min()) - 1.0), high + 1.0


def spectrogram(axes, mel, hop_seconds, mel_hz, low, high):
    extent = (0, len(mel) * hop_seconds, -0.5, mel.shape[1] - 0.5)
    image = axes.imshow(mel.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high,
                        interpolation="nearest")  # fmt: skip
    if mel_hz is not None:
        wanted = [hz for hz in (250, 1000, 3000, 8000) if mel_hz[0] <= hz <= mel_hz[-1] * 1.05]
        axes.set_yticks(np.interp(wanted, mel_hz, np.arange(len(mel_hz))), [f"{hz:,}" for hz in wanted])
    return image


def spectrogram_colours(log_mel):
    """Colours (frames, mels, 3), 0..1, in which a log-mel (frames, mels) in dB is drawn in all figures."""
    from matplotlib import colormaps

    log_mel = np.asarray(log_mel, dtype=np.float32)
    low, high = decibels(log_mel)
    return colormaps[style.RC["image.cmap"]](np.clip((log_mel - low) / (high - low), 0, 1))[..., :3].copy()


def mel_label(mel_hz) -> str:
    return "mel band" if mel_hz is None else "frequency [Hz]"


def _outer_labels(figure, panels, used, mel_hz):
    for axes in panels.flat[used:]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel(mel_label(mel_hz) if len(panels) <= 3 else "")
    if len(panels) > 3:
        figure.supylabel(mel_label(mel_hz), fontsize=9.5)
    figure.supxlabel("time [s]", fontsize=9.5)
