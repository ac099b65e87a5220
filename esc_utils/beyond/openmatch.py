"""OpenMatch (Saito, Kim, Saenko 2021): FixMatch on a pool that holds unknown classes. Not part of the paper.
Read beside its formulas: github.com/VisionLearningGroup/OP_Match.

Each class has a classifier of its own, inlier against outlier: heads (B, 2 C) are C outlier logits, then C
inlier logits. Inlier less outlier is the margin m (B, C), its sigmoid the inlier probability."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..losses import shares


def margins(heads: Tensor) -> Tensor:
    """m (B, C), float32."""
    outlier, inlier = heads.float().chunk(2, dim=1)
    return inlier - outlier


def one_vs_all(heads: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """L_ova: -log p_in of the label's class and, of the other classes, the largest -log p_out. With mixup (as
    in losses.supervised) the two labels of a blend by its weights."""
    share = shares(weights, torch.ones_like(labels))
    m = margins(heads).repeat_interleave(share.shape[1], dim=0)
    own = labels[:, None] == torch.arange(m.shape[1], device=m.device)
    others = m.masked_fill(own, -torch.inf).amax(dim=1)
    loss = F.softplus(-m.gather(1, labels[:, None]).squeeze(1)) + F.softplus(others)
    return (share * loss.view(share.shape)).sum(dim=1).mean()


def entropy(heads: Tensor) -> Tensor:
    """L_em: entropy of the inlier probability, mean over clips and classes."""
    m = margins(heads)
    return (F.softplus(m) - m * m.sigmoid()).mean()


def consistency(one: Tensor, other: Tensor) -> Tensor:
    """L_oc: squared difference of two weak views' inlier and outlier probabilities, summed over classes."""
    return 2 * (margins(one).sigmoid() - margins(other).sigmoid()).square().sum(dim=1).mean()


def inlier(logits: Tensor, heads: Tensor) -> Tensor:
    """Inlier probability (B,) of the predicted class."""
    return margins(heads).sigmoid().gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)


def score(model, x: Tensor) -> Tensor:
    """Inlier probability (B,) of clips, for evaluation.predict."""
    return inlier(*both(model, x))


def both(model, x: Tensor, view=None) -> tuple[Tensor, Tensor]:
    """Logits and heads of one pass."""
    z = model.normalise(x)
    e = model.embed(z if view is None else view(z))
    return model.classify(e), model.open_head(e)
