"""Unknown classes in the pool: the split that hides them, OpenMatch's losses against plain NumPy, and what is
said of a run."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from test_steps import setting

from esc_suite.records import train
from esc_suite.results import pseudo, unknowns
from esc_suite.results.spec import read_spec
from esc_utils import config, steps
from esc_utils.beyond import openmatch
from esc_utils.beyond.thresholds import Threshold
from esc_utils.losses import fixmatch, supervised
from esc_utils.urbansound import CLASSES, class_order, open_dataset, split

BATCH, KNOWN = 6, 4


# ---- The split -----------------------------------------------------------------------------------
def test_unknown_classes_are_in_the_pool_and_in_a_set_of_their_own(tiny):
    knobs = tiny("open_fixmatch")
    dataset, plain = open_dataset(knobs), open_dataset(tiny("fixmatch_tau075"))
    parts, whole = split(knobs, dataset), split(tiny("fixmatch_tau075"), plain)
    number, names = dataset.clips["class_id"].to_numpy(), plain.clips["class_name"].to_numpy()
    order = class_order(knobs)
    assert sorted(order) == list(range(10))
    assert dataset.classes == tuple(CLASSES[c] for c in order[:6]) and order[:6] == sorted(order[:6])
    assert all(CLASSES[order[n]] == name for n, name in zip(number, names, strict=True))
    assert number[parts.labelled].max() < 6 and number[parts.validation].max() < 6
    assert set(number[parts.unknown]) == {6, 7, 8, 9} <= set(number[parts.unlabelled])
    assert np.array_equal(parts.unlabelled, whole.unlabelled)
    assert np.array_equal(np.sort(np.r_[parts.validation, parts.unknown]), whole.validation)
    assert set(parts.labelled) < set(whole.labelled) and len(whole.unknown) == 0


def test_which_are_unknown_depends_on_the_unknown_seed_alone(tiny):
    """Seeds of a row must validate on the same clips."""
    orders = [
        class_order(tiny("open_fixmatch", seed=seed, train_fold=fold)) for seed, fold in ((0, 1), (3, 5))
    ]
    assert orders[0] == orders[1] == class_order(tiny("open_openmatch"))
    assert len({tuple(class_order(tiny("open_control", unknown_seed=seed))) for seed in range(5)}) > 1
    assert class_order(tiny("fixmatch_tau075")) == list(range(10))


# ---- The losses ----------------------------------------------------------------------------------
def hand_made(seed=0, clips=BATCH):
    generator = np.random.default_rng(seed)
    heads = generator.normal(size=(clips, 2 * KNOWN)) * 2
    pairs = np.exp(heads.reshape(clips, 2, KNOWN))
    return heads, (pairs / pairs.sum(axis=1, keepdims=True))[:, 1]  # softmax of outlier and inlier


@pytest.mark.parametrize("mixup", [False, True])
def test_one_vs_all(mixup):
    heads, inlier = hand_made()
    generator = np.random.default_rng(1)
    labels, w = generator.integers(0, KNOWN, BATCH * (2 if mixup else 1)), generator.uniform(size=BATCH)

    def one(p, y):
        return -np.log(p[y]) + max(-np.log(1 - q) for k, q in enumerate(p) if k != y)

    expected = [one(p, y) for p, y in zip(inlier, labels, strict=False)]
    if mixup:
        expected = [
            w[i] * one(p, labels[2 * i]) + (1 - w[i]) * one(p, labels[2 * i + 1])
            for i, p in enumerate(inlier)
        ]
    weights = torch.from_numpy(w) if mixup else None
    found = openmatch.one_vs_all(torch.from_numpy(heads), torch.from_numpy(labels), weights)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_entropy_and_consistency():
    (one, p), (other, q) = hand_made(), hand_made(3)
    entropy = np.mean([-a * np.log(a) - (1 - a) * np.log(1 - a) for a in p.ravel()])
    assert openmatch.entropy(torch.from_numpy(one)).item() == pytest.approx(entropy, rel=1e-5)
    apart = np.mean([sum((a - b) ** 2 + ((1 - a) - (1 - b)) ** 2 for a, b in zip(*row, strict=True))
                     for row in zip(p, q, strict=True)])  # fmt: skip
    found = openmatch.consistency(torch.from_numpy(one), torch.from_numpy(other)).item()
    assert found == pytest.approx(apart, rel=1e-5)


def test_fixmatch_takes_inliers_only_and_only_after_the_warm_up():
    heads, p = hand_made()
    logits = np.random.default_rng(4).normal(size=(BATCH, KNOWN)) * 4
    chosen = p[np.arange(BATCH), logits.argmax(axis=1)]
    inlier = openmatch.inlier(torch.from_numpy(logits), torch.from_numpy(heads))
    assert np.allclose(inlier, chosen, atol=1e-6)
    certainty = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    expected = (certainty >= 0.75) & (chosen >= 0.5)
    assert 0 < expected.sum() < (certainty >= 0.75).sum()
    threshold = Threshold(config.for_run("paper", "open_openmatch"), (1, BATCH), KNOWN, warm=2)
    masks = [threshold(torch.from_numpy(logits), inlier).tolist() for _ in range(4)]
    assert masks == [[False] * BATCH] * 2 + [expected.tolist()] * 2


def test_an_openmatch_step_is_the_sum_of_its_losses():
    _, draw, x, labels, u, model = setting()
    knobs = config.for_run("quick", "open_openmatch", tau=0.3)
    torch.manual_seed(0)
    model.open_head = torch.nn.Linear(40 * 64, 20, bias=False).double()
    threshold = Threshold(knobs, (1, 60), 10)
    found = steps.fixmatch_step(model, knobs, draw, x, labels, u, threshold)

    def heads(clips, time, freq, w=None):
        masks = steps.SpecMasks(time, freq)
        return model.open_head(steps.view(masks, w)(model.normalise(clips)).flatten(1))

    weak, labelled = draw.weak_masks, draw.labelled_masks
    one = heads(u, weak.time, weak.freq)
    turned = [len(u) - 1, *range(len(u) - 1)]
    other = heads(u, weak.time[turned], weak.freq[turned])
    weak_logits = model(u, steps.view(weak))
    mask = (weak_logits.softmax(1).amax(1) >= 0.3) & (openmatch.inlier(weak_logits, one) >= 0.5)
    strong = model(u, steps.view(draw.strong_masks, draw.unlabelled_weights))
    l_u = fixmatch(weak_logits, strong, 0.3, draw.unlabelled_weights, mask).loss
    l_s = supervised(model(x, steps.view(labelled, draw.weights)), labels, draw.weights)
    expected = (
        l_s
        + openmatch.one_vs_all(heads(x, labelled.time, labelled.freq, draw.weights), labels, draw.weights)
        + 0.1 * (openmatch.entropy(one) + openmatch.entropy(other)) / 2
        + 0.5 * openmatch.consistency(one, other)
        + knobs.lambda_u * l_u
    )
    assert torch.equal(found.mask, mask) and 0 < mask.sum() < len(mask)
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-5)


# ---- A run ---------------------------------------------------------------------------------------
def test_a_run_says_how_it_did_on_known_and_unknown(tiny):
    knobs = tiny("open_openmatch", open_warmup=0.0, tau=0.0)
    run = train.run(knobs, quiet=True)
    arrays, parts = run.predictions, split(knobs, open_dataset(knobs))
    assert run.classes == open_dataset(knobs).classes and arrays["valid_prob"].shape == (
        len(parts.validation),
        6,
    )
    assert set(arrays["unknown_label"]) == {6, 7, 8, 9}
    scores = [arrays["valid_inlier"], arrays["unknown_inlier"]]
    truth = np.r_[np.ones(len(scores[0])), np.zeros(len(scores[1]))]
    assert unknowns.auroc(run) == pytest.approx(100 * roc_auc_score(truth, np.concatenate(scores)))
    sure = np.r_[arrays["valid_prob"].max(axis=1), arrays["unknown_prob"].max(axis=1)]
    assert unknowns.auroc(run, softmax=True) == pytest.approx(100 * roc_auc_score(truth, sure))
    unknown = arrays["unlabelled_label"] >= 6
    inside = [100 * (arrays["unlabelled_inlier"][clips] >= 0.5).mean() for clips in (~unknown, unknown)]
    assert unknowns.without_tau(run) == pytest.approx(inside)
    assert np.array_equal(unknowns.unknown_clips(run), unknown)
    last, drawn = arrays["pseudo_weight"][-1], arrays["pseudo_label"][-1] >= 0
    assert unknowns.accepted_unknown(run) == pytest.approx(100 * last[unknown & drawn].mean())
    assert np.array_equal(np.isnan(pseudo.weights(run)), arrays["pseudo_label"] < 0)
    known = last[~unknown & drawn]
    assert unknowns.accepted_known(run) == pytest.approx(100 * (known > 0).mean())
    rejected, confident = unknowns.kept_out(run)  # tau and warm-up are 0: every drawn label is confident
    assert confident == (~np.isnan(arrays["pseudo_confidence"])).sum()
    assert rejected == confident - (arrays["pseudo_weight"] > 0).sum()
    assert unknowns.class_names(run)[:6] == list(run.classes) and set(unknowns.class_names(run)) == set(
        CLASSES
    )


@pytest.mark.parametrize("experiment", ["open_control", "open_fixmatch"])
def test_other_runs_are_scored_by_their_softmax(tiny, experiment):
    run = train.run(tiny(experiment), quiet=True)
    arrays = run.predictions
    known, unknown = unknowns.inlier_scores(run)
    assert np.array_equal(known, arrays["valid_prob"].max(axis=1)) and len(unknown) == len(
        arrays["unknown_prob"]
    )
    assert 0 <= unknowns.auroc(run) <= 100
    assert (unknowns.accepted_unknown(run) is None) == (experiment == "open_control")


def test_hidden_labels_of_unknown_clips_do_not_touch_training(tiny, tmp_path, monkeypatch):
    """Unknown and unlabelled clips under other names: the same predictions, bit for bit."""
    honest = train.run(tiny("open_openmatch"), quiet=True)
    knobs = tiny("open_openmatch", outputs=str(tmp_path / "other"))
    dataset, parts = open_dataset(knobs), split(knobs, open_dataset(knobs))

    def scrambled(_):
        clips = dataset.clips.copy()
        hidden = parts.unlabelled
        clips.loc[hidden, "class_id"] = (clips.loc[hidden, "class_id"] + 3) % 10
        return type(dataset)(dataset.root, clips, True, dataset.fingerprint, {}, dataset.classes)

    monkeypatch.setattr(train, "open_dataset", scrambled)
    other = train.run(knobs, quiet=True)
    for name in ("valid_prob", "valid_inlier", "unknown_prob", "pseudo_weight"):
        assert np.array_equal(honest.predictions[name], other.predictions[name]), name
    assert not np.array_equal(honest.predictions["unlabelled_label"], other.predictions["unlabelled_label"])


def test_the_note_names_the_classes_that_seed_0_makes_unknown(tiny):
    unknown = [CLASSES[number].replace("_", " ") for number in class_order(tiny("open_control"))[6:]]
    assert f"(0: {', '.join(unknown)})" in read_spec(beyond=True)["ledger_notes"][33]
