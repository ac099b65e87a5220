"""The paper's losses: supervised cross-entropy (eq. 4) and FixMatch (eqs. 1 to 3, 5), with mixup."""

from typing import NamedTuple

import torch
from torch import Tensor


class FixMatchLoss(NamedTuple):
    """loss: scalar L_u; mask (N,), eq. 2; pseudo_labels (N,) int64; confidence (N,) float."""

    loss: Tensor
    mask: Tensor
    pseudo_labels: Tensor
    confidence: Tensor


def pseudo_label(weak_logits: Tensor) -> tuple[Tensor, Tensor]:
    """y_u = P(u_weak), eq. 1, of logits (N, C): its largest value, the confidence (N,) float32, and that
    value's class, the pseudo-label (N,) int64."""
    return weak_logits.detach().float().softmax(dim=1).max(dim=1)


def accepted(confidence: Tensor, tau: float | Tensor) -> Tensor:
    """mask = 1(max y_u >= tau), eq. 2: which pseudo-labels pass, bool of the same shape; also of a NumPy
    array. NaN (a clip that was not drawn) does not pass. tau may be one for each."""
    return confidence >= tau


def supervised(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_s = CE(P(x), y), eq. 4, mean over the batch.

    logits (B, C); labels (B,) int64, or with mixup (2B,) in pairs and weights (B,): w CE(y[2i]) + (1 - w)
    CE(y[2i+1])."""
    return blended_cross_entropy(logits, labels, weights).mean()


def blended_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None, mask: Tensor | None = None
) -> Tensor:
    """Cross-entropy per input, (B,) float32. With weights (B,), labels and mask hold pairs (2B,), and the
    result is w m_a CE(a) + (1 - w) m_b CE(b) [ledger 7]; without, m CE."""
    share = shares(weights, torch.ones_like(labels) if mask is None else mask)
    log_p = logits.float().log_softmax(dim=1)
    return -(share * log_p.gather(1, labels.view(share.shape))).sum(dim=1)


def shares(weights: Tensor | None, mask: Tensor) -> Tensor:
    """What each label counts in the loss of its input: w m_a and (1 - w) m_b, (B, 2), of a mask (2B,) of
    pairs; without mixup m, (B, 1). float32."""
    mask = mask.float()
    if weights is None:
        return mask[:, None]
    weights = weights.to(mask.device, mask.dtype)
    return torch.stack([weights, 1 - weights], dim=1) * mask.view(-1, 2)


def fixmatch(
    weak_logits: Tensor, strong_logits: Tensor, tau: float, weights: Tensor | None = None, mask=None
) -> FixMatchLoss:
    """L_u = mask CE(P(u_strong), argmax y_u) with y_u = P(u_weak) and mask = 1(max y_u >= tau), eqs. 1 to 3.

    weak_logits (N, C) of unblended weak views, never differentiated. strong_logits (N, C), or with mixup
    (N/2, C) of strong views blended in pairs with weights (N/2,) [ledger 7]. The mean is over the whole
    batch, rejected clips included [ledger 8]. mask (N,), bool or weights, replaces eq. 2
    (beyond/thresholds.py)."""
    confidence, pseudo_labels = pseudo_label(weak_logits)
    mask = accepted(confidence, tau) if mask is None else mask
    loss = blended_cross_entropy(strong_logits, pseudo_labels, weights, mask).mean()
    return FixMatchLoss(loss, mask, pseudo_labels, confidence)


def total(supervised_loss: Tensor, unlabelled_loss: Tensor, lambda_u: float) -> Tensor:
    """L = L_s + lambda_u L_u, eq. 5."""
    return supervised_loss + lambda_u * unlabelled_loss
