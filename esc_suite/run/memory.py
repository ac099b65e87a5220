"""How much memory an optimizer step of CNN14 takes."""

from esc_utils.config import RunConfig
from esc_utils.sampling import unlabelled_batch

BLOCKS = 6
OPTIMIZER_BYTES = 20  # a parameter: weight, gradient and AdamW's three states, in float32


def step_bytes(config: RunConfig, frames: int, mels: int = 64, value_bytes: int = 4) -> int:
    """Bytes of activations, weights, gradients and optimizer that one step of Cnn14 holds at its peak.

    frames, mels: size of a log-mel; value_bytes: 4 in float32, 2 in bfloat16. An activation counts where the
    backward pass needs it: of every block the input, two convolutions and two ReLUs (their batch norms work
    in place). Pseudo-labels keep nothing."""
    activations, parameters, channels = 0, 0, 1
    for block in range(BLOCKS):
        out = config.width * 2**block
        area = (frames >> block) * (mels >> block)
        activations += (channels + 4 * out) * area
        parameters += 9 * out * (channels + out)
        channels = out
    parameters += channels**2
    return gradient_clips(config) * activations * value_bytes + parameters * OPTIMIZER_BYTES


def gradient_clips(config: RunConfig) -> int:
    """Inputs of a step that are differentiated, after blending: labelled, and with FixMatch strong views."""
    if config.method != "fixmatch":
        return config.batch_size if config.method == "supervised" else config.fixmatch_batch_size
    # One pass: the weak views lie in its graph
    weak = unlabelled_batch(config) if config.forward == "joint" else 0
    return config.fixmatch_batch_size * (1 + config.mu) + weak
