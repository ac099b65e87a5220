"""Loss of one step: supervised or FixMatch, from log-mels and one Draw."""

from typing import NamedTuple

import torch
from torch import Tensor

from .augment import SpecMasks, apply, mixup
from .beyond import openmatch
from .knobs import RunConfig
from .losses import FixMatchLoss, accepted, blended_cross_entropy, fixmatch, pseudo_label, supervised, total
from .norms import pseudo_label_mode
from .sampling import Draw


class StepLoss(NamedTuple):
    """Scalars of a step, on the device; confidence, pseudo_labels and mask (N,) of the weak views drawn
    (FixMatch only)."""

    loss: Tensor
    supervised: Tensor
    unlabelled: Tensor
    mask_rate: Tensor
    confidence: Tensor | None = None
    pseudo_labels: Tensor | None = None
    mask: Tensor | None = None


def view(masks, weights=None):
    """What happens between bn0 and the first convolution: SpecAugment, then mixup of neighbouring pairs
    [ledger 23]."""

    def transform(z: Tensor) -> Tensor:
        z = apply(z, masks)
        return z if weights is None else mixup(z, weights)

    return transform


def supervised_step(model, config: RunConfig, draw: Draw, x: Tensor, labels: Tensor) -> StepLoss:
    """x (2B, 1, frames, mels) of the store with mixup, (B, ...) without; labels of the same clips."""
    model.train()
    loss = supervised(model(x, view(draw.labelled_masks, draw.weights)), labels, draw.weights)
    zero = torch.zeros_like(loss.detach())
    return StepLoss(loss * config.loss_scale, loss.detach(), zero, zero)


def fixmatch_step(
    model, config: RunConfig, draw: Draw, x: Tensor, labels: Tensor, u: Tensor, threshold=None
) -> StepLoss:
    """x, labels: labelled clips; u (2 mu B, 1, frames, mels): unlabelled clips, of which no label is known
    here; threshold: the run's `beyond.thresholds.Threshold`, if it has one."""
    model.train()
    more = 0.0
    if config.open_set == "openmatch":
        l_s, found, more = _openmatch(model, config, draw, x, labels, u, threshold)
    elif config.mixup_pairs == "mixmatch":
        l_s, found = _mixmatch(model, config, draw, x, labels, u)
    elif config.forward == "joint":
        l_s, found = _joint(model, config, draw, x, labels, u)
    else:
        l_s = supervised(model(x, view(draw.labelled_masks, draw.weights)), labels, draw.weights)
        weak = pseudo_label_pass(model, config, u, draw.weak_masks)
        strong = model(u, view(draw.strong_masks, draw.unlabelled_weights))
        mask = None if threshold is None else threshold(weak, draw.unlabelled)
        found = fixmatch(weak, strong, config.tau, draw.unlabelled_weights, mask)
        if config.threshold == "freematch":
            more = config.lambda_f * threshold.fairness(strong, mask, draw.unlabelled_weights)
    loss = total(l_s, found.loss, config.lambda_u) + more
    rate, labels = found.mask.float().mean(), (found.confidence, found.pseudo_labels, found.mask)
    return StepLoss(loss * config.loss_scale, l_s.detach(), found.loss.detach(), rate, *labels)


@torch.no_grad()
def pseudo_label_pass(model, config: RunConfig, u: Tensor, masks) -> Tensor:
    """Logits of the weak views (eq. 1), without gradients; in the mode of `pseudo_mode` [ledger 11]."""
    pseudo_label_mode(model, config)
    logits = model(u, view(masks))
    model.train()
    return logits


def _openmatch(model, config, draw, x, labels, u, threshold) -> tuple[Tensor, FixMatchLoss, Tensor]:
    """OpenMatch: L_s, FixMatch on inliers (ours: as of this step, not of the epoch's start), and the losses
    of the heads. A clip's second weak view has its neighbour's stripes: they are drawn independently."""
    logits, heads = openmatch.both(model, x, view(draw.labelled_masks, draw.weights))
    masks = SpecMasks(draw.weak_masks.time.roll(1, 0), draw.weak_masks.freq.roll(1, 0))
    weak, one = openmatch.both(model, u, view(draw.weak_masks))
    other = openmatch.both(model, u, view(masks))[1]
    strong = model(u, view(draw.strong_masks, draw.unlabelled_weights))
    mask = threshold(weak, openmatch.inlier(weak, one))
    more = openmatch.one_vs_all(heads, labels, draw.weights)
    more = more + config.lambda_oem * (openmatch.entropy(one) + openmatch.entropy(other)) / 2
    more = more + config.lambda_socr * openmatch.consistency(one, other)
    found = fixmatch(weak, strong, config.tau, draw.unlabelled_weights, mask)
    return supervised(logits, labels, draw.weights), found, more


def _joint(model, config, draw, x, labels, u) -> tuple[Tensor, FixMatchLoss]:
    """One forward pass over labelled, weak and strong views, so that batch norm sees them together [ledger
    12]."""
    z = model.normalise(torch.cat([x, u, u]))
    z_x, z_weak, z_strong = z.split([len(x), len(u), len(u)])
    parts = [
        view(draw.labelled_masks, draw.weights)(z_x),
        view(draw.weak_masks)(z_weak),
        view(draw.strong_masks, draw.unlabelled_weights)(z_strong),
    ]
    logits = model.classify(model.embed(torch.cat(parts))).split([len(p) for p in parts])
    l_s = supervised(logits[0], labels, draw.weights)
    return l_s, fixmatch(logits[1], logits[2], config.tau, draw.unlabelled_weights)


def _mixmatch(model, config, draw, x, labels, u) -> tuple[Tensor, FixMatchLoss]:
    """MixMatch's mixup (Berthelot et al. 2019): every labelled and unlabelled clip is blended with a partner
    drawn from both, the larger share its own [ledger 7]."""
    weak = pseudo_label_pass(model, config, u, draw.weak_masks)
    confidence, pseudo = pseudo_label(weak)
    mask = accepted(confidence, config.tau)
    z = torch.cat(
        [apply(model.normalise(x), draw.labelled_masks), apply(model.normalise(u), draw.strong_masks)]
    )
    targets = torch.cat([labels, pseudo])
    counts = torch.cat([torch.ones_like(labels, dtype=torch.bool), mask])
    weights = torch.cat([draw.weights, draw.unlabelled_weights]).to(z.device, z.dtype)
    partner = draw.partner.to(z.device)
    blended = torch.lerp(z[partner], z, weights.view(-1, 1, 1, 1))
    logits = model.classify(model.embed(blended))
    pairs = torch.stack([targets, targets[partner]], dim=1).flatten()
    kept = torch.stack([counts, counts[partner]], dim=1).flatten()
    loss = blended_cross_entropy(logits, pairs, weights, kept)
    return loss[: len(x)].mean(), FixMatchLoss(loss[len(x) :].mean(), mask, pseudo, confidence)
