"""Every plotting function: a Figure with labelled axes, also where classes are missing, values NaN, epochs
few."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from esc_suite import figures
from esc_suite.figures import style
from esc_suite.results import audit, masking, pseudo
from esc_utils.urbansound import CLASSES

MEL_HZ = np.geomspace(50, 8000, 64)


def clips(n=300, missing=()):
    draw = np.random.default_rng(0)
    class_id = draw.choice([c for c in range(10) if c not in missing], n)
    return {
        "class_id": class_id,
        "fold": draw.integers(1, 11, n),
        "fsid": class_id * 100 + draw.integers(0, 9, n),
        "salience": draw.integers(1, 3, n),
        "duration": np.where(draw.random(n) < 0.8, 4.0, draw.uniform(0.05, 4, n)),
    }


def scores(n=200, missing=()):
    draw = np.random.default_rng(1)
    labels = draw.choice([c for c in range(10) if c not in missing], n)
    logits = draw.normal(size=(n, 10))
    logits[np.arange(n), labels] += 2
    prob = np.exp(logits)
    return labels, prob / prob.sum(axis=1, keepdims=True)


def pseudo_labels(epochs=5, m=120, missing=(), drawn=0.9):
    draw = np.random.default_rng(2)
    labels = draw.choice([c for c in range(10) if c not in missing], m)
    confidence = draw.uniform(0.1, 1, (epochs, m)).astype(np.float16)
    named = np.where(draw.random((epochs, m)) < confidence, labels, (labels + 1) % 10).astype(np.int8)
    out = draw.random((epochs, m)) >= drawn
    confidence[out], named[out] = np.nan, -1
    return confidence, named, labels


def history(epochs=6, fixmatch=True):
    """As a run record has it: epoch 0 is the start, with scores and nothing else; of a probe (epochs=0) it is
    all."""
    at = np.arange(epochs + 1)
    trained = np.where(at > 0, at, np.nan)
    columns = {"epoch": at, "step": at * 10, "learning_rate": 5e-4 / trained, "loss": 2 / trained}
    columns |= {"supervised_loss": 1 / trained, "unlabelled_loss": 1 / trained if fixmatch else np.nan}
    columns |= {
        "mask_rate": 0.5 if fixmatch else np.nan,
        "pseudo_accuracy": np.nan,
        "valid_loss": 2.5 / (1 + at),
    }
    columns |= {"valid_accuracy": 50 + at, "valid_auc": 80 + at}
    return pd.DataFrame(columns)


def folds_table():
    rows = [
        ("CNN14 10%", "cnn14_10", 10),
        ("PANN 10% (stand-in: a narrow network)", "pann_10", 7),
        ("alone", "own", 1),
    ]
    return pd.DataFrame(
        [
            {"row": row, "experiment": name, "fold": k, "accuracy": 60.0 + k, "auc": 90.0 + k / 2}
            for row, name, folds in rows
            for k in range(1, folds + 1)
        ]
    )


def paper_table():
    ours = {"accuracy": 70.0, "accuracy_low": 65.0, "accuracy_high": 74.0, "auc": 93.0, "auc_low": np.nan}
    pann = {
        "group": "Table 2",
        "row": "PANN",
        "experiment": "pann_table2",
        "paper_accuracy": 74.55,
        "paper_auc": 95.5,
    }
    other = {
        "group": "Table 5",
        "row": "ResNet",
        "experiment": None,
        "paper_accuracy": 76.2,
        "paper_auc": np.nan,
    }
    return pd.DataFrame([pann | ours, other | dict.fromkeys(ours, np.nan)])


RULE = {"pair": "PANN against "
                "CNN14", "verdict": "undecided", "direction": "greater", "margin": 0, "difference": None,
        "low": None, "high": None, "paper": None, "why": "no run yet"}  # fmt: skip
CLAIMS = [
    {"id": "a", "claim": "PANN above CNN14", "verdict": "supported", "rules": [
        RULE | {"verdict": "supported", "difference": 20, "low": 15, "high": 25, "paper": 35, "margin": 10,
        "why": ""}]},
    {"id": "c", "claim": "without mixup, lower", "verdict": "contradicted", "rules": [
        RULE | {"verdict": "contradicted", "difference": 4.0, "direction": "less", "why": ""}]},
    {"id": "d", "claim": "lower thresholds are better", "verdict": "undecided", "rules": [
        RULE | {"difference": 1.0, "low": 0.5, "high": 1.5, "why": "p = 0.21 by Holm"}, RULE]},
    {"id": "h", "claim": "70 epochs suffice", "verdict": "blocked", "rules": [
        RULE | {"verdict": "blocked", "why": "not trained out"}]},
]  # fmt: skip


def mels(n=3, frames=60):
    values = np.random.default_rng(3).normal(-50, 10, (n, frames, 64)).astype(np.float16)
    values[:, 40:] = -100  # digital silence
    return values


def masks(n=2, frames=60):
    return np.random.default_rng(4).random((n, frames, 64)) < 0.2


def cases(missing=(), epochs=5, drawn=0.9):
    """Name -> call of every plotting function."""
    c, (labels, prob) = clips(missing=missing), scores(missing=missing)
    confidence, named, truth = pseudo_labels(epochs, missing=missing, drawn=drawn)
    last, guess = (part[-1] for part in pseudo.latest(confidence, named))
    both = {"weak": np.linspace(0, 0.1, 50), "strong": np.linspace(0.1, 0.6, 50)}
    roc = [("PANN 10%", "pann_10", [scores(missing=missing)] * 3), ("nothing", "cnn14_10", [])]
    return {
        "class_fold_counts": lambda **k: figures.class_fold_counts(c["class_id"], c["fold"], CLASSES, **k),
        "recordings_per_fold": lambda **k: figures.recordings_per_fold(c["class_id"], c["fold"], c["fsid"],
        CLASSES, **k),
        "durations": lambda **k: figures.durations(c["class_id"], c["duration"], CLASSES, window=5, **k),
        "salience": lambda **k: figures.salience(c["class_id"], c["salience"], CLASSES, **k),
        "example_grid": lambda **k: figures.example_grid(mels(), CLASSES[:3], mel_hz=MEL_HZ, **k),
        "clip_view": lambda **k: figures.clip_view(np.zeros(9600), 16000, mels(1)[0], "a clip", **k),
        "views": lambda **k: figures.views(mels(1)[0], masks(), masks(), mel_hz=MEL_HZ, **k),
        "fixmatch_step": lambda **k: figures.fixmatch_step(
            mels(4), masks(4), masks(4), prob[:4], prob[:4].max(1) >= 0.75, [0.5] * 4, 0.75, CLASSES,
                 mel_hz=MEL_HZ, **k
        ),
        "masked_area": lambda **k: figures.masked_area(both["weak"], both["strong"], 0.05, 0.4, **k),
        "learning_curves": lambda **k: figures.learning_curves(history(epochs), **k),
        "confusion_matrix": lambda **k: figures.confusion_matrix(labels, prob.argmax(1), CLASSES, **k),
        "roc_curves": lambda **k: figures.roc_curves(labels, prob, CLASSES, **k),
        "pseudo_label_curves": lambda **k: figures.pseudo_label_curves(confidence, named, truth, 0.75, **k),
        "pseudo_label_by_class": lambda **k: figures.pseudo_label_by_class(
            confidence, named, truth, 0.75, CLASSES, recordings=truth * 10, **k
        ),
        "mask_heatmap": lambda **k: figures.mask_heatmap(confidence, named, truth, CLASSES, 0.75, **k),
        "confidence_histograms": lambda **k: figures.confidence_histograms(confidence, named, truth, 0.75,
        **k),
        "reliability": lambda **k: figures.reliability(audit.calibration(last, guess, truth, 0.75), 0.75,
        **k),
        "threshold_sweep": lambda **k: figures.threshold_sweep(audit.tau_yield(last, guess, truth), 0.75,
        **k),
        "confidence_roc": lambda **k: figures.confidence_roc(last, guess == truth, 0.75, **k),
        "threshold_comparison": lambda **k: figures.threshold_comparison(
            [("tau = .75", "fixmatch_tau075", confidence, named, truth, 0.75)], **k
        ),
        "pairs": lambda **k: figures.pairs(*paired(), **k),
        "fold_dots": lambda **k: figures.fold_dots(folds_table(), {"CNN14 10%": (69.83, None)}, **k),
        "mean_roc": lambda **k: figures.mean_roc(roc, **k),
        "mean_roc_class": lambda **k: figures.mean_roc(roc, class_index=6, class_name="gun_shot", **k),
        "forest": lambda **k: figures.forest(paper_table(), **k),
        "claims_overview": lambda **k: figures.claims_overview(CLAIMS, **k),
    }  # fmt: skip


def words(figure) -> str:
    from matplotlib.text import Text

    return " | ".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("name", cases())
def test_returns_a_labelled_figure_that_pyplot_does_not_hold(name):
    import matplotlib.pyplot as plt

    figure = cases()[name]()
    assert isinstance(figure, Figure) and not plt.get_fignums()
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    super_labels = [label.get_text() for label in (figure._supxlabel, figure._supylabel) if label]
    assert any(axes.get_xlabel() for axes in shown) or super_labels, "no x label"
    assert any(axes.get_ylabel() or axes.get_yticklabels() for axes in shown)
    assert "synthesised" not in words(figure)


@pytest.mark.parametrize("name", cases())
def test_synthesised_audio_is_said_in_the_title(name):
    assert cases()[name](synthesised=True).get_suptitle().endswith("synthesised audio")


@pytest.mark.parametrize("name", cases())
@pytest.mark.filterwarnings("error")
def test_a_missing_class_and_a_single_epoch_draw_without_a_warning(name):
    assert len(figures.draw(cases(missing=(6,), epochs=1)[name](), 40)) > 1000


@pytest.mark.parametrize(
    "name", ["mask_heatmap", "pseudo_label_curves", "confidence_histograms", "reliability"]
)
@pytest.mark.filterwarnings("error")
def test_nothing_drawn_draws_without_a_warning(name):
    assert len(figures.draw(cases(epochs=2, drawn=0.0)[name](), 40)) > 1000


@pytest.mark.filterwarnings("error")
def test_supervised_history_has_no_unlabelled_curve():
    assert "unlabelled" not in words(figures.learning_curves(history(fixmatch=False)))
    assert "unlabelled" in words(figures.learning_curves(history()))


@pytest.mark.filterwarnings("error")
def test_curves_begin_before_training_and_a_probe_has_one_point():
    figure = figures.learning_curves(history(3, fixmatch=False))
    accuracy, loss = figure.axes[1], figure.axes[0]
    assert accuracy.lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert {line.get_label(): len(line.get_xdata()) for line in loss.lines} == {
        "training, masked blends": 3,
        "validation, clean clips": 4,
    }
    probe = figures.learning_curves(history(0, fixmatch=False))
    assert len(figures.draw(probe, 40)) > 1000
    # The loss, the learning rate
    assert "last 50.0" in words(probe) and "no step of training" in words(probe)


def test_the_learning_rate_of_every_step_shows_its_peak():
    """Rates come from the config alone; the history, which has those at the ends of epochs, must agree."""
    from types import SimpleNamespace

    from esc_suite.notebook import step_rates
    from esc_utils import config
    from esc_utils.optim import rate_factor
    from esc_utils.sampling import budget

    settings = config.for_run("quick", "fixmatch_tau075")
    plan = budget(settings, 30, 800)
    ends = [min(epoch * plan.per_epoch, plan.steps) for epoch in range(1, plan.epochs + 1)]
    law = settings.schedule, plan.steps, plan.period, settings.warmup
    kept = [settings.learning_rate * rate_factor(law[0], step - 1, *law[1:]) for step in ends]
    table = pd.DataFrame({"epoch": range(1, plan.epochs + 1), "step": ends, "learning_rate": kept})
    metrics = {"config": settings.model_dump(), "steps": plan.steps}
    epochs, rates = step_rates(SimpleNamespace(metrics=metrics, history=table))
    assert len(rates) == plan.steps and rates.max() == pytest.approx(settings.learning_rate, rel=0.01)
    assert [rates[epochs == epoch] for epoch in table["epoch"]] == [pytest.approx([rate]) for rate in kept]
    shown = figures.learning_curves(history(plan.epochs), (epochs, rates))
    (line,) = shown.axes[3].lines
    assert len(line.get_xdata()) == plan.steps and "peak 5e-4" in words(shown)
    untrained = SimpleNamespace(metrics=metrics | {"steps": 0}, history=table.iloc[:0])
    assert len(step_rates(untrained)[1]) == 0


def test_numbers_of_the_learning_curves_lie_off_the_lines():
    figure = figures.learning_curves(history())
    figure.draw_without_rendering()
    assert not any(axes.get_legend() for axes in figure.axes)
    (key,) = figure.legends
    assert not any(key.get_window_extent().overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_views_share_one_axis_of_time():
    figure = figures.views(mels(1)[0], masks(), masks(), np.zeros(9600), 16000)
    panels = [
        axes
        for axes in figure.axes
        if axes.get_label().rstrip("01") in ("waveform", "clip", "weak", "strong")
    ]
    assert len(panels) == 6 and {axes.get_xlim() for axes in panels} == {(0, 0.6)}
    assert len({(axes.get_position().x0, axes.get_position().x1) for axes in panels}) == 1
    assert words(figure).count("masked") == 4


def paired():
    lines = [("CNN14 + FixMatch", fold, 50.0 + fold, 51.0 + 2 * fold) for fold in range(1, 6)]
    lines += [("mn04 + FixMatch", 1, 90.0, 89.0)]
    differences = {"CNN14 + FixMatch": (4.0, 1.5, 6.5), "mn04 + FixMatch": (-1.0, None, None)}
    return pd.DataFrame(lines, columns=["network", "fold", "control", "fixmatch"]), differences


def test_pairs_are_a_line_for_every_fold_and_their_mean():
    figure = figures.pairs(*paired())
    slopes, mean = figure.axes[0].lines[:-1], figure.axes[0].lines[-1]
    assert sorted(line.get_ydata().tolist() for line in slopes) == [
        [50.0 + k, 51.0 + 2 * k] for k in range(1, 6)
    ]
    assert mean.get_ydata().tolist() == [53.0, 57.0]
    assert (
        "+4.0 points [+1.5, +6.5], 5 folds" in figure.caption
        and "-1.0 points no interval, 1 fold" in figure.caption
    )
    spans = [np.diff(axes.get_ylim())[0] for axes in figure.axes]
    assert spans[0] == pytest.approx(spans[1])


OTHERS = {"claims_overview"}  # described where it is shown


@pytest.mark.parametrize("name", sorted(set(cases()) - OTHERS))
def test_a_figure_describes_itself(name):
    figure = cases()[name](of="a run, fold 1", synthesised=True)
    assert len(figure.alt) > 20 and "nan" not in figure.alt.split()
    assert (
        figure.caption.startswith(figure.get_suptitle().split("\n")[0]) and "a run, fold 1" in figure.caption
    )
    assert figure.get_suptitle().split("\n", 1)[1].replace("\n", " ").startswith("a run, fold 1")


@pytest.mark.parametrize(
    "name", sorted(set(cases()) - OTHERS - {"confidence_roc"})
)  # which stands in a widget alone
def test_a_title_of_three_lines_covers_nothing(name):
    long = "narrow CNN14 + FixMatch, tau = 0.75, 2 batches a step, fold 1, seed 2"
    title_covers_nothing(cases()[name](of=long, synthesised=True))


def test_a_run_is_called_by_what_it_is():
    from esc_suite.results.names import run_title
    from esc_utils import config, paths

    def title(profile, experiment, seed=0):
        return run_title(
            {"config": config.for_run(profile, experiment).model_dump(), "fold": 2, "seed": seed}
        )

    assert title("lite", "fixmatch_tau075") == "mn04 + FixMatch, tau = 0.75, fold 2"
    assert (
        title("paper", "fixmatch_tau095_nomixup", 1)
        == "PANN + FixMatch, tau = 0.95, without mixup, fold 2, seed 1"
    )
    assert title("quick", "cnn14_control") == "CNN14, control of FixMatch, fold 2"
    assert title("quick", "l10_labelled_strong").endswith("labelled clips in the strong view, fold 2")
    names = [path.stem for path in (paths.project_root() / "params" / "experiments").glob("*.yaml")]
    assert len({title("quick", name) for name in names}) == len(names)


def test_long_labels_do_not_cover_each_other():
    long = "PANN, control of FixMatch (not in the paper) [in place of PANN]"
    rows = [{"group": "Table 2", "row": long, "experiment": "pann_control", "accuracy": 70.0}] * 4
    figure = figures.forest(pd.DataFrame(rows))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert not [1 for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]


def test_a_legend_shows_the_glyphs_that_occur_and_explains_a_dagger_once():
    rows = [
        {"row": "PANN", "experiment": "pann_table2", "paper_accuracy": 74.55, "accuracy": 70.0},
        {"row": "+ FixMatch [EfficientAT mn04 (AudioSet) in place of PANN]", "experiment": "fixmatch_tau095",
         "accuracy": 71.0, "network": "EfficientAT mn04 (AudioSet)"},
        {"row": "ResNet", "experiment": "", "paper_accuracy": 76.25},
    ]  # fmt: skip
    figure = figures.forest(pd.DataFrame(rows))
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["ours, supervised", "ours, FixMatch", "the paper's number", "of another paper"]
    assert words(figure).count(
        "EfficientAT mn04 (AudioSet) in place of PANN"
    ) == 1 and "+ FixMatch \u2020" in words(figure)
    keys = [text.get_text() for text in figures.forest(pd.DataFrame(rows[:1])).legends[0].get_texts()]
    assert keys == ["ours, supervised", "the paper's number"]
    assert not figures.forest(pd.DataFrame(rows[:1])).legends[0].get_title().get_text().count("\u2020")


def test_the_figure_of_the_claims_says_what_keeps_a_difference_beyond_zero_undecided():
    figure = figures.claims_overview(CLAIMS)
    assert "p = 0.21 by Holm" in words(figure) and "(d) lower thresholds are better  ? undecided" in words(
        figure
    )
    bands = [
        band.get_paths()[0].get_extents() for band in figure.axes[0].collections if hasattr(band, "get_paths")
    ]
    assert {10.0, 0.0} <= {band.x0 for band in bands}, "a band begins at the margin of its claim"


def test_the_style_leaves_global_state_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    cases()["roc_curves"]()
    assert dict(matplotlib.rcParams) == before


def test_save_writes_picture_and_description_and_the_same_bytes_again(tmp_path):
    for folder in ("one", "two"):
        shown = figures.save(
            cases()["learning_curves"](), tmp_path / folder, "curves", "alt text", "caption", "make tables",
            {"commit": "abc"}, formats=("png", "svg", "pdf"), dpi=80,
        )  # fmt: skip
    assert shown.data == (tmp_path / "one" / "curves.png").read_bytes() and shown.alt == "alt text"
    for name in ("curves.png", "curves.svg", "curves.pdf", "curves.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    described = json.loads((tmp_path / "one" / "curves.json").read_text())
    assert described == {
        "alt": "alt text", "caption": "caption", "command": "make tables", "provenance": {"commit": "abc"},
    }  # fmt: skip
    assert Image.open(tmp_path / "one" / "curves.png").size == (560, 432)


def test_colours_are_apart_and_steady():
    from matplotlib.colors import to_rgb

    colours = np.array([to_rgb(style.colour_of(c)) for c in range(10)])
    gaps = np.linalg.norm(colours[:, None] - colours[None], axis=-1)[np.triu_indices(10, 1)]
    assert gaps.min() > 0.2
    assert style.method("fixmatch_tau075") == style.method("fixmatch_tau075") != style.method("pann_10")
    assert style.method("a sensitivity run") == style.method("a sensitivity run")
    grey = np.array([to_rgb(c) for c in style.STATES.values()]) @ [0.2126, 0.7152, 0.0722]
    assert np.diff(grey).min() > 0.1, "the four states must stay in order without colour"


def test_expected_masked_share_matches_drawing():
    """The exact mean of the law against 4,000 draws of the augmentation itself."""
    import torch

    from esc_utils.augment import SpecAugment

    for law in ((8, 1, 32, 1), (35, 2, 64, 2)):
        generator = torch.Generator().manual_seed(0)
        augment = SpecAugment(*law)
        ones = torch.ones(4000, 1, 501, 64)
        share = (augment(ones, augment.draw(4000, 501, 64, generator)) == 0).float().mean(dim=(1, 2, 3))
        error = float(share.std()) / 4000**0.5
        assert abs(float(share.mean()) - masking.expected_share(*law)) < 4 * error
        counted = masking.drawn_shares(augment, 4000, generator=torch.Generator().manual_seed(0))
        assert counted == pytest.approx(share.numpy(), abs=1e-6)


def test_states_and_shares_by_hand():
    confidence = np.array([[0.9, 0.9, 0.5, np.nan]], np.float32)
    named, labels = np.array([[1, 2, 3, -1]]), np.array([1, 1, 3, 3])
    state = pseudo.states(confidence, named, labels, 0.75)
    assert state.tolist() == [[pseudo.RIGHT, pseudo.WRONG, pseudo.REJECTED, pseudo.NOT_DRAWN]]
    share = pseudo.shares(state)
    assert share["accepted"][0] == pytest.approx(2 / 3) and share["accuracy"][0] == 0.5
    assert share["right"][0] == pytest.approx(1 / 3)
    assert pseudo.recordings_of_accepted(state, labels, np.array([7, 7, 8, 9]), 4)[1] == (1, 1)
    assert pseudo.recordings_of_accepted(state, labels, np.array([7, 7, 8, 9]), 4)[3] == (0, 2)


def test_latest_keeps_each_clips_label_until_it_is_drawn_again():
    confidence = np.array([[0.4, 0.5, np.nan], [0.6, np.nan, np.nan], [np.nan, np.nan, 0.2]])
    sure, named = pseudo.latest(confidence, np.array([[1, 2, -1], [3, -1, -1], [-1, -1, 4]]))
    np.testing.assert_array_equal(sure, [[0.4, 0.5, np.nan], [0.6, 0.5, np.nan], [0.6, 0.5, 0.2]])
    assert named.tolist() == [[1, 2, -1], [3, 2, -1], [3, 2, 4]]


def test_heatmap_orders_clips_by_first_acceptance_within_their_class():
    from esc_suite.figures.heatmap import IMAGE_ROWS, order, panels

    labels = np.array([0, 0, 0, 1])
    state = np.array([[2, 0, 2, 0], [2, 0, 1, 0], [2, 0, 0, 0]], np.int8)
    groups = order(state, labels, [0, 1])
    assert [group.tolist() for group in groups] == [[1, 2, 0], [3]]
    found = panels(state, labels)
    assert found["main"].shape[1:] == (3, 3) and abs(found["bounds"][-1] - IMAGE_ROWS) <= 2
    assert found["bounds"][1] / found["bounds"][-1] == pytest.approx(0.75, abs=0.01)


def test_heatmap_pixels_are_the_states():
    from matplotlib.colors import to_rgb

    from esc_suite.figures.heatmap import BAR_COLUMNS, panels

    labels, state = np.zeros(4, int), np.array([[0, 0, 1, 2], [3, 3, 3, 3]], np.int8)
    found = panels(state, labels, at=0)
    colours = [to_rgb(colour) for colour in style.STATES.values()]
    assert np.allclose(found["main"][:, 1], colours[3])
    first = found["above"][::-1, 0]  # from 0 % up
    assert np.allclose(first[: BAR_COLUMNS // 2], colours[0]) and np.allclose(first[-1], colours[2])
    bar = found["side"][len(found["side"]) // 2]
    assert np.allclose(bar[BAR_COLUMNS // 2 + 1], colours[1]) and np.allclose(bar[-1], colours[2])


def test_a_small_class_keeps_room_for_its_label():
    from esc_suite.figures.heatmap import LEAST_SHARE, panels

    labels = np.r_[np.zeros(5000, int), np.ones(3, int)]
    found = panels(np.zeros((4, 5003), np.int8), labels)
    bounds = found["bounds"]
    assert (bounds[2] - bounds[1]) / len(found["main"]) > LEAST_SHARE * 0.9


def test_weighted_mean_auc_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    from esc_suite.figures.runs import one_vs_rest, weighted_mean

    labels, prob = scores(400)
    _, area = weighted_mean(labels, one_vs_rest(labels, prob))
    assert area == pytest.approx(
        roc_auc_score(labels, prob, multi_class="ovr", average="weighted"), abs=1e-12
    )


def test_mel_centres_are_those_of_the_front_end():
    import librosa

    expected = librosa.mel_frequencies(66, fmin=50, fmax=8000)[1:-1]
    np.testing.assert_allclose(figures.mel_centres(), expected, rtol=1e-9)


def test_fewer_colours_keep_those_of_the_style():
    import io

    whole, small = (figures.draw(cases()["mask_heatmap"](), 60, small=small) for small in (False, True))
    before, after = (
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int) for data in (whole, small)
    )
    assert len(small) < len(whole) and np.abs(before - after).mean() < 1
    for colour in style.colours():
        exact = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        assert (after[(before == exact).all(axis=-1)] == exact).all(), colour


@pytest.mark.parametrize("name", cases())
def test_the_title_covers_nothing(name):
    title_covers_nothing(cases()[name](synthesised=True))


def title_covers_nothing(figure):
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    for axes in figure.axes:
        if axes.get_visible() and axes.axison:
            assert not title.overlaps(axes.get_tightbbox()), axes.get_title("left")


def cnn14(width=2):
    import torch

    from esc_utils.model import Cnn14

    with torch.device("meta"):
        return Cnn14(len(CLASSES), width)


def test_layers_of_the_network_are_counted_and_measured():
    shapes = figures.layer_shapes(cnn14(64), 501, 64)
    assert shapes["conv_block1"] == ((64, 250, 32), 64 * 9 + 64 * 64 * 9 + 4 * 64)
    assert shapes["conv_block6"][0] == (2048, 15, 2) and shapes["fc_transfer"] == ((10,), 2048 * 10 + 10)
    assert sum(count for _, count in shapes.values()) == sum(p.numel() for p in cnn14(64).parameters())
    table = figures.layer_table({"paper": shapes, "quick": figures.layer_shapes(cnn14(), 129, 64)})
    assert (
        table.loc["conv_block1", ("quick", "output for one clip")]
        == "2 \N{MULTIPLICATION SIGN} 64 \N{MULTIPLICATION SIGN} 32"
    )
    assert table.loc["all", ("paper", "parameters")] == "79,694,282"


def test_measuring_a_network_leaves_it_as_it_was():
    model = cnn14().train()
    figures.layer_shapes(model, 64, 64)
    assert model.training and not any(layer._forward_hooks for layer in model.modules())


@pytest.mark.filterwarnings("error")
def test_the_drawing_of_the_network_names_every_layer_and_its_shape():
    from esc_suite.figures.network import shape_words

    shapes = figures.layer_shapes(cnn14(64), 501, 64)
    figure = figures.network(shapes, CLASSES, mels(1)[0], synthesised=True)
    text = words(figure)
    for name in (
        "log-mel",
        "bn0",
        "view",
        *(f"conv block {i}" for i in range(1, 7)),
        "pooling",
        "fc1",
        "fc_transfer",
    ):
        assert name in text
    assert not [shape for shape, _ in shapes.values() if shape_words(shape) not in text]
    assert figure.get_suptitle().endswith("synthesised audio")
    assert not overlapping(figure.axes[0])


def overlapping(axes) -> list[tuple[str, str]]:
    """Pairs of texts of one panel that cover each other."""
    axes.figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, two in boxes[i + 1 :] if one.overlaps(two)]


def test_a_step_says_what_is_accepted_and_what_it_costs():
    prob = np.full((2, 10), 0.02)
    prob[0, 6], prob[1, 3] = 0.82, 0.749
    prob[1, 4] = 0.111
    figure = figures.fixmatch_step(
        mels(2), masks(), masks(), prob, [True, False], [1.234, 0.0], 0.75, CLASSES, mel_hz=MEL_HZ
    )
    text = words(figure)
    assert "0.820 \N{GREATER-THAN OR EQUAL TO} 0.75" in text and "0.749 < 0.75" in text
    assert (
        text.count("mask = 1")
        == text.count("mask = 0")
        == text.count("accepted")
        == text.count("rejected")
        == 1
    )
    assert "1.23" in text and "gun\nshot" in text and "no part in" in text
    assert not [pair for axes in figure.axes for pair in overlapping(axes)]


def test_both_kinds_of_clips_are_picked_by_turns():
    confidence = np.array([0.2, 0.9, 0.5, 0.8, 0.99, 0.74])
    picked = pseudo.both_kinds(confidence, 0.75)
    assert confidence[picked].tolist() == [0.99, 0.74, 0.8, 0.2]
    # One is accepted
    assert confidence[pseudo.both_kinds(confidence, 0.95)].tolist() == [0.99, 0.9, 0.74, 0.2]
    assert len(set(pseudo.both_kinds(confidence, 1.1))) == len(set(pseudo.both_kinds(confidence, 0.0))) == 4
    assert len(pseudo.both_kinds(confidence[:2], 0.75)) == 2


def test_a_forest_names_the_folds_where_they_differ():
    rows = [
        {"row": name, "experiment": "pann_10", "accuracy": 70.0, "auc": 90.0, "folds": folds}
        for name, folds in (("one", "3 of 10"), ("other", "1 of 10"))
    ]
    for table, named in ((rows, 2), ([rows[0], rows[1] | {"folds": "3 of 10"}], 0)):
        axes = figures.forest(pd.DataFrame(table)).axes[0]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert sum("of 10 folds" in label for label in labels) == named
