"""Sliders and menus over the plotting functions, for a running kernel. Each function returns one widget.

Every notebook shows the same figures without them: a rendered notebook is complete. Controls are plain
ipywidgets, labelled and used by keyboard alone: Tab to reach one, then arrow keys for a slider or a menu,
Space for a box or a button, letters for the filter. Pictures carry a text alternative.
"""

import base64
import io

import numpy as np

from esc_suite import figures
from esc_suite.explore.canvas import SCREEN_DPI, Base, Lines, Still, heat_base
from esc_suite.figures import style
from esc_suite.results import masking, pseudo
from esc_suite.results.names import run_title
from esc_utils.urbansound import CLASSES

WIDE = {"description_width": "130px"}


def clip_browser(dataset, features, config):
    """Pick a class, a fold and a clip; see its waveform and log-mel, and hear it.

    dataset: Dataset; features: (clips, frames, mels) dB of `features.open_store`; config: RunConfig.
    """
    import ipywidgets as widgets

    clips = dataset.clips
    kind = widgets.Dropdown(
        options=[(style.spoken(name), i) for i, name in enumerate(dataset.classes)], description="Class"
    )
    fold = widgets.Dropdown(
        options=[("all", 0), *((str(k), k) for k in sorted(clips["fold"].unique()))], description="Fold"
    )
    clip = widgets.Dropdown(description="Clip", layout={"width": "420px"})
    picture, sound = widgets.HTML(), widgets.HTML()
    shapes = {"mel_hz": figures.mel_centres(), "synthesised": dataset.synthesised}

    def choose(_=None):
        wanted = (clips["class_id"] == kind.value) & ((clips["fold"] == fold.value) | (fold.value == 0))
        rows = clips.index[wanted]
        words = {1: "foreground", 2: "background"}
        clip.unobserve(show, "value")  # new options choose none, then the first: one picture is enough
        clip.options = [
            (f"{clips.file[i]} ({clips.duration[i]:.2f} s, {words[clips.salience[i]]})", i) for i in rows
        ] or [("no clip of this class in this fold", None)]
        clip.index = 0
        clip.observe(show, "value")
        show()

    def show(_=None):
        from esc_utils.features import SAMPLE_RATE, decode

        if clip.value is None:
            picture.value, sound.value = "", ""
            return
        row = clip.value
        waveform = decode(clips.path[row])
        title = f"{clips.class_name[row]}, fold {clips.fold[row]}, {clips.file[row]}"
        picture.value = _image(
            figures.clip_view(waveform, SAMPLE_RATE, features[row], title, **shapes), f"Clip {title}"
        )
        sound.value = _audio(waveform, SAMPLE_RATE, title)

    kind.observe(choose, "value")
    fold.observe(choose, "value")
    clip.observe(show, "value")
    choose()
    return widgets.VBox([widgets.HBox([kind, fold, clip], layout={"flex_flow": "row wrap"}), sound, picture])


def specaugment_explorer(dataset, features, config):
    """Sliders for width and number of stripes of the weak and the strong view of one clip, and a button to
    draw again.

    Widths are Table 1's W: a stripe is 0 to W - 1 wide. The masked share of the draw stands beside its
    mean."""
    import ipywidgets as widgets
    import torch

    from esc_utils.augment import SpecAugment

    _, frames, mels = features.shape
    first = dataset.clips.groupby("class_id").head(1)
    options = [(style.spoken(name), row) for name, row in zip(first["class_name"], first.index, strict=True)]
    clip = widgets.Dropdown(options=sorted(options), description="Clip of")
    again = widgets.Button(description="Draw again", icon="refresh", tooltip="New stripes for both views")
    limits = {
        "freq_width": (1, mels),
        "freq_stripes": (0, 5),
        "time_width": (1, min(frames, 200)),
        "time_stripes": (0, 5),
    }
    sliders = {
        (view, knob): widgets.IntSlider(
            getattr(config, f"{view}_{knob}"), low, high, description=f"{view}: {knob.replace('_', ' ')}",
                    style=WIDE,
            continuous_update=False,
        )
        for view in ("weak", "strong")
        for knob, (low, high) in limits.items()
    }  # fmt: skip
    picture, words, state, bases = widgets.HTML(), widgets.HTML(), {"seed": 0}, {}

    def base():
        """Axes, labels and colour bar of the clip that is chosen; only stripes change below them."""
        if clip.value not in bases:
            none = np.zeros((1, frames, mels), bool)
            drawn = figures.views(
                features[clip.value], none, none, mel_hz=figures.mel_centres(), of=f"a clip of {clip.label}",
                synthesised=dataset.synthesised,
            )  # fmt: skip
            for words in (text for part in drawn.axes for text in part.texts):
                words.set_text(words.get_text().split(":")[0])  # the share changes with each draw
            bases[clip.value] = Base(drawn, {"clip", "weak0", "strong0"})
        return bases[clip.value]

    def levels(mask=None):
        from matplotlib.colors import to_rgb

        coloured = figures.spectrogram_colours(features[clip.value])
        if mask is not None:
            coloured[mask] = to_rgb(style.MASK)
        return coloured.transpose(1, 0, 2)[::-1]

    def show(_=None):
        random, blank, masks, said = (
            torch.Generator().manual_seed(state["seed"]),
            torch.ones(1, 1, frames, mels),
            {},
            [],
        )
        for view in ("weak", "strong"):
            law = [sliders[view, knob].value for knob in limits]
            augment = SpecAugment(*law)
            masks[view] = (augment(blank, augment.draw(1, frames, mels, random)) == 0)[:, 0].numpy()
            mean = masking.expected_share(*law, frames, mels)
            said.append(f"{view}: {masks[view].mean():.1%} masked in this draw, {mean:.1%} on average")
        words.value = "; ".join(said)
        pictures = {
            "clip": levels(),
            "weak0": levels(masks["weak"][0]),
            "strong0": levels(masks["strong"][0]),
        }
        picture.value = _img(base().paint(pictures), f"Weak and strong view: {words.value}", base().width)

    def draw_again(_):
        state["seed"] += 1
        show()

    again.on_click(draw_again)
    for control in (clip, *sliders.values()):
        control.observe(show, "value")
    show()
    columns = [
        widgets.VBox([s for (view, _), s in sliders.items() if view == name]) for name in ("weak", "strong")
    ]
    controls = widgets.HBox(columns, layout={"flex_flow": "row wrap"})
    return widgets.VBox([widgets.HBox([clip, again]), controls, words, picture])


def tau_explorer(run):
    """A slider for tau and one for the epoch over the stored confidences of a finished FixMatch run; nothing
    is trained.

    Mask heat map, coverage, accuracy of the accepted labels and the ROC of confidence follow within 0.2 s."""
    import ipywidgets as widgets

    arrays = run.predictions
    sure, named, hidden = arrays["pseudo_confidence"], arrays["pseudo_label"], arrays["unlabelled_label"]
    recordings, own_tau = arrays["unlabelled_recording"], run.metrics["config"]["tau"]
    marked = {"synthesised": run.metrics["synthesised"]}
    wide = {"style": {"description_width": "50px"}, "layout": {"width": "400px"}}
    tau = widgets.FloatSlider(
        own_tau, min=0.1, max=0.99, step=0.01, description="tau", readout_format=".2f", **wide
    )
    epoch = widgets.IntSlider(len(sure), 1, len(sure), description="epoch", **wide)
    heat, roc, words = widgets.HTML(), widgets.HTML(), widgets.HTML()
    base = heat_base(
        figures.mask_heatmap(sure, named, hidden, run.classes, own_tau, of=run_title(run.metrics), **marked)
    )

    curve = Lines(
        figures.confidence_roc(sure[-1], named[-1] == hidden, own_tau, "Right against wrong", **marked)
    )

    def show(_=None):
        from esc_suite.figures.heatmap import panels

        at = epoch.value - 1
        now = pseudo.states(sure[at], named[at], hidden, tau.value)[0]
        state = pseudo.states(*pseudo.latest(sure, named), hidden, tau.value)
        share, by_class = pseudo.shares(now, axis=0), _class_rows(now, hidden, run.classes)
        passed = now <= pseudo.WRONG
        words.value = (
            f"<p style='line-height:1.4'><b>tau = {tau.value:.2f}, epoch {epoch.value}</b>: "
            f"{share['accepted']:.1%} of the drawn clips accepted, "
            f"{_percent(share['accuracy'])} of them right, from {len(np.unique(recordings[passed]))} "
            "recordings. "
            f"The run itself used tau = {own_tau:g}.</p>{by_class}"
        )
        heat.value = _img(
            base.paint(panels(state, hidden, at)), f"Mask heat map at tau {tau.value:.2f}", base.width
        )
        lines = figures.confidence_curve(sure[at], named[at] == hidden, tau.value)
        roc.value = _img(
            curve.move(lines), f"Right against wrong labels accepted, tau {tau.value:.2f}", curve.width
        )

    tau.observe(show, "value")
    epoch.observe(show, "value")
    show()
    beside = widgets.VBox([words, roc], layout={"flex": "0 1 320px"})
    sliders = widgets.HBox([tau, epoch], layout={"flex_flow": "row wrap"})
    return widgets.VBox([sliders, widgets.HBox([heat, beside], layout={"flex_flow": "row wrap"})])


def _class_rows(state, labels, classes) -> str:
    rows = []
    for index, name in enumerate(classes):
        own = state[labels == index]
        if own.size:
            share = pseudo.shares(own, axis=0)
            cells = (style.spoken(name), _percent(share["accepted"]), _percent(share["accuracy"]))
            rows.append(
                "<tr>"
                + "".join(f"<td style='padding:0 8px;line-height:1.4'>{cell}</td>" for cell in cells)
                + "</tr>"
            )
    head = "".join(
        f"<th style='padding:0 8px;text-align:left'>{name}</th>"
        for name in ("true class", "accepted", "right")
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def roc_explorer(rows, synthesised=False, classes=CLASSES):
    """Choose rows and a class; their mean ROC curves with the band over folds.

    rows: as `figures.mean_roc` takes them. All curves are made once, when the widget opens."""
    import ipywidgets as widgets

    made = {label: figures.all_fold_curves(folds) for label, _, folds in rows}
    boxes = [
        widgets.Checkbox(True, description=label, indent=False, layout={"width": "460px"})
        for label, _, _ in rows
    ]
    options = [("weighted mean", -1), *((style.spoken(name), i) for i, name in enumerate(classes))]
    kind = widgets.Dropdown(options=options, description="Class")
    picture, frame = widgets.HTML(), Still(figures.roc_frame())

    def show(_=None):
        index = None if kind.value < 0 else kind.value
        chosen = [box.description for box in boxes if box.value]
        bands = [(label, name, *made[label][index]) for label, name, _ in rows if label in chosen]
        title = figures.roc_title(index, "" if index is None else classes[index])
        with style.own_style():
            head = style.retitle(frame.figure, title, synthesised)
            moving = figures.roc_artists(frame.figure, bands)
            drawn = frame.paint([head, *moving])
        for artist in moving:
            artist.remove()
        picture.value = _img(
            drawn, f"Mean ROC curves, {kind.label}: {', '.join(chosen) or 'no row'}", frame.width
        )

    for control in (*boxes, kind):
        control.observe(show, "value")
    show()
    return widgets.VBox(
        [widgets.HBox([widgets.VBox(boxes), kind], layout={"flex_flow": "row wrap"}), picture]
    )


def _image(figure, alt: str) -> str:
    return _img(figures.draw(figure, SCREEN_DPI, small=False), alt, round(figure.get_figwidth() * SCREEN_DPI))


def _img(png: bytes, alt: str, width: int) -> str:
    import html

    data = base64.b64encode(png).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" '
        f'style="width:{width}px;max-width:100%">'
    )


def _audio(waveform, rate: int, title: str) -> str:
    import html

    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, waveform, rate, format="WAV", subtype="PCM_16")
    data = base64.b64encode(sound.getvalue()).decode()
    return f'<audio controls aria-label="{html.escape(title)}" src="data:audio/wav;base64,{data}"></audio>'


def _percent(share) -> str:
    return f"{share:.0%}" if np.isfinite(share) else "–"


def run_table(runs):
    """All runs in one table, to sort, filter and compare two; see `explore.runs.run_table`."""
    from esc_suite.explore.runs import run_table as table

    return table(runs)
