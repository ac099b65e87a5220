"""How a network is run, not what it computes: layout of its weights, blocks recomputed in the backward pass, or compiled."""

import torch
from torch import nn

from .convolution import Conv3x3

SHAPES = 64  # a block sees three batch sizes, with and without gradients; PyTorch's 8 would end in a silent way back


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


def set_recompute(model: nn.Module, on: bool) -> None:
    """Let the blocks that can (CNN14's) keep their activations for the backward pass, or compute them again."""
    for block in model.modules():
        if hasattr(block, "recompute"):
            block.recompute = on


def compile_blocks(model: nn.Module, backend: str = "inductor") -> None:
    """torch.compile of every block whose batch norm, ReLU and pooling can become one pass over memory."""
    torch._dynamo.config.recompile_limit = SHAPES
    for block in model.modules():
        if getattr(block, "fuses", False):
            block.compile(backend=backend)
