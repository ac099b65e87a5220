"""Checkpoints that survive a kill: written atomically, recognised when damaged, the one before kept."""

import hashlib
import io
import warnings
from pathlib import Path

import torch

from esc_utils.files import write_atomic

CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


def save(folder: Path, state: dict) -> None:
    """Save a state of tensors and plain values, after its SHA-256; the checkpoint before it is kept as the
    previous one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    current = folder / CURRENT
    if current.exists():
        current.replace(folder / PREVIOUS)
    write_atomic(current, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def newest(folder: Path, identity: str) -> dict | None:
    """The newest sound checkpoint whose "identity" is this run's, or None; a damaged one is skipped with a
    warning. What a killed process was writing here is deleted: the caller holds the folder."""
    for temporary in folder.glob(".*.[0-9]*"):
        temporary.unlink()
    for path in (folder / CURRENT, folder / PREVIOUS):
        if not path.is_file():
            continue
        digest, _, payload = path.read_bytes().partition(b"\n")
        if hashlib.sha256(payload).hexdigest().encode() != digest:
            warnings.warn(f"checkpoint {path} is damaged, going back to the one before it", stacklevel=2)
            continue
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        if state["identity"] == identity:
            return state
    return None


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    for name in (CURRENT, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
