"""What makes the comparison of FixMatch with supervised training a fair one: its control, its views, its
start."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from esc_suite.records import train
from esc_suite.results import audit
from esc_utils import config, features, norms, optim, sampling, start, state, training
from esc_utils.errors import UserError
from esc_utils.urbansound import open_dataset, split


def trained(knobs):
    """The network after a run, caught before it is thrown away."""
    caught = []

    def keep(state, _):
        caught.append({name: p.detach().clone() for name, p in state.model.named_parameters()})

    run = train.run(knobs, quiet=True, keep=keep)
    return caught[0], run


SAME = {"steps": 20, "dropout_block": 0.2, "dropout_head": 0.5, "warmup": 0.1, "schedule": "half_cosine"}


@pytest.mark.parametrize("change", [{}, {"pretrained": False}, {"mixup": False}],
                         ids=["pretrained", "random start", "no mixup"])  # fmt: skip
def test_fixmatch_without_its_unlabelled_loss_is_the_control(tiny, change):
    """lambda_u = 0: after 20 steps every weight equals the control's, dropout and batch norm included; with
    lambda_u the weights differ."""
    control, run = trained(tiny("pann_control", **SAME | change))
    nothing, other = trained(tiny("fixmatch_tau075", lambda_u=0.0, tau=0.1, **SAME | change))
    assert run.metrics["labelled_passes"] == other.metrics["labelled_passes"] > 0
    for name, value in control.items():
        assert torch.equal(value, nothing[name]), name
    taught, _ = trained(tiny("fixmatch_tau075", tau=0.1, **SAME | change))
    assert any(not torch.equal(value, taught[name]) for name, value in control.items())


def test_a_control_is_read_where_fixmatch_is(tiny):
    control, fixmatch = (train.run(tiny(name), quiet=True) for name in ("pann_control", "fixmatch_tau075"))
    for column in ("epoch", "step", "learning_rate"):
        pd.testing.assert_series_equal(control.history[column], fixmatch.history[column])
    assert control.history["valid_accuracy"].iloc[0] == fixmatch.history["valid_accuracy"].iloc[0]
    assert control.history["mask_rate"].isna().all() and control.metrics["unlabelled_share"] is None


@pytest.mark.parametrize(
    ("experiment", "view"),
    [("pann_10", "strong"), ("pann_table2", "strong"), ("pann_control", "weak"), ("fixmatch_tau075", "weak"),
     ("l10_labelled_strong", "strong")],
)  # fmt: skip
def test_labelled_view_by_method(experiment, view):
    for profile in ("quick", "lite", "paper"):
        knobs = config.for_run(profile, experiment)
        assert knobs.label_view == view
        other = {"strong": "weak", "weak": "strong"}[view]
        assert knobs.model_copy(update={"labelled_view": other}).label_view == other


def test_the_labelled_view_is_the_one_that_is_drawn():
    hidden = {}
    for view in ("weak", "strong"):
        knobs = config.for_run("paper", "pann_10", labelled_view=view)
        plan = sampling.budget(knobs, 870, 6900)
        masks = sampling.draw_epoch(knobs, plan, 0, 870, 6900, (501, 64))[0].labelled_masks
        hidden[view] = masks.freq.diff(dim=-1).max().item()
    assert hidden["weak"] <= 7 < hidden["strong"] <= 34


def test_equal_labelled_batches_in_the_short_profiles():
    for profile in ("quick", "lite"):
        rows = [config.for_run(profile, name) for name in ("pann_table2", "pann_control", "fixmatch_tau075")]
        assert len({sampling.labelled_batch(knobs) for knobs in rows}) == 1
        assert len({sampling.budget(knobs, 870, 6900).steps for knobs in rows}) == 1
    printed = [
        sampling.labelled_batch(config.for_run("paper", name)) for name in ("pann_table2", "pann_control")
    ]
    assert printed == [64, 32]  # 32 and 16 after blending, as the paper says


def test_steps_scale_with_the_labelled_folds():
    knobs = config.for_run("lite", "pann_100", steps=10, steps_scale="labelled_folds")
    assert sampling.budget(knobs, 7800, 0, labelled_folds=9).steps == 90
    assert (
        sampling.budget(knobs.model_copy(update={"steps_scale": "run"}), 7800, 0, labelled_folds=9).steps
        == 10
    )


def test_the_probe_trains_nothing_and_is_a_logistic_regression(tiny):
    from sklearn.linear_model import LogisticRegression

    knobs = tiny("pann_probe")
    run = train.run(knobs, quiet=True)
    assert run.metrics["steps"] == run.metrics["epochs"] == 0
    assert run.history["step"].tolist() == [0] and np.isnan(run.history["loss"]).all()
    dataset = open_dataset(knobs)
    parts = split(knobs, dataset)
    model, clips = (
        start.build_model(knobs).eval(),
        features.Clips(features.open_store(knobs, dataset), torch.device("cpu")),
    )
    with torch.no_grad():
        e = [
            model.embed(model.normalise(clips[torch.from_numpy(rows)])).numpy()
            for rows in (parts.labelled, parts.validation)
        ]
    mean, spread = e[0].mean(0), e[0].std(0)
    spread = np.maximum(spread, 0.3 * np.median(spread[spread > 0]))
    labels = dataset.clips["class_id"].to_numpy()[parts.labelled]
    fitted = LogisticRegression(C=knobs.logistic_c, max_iter=2000).fit((e[0] - mean) / spread, labels)
    expected = fitted.predict_proba((e[1] - mean) / spread)
    present = fitted.classes_
    ours = run.predictions["valid_prob"][:, present]
    assert np.allclose(ours / ours.sum(1, keepdims=True), expected, atol=2e-4)


def test_what_is_not_trained_is_scored_with_the_statistics_that_its_head_was_fitted_to(tiny):
    """Clean statistics are for trained networks: a frozen probe knows only the stored ones."""
    for name in ("pann_probe", "pann_control"):
        starts = [
            train.run(
                tiny(name, norm_statistics=kind, seed=5, head_start="logistic"), quiet=True
            ).history.iloc[0]
            for kind in ("trained", "clean")
        ]
        assert starts[0]["valid_loss"] == starts[1]["valid_loss"], name


def test_a_probe_needs_a_pretrained_network(tiny):
    with pytest.raises(UserError, match="pretrained: true"):
        tiny("pann_probe", pretrained=False)


def test_warm_up_is_a_straight_rise_on_top_of_the_schedule():
    plain = [optim.rate_factor("half_cosine", s, 100, 50) for s in range(100)]
    warm = [optim.rate_factor("half_cosine", s, 100, 50, 0.1) for s in range(100)]
    assert np.allclose(np.array(warm[:10]) / plain[:10], np.arange(1, 11) / 10)
    assert warm[10:] == plain[10:]


def test_clean_statistics_are_those_of_the_clips_and_leave_no_trace():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
    model(torch.randn(4, 3, 2, 2))  # some statistics of training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [torch.randn(8, 3, 5, 5) * 2 + 1 for _ in range(3)]
    x = torch.randn(2, 3, 5, 5)
    with norms.clean_statistics(model, batches):
        found = model(x)
    mean = torch.stack([b.mean(dim=(0, 2, 3)) for b in batches]).mean(0)
    var = torch.stack([b.var(dim=(0, 2, 3)) for b in batches]).mean(0)
    expected = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    assert torch.allclose(found, expected, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].momentum == 0.1


def test_clean_statistics_change_scores_and_not_training(tiny):
    plain, clean = (
        trained(tiny("fixmatch_tau075", norm_statistics=kind, seed=3)) for kind in ("trained", "clean")
    )
    assert all(torch.equal(value, clean[0][name]) for name, value in plain[0].items())
    assert not np.allclose(plain[1].predictions["valid_prob"], clean[1].predictions["valid_prob"])


def test_pseudo_labels_without_dropout_use_batch_statistics(tiny):
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
    modes = {}
    for mode in ("train", "eval", "no_dropout"):
        norms.pseudo_label_mode(model, tiny("fixmatch_tau075", pseudo_mode=mode))
        modes[mode] = (model[0].training, model[1].training)
    assert modes == {"train": (True, True), "eval": (False, False), "no_dropout": (True, False)}


def test_the_start_stands_in_every_history_and_counts_nothing(tiny):
    for name in ("cnn14_10", "fixmatch_tau075"):
        run = train.run(tiny(name), quiet=True)
        first = run.history.iloc[0]
        assert (
            first["epoch"] == first["step"] == 0
            and np.isnan(first["loss"])
            and np.isfinite(first["valid_accuracy"])
        )
        assert run.history["epoch"].is_unique


def test_audit_and_share_agree_with_the_predictions(tiny):
    run = train.run(tiny("fixmatch_tau075", tau=0.3), quiet=True)
    confidence, pseudo, truth = (
        run.predictions[n] for n in ("pseudo_confidence", "pseudo_label", "unlabelled_label")
    )
    taken = np.nan_to_num(confidence, nan=-1) >= np.float32(0.3)
    table = audit.audit_classes(confidence, pseudo, truth, run.predictions["unlabelled_recording"], 0.3)
    sums = table.groupby("epoch")[["drawn", "accepted", "named", "right"]].sum()
    assert sums["accepted"].tolist() == sums["named"].tolist() == taken.sum(1).tolist()
    assert sums["right"].tolist() == (taken & (pseudo == truth)).sum(1).tolist()
    assert sums["drawn"].tolist() == (pseudo >= 0).sum(1).tolist()
    assert np.allclose(run.history["pseudo_accuracy"][1:], sums["right"] / sums["accepted"])
    weighted, loss = run.metrics["config"]["lambda_u"] * run.history["unlabelled_loss"], run.history["loss"]
    assert np.allclose((weighted / loss)[1:], run.history["unlabelled_share"][1:])
    assert 0 < run.metrics["unlabelled_share"] < 1


def test_a_last_layer_at_zero_asks_nothing_of_the_network_at_first(tiny):
    """So the first step moves the last layer alone, whatever the seed would have drawn."""
    knobs = tiny("pann_control", head_start="zero", weight_decay=0.0)
    dataset = open_dataset(knobs)
    one = state.set_up(knobs, dataset, split(knobs, dataset))
    assert not one.model.fc_transfer.weight.any()
    found = training.supervised_step(
        one.model, knobs, sampling.draw_epoch(knobs, one.budget, 0, len(one.folds.labelled), 8,
        one.clips.shape)[0],
        one.clips[torch.arange(8)], one.labels[:8],
    )  # fmt: skip
    found.loss.backward()
    assert not one.model.fc1.weight.grad.any() and one.model.fc_transfer.weight.grad.any()
    other = tiny("cnn14_control", head_start="zero")
    random = state.set_up(other, dataset, split(knobs, dataset))
    assert random.model.fc_transfer.weight.any(), "random-start rows keep their random last layer"
