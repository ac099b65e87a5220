"""A convolution and its batch norm, as one convolution where that is exact."""

import torch
from torch import Tensor, nn


def conv_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """norm(conv(x)) of a convolution without bias: (B, in, t, f) -> (B, out, t', f').

    Where `norm` uses its stored statistics (eval mode, in a network that is trained too) it only scales and shifts, so the
    scale goes into the weights: the same function and gradients up to rounding, without the passes over memory."""
    if norm.training:
        return norm(conv(x))
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return conv._conv_forward(x, conv.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale)
