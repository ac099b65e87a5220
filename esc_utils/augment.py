"""SpecAugment (Table 1) and mixup, on normalised log-mels (B, 1, frames, mels)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpecMasks:
    """Stripes to drop: CPU integer tensors (B, stripes, 2) of [start, end) along frames and along mels."""

    time: Tensor
    freq: Tensor

    def rows(self, index) -> "SpecMasks":
        """Masks of some of the clips."""
        return SpecMasks(self.time[index], self.freq[index])


class SpecAugment:
    """Drop stripes of time and frequency, by torchlibrosa's law [ledger 23]: per clip and stripe, width
    uniform in 0..W-1, start uniform in 0..size-width-1 (so the last cell is never dropped). Dropped cells
    become zero; the input has been through bn0, so zero is the band's mean.

    freq_width, time_width: W in mel bands and frames; freq_stripes, time_stripes: stripes per clip."""

    def __init__(self, freq_width: int, freq_stripes: int, time_width: int, time_stripes: int):
        self.freq_width, self.freq_stripes = freq_width, freq_stripes
        self.time_width, self.time_stripes = time_width, time_stripes

    def draw(self, clips: int, frames: int, mels: int, generator: torch.Generator | None = None) -> SpecMasks:
        """Random stripes for `clips` spectrograms, drawn on the CPU: the same on every device."""
        return SpecMasks(
            _stripes(clips, self.time_stripes, self.time_width, frames, generator),
            _stripes(clips, self.freq_stripes, self.freq_width, mels, generator),
        )

    def __call__(self, x: Tensor, masks: SpecMasks | None = None) -> Tensor:
        """x (B, 1, frames, mels) -> the same with the stripes zeroed; `masks` are drawn where not given."""
        masks = self.draw(len(x), *x.shape[2:]) if masks is None else masks
        return apply(x, masks)


def apply(x: Tensor, masks: SpecMasks) -> Tensor:
    """Zero the stripes of `masks` in x (B, 1, frames, mels)."""
    keep_time = _kept(masks.time.to(x.device, non_blocking=True), x.shape[2])
    keep_freq = _kept(masks.freq.to(x.device, non_blocking=True), x.shape[3])
    return x * (keep_time[:, None, :, None] & keep_freq[:, None, None, :])


def _stripes(clips: int, stripes: int, max_width: int, size: int, generator) -> Tensor:
    width = torch.randint(0, min(max_width, size), (clips, stripes), generator=generator)
    places = size - width  # torchlibrosa: start uniform in 0..size-width-1
    start = (torch.rand(clips, stripes, generator=generator, dtype=torch.float64) * places).long()
    return torch.stack([start, start + width], dim=-1)


def _kept(stripes: Tensor, size: int) -> Tensor:
    position = torch.arange(size, device=stripes.device)
    dropped = (position >= stripes[..., :1]) & (position < stripes[..., 1:])  # (B, stripes, size)
    return ~dropped.any(dim=1)


WEAK = SpecAugment(freq_width=8, freq_stripes=1, time_width=32, time_stripes=1)  # Table 1
STRONG = SpecAugment(freq_width=35, freq_stripes=2, time_width=64, time_stripes=2)  # Table 1


def views(config) -> dict[str, SpecAugment]:
    """The weak and the strong SpecAugment of a RunConfig, with widths in the bands of its network: Table 1's
    frequency widths are for 64 bands, so on mn04's 128 they double (`RunConfig.stripes`)."""
    return {name: SpecAugment(**config.stripes(name)) for name in ("weak", "strong")}


def mixup_weights(pairs: int, alpha: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """One lambda ~ Beta(alpha, alpha) a pair, (pairs,) float32 [ledger 9]."""
    if alpha == 1:  # uniform
        return torch.rand(pairs, generator=generator)
    gamma = torch._standard_gamma(torch.full((2, pairs), float(alpha)), generator=generator)
    return gamma[0] / gamma.sum(0)


def mixup(x: Tensor, weights: Tensor) -> Tensor:
    """Blend neighbours as PANN does: x (2N, ...) and weights (N,) -> w x[2i] + (1 - w) x[2i + 1]."""
    w = weights.to(x.device, x.dtype).view(-1, *[1] * (x.dim() - 1))
    return torch.lerp(x[1::2], x[0::2], w)
