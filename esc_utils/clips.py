"""Batches of log-mels by indexing the feature store: resident on the device where it fits, no loader, no workers."""

import numpy as np
import torch
from torch import Tensor

from .memory import free_bytes

SHARE = 0.5  # of an accelerator's free memory that a resident store may take


class Clips:
    """Log-mels of a store (clips, frames, mels) by row number, as float32 (B, 1, frames, mels) on `device`.

    CPU: rows of the memory map, which all processes share. Accelerator: the whole store resident in float16 where it takes
    at most SHARE of the free memory; elsewhere rows are gathered into pinned host memory and copied without waiting.
    Row numbers belong on `place`: the device where the store is resident, the CPU elsewhere."""

    def __init__(self, store: np.ndarray, device: torch.device):
        self.device, self.shape = device, store.shape[1:]
        fits = device.type != "cpu" and store.nbytes <= SHARE * free_bytes(device)
        self.pinned = device.type == "cuda" and not fits
        self.store = torch.from_numpy(np.array(store)).to(device) if fits else store
        self.place = device if fits else torch.device("cpu")

    def __getitem__(self, rows: Tensor) -> Tensor:
        if isinstance(self.store, Tensor):
            return self.store[rows].float().unsqueeze(1)
        found = torch.from_numpy(self.store[rows.numpy()])
        if self.pinned:
            found = found.pin_memory().to(self.device, non_blocking=True)
        return found.float().unsqueeze(1)
