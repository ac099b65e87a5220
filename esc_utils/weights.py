"""Checkpoints from outside, read without running code that they may carry, whole or not at all."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .errors import UserError
from .logmel import LogMel
from .model import Cnn14
from .paths import PANN_FILE

MOST = 8  # tensors that do not fit, listed
WHERE = f"run `make data`, or put {PANN_FILE} (Zenodo record 3987831, sha256 e2ee543a…5058e6) there by hand"

# What the published file carries besides the backbone: its own front end (checked, not loaded) and the
# AudioSet head.
FRONT_END = {
    "logmel_extractor.melW": "mel matrix",
    "spectrogram_extractor.stft.conv_real.weight": "STFT kernel (real)",
    "spectrogram_extractor.stft.conv_imag.weight": "STFT kernel (imaginary)",
}
OTHER_RATES = {129: "8 kHz", 513: "32 kHz"}  # frequency bins of PANN's other checkpoints: window / 2 + 1


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file; UserError where it is damaged or another kind of file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged or no safetensors file ({reason}): copy it again") from error


def read_pickled(path: Path, where: str, allowed: Sequence = ()):
    """What torch.save wrote, on the CPU. `allowed`: globals beyond those of plain tensors that the file may
    name; `where`: how to get the right file. UserError where the file is damaged, names any other global, or
    is of a later pickle protocol than torch's reader of plain data knows."""
    try:
        with torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a cut file: EOFError, RuntimeError, KeyError, ..., by where it is cut
        why = "is damaged or no PyTorch checkpoint"
        if later := re.search(r"Detected (pickle protocol \d)", " ".join(str(one.message) for one in told)):
            why = f"was written with {later[1]}, which torch cannot read without running code (torch.save "
            why += "without pickle_protocol writes what it can)"
        if named := _named_globals(path, allowed, str(error)):
            why = f"holds more than weights ({named}) and was refused"
        raise UserError(f"{path} {why}: move it away and {where}") from error


def _named_globals(path: Path, allowed: Sequence, message: str) -> str:
    """Classes and functions that a checkpoint names beyond those allowed, read without calling one; "" where
    there are none, or the file is too damaged to tell. message: of torch's reader, which names the first,
    also in files before torch 1.6."""
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:
        found = re.search(r"GLOBAL (\S+)", message)
        return found[1] if found else ""


def mismatches(
    wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], known: Collection[str], network: str
) -> list[str]:
    """Why `tensors` cannot fill all of `wanted`, a few words a tensor: missing, of another shape, not finite;
    or neither wanted nor `known`, what else the file may hold. Empty where they can."""
    problems = []
    for key, value in wanted.items():
        found = tensors.get(key)
        if not isinstance(found, Tensor):
            problems.append(f"{key} missing")
        elif found.shape != value.shape:
            problems.append(f"{key} has shape {tuple(found.shape)}, needed {tuple(value.shape)}")
        elif not torch.isfinite(found).all():
            problems.append(f"{key} is not finite")
    return problems + [
        f"{key} is not part of {network}" for key in tensors if key not in wanted and key not in known
    ]


def listed(problems: Sequence[str]) -> str:
    """How many problems there are, and the first of them."""
    more = f"; and {len(problems) - MOST} more" if len(problems) > MOST else ""
    return f"{len(problems)} tensors: {'; '.join(problems[:MOST])}{more}"


def load_pann(model: Cnn14, path: str | Path) -> Cnn14:
    """Fill every tensor of `model` but the new last layer from a checkpoint; returns the model.

    `path`: PANN's published Cnn14_16k_mAP=0.438.pth (ledger 25), or a `.safetensors` file with the same keys.
    UserError: no file; damaged; holds more than data; of another sample rate; trained behind a front end that
    differs from ours; a tensor missing, not finite or of another shape (the first are listed). The model is
    then unchanged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}: {WHERE}")
    tensors = read_safetensors(path) if path.suffix == ".safetensors" else _read_published(path)
    _check_front_end(tensors, path, required=path.suffix != ".safetensors")
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith("fc_transfer.")}
    known = {*FRONT_END, "fc_audioset.weight", "fc_audioset.bias", "fc_transfer.weight", "fc_transfer.bias"}
    if problems := mismatches(wanted, tensors, known, "CNN14"):
        raise UserError(
            f"{path.name} does not fit this CNN14: set width to the file's, or weights_path to another file; "
            f"{listed(problems)}"
        )
    model.load_state_dict({key: tensors[key] for key in wanted}, strict=False)
    return model


def _read_published(path: Path) -> dict[str, Tensor]:
    """The `model` entry of PANN's checkpoint, read without running any code that the file may carry."""
    checkpoint = read_pickled(path, WHERE, _numpy_globals())
    tensors = checkpoint.get("model") if isinstance(checkpoint, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} has no entry `model`: not a checkpoint in the form PANN published; {WHERE}")
    return dict(tensors)


def _numpy_globals() -> list:
    """The constructors of plain NumPy arrays and scalars of whatever kind: the training sampler's state in
    PANN's file. Arrays of objects hold nothing but what the same reader lets through.

    The file was written under NumPy 1 (`numpy.core`), this may run under NumPy 2 (`numpy._core`): both names
    are given.
    """
    import numpy as np

    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.int64(0).__reduce__()[0]
    return [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        bytes,  # of an array without entries
        *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
    ]


def front_end_tensors() -> dict[str, Tensor]:
    """Our front end in the form PANN stores its: mel matrix (bins, mels), DFT kernels (bins, 1, window)."""
    ours = LogMel()
    real, imaginary = ours.kernel.chunk(2)
    return dict(zip(FRONT_END, (ours.mel, real, imaginary), strict=True))


def _check_front_end(tensors: Mapping[str, Tensor], path: Path, required: bool) -> None:
    stored = {key: tensors[key] for key in FRONT_END if isinstance(tensors.get(key), Tensor)}
    if required and len(stored) < len(FRONT_END):
        missing = [key for key in FRONT_END if key not in stored]
        raise UserError(
            f"{path.name} lacks {', '.join(missing)}: cannot tell which front end it was trained on; {WHERE}"
        )
    for value in stored.values():
        if rate := OTHER_RATES.get(value.shape[0]) if value.ndim else None:
            raise UserError(
                f"{path.name} is a {rate} checkpoint; this suite needs PANN's 16 kHz one: {WHERE}"
            )
    ours = front_end_tensors() if stored else {}
    for key, value in stored.items():
        what = f"{path.name}: trained behind another front end than ours, its {FRONT_END[key]} {key}"
        if value.shape != ours[key].shape:
            shapes = f"{tuple(value.shape)}, ours {tuple(ours[key].shape)}"
            raise UserError(f"{what} has shape {shapes}: {WHERE}")
        worst = (value.float() - ours[key]).abs().max() / ours[key].abs().max()
        if not worst < 1e-4:
            raise UserError(f"{what} differs by {worst:.1e} of the largest entry: {WHERE}")
