"""How a network is run, not what it computes: layout of its weights, and faster ways of three operations."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Output channels, at least, and positions of a clip, at most: the last two blocks at PANN's width.
MANY, FEW = 1024, 128


def lay_out(model: nn.Module, device: torch.device, training: bool = True) -> nn.Module:
    """Move a network to a device, its weights in the layout that is fastest there; returns it
    (docs/performance.md).

    channels_last, but on a CPU: convolutions that are matrix products there keep their weights as matrices;
    and all of a network that has such (wide) stay contiguous in training without AVX-512, where the gradient
    of channels_last weights takes half as long again."""
    cpu = device.type == "cpu"
    matrices = [m for m in model.modules() if isinstance(m, Conv3x3) and m.many] if cpu else []
    if matrices and training and torch.backends.cpu.get_cpu_capability() != "AVX512":
        return model.to(device, memory_format=torch.contiguous_format)
    model.to(device, memory_format=torch.channels_last)
    for conv in matrices:
        conv.to(memory_format=torch.contiguous_format)
    return model


class Conv3x3(nn.Conv2d):
    """3x3 convolution, padding 1, no bias: (B, in, t, f) -> (B, out, t, f); state-dict keys of nn.Conv2d.

    Of 15 x 2 positions by 2048 channels, oneDNN's matrix product is faster than its convolution
    (docs/performance.md)."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__(channels_in, channels_out, 3, padding=1, bias=False)

    @property
    def many(self) -> bool:
        """Whether the channels are many enough for a matrix product."""
        return self.out_channels >= MANY

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.device.type != "cpu" or not len(x) or not self.many or x.shape[2] * x.shape[3] > FEW:
            return super()._conv_forward(x, weight, bias)
        return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same convolution by im2col: weights (out, 9 in) times every clip's unfolded positions side by
    side."""
    clips, _, height, width = x.shape
    columns = F.unfold(x, 3, padding=1).transpose(0, 1).reshape(1, weight[0].numel(), -1, 1)
    y = F.conv2d(columns, weight.flatten(1)[:, :, None, None], bias)  # 1x1: oneDNN's matrix product
    return y.view(-1, clips, height, width).transpose(0, 1).contiguous()


def conv_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """norm(conv(x)) of a convolution without bias: (B, in, t, f) -> (B, out, t', f').

    Where `norm` uses its stored statistics (eval mode, in a network that is trained too) it only scales and
    shifts, so the scale goes into the weights: the same function and gradients up to rounding, without the
    passes over memory."""
    if norm.training:
        return norm(conv(x))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv._conv_forward(x, conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale)


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
        made = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )
        quarter = gradient * 0.25
        patches = made[:, :, : 2 * t, : 2 * f].unflatten(2, (t, 2)).unflatten(4, (f, 2))
        patches.copy_(quarter[:, :, :, None, :, None].expand_as(patches))
        made[:, :, 2 * t :].zero_()
        made[..., 2 * f :].zero_()
        return made
