"""Checkpoints that survive a kill: written atomically, recognised when damaged, the one before kept."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch

from .files import write_atomic
from .optim import laid_out_as, load_state, saved_state

CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


def save(folder: Path, state: dict) -> None:
    """Save a state of tensors and plain values, after its SHA-256; the checkpoint before it is kept as the previous one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    current = folder / CURRENT
    if current.exists():
        current.replace(folder / PREVIOUS)
    write_atomic(current, hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


def load(folder: Path, identity: str) -> dict | None:
    """The newest sound checkpoint whose "identity" is this run's, or None; a damaged one is skipped with a warning. What a
    killed process was writing here is deleted: the caller holds the folder."""
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


def state_of(run) -> dict:
    """All that a run in training (training._Trainer) needs to go on from the end of its epoch, on any device."""
    return {
        "identity": run.identity, "epoch": run.epoch, "seconds": run.seconds,
        "losses": run.losses.tolist(), "history": run.history, "best": run.best, "model": run.model.state_dict(),
        "average": run.average.module.state_dict() if run.average else None,
        "optimizer": saved_state(run.optimizer), "scaler": run.scaler.state_dict(),
        # With gradient accumulation an epoch may end between two optimizer steps.
        "gradients": {name: p.grad for name, p in run.model.named_parameters() if p.grad is not None},
        "confidence": run.confidence[: run.epoch], "pseudo": run.pseudo[: run.epoch],
    }  # fmt: skip


def restore(run, state: dict) -> None:
    """Put a state back into a run that was set up anew."""
    run.epoch, run.seconds = state["epoch"], state["seconds"]
    run.history, run.best, run.losses = state["history"], state["best"], np.array(state["losses"])
    run.model.load_state_dict(state["model"])
    if run.average is not None:
        run.average.module.load_state_dict(state["average"])
    load_state(run.optimizer, state["optimizer"])
    run.scaler.load_state_dict(state["scaler"])
    for name, parameter in run.model.named_parameters():
        if name in state["gradients"]:
            parameter.grad = laid_out_as(parameter, state["gradients"][name])
    if run.config.method == "fixmatch":
        run.confidence[: run.epoch], run.pseudo[: run.epoch] = state["confidence"], state["pseudo"]
