"""How a network lies in memory, not what it computes: the layout of its weights that is fastest on a device."""

import torch
from torch import nn

from .convolution import Conv3x3


def lay_out(model: nn.Module, device: torch.device, training: bool = True) -> nn.Module:
    """Move a network to a device, its weights in the layout that is fastest there; returns it (docs/performance.md).

    channels_last, but on a CPU: convolutions that are matrix products there keep their weights as matrices; and all of a
    network that has such (wide) stay contiguous in training without AVX-512, where the gradient of channels_last weights
    takes half as long again."""
    cpu = device.type == "cpu"
    matrices = [m for m in model.modules() if isinstance(m, Conv3x3) and m.many] if cpu else []
    if matrices and training and torch.backends.cpu.get_cpu_capability() != "AVX512":
        return model.to(device, memory_format=torch.contiguous_format)
    model.to(device, memory_format=torch.channels_last)
    for conv in matrices:
        conv.to(memory_format=torch.contiguous_format)
    return model
