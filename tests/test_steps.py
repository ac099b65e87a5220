"""Whole steps against references written from the paper's equations, in float64, clip by clip."""

import pytest
import torch

from esc_utils import config, sampling, steps
from esc_utils.model import Cnn14


class Linear(torch.nn.Module):
    """The smallest network with the four methods of Cnn14: no batch norm, no dropout, so views act clip by
    clip."""

    def __init__(self, frames, mels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(10, frames * mels, dtype=torch.float64) / 20)

    def normalise(self, x):
        return x / 10

    def embed(self, z):
        return z.flatten(1)

    def classify(self, e):
        return e @ self.weight.T

    def forward(self, x, view=None):
        z = self.normalise(x)
        return self.classify(self.embed(view(z) if view else z))


def setting(**overrides):
    knobs = config.for_run("quick", "fixmatch_tau075", tau=0.4, **overrides)
    plan = sampling.budget(knobs, 12, 60)
    draw = sampling.draw_epoch(knobs, plan, 0, 12, 60, (40, 64))[0]
    torch.manual_seed(3)
    x = torch.randn(len(draw.labelled), 1, 40, 64, dtype=torch.float64) * 10
    u = torch.randn(len(draw.unlabelled), 1, 40, 64, dtype=torch.float64) * 10
    labels = torch.randint(0, 10, (len(x),))
    return knobs, draw, x, labels, u, Linear(40, 64)


def masked(model, clip, time, freq):
    z = model.normalise(clip).clone()
    for start, end in time.tolist():
        z[:, start:end, :] = 0
    for start, end in freq.tolist():
        z[:, :, start:end] = 0
    return z


def log_p(model, z):
    logits = model.weight @ z.flatten()
    return logits - logits.exp().sum().log()


@pytest.mark.parametrize("mixup", [True, False])
def test_fixmatch_step_equals_equations_1_to_5(mixup):
    knobs, draw, x, labels, u, model = setting(mixup=mixup)
    found = steps.fixmatch_step(model, knobs, draw, x, labels, u)

    strong_x = [
        masked(model, x[i], draw.labelled_masks.time[i], draw.labelled_masks.freq[i]) for i in range(len(x))
    ]
    weak = [masked(model, u[i], draw.weak_masks.time[i], draw.weak_masks.freq[i]) for i in range(len(u))]
    strong = [
        masked(model, u[i], draw.strong_masks.time[i], draw.strong_masks.freq[i]) for i in range(len(u))
    ]
    y_u = [log_p(model, z).exp() for z in weak]  # equation 1
    mask = [float(p.max() >= knobs.tau) for p in y_u]  # equation 2
    hard = [int(p.argmax()) for p in y_u]

    def blended(views, targets, counts, weights):
        if weights is None:
            return [-m * log_p(model, z)[y] for z, y, m in zip(views, targets, counts, strict=True)]
        losses = []
        for i, w in enumerate(weights.double().tolist()):
            a, b = 2 * i, 2 * i + 1
            p = log_p(model, w * views[a] + (1 - w) * views[b])
            losses.append(-w * counts[a] * p[targets[a]] - (1 - w) * counts[b] * p[targets[b]])  # ledger 7
        return losses

    # Eq. 4
    l_s = sum(blended(strong_x, labels.tolist(), [1.0] * len(x), draw.weights)) / (
        len(x) / (2 if mixup else 1)
    )
    # Eq. 3, ledger 8
    l_u = sum(blended(strong, hard, mask, draw.unlabelled_weights)) / (len(u) / (2 if mixup else 1))
    assert 0 < sum(mask) < len(mask)  # the case is not trivial
    assert found.mask_rate.item() == pytest.approx(sum(mask) / len(mask))
    assert found.pseudo_labels.tolist() == hard
    assert found.supervised.item() == pytest.approx(l_s.item(), rel=1e-5)
    assert found.unlabelled.item() == pytest.approx(l_u.item(), rel=1e-5)
    assert found.loss.item() == pytest.approx((l_s + knobs.lambda_u * l_u).item(), rel=1e-5)  # eq. 5


def test_pseudo_labels_get_no_gradient():
    knobs, draw, x, labels, u, model = setting(lambda_u=1.0)
    steps.fixmatch_step(model, knobs, draw, x, labels, u).loss.backward()
    assert model.weight.grad is not None
    with torch.no_grad():
        assert not steps.pseudo_label_pass(model, knobs, u, draw.weak_masks).requires_grad


def test_nothing_accepted_leaves_the_supervised_loss():
    knobs, draw, x, labels, u, model = setting()
    found = steps.fixmatch_step(model, knobs.model_copy(update={"tau": 1.0}), draw, x, labels, u)
    assert found.mask_rate == 0
    assert found.loss == found.supervised


@pytest.mark.parametrize(
    "overrides", [{"forward": "joint"}, {"mixup_pairs": "mixmatch"}, {"pseudo_mode": "eval"}]
)
def test_alternatives_of_the_ledger_run_and_differ_only_where_they_should(overrides):
    knobs, draw, x, labels, u, model = setting(**overrides)
    found = steps.fixmatch_step(model, knobs, draw, x, labels, u)
    if overrides == {"mixup_pairs": "mixmatch"}:
        assert torch.isfinite(found.loss)
        assert found.confidence.shape == (len(u),)
    else:  # without batch norm and dropout these are the same computation
        plain = steps.fixmatch_step(
            model, config.for_run("quick", "fixmatch_tau075", tau=0.4), draw, x, labels, u
        )
        assert found.loss.item() == pytest.approx(plain.loss.item(), rel=1e-5)


def test_pseudo_label_pass_mode_reaches_batch_norm():
    knobs, draw, _, _, u, _ = setting()
    model = Cnn14(10, width=1).train()
    before = model.bn0.running_mean.clone()
    steps.pseudo_label_pass(
        model, knobs.model_copy(update={"pseudo_mode": "eval"}), u.float(), draw.weak_masks
    )
    assert torch.equal(model.bn0.running_mean, before)
    steps.pseudo_label_pass(model, knobs, u.float(), draw.weak_masks)  # ledger 11: train mode by default
    assert not torch.equal(model.bn0.running_mean, before)
    assert model.training
