"""Checkpoints from outside: read without running code that they may carry, compared tensor by tensor with a network."""

import pickle
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .errors import UserError

MOST = 8  # tensors that do not fit, listed


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file; UserError where it is damaged or another kind of file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged or no safetensors file ({reason}): check it out or copy it again") from error


def read_pickled(path: Path, where: str, allowed: Sequence = ()):
    """What torch.save wrote, on the CPU. `allowed`: globals beyond those of plain tensors that the file may name;
    `where`: how to get the right file. UserError where the file is damaged or names any other global."""
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Damage (a byte that is no opcode) and code (a global that is not on the list) come as the same exception.
        reason = next((line.strip() for line in str(error).splitlines() if "unsupported" in line.lower()), "")
        if "global" in reason.lower() or "class" in reason.lower():
            raise UserError(f"{path} holds more than weights and was refused ({reason}): delete it and {where}") from error
        raise UserError(f"{path} is damaged or no PyTorch checkpoint; delete it and {where}") from error
    except Exception as error:  # a cut file raises EOFError, RuntimeError, KeyError, ...: it depends on where it is cut
        raise UserError(f"{path} is damaged or no PyTorch checkpoint; delete it and {where}") from error


def mismatches(
    wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], known: Collection[str], network: str
) -> list[str]:
    """Why `tensors` cannot fill all of `wanted`, a few words a tensor: missing, of another shape, not finite; or neither
    wanted nor `known`, what else the file may hold. Empty where they can."""
    problems = []
    for key, value in wanted.items():
        found = tensors.get(key)
        if not isinstance(found, Tensor):
            problems.append(f"{key} missing")
        elif found.shape != value.shape:
            problems.append(f"{key} has shape {tuple(found.shape)}, needed {tuple(value.shape)}")
        elif not torch.isfinite(found).all():
            problems.append(f"{key} is not finite")
    return problems + [f"{key} is not part of {network}" for key in tensors if key not in wanted and key not in known]


def listed(problems: Sequence[str]) -> str:
    """How many problems there are, and the first of them."""
    more = f"; and {len(problems) - MOST} more" if len(problems) > MOST else ""
    return f"{len(problems)} tensors: {'; '.join(problems[:MOST])}{more}"
