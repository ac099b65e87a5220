"""Whether a file with another checksum than the known copy holds mn04's published weights all the same."""

from pathlib import Path

from esc_utils.errors import UserError

# AudioSet logits of the published weights for `chirp`, every 75th class.
CLASSES = slice(None, None, 75)
LOGITS = (-4.13095, -7.58189, -8.51640, -9.44413, -5.93257, -10.58547, -7.96782, -6.59785)
TOLERANCE = 0.01  # rounding of another machine is some .00003


def is_mn04(path: Path) -> bool:
    """Whether a file, whatever its checksum, loads strictly and gives the published weights' logits for a
    known sound."""
    import torch

    from esc_utils.logmel import Mn04LogMel
    from esc_utils.standins.mn04 import Mn04, load_mn04

    try:
        model = load_mn04(Mn04(1), path).eval()
    except UserError:
        return False
    with torch.inference_mode():
        logits = model.audioset_logits(model.embed(model.normalise(Mn04LogMel()(chirp()[None]))))
    return bool((logits[0, CLASSES] - torch.tensor(LOGITS)).abs().max() < TOLERANCE)


def chirp():
    """One second at 32 kHz that rises from 200 to 6,200 Hz: (32000,) float32."""
    import torch

    t = torch.arange(32000, dtype=torch.float64) / 32000
    return (0.5 * torch.sin(2 * torch.pi * (200 * t + 3000 * t * t))).float()
