"""Explorers without a browser: every control changes what is shown, and changing it back restores it."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from esc_suite import explore
from esc_suite.explore import canvas as explore_canvas
from esc_utils import config
from esc_utils.urbansound import CLASSES

widgets = pytest.importorskip("ipywidgets")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three clips of two classes on disk, and their log-mels."""
    import soundfile

    folder, noise = tmp_path_factory.mktemp("audio"), np.random.default_rng(0)
    rows = []
    for number, label in enumerate((0, 0, 3)):
        path = folder / f"{number}-{label}-0-0.wav"
        soundfile.write(path, noise.normal(0, 0.1, 8000), 16000)
        rows.append(
            {
                "file": path.name,
                "path": str(path),
                "class_id": label,
                "class_name": CLASSES[label],
                "fold": 1 + number,
            }
        )
    clips = pd.DataFrame(rows).assign(fsid=range(3), salience=[1, 2, 1], duration=0.5)
    log_mels = noise.normal(-50, 8, (3, 60, 64)).astype(np.float16)
    dataset = SimpleNamespace(clips=clips, synthesised=True, classes=CLASSES)
    return dataset, log_mels, config.for_run("quick", "fixmatch_tau075")


def make_run(seed=0, labels=None):
    draw = np.random.default_rng(seed)
    hidden = draw.integers(0, 10, 80)
    sure = draw.uniform(0.1, 1, (4, 80)).astype(np.float32)
    named = np.where(draw.random((4, 80)) < sure, hidden, (hidden + 1) % 10).astype(np.int8)
    labels = draw.integers(0, 10, 60) if labels is None else labels
    prob = draw.dirichlet(np.ones(10), 60)
    arrays = {"pseudo_confidence": sure, "pseudo_label": named, "unlabelled_label": hidden}
    arrays |= {"unlabelled_recording": hidden * 3, "valid_label": labels, "valid_prob": prob}
    arrays["valid_recording"] = np.arange(60) // 3
    found = {
        "experiment": "fixmatch_tau075",
        "fold": 1,
        "seed": seed,
        "synthesised": True,
        "epochs": 4,
        "steps": 9,
    }
    found |= {
        "config": config.for_run("quick", "fixmatch_tau075").model_dump(),
        "seconds": 1.0,
        "backbone": "random start",
    }
    found["validation"] = {"last": {"accuracy": 50.0 + seed, "auc_weighted": 80.0}}
    return SimpleNamespace(
        name=f"run {seed}", metrics=found, predictions=arrays, history=None, classes=CLASSES
    )


def controls(widget):
    """All controls in a tree of widgets, and all of its HTML."""
    found, shown = [], []
    for child in getattr(widget, "children", ()):
        more, html = controls(child)
        found, shown = found + more, shown + html
    if isinstance(widget, widgets.HTML):
        shown.append(widget)
    elif hasattr(widget, "description") and hasattr(widget, "value"):
        found.append(widget)
    return found, shown


def seen(shown) -> str:
    return "".join(html.value for html in shown)


def another(control):
    """Some other value of a control."""
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        return next((value for value in values if value != control.value), None)
    if isinstance(control, widgets.Checkbox):
        return not control.value
    if isinstance(control, widgets.Text):
        return "run 1 is not in the table"
    return control.max if control.value < control.max else control.min


def check(widget, skip=()):
    found, shown = controls(widget)
    assert found and all(control.description for control in found), "every control has a label"
    before = seen(shown)
    assert all("alt=" in image for image in re.findall(r"<img[^>]*>", before))
    for control in found:
        if control.description in skip:
            continue
        old = control.value
        control.value = another(control)
        assert seen(shown) != before, f"{control.description} changes nothing"
        control.value = old
        assert seen(shown) == before, f"{control.description} back again does not restore it"


def test_clip_browser(data):
    widget = explore.clip_browser(*data)
    found, shown = controls(widget)
    assert "<audio controls" in seen(shown) and "<img" in seen(shown)
    kind, fold, clip = found
    assert len(clip.options) == 2
    first = seen(shown)
    clip.index = 1
    assert seen(shown) != first
    clip.index = 0
    assert seen(shown) == first
    fold.value = 2
    assert len(clip.options) == 1
    kind.value = 3
    assert clip.value is None and "<img" not in seen(shown)


def test_specaugment_explorer(data):
    check(explore.specaugment_explorer(*data))


def test_draw_again_changes_the_stripes(data):
    widget = explore.specaugment_explorer(*data)
    _, shown = controls(widget)
    before = seen(shown)
    widget.children[0].children[1].click()
    assert seen(shown) != before


def test_tau_explorer_restores_and_says_what_the_run_used():
    widget = explore.tau_explorer(make_run())
    check(widget)
    assert "The run itself used tau = 0.75" in seen(controls(widget)[1])


def test_tau_explorer_shows_the_static_pixels():
    """Painting over the base gives the colours of the static heat map."""
    import io

    from PIL import Image

    from esc_suite import figures
    from esc_suite.figures.heatmap import panels
    from esc_suite.results import pseudo

    arrays = make_run().predictions
    sure, named, hidden = (arrays[key] for key in ("pseudo_confidence", "pseudo_label", "unlabelled_label"))
    static = figures.mask_heatmap(sure, named, hidden, CLASSES, 0.6)
    expected = np.asarray(
        Image.open(io.BytesIO(figures.draw(static, explore_canvas.SCREEN_DPI, small=False)))
    ).astype(int)
    base = explore_canvas.heat_base(figures.mask_heatmap(sure, named, hidden, CLASSES, 0.6))
    painted = base.paint(panels(pseudo.states(*pseudo.latest(sure, named), hidden, 0.6), hidden))
    painted = np.asarray(Image.open(io.BytesIO(painted))).astype(int)
    left, top, right, bottom = base.boxes["main"]
    assert expected.shape == painted.shape
    inner = painted[top + 3 : bottom - 3, left + 3 : right - 3]
    # The two round to pixels each in its own way: one pixel off is alike
    alike = np.zeros(inner.shape[:2], bool)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            near = expected[top + 3 + down : bottom - 3 + down, left + 3 + across : right - 3 + across]
            alike |= np.abs(near - inner).max(axis=-1) <= 8
    assert alike.mean() > 0.995
    other = base.paint(panels(pseudo.states(*pseudo.latest(sure, named), hidden, 0.9), hidden))
    assert other != base.paint(panels(pseudo.states(*pseudo.latest(sure, named), hidden, 0.6), hidden))


def test_roc_explorer():
    draw = np.random.default_rng(0)
    folds = [(draw.integers(0, 10, 80), draw.dirichlet(np.ones(10), 80)) for _ in range(4)]
    check(
        explore.roc_explorer(
            [("PANN", "pann_10", folds[:2]), ("CNN14", "cnn14_10", folds[2:])], synthesised=True
        )
    )


def test_run_table_filters_sorts_and_compares():
    labels = np.arange(60) % 10
    runs = [make_run(seed, labels) for seed in range(3)]
    widget = explore.run_table(runs)
    found, shown = controls(widget)
    assert "3 of 3 runs (synthesised audio)" in seen(shown)
    check(widget, skip=("Sort by",))
    found[0].value = "fixmatch"
    assert "3 of 3" in seen(shown)
    found[0].value = "no such run"
    assert "0 of 3" in seen(shown)


def test_runs_on_other_clips_are_not_compared():
    from esc_suite.explore.runs import difference

    left, right = make_run(0), make_run(1)
    right.predictions["valid_recording"] = right.predictions["valid_recording"] + 100
    assert "different clips" in difference(left, right)
