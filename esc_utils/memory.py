"""How much memory an optimizer step of CNN14 takes, and whether its activations are kept or computed again."""

from pathlib import Path

import torch

from .config import RunConfig
from .convolution import FEW, MANY
from .sampling import unlabelled_batch

BLOCKS = 6
OPTIMIZER_BYTES = 20  # a parameter: weight, gradient and AdamW's three states, in float32
CGROUP = [Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")]
RESERVE = 1.25  # workspace of the convolutions, fragmentation


def step_bytes(
    config: RunConfig, frames: int, mels: int = 64, value_bytes: int = 4, recompute: bool = False, cpu: bool = False
) -> int:
    """Bytes of activations, weights, gradients and optimizer that one step of Cnn14 holds at its peak.

    frames, mels: size of a log-mel; value_bytes: 4 in float32, 2 in bfloat16. An activation counts where the backward pass
    needs it: of every block the input, two convolutions and two ReLUs (their batch norms work in place); with `recompute`
    the inputs, and all of the largest block; with `cpu` the columns of its matrix products (convolution.py), too.
    Pseudo-labels keep nothing."""
    kept, largest, parameters, channels = 0, 0, 0, 1
    for block in range(BLOCKS):
        out = config.width * 2**block
        area = (frames >> block) * (mels >> block)
        inside = 4 * out * area
        if cpu and out >= MANY and area <= FEW:
            inside += 9 * (channels + out) * area
        kept += channels * area + (0 if recompute else inside)
        largest = max(largest, inside)
        parameters += 9 * out * (channels + out)
        channels = out
    parameters += channels**2
    activations = kept + (largest if recompute else 0)
    return gradient_clips(config) * activations * value_bytes + parameters * OPTIMIZER_BYTES


def gradient_clips(config: RunConfig) -> int:
    """Inputs of a step that are differentiated, after blending: labelled, and with FixMatch strong views."""
    if config.method != "fixmatch":
        return config.batch_size if config.method == "supervised" else config.fixmatch_batch_size
    weak = unlabelled_batch(config) if config.forward == "joint" else 0  # one pass: the weak views lie in its graph
    return config.fixmatch_batch_size * (1 + config.mu) + weak


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; on the CPU never more than a container's limit."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    limits = [int(path.read_text()) for path in CGROUP if path.is_file() and path.read_text().strip().isdigit()]
    return min([psutil.virtual_memory().available, *limits])


def should_recompute(config: RunConfig, device: torch.device, frames: int, value_bytes: int = 4) -> bool:
    """Whether blocks compute their activations again in the backward pass: `recompute`, or `auto`: where they do not fit."""
    if config.recompute != "auto":
        return config.recompute == "always"
    need = step_bytes(config, frames, value_bytes=value_bytes, cpu=device.type == "cpu")
    return config.network == "cnn14" and RESERVE * need > free_bytes(device)
