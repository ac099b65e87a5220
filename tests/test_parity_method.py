"""SpecAugment and mixup against torchlibrosa's and PANN's, FixMatch against equations 1 to 5 in float64."""

import math

import numpy as np
import pytest
import torch
from oracles import panns_models
from scipy import stats
from torchlibrosa.augmentation import DropStripes, SpecAugmentation

from esc_utils import losses
from esc_utils.augment import STRONG, WEAK, SpecAugment, apply, mixup, mixup_weights

FRAMES, MELS = 501, 64


def stripe_of(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(width, start) of the one stripe of zeros in each row of `kept`; start is -1 where there is none."""
    width = (kept == 0).sum(axis=1)
    return width, np.where(width > 0, (kept == 0).argmax(axis=1), -1)


@pytest.mark.parametrize(
    ("size", "max_width", "axis"), [(FRAMES, 32, 2), (FRAMES, 64, 2), (MELS, 8, 3), (MELS, 35, 3)]
)
def test_widths_and_starts_are_distributed_as_torchlibrosas(size, max_width, axis):
    """One stripe of each kind in Table 1: the joint law of width and start, by chi-square and
    Kolmogorov-Smirnov."""
    draws = 6000
    torch.manual_seed(size + max_width)
    shape = (draws, 1, size, 1) if axis == 2 else (draws, 1, 1, size)
    theirs = DropStripes(axis, max_width, 1).train()(torch.ones(shape)).view(draws, size).numpy()
    ours = SpecAugment(1, 0, max_width, 1) if axis == 2 else SpecAugment(max_width, 1, 1, 0)
    width, start = stripe_of(ours(torch.ones(shape)).view(draws, size).numpy())
    their_width, their_start = stripe_of(theirs)
    assert width.min() == 0
    assert width.max() == max_width - 1  # W itself is never drawn
    for found in (width, their_width):
        assert stats.chisquare(np.bincount(found, minlength=max_width)).pvalue > 1e-3  # uniform
    assert start.max() <= size - 1
    assert stats.ks_2samp(start[width > 0], their_start[their_width > 0]).pvalue > 1e-3
    # The start is uniform over 0 .. size - width - 1, so this share of it is uniform whatever the width is.
    share = ((start + 0.5) / (size - width))[width > 0]
    assert stats.kstest(share, "uniform").pvalue > 1e-3


def test_stripes_of_one_clip_are_independent():
    masks = STRONG.draw(4000, FRAMES, MELS, torch.Generator().manual_seed(0))
    width = (masks.freq[..., 1] - masks.freq[..., 0]).double()
    assert abs(np.corrcoef(width.T)[0, 1]) < 0.06
    assert abs(np.corrcoef(masks.time[..., 0].double().T)[0, 1]) < 0.06


@pytest.mark.parametrize(("view", "expected"), [(WEAK, 8.4), (STRONG, 51.5)], ids=["weak", "strong"])
def test_mean_masked_area(view, expected):
    """8.4% of a 501 x 64 log-mel under the weak view, 51.5% under the strong one; torchlibrosa's masks
    agree."""
    torch.manual_seed(3)
    clips = 1500
    ones = torch.ones(clips, 1, FRAMES, MELS)
    theirs = SpecAugmentation(view.time_width, view.time_stripes, view.freq_width, view.freq_stripes).train()(
        ones.clone()
    )
    ours = view(ones)
    for masked in (ours, theirs):
        area = (masked == 0).double().mean(dim=(1, 2, 3)) * 100
        error = area.std().item() / math.sqrt(clips)
        assert abs(area.mean().item() - expected) < 4 * error + 0.05


def test_masked_cells_are_zero_and_others_untouched():
    x = torch.randn(8, 1, FRAMES, MELS)
    masks = STRONG.draw(8, FRAMES, MELS)
    by_hand = x.clone()
    for i in range(8):
        for start, end in masks.time[i]:
            by_hand[i, :, start:end] = 0
        for start, end in masks.freq[i]:
            by_hand[i, :, :, start:end] = 0
    assert torch.equal(apply(x, masks), by_hand)


def test_mixup_blends_the_pairs_that_pann_blends():
    """PANN's do_mixup takes lambda and 1 - lambda alternating; ours takes one a pair."""
    do_mixup = panns_models().do_mixup
    x, w = torch.randn(12, 1, 20, 8), torch.rand(6)
    alternating = torch.stack([w, 1 - w], dim=1).flatten()
    assert torch.allclose(mixup(x, w), do_mixup(x, alternating), atol=1e-6)
    assert not torch.allclose(mixup(x, w), do_mixup(x, 1 - alternating), atol=1e-2)


@pytest.mark.parametrize("alpha", [1.0, 0.75])
def test_mixup_weights_are_beta(alpha):
    weights = mixup_weights(4000, alpha, torch.Generator().manual_seed(1)).numpy()
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def pairs(values):
    return values[0::2], values[1::2]


def paper_loss(labelled, labels, weak, strong, tau, lambda_u, w_s=None, w_u=None):
    """Equations 1 to 5 of the paper in float64, one clip at a time; with mixup, one pair at a time (ledger 7,
    8).

    y_u = P(u_weak) (1); mask = 1(max y_u >= tau) (2); L_u = mask CE(P(u_strong), argmax y_u) (3); L_s =
    CE(P(x), y) (4); L = L_s + lambda_u L_u (5).
    """
    y_u = softmax(weak)
    mask = y_u.max(axis=1) >= tau
    pseudo = y_u.argmax(axis=1)

    def ce(logits, label):
        return -math.log(softmax(logits)[label])

    if w_s is None:
        l_s = np.mean([ce(z, y) for z, y in zip(labelled, labels, strict=True)])
        l_u = np.mean([m * ce(z, q) for m, z, q in zip(mask, strong, pseudo, strict=True)])
    else:
        l_s = np.mean(
            [
                w * ce(z, a) + (1 - w) * ce(z, b)
                for z, w, a, b in zip(labelled, w_s, *pairs(labels), strict=True)
            ]
        )
        rows = zip(strong, w_u, *pairs(mask), *pairs(pseudo), strict=True)
        l_u = np.mean([w * m_a * ce(z, a) + (1 - w) * m_b * ce(z, b) for z, w, m_a, m_b, a, b in rows])
    return l_s + lambda_u * l_u, l_s, l_u, mask, pseudo


@pytest.mark.parametrize("blended", [False, True], ids=["plain", "mixup"])
@pytest.mark.parametrize("tau", [0.0, 0.5, 0.75, 0.95, 1.0])
def test_fixmatch_is_equations_1_to_5(tau, blended):
    rng = np.random.default_rng(int(100 * tau))
    batch, mu, classes, lambda_u = 8, 7, 10, 0.5
    loads = 2 if blended else 1
    labels = rng.integers(0, classes, loads * batch)
    labelled = rng.normal(0, 3, (batch, classes))
    weak = rng.normal(0, 4, (loads * batch * mu, classes))
    strong = rng.normal(0, 3, (batch * mu, classes))
    w_s, w_u = (rng.random(batch), rng.random(batch * mu)) if blended else (None, None)
    expected, l_s, l_u, mask, pseudo = paper_loss(labelled, labels, weak, strong, tau, lambda_u, w_s, w_u)

    def tensor(a):
        return None if a is None else torch.from_numpy(np.asarray(a, dtype=np.float32))

    supervised = losses.supervised(tensor(labelled), torch.from_numpy(labels), tensor(w_s))
    unlabelled = losses.fixmatch(tensor(weak), tensor(strong), tau, tensor(w_u))
    assert supervised.item() == pytest.approx(l_s, rel=1e-5)
    assert unlabelled.loss.item() == pytest.approx(l_u, rel=1e-5, abs=1e-7)
    assert losses.total(supervised, unlabelled.loss, lambda_u).item() == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(unlabelled.mask.numpy(), mask)
    assert np.array_equal(unlabelled.pseudo_labels.numpy(), pseudo)
    assert np.allclose(unlabelled.confidence.numpy(), softmax(weak).max(axis=1), atol=1e-6)
    if tau == 0.75:
        assert 0 < mask.sum() < len(mask)


def test_a_confidence_of_exactly_tau_is_accepted():
    """Equation 2 has >=."""
    weak = torch.tensor([[math.log(3.0), 0.0], [math.log(2.99), 0.0]])
    assert losses.fixmatch(weak, torch.zeros(2, 2), weak.softmax(1)[0, 0].item()).mask.tolist() == [
        True,
        False,
    ]


def test_gradients():
    """None through the pseudo-labels; through the strong views (mask / N) (softmax - one-hot)."""
    weak = (4 * torch.randn(20, 10, generator=torch.Generator().manual_seed(0))).requires_grad_()
    strong = torch.randn(20, 10, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = losses.fixmatch(weak, strong, 0.75)
    found.loss.backward()
    assert weak.grad is None
    assert 0 < found.mask.sum() < 20
    one_hot = torch.nn.functional.one_hot(found.pseudo_labels, 10)
    by_hand = found.mask[:, None] * (strong.detach().softmax(1) - one_hot) / 20
    assert torch.allclose(strong.grad, by_hand, atol=1e-7)
