"""CNN14's 2x2 average pooling; on a GPU without PyTorch's channels_last kernels, a quarter of the paper's step."""

import torch
from torch import Tensor
from torch.nn import functional as F


def halve(x: Tensor) -> Tensor:
    """Average of every 2x2 patch, (B, C, t, f) -> (B, C, t // 2, f // 2), as F.avg_pool2d(x, 2)."""
    if x.device.type == "cpu":
        return F.avg_pool2d(x, 2)
    return Halve.apply(x)


class Halve(torch.autograd.Function):
    """The same by sums of slices; a gradient is spread in one pass (docs/performance.md)."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """Four strided reads: neighbours in time, then in frequency."""
        ctx.shape = x.shape
        t, f = x.shape[2] // 2, x.shape[3] // 2
        rows = x[:, :, 0 : 2 * t : 2] + x[:, :, 1 : 2 * t : 2]
        return (rows[..., 0 : 2 * f : 2] + rows[..., 1 : 2 * f : 2]).mul_(0.25)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """A quarter of it for each of the four; nothing for a last row or column without a partner."""
        t, f = ctx.shape[2] // 2, ctx.shape[3] // 2
        made = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last)
        quarter = gradient * 0.25
        patches = made[:, :, : 2 * t, : 2 * f].unflatten(2, (t, 2)).unflatten(4, (f, 2))
        patches.copy_(quarter[:, :, :, None, :, None].expand_as(patches))
        made[:, :, 2 * t :].zero_()
        made[..., 2 * f :].zero_()
        return made
