"""Sliders and menus over the plotting functions, for a running kernel. Each function returns one widget.

Every notebook shows the same figures without them: a rendered notebook is complete. Controls are plain
ipywidgets, labelled and used by keyboard alone: Tab to reach one, then arrow keys for a slider or a menu,
Space for a box or a button, letters for the filter. Pictures carry a text alternative.
"""

import numpy as np

from esc_suite import figures
from esc_suite.explore.canvas import Lines, Still, heat_base
from esc_suite.explore.clips import clip_browser as clip_browser
from esc_suite.explore.clips import specaugment_explorer as specaugment_explorer
from esc_suite.explore.html import img
from esc_suite.explore.runs import run_table as run_table
from esc_suite.figures import style
from esc_suite.results import pseudo
from esc_suite.results.names import run_title
from esc_utils.urbansound import CLASSES


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
        heat.value = img(
            base.paint(panels(state, hidden, at)), f"Mask heat map at tau {tau.value:.2f}", base.width
        )
        lines = figures.confidence_curve(sure[at], named[at] == hidden, tau.value)
        roc.value = img(
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
        picture.value = img(
            drawn, f"Mean ROC curves, {kind.label}: {', '.join(chosen) or 'no row'}", frame.width
        )

    for control in (*boxes, kind):
        control.observe(show, "value")
    show()
    return widgets.VBox(
        [widgets.HBox([widgets.VBox(boxes), kind], layout={"flex_flow": "row wrap"}), picture]
    )


def _percent(share) -> str:
    return f"{share:.0%}" if np.isfinite(share) else "–"
