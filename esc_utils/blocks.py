"""How a network is run, not what it computes: layout of its weights, blocks recomputed in the backward pass, or compiled."""

import torch
from torch import nn

WIDE = 32  # channels of the first block
GRAPHS = 64  # a block sees three batch sizes, with and without gradients; PyTorch's 8 would end in a silent way back


def training_layout(device: torch.device, width: int) -> torch.memory_format:
    """Layout of the weights that an optimizer step is fastest in: channels_last, but not for wide blocks on a CPU, where the
    gradient of the weights would take half as long again (docs/performance.md)."""
    return torch.contiguous_format if device.type == "cpu" and width >= WIDE else torch.channels_last


def set_recompute(model: nn.Module, on: bool) -> None:
    """Let the blocks that can (CNN14's) keep their activations for the backward pass, or compute them again."""
    for block in model.modules():
        if hasattr(block, "recompute"):
            block.recompute = on


def compile_blocks(model: nn.Module, backend: str = "inductor") -> None:
    """torch.compile of every block whose batch norm, ReLU and pooling can become one pass over memory."""
    torch._dynamo.config.recompile_limit = GRAPHS
    for block in model.modules():
        if getattr(block, "fuses", False):
            block.compile(backend=backend)
