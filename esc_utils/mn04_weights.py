"""mn04's weights: looked for, fetched from the authors' release on first use, and taken tensor by tensor or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError
from .provenance import MN04_FILE, mn04_file

if TYPE_CHECKING:
    from .mn04 import Mn04

WHERE = f"run `make data PROFILE=lite`, or put {MN04_FILE} (GitHub, fschmid56/EfficientAT, release v0.0.1) there by hand"
PATIENCE = 120  # s that a run waits for another one's download
# AudioSet logits of the published weights for `_chirp`, every 75th class.
CLASSES = slice(None, None, 75)
LOGITS = (-4.13095, -7.58189, -8.51640, -9.44413, -5.93257, -10.58547, -7.96782, -6.59785)
TOLERANCE = 0.01  # rounding of another machine is some .00003


def load_mn04(model: "Mn04", path: str | Path | None = None) -> "Mn04":
    """Fill every tensor of `model` but the new last layer and the input's mean; returns the model.

    `path`: mn04_as_mAP_432.pt as published (docs/mn04.md), or a `.safetensors` file with the same keys; None or "": where
    `ensure` has it. UserError: no file and none to be fetched; damaged; holds more than data; a tensor missing, not
    finite, of another shape or unknown (the first are listed). The model is then unchanged.
    """
    from .weights import listed, mismatches, read_pickled, read_safetensors

    path = Path(path).expanduser() if path else ensure()
    if not path.is_file():
        raise UserError(f"no weights at {path}: mend weights_path, or leave it empty to have them fetched")
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else read_pickled(path, WHERE)
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} holds no tensors by name: not mn04's checkpoint; {WHERE}")
    own = ("fc_transfer.", "mean")
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(own)}
    if problems := mismatches(wanted, tensors, (), "mn04"):
        raise UserError(f"{path.name} does not fit mn04, {listed(problems)}; set weights_path to another file, or {WHERE}")
    model.load_state_dict(dict(tensors), strict=False)
    return model


def ensure() -> Path:
    """The file where it lies (provenance.mn04_file), fetched into data/ first where it does not; parallel runs fetch once.

    UserError where it cannot be fetched, with its address and the folder to put it into."""
    path = mn04_file()
    if not path.is_file():
        from .download import fetch

        path = fetch(["mn04"], path.parent, patience=PATIENCE)["mn04"]
    return path


def is_mn04(path: Path) -> bool:
    """Whether a file, whatever its checksum, loads strictly and gives the published weights' logits for a known sound."""
    import torch

    from .mn04 import Mn04, Mn04LogMel

    try:
        model = load_mn04(Mn04(1), path).eval()
    except UserError:
        return False
    with torch.inference_mode():
        logits = model.audioset_logits(model.embed(model.normalise(Mn04LogMel()(_chirp()[None]))))
    return bool((logits[0, CLASSES] - torch.tensor(LOGITS)).abs().max() < TOLERANCE)


def _chirp():
    """One second at 32 kHz that rises from 200 to 6,200 Hz: (32000,) float32."""
    import torch

    t = torch.arange(32000, dtype=torch.float64) / 32000
    return (0.5 * torch.sin(2 * torch.pi * (200 * t + 3000 * t * t))).float()
