"""Batch norm folded into the convolutions before it: the same function in eval mode, with fewer passes over memory."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model` in eval mode whose blocks have their `pairs` of (convolution, batch norm) made one convolution.

    Its outputs equal the model's up to float rounding; the model is unchanged."""
    made = copy.deepcopy(model).eval()
    for block in made.modules():
        for conv, norm in getattr(block, "pairs", ()):
            setattr(block, conv, fuse_conv_bn_eval(getattr(block, conv), getattr(block, norm)))
            setattr(block, norm, nn.Identity())
    return made
