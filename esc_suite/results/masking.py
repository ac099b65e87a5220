"""What share of a log-mel SpecAugment masks: exactly from its law, and counted on draws [ledger 23]."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from esc_utils.augment import SpecAugment


def expected_share(freq_width, freq_stripes, time_width, time_stripes, frames=501, mels=64) -> float:
    """Mean share (0..1) of the log-mel that SpecAugment masks, exactly, from its law [ledger 23].

    Width w is even over 0..W-1 and start even over the size - w places, so bin b lies in one stripe with p(b)
    = mean over w of #{starts that cover b} / (size - w), and outside n stripes with (1 - p(b))^n. Frequency
    and time stripes are independent, so the shares left over multiply.
    """
    kept_bands = 1 - _covered(freq_width, freq_stripes, mels)
    kept_frames = 1 - _covered(time_width, time_stripes, frames)
    return float(1 - kept_bands * kept_frames)


def _covered(width: int, stripes: int, size: int) -> float:
    bins = np.arange(size)
    inside = np.zeros(size)
    for w in range(width):
        first, last = np.maximum(bins - w + 1, 0), np.minimum(bins, size - w - 1)
        inside += np.maximum(last - first + 1, 0) / (size - w)
    return float(np.mean(1 - (1 - inside / width) ** stripes))


def drawn_shares(
    view: "SpecAugment", count: int, frames: int = 501, mels: int = 64, generator=None
) -> np.ndarray:
    """Share (0..1) of the log-mel that each of `count` draws of `view` masks, (count,); no spectrogram is
    needed."""
    import torch

    from esc_utils.augment import SpecMasks, apply

    def kept(masks: SpecMasks, *size: int):
        return apply(torch.ones(count, 1, *size), masks).double().mean(dim=(1, 2, 3))

    drawn = view.draw(count, frames, mels, generator)
    none = drawn.time[:, :0]
    left = kept(SpecMasks(drawn.time, none), frames, 1) * kept(SpecMasks(none, drawn.freq), 1, mels)
    return (1 - left).numpy()
