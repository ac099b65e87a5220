"""The feature store: every clip decoded, resampled and transformed once, and batches of it."""

import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .audio import SAMPLE_RATE, decode
from .dataset import Dataset
from .device import free_bytes
from .errors import UserError
from .knobs import RunConfig, digest
from .locks import hold
from .logmel import LogMel, Mn04LogMel
from .paths import cache_folder

STORE_VERSION = 1
BATCH = 64  # clips transformed at a time: bounds the memory of a build
# Levels lie within (-128, 128) dB, where float16 steps are at most 1/16 dB: rounding is off by at most half a
# step.
FLOAT16_ERROR_DB = 1 / 32
SHARE = 0.5  # of an accelerator's free memory that a resident store may take


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Pad with zeros at the end, or cut, to exactly `samples` (paper, section 4.1: "padded to 5 s")."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def waveforms(
    paths, seconds: float, pool: ThreadPoolExecutor | None = None, sample_rate: int = SAMPLE_RATE, starts=None
) -> np.ndarray:
    """Decode clips into one float32 array (clips, samples) of `seconds` each; `pool` decodes in parallel.
    starts: where in its file each begins (s; NaN: the file is read whole, then cut)."""
    samples = round(seconds * sample_rate)
    starts = itertools.repeat(math.nan) if starts is None else starts
    rates, lengths = itertools.repeat(sample_rate), itertools.repeat(seconds)
    decoded = (pool.map if pool else map)(decode, paths, rates, starts, lengths)
    return np.stack([fit_length(waveform, samples) for waveform in decoded])


def front_end(network: str) -> nn.Module:
    """Front end that a network was made for; its `sample_rate` is what it takes."""
    return Mn04LogMel() if network == "mn04" else LogMel()


def store_path(config: RunConfig, dataset: Dataset) -> Path:
    """File of the feature store, keyed by dataset fingerprint, front end and clip length."""
    key = digest([STORE_VERSION, dataset.audio or dataset.fingerprint, config.network, config.clip_seconds])
    return cache_folder(config) / "features" / f"{config.network}-{key}.npy"


def open_store(config: RunConfig, dataset: Dataset, progress=None) -> np.ndarray:
    """Log-mels of all clips, float16 (clips, frames, mels) as their front end gives them, in the order of
    `dataset.clips`, memory-mapped read-only.

    Built on first use: in batches, decoding in parallel; safe against two builders at once (lock) and a kill
    in the middle (temporary file, then rename). Rounding to float16 is off by at most FLOAT16_ERROR_DB.
    `progress` (iterable, total=batches) may wrap the loop."""
    path = store_path(config, dataset)
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with hold(path.with_suffix(".lock")):
                if not path.is_file():
                    _build(path, config, dataset, progress)
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent} ({error.strerror}): set outputs or cache_dir elsewhere, or free "
            "some space"
        ) from None
    try:
        store = np.load(path, mmap_mode="r")
    except (ValueError, OSError) as error:
        raise UserError(f"feature store {path} is damaged ({error}): delete it, it is made again") from None
    if len(store) != len(dataset.clips):
        raise UserError(f"feature store {path} has {len(store)} clips, not {len(dataset.clips)}: delete it")
    return store


def _build(path: Path, config: RunConfig, dataset: Dataset, progress) -> None:
    extractor = front_end(config.network).eval()
    paths, starts = list(dataset.clips["path"]), dataset.clips.get("offset")
    batches = [slice(i, i + BATCH) for i in range(0, len(paths), BATCH)]
    temporary, shape = path.with_suffix(".building"), None
    try:
        # Plain writes: on a full disk they raise, where writing through a memory map would kill the process
        # (SIGBUS).
        with temporary.open("wb") as file, ThreadPoolExecutor() as pool, torch.inference_mode():
            for batch in progress(batches, total=len(batches)) if progress else batches:
                own = None if starts is None else starts[batch]
                audio = waveforms(paths[batch], config.clip_seconds, pool, extractor.sample_rate, own)
                levels = extractor(torch.from_numpy(audio)).squeeze(1).to(torch.float16).numpy()
                if shape is None:
                    shape = (len(paths), *levels.shape[1:])
                    header = {"descr": levels.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(levels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Clips:
    """Log-mels of a store (clips, frames, mels) by row number, as float32 (B, 1, frames, mels) on `device`.

    CPU: rows of the memory map, which all processes share. Accelerator: the whole store resident in float16
    where it takes at most SHARE of the free memory; elsewhere rows are gathered into pinned host memory and
    copied without waiting. Row numbers belong on `place`: the device where the store is resident, the CPU
    elsewhere."""

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
