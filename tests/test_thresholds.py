"""Thresholds that follow each class, against their papers' formulas in plain NumPy (float64, clip by clip),
and against what the authors' public code does as it is read (order of update and use, start values)."""

import numpy as np
import pytest
import torch
from test_steps import setting

from esc_utils import config, losses, sampling, steps
from esc_utils.beyond.thresholds import Threshold

CLASSES, CLIPS, BATCH = 4, 12, 6


def make(kind, **change):
    knobs = config.for_run("paper", kind, **change)
    return Threshold(knobs, (1, CLIPS), CLASSES), knobs


def batches(count=5, sharp=3.0):
    """(logits (6, 4), rows (6,)) of several steps; every other step draws the other half of the pool."""
    generator = np.random.default_rng(1)
    order = [generator.permutation(CLIPS) for _ in range(count)]
    parts = [half for o in order for half in (o[:BATCH], o[BATCH:])]
    return [(generator.normal(size=(BATCH, CLASSES)) * sharp, rows) for rows in parts]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def called(threshold, logits, rows):
    return threshold(torch.from_numpy(logits), torch.from_numpy(rows)).numpy()


def test_flexmatch_is_curriculum_pseudo_labelling_with_warm_up_and_the_convex_mapping():
    threshold, knobs = make("flexmatch", tau=0.8)
    last, seen = [-1] * CLIPS, set()
    for logits, rows in batches():
        sigma = [sum(label == c for label in last) for c in range(CLASSES)]
        unused = sum(label == -1 for label in last)
        mask = []
        for p in softmax(logits):
            beta = sigma[p.argmax()] / max(*sigma, unused)
            mask.append(p.max() >= knobs.tau * beta / (2 - beta))
        assert called(threshold, logits, rows).tolist() == mask
        for p, row in zip(softmax(logits), rows, strict=True):
            if p.max() >= knobs.tau:
                last[row] = int(p.argmax())
        assert threshold.last.tolist() == last
        seen |= set(mask)
    assert seen == {True, False} and -1 not in last[:1]


def test_flexmatch_starts_by_accepting_all_and_a_class_that_is_learnt_needs_tau():
    """All thresholds are 0 until a clip has been confident; an unsure clip keeps its last confident label."""
    threshold, _ = make("flexmatch", tau=0.95)
    unsure, sure = np.zeros((BATCH, CLASSES)), np.eye(CLASSES)[[0] * BATCH] * 20
    half, other = np.arange(BATCH), np.arange(BATCH, CLIPS)
    assert called(threshold, unsure, half).all() and (threshold.last == -1).all()
    assert called(threshold, sure, half).all()
    assert called(threshold, sure, other).all()
    assert not called(threshold, np.eye(CLASSES)[[0] * BATCH], half).any()  # 0.475 < 0.95
    assert called(threshold, np.eye(CLASSES)[[1] * BATCH], half).all()  # class 1 was never named
    assert (threshold.last == 0).all()


def sum_norm(share, histogram):
    ratio = np.array([s / h if h else 0.0 for s, h in zip(share, histogram, strict=True)])
    return ratio / ratio.sum()


@pytest.mark.parametrize("mixup", [False, True])
def test_freematch_is_the_self_adaptive_threshold_and_fairness(mixup):
    threshold, _ = make("freematch", threshold_ema=0.7)
    keep, tau, seen = 0.7, 1 / CLASSES, set()
    share, histogram = np.full(CLASSES, 1 / CLASSES), np.full(CLASSES, 1 / CLASSES)
    generator = np.random.default_rng(2)
    for logits, rows in batches(sharp=1.0):
        p = softmax(logits)
        tau = keep * tau + (1 - keep) * p.max(axis=1).mean()
        share = keep * share + (1 - keep) * p.mean(axis=0)
        named = np.bincount(p.argmax(axis=1), minlength=CLASSES) / BATCH
        histogram = keep * histogram + (1 - keep) * named
        mask = [q.max() >= tau * share[q.argmax()] / share.max() for q in p]
        assert called(threshold, logits, rows).tolist() == mask
        seen |= set(mask)
        strong = generator.normal(size=(BATCH // 2 if mixup else BATCH, CLASSES))
        w = generator.uniform(size=BATCH // 2)
        count = [w[i] * mask[2 * i] + (1 - w[i]) * mask[2 * i + 1] for i in range(len(w))] if mixup else mask
        q = softmax(strong)
        mean = sum(c * row for c, row in zip(count, q, strict=True))
        of = [sum(c for c, row in zip(count, q, strict=True) if row.argmax() == k) for k in range(CLASSES)]
        expected = float(sum_norm(share, histogram) @ np.log(sum_norm(mean, of) + 1e-12))
        found = threshold.fairness(
            torch.from_numpy(strong), torch.tensor(mask), torch.from_numpy(w) if mixup else None
        )
        assert found.item() == pytest.approx(expected, rel=1e-4)
    assert seen == {True, False}
    assert np.allclose(threshold.share, share, atol=1e-6) and np.allclose(threshold.histogram, histogram)


def test_freematch_s_fairness_is_zero_with_a_zero_gradient_where_nothing_is_accepted():
    threshold, _ = make("freematch")
    strong = torch.randn(BATCH, CLASSES, requires_grad=True)
    loss = threshold.fairness(strong, torch.zeros(BATCH, dtype=torch.bool), None)
    loss.backward()
    assert loss == 0 and torch.equal(strong.grad, torch.zeros_like(strong))
    threshold.fairness(strong, torch.ones(BATCH, dtype=torch.bool), None).backward()
    assert torch.isfinite(strong.grad).all() and strong.grad.abs().sum() > 0


def test_softmatch_is_the_truncated_gaussian_after_uniform_alignment():
    threshold, _ = make("softmatch", threshold_ema=0.7)
    keep, mean, variance, share = 0.7, 1 / CLASSES, 1.0, None
    for logits, rows in batches(sharp=1.0):
        p = softmax(logits)
        share = p.mean(axis=0) if share is None else keep * share + (1 - keep) * p.mean(axis=0)
        aligned = [q * (1 / CLASSES) / share for q in p]
        top = np.array([(q / q.sum()).max() for q in aligned])
        mean = keep * mean + (1 - keep) * top.mean()
        variance = keep * variance + (1 - keep) * top.var(ddof=1)
        expected = [1.0 if t >= mean else np.exp(-((t - mean) ** 2) / (2 * variance / 4)) for t in top]
        found = called(threshold, logits, rows)
        assert np.allclose(found, expected, atol=1e-4)
        assert 0 < found.min() < found.max() == 1


@pytest.mark.parametrize("mixup", [False, True])
def test_a_weight_scales_its_clip_s_part_of_the_unlabelled_loss(mixup):
    generator = torch.Generator().manual_seed(0)
    weak = torch.randn(BATCH, CLASSES, generator=generator)
    strong = torch.randn(BATCH // 2 if mixup else BATCH, CLASSES, generator=generator)
    weight, w = torch.rand(BATCH, generator=generator), torch.rand(BATCH // 2, generator=generator)
    found = losses.fixmatch(weak, strong, 0.5, w if mixup else None, weight)
    log_p, label = torch.log_softmax(strong, dim=1), weak.argmax(dim=1)
    each = [-weight[n] * log_p[n // 2 if mixup else n, label[n]] for n in range(BATCH)]
    if mixup:
        each = [w[i] * each[2 * i] + (1 - w[i]) * each[2 * i + 1] for i in range(len(w))]
    assert found.loss.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["flexmatch", "freematch", "softmatch"])
def test_a_step_takes_its_mask_from_the_threshold_and_adds_freematch_s_loss(kind):
    _, draw, x, labels, u, model = setting()
    knobs = config.for_run("quick", kind)
    threshold, again = (Threshold(knobs, (1, 60), 10) for _ in range(2))
    found = steps.fixmatch_step(model, knobs, draw, x, labels, u, threshold)
    weak = steps.pseudo_label_pass(model, knobs, u, draw.weak_masks)
    assert torch.equal(found.mask, again(weak, draw.unlabelled))
    assert found.mask_rate.item() == pytest.approx(found.mask.double().mean().item(), rel=1e-5)
    for name, value in threshold.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    rest = found.loss - found.supervised - knobs.lambda_u * found.unlabelled
    strong = model(u, steps.view(draw.strong_masks, draw.unlabelled_weights))
    fairness = threshold.fairness(strong, found.mask, draw.unlabelled_weights)
    expected = knobs.lambda_f * fairness.item() if kind == "freematch" else 0.0
    assert rest.item() == pytest.approx(expected, abs=1e-5)


def test_the_same_clips_in_the_same_views_as_fixmatch():
    fixed, adaptive = (config.for_run("quick", name) for name in ("fixmatch_tau075", "freematch"))
    plans = [
        sampling.draw_epoch(k, sampling.budget(k, 30, 300), 1, 30, 300, (40, 64)) for k in (fixed, adaptive)
    ]
    for one, other in zip(*plans, strict=True):
        assert torch.equal(one.unlabelled, other.unlabelled) and torch.equal(one.labelled, other.labelled)
        assert torch.equal(one.strong_masks.time, other.strong_masks.time)
