"""Thresholds that follow each class, in place of one tau: FlexMatch, FreeMatch, SoftMatch. Not part of the
paper; by the formulas of theirs. Read beside them, for order and start values: TorchSSL and its successor USB
(github.com/microsoft/Semi-supervised-learning, semilearn/algorithms)."""

import torch
from torch import Tensor, nn

from ..knobs import RunConfig
from ..losses import accepted, shares


class Threshold(nn.Module):
    """What a run remembers to weigh its pseudo-labels; `shape`: its epochs, its unlabelled clips. The buffers
    go into the checkpoint, and change in place, as a recorded step (graphs.py) needs it.

    Called with the logits (N, C) of weak views and the positions (N,) of their clips in the pool (OpenMatch:
    their inlier probabilities), it gives the weight (N,) of each pseudo-label in L_u: bool, but of SoftMatch
    float in 0..1."""

    def __init__(self, config: RunConfig, shape: tuple[int, int], classes: int, warm: float = 0.0):
        super().__init__()
        self.kind = config.threshold if config.open_set == "none" else config.open_set
        self.tau, self.new, self.warm = config.tau, 1 - config.threshold_ema, warm
        even = torch.full((classes,), 1 / classes)
        start = torch.nan if self.kind == "softmatch" else 1  # SoftMatch's share begins with a batch's
        for name, value in {
            "weights": torch.zeros(shape),  # that each clip's pseudo-label had in each epoch; 0: not drawn
            "last": torch.full(shape[1:], -1),  # each clip's last confident pseudo-label
            "mean": even[0].clone(), "variance": torch.ones(()),  # of the confidence, moving
            "steps": torch.zeros((), dtype=torch.int64),
            "share": start * even, "histogram": even.clone(),  # of probabilities and of pseudo-labels, moving
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    @torch.no_grad()
    def forward(self, weak_logits: Tensor, rows: Tensor) -> Tensor:
        prob = weak_logits.detach().float().softmax(dim=1)
        return getattr(self, self.kind)(prob, *prob.max(dim=1), rows)

    def openmatch(self, prob: Tensor, confidence: Tensor, label: Tensor, inlier: Tensor) -> Tensor:
        """Saito et al. 2021: inliers, and not in the first `warm` steps."""
        self.steps += 1
        return accepted(confidence, self.tau) & (inlier >= 0.5) & (self.steps > self.warm)

    def flexmatch(self, prob: Tensor, confidence: Tensor, label: Tensor, rows: Tensor) -> Tensor:
        """Zhang et al. 2021, with warm-up and convex mapping: sigma(c) clips' last label above tau is c;
        beta = sigma / max(max sigma, clips without one); the class's threshold is tau beta / (2 - beta)."""
        sigma = _named(self.last, prob).sum(dim=0)
        beta = sigma / torch.maximum(sigma.max(), (self.last < 0).sum())
        self.last[rows] = torch.where(accepted(confidence, self.tau), label, self.last[rows])
        return accepted(confidence, (self.tau * beta / (2 - beta))[label])

    def freematch(self, prob: Tensor, confidence: Tensor, label: Tensor, rows: Tensor) -> Tensor:
        """Wang et al. 2023, self-adaptive threshold: the moving mean of the confidence, times the class's
        moving mean probability over the largest of these."""
        self.mean.lerp_(confidence.mean(), self.new)
        self.share.lerp_(prob.mean(dim=0), self.new)
        self.histogram.lerp_(_named(label, prob).float().mean(dim=0), self.new)
        return accepted(confidence, (self.mean * self.share / self.share.max())[label])

    def softmatch(self, prob: Tensor, confidence: Tensor, label: Tensor, rows: Tensor) -> Tensor:
        """Chen et al. 2023, truncated Gaussian: exp(-(c - mean)^2 / (2 variance / 4)) below the moving mean
        of c, 1 above it, where c is the largest probability after alignment with even classes. The division
        by 4 is their setting (two sigma); the pseudo-label stays that of the unaligned probabilities."""
        now = prob.mean(dim=0)
        self.share.copy_(torch.where(self.share.isnan(), now, self.share.lerp(now, self.new)))
        aligned = prob / (self.share + 1e-6)
        top = (aligned / aligned.sum(dim=1, keepdim=True)).amax(dim=1)
        self.mean.lerp_(top.mean(), self.new)
        self.variance.lerp_(top.var().nan_to_num(), self.new)
        return torch.exp(-((top - self.mean).clamp(max=0) ** 2) / (2 * self.variance / 4))

    def fairness(self, strong_logits: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
        """FreeMatch's L_f, self-adaptive fairness: the sum of A log B, where A is the moving mean probability
        over the moving histogram, B the same of the accepted strong views, each divided by its sum; 0 where
        none is. With mixup (ours) a blend counts with the shares of its accepted clips."""
        prob, part = strong_logits.float().softmax(dim=1), shares(weights, mask).sum(dim=1, keepdim=True)
        theirs = _over((part * prob).sum(dim=0), (part * _named(prob.argmax(dim=1), prob)).sum(dim=0))
        return (_over(self.share, self.histogram) * (theirs + 1e-12).log()).sum() * mask.any()


def _named(label: Tensor, prob: Tensor) -> Tensor:
    """Labels (N,) as rows of C that say which class each names; -1 names none."""
    return label[:, None] == torch.arange(prob.shape[1], device=label.device)


def _over(share: Tensor, histogram: Tensor) -> Tensor:
    """share / histogram, 0 where the histogram is, divided by its sum."""
    ratio = torch.where(histogram > 0, share / histogram.clamp_min(1e-12), 0)
    return ratio / ratio.sum().clamp_min(1e-12)
