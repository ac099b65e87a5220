"""The feature store: every clip decoded, resampled and transformed once, and batches of it."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import limits
from .config import RunConfig, cache_folder, digest
from .device import free_bytes
from .errors import UserError
from .logmel import LogMel, Mn04LogMel
from .urbansound import Dataset

SAMPLE_RATE = 16000
STORE_VERSION = 1
BATCH = 64  # clips transformed at a time: bounds the memory of a build
# Levels lie within (-128, 128) dB, where float16 steps are at most 1/16 dB: rounding is off by at most half a step.
FLOAT16_ERROR_DB = 1 / 32
LOUDEST = 100.0  # largest sample of a clip that is taken for sound; a float file may go a little beyond full scale, 1
SHARE = 0.5  # of an accelerator's free memory that a resident store may take


def decode(path: Path | str, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Audio file -> mono float32 (samples,) at `sample_rate`: channels averaged, then resampled (soxr HQ).

    UserError names the file where it cannot be read, is empty, or holds samples that are not finite or absurdly large."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, header = file.samplerate, file.extra_info
            audio = file.read(dtype="float32", always_2d=True)
    except OSError as error:
        raise UserError(f"audio file {path} cannot be read ({error.strerror or error}): check it is there") from None
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"audio file {path} cannot be decoded ({reason}): unpack it again") from None
    if missing := _cut(header):
        raise UserError(f"audio file {path} is cut short ({missing:.0%} of its samples are missing): unpack it again")
    mono = sum(audio.T) / audio.shape[1]  # as audio.mean(axis=1), which takes four times as long
    if mono.size == 0:
        raise UserError(f"audio file {path} has no samples: unpack it again")
    if rate != sample_rate and np.isfinite(mono).all():
        import soxr

        mono = soxr.resample(mono, rate, sample_rate)
    if mono.size == 0:
        raise UserError(
            f"audio file {path} is shorter than one sample at {sample_rate} Hz (it says {rate} Hz): unpack it again"
        )
    if not np.isfinite(mono).all():  # also after resampling, which overflows near the largest float
        raise UserError(f"audio file {path} has samples that are NaN, infinite or beyond float32: replace it")
    if (peak := float(np.abs(mono).max())) > LOUDEST:
        raise UserError(
            f"audio file {path} has samples up to {peak:.2g}, where full scale is 1 (damaged, or integers marked as float): "
            "replace it"
        )
    return mono.astype(np.float32, copy=False)


def _cut(header: str) -> float:
    """Share of a WAV's samples that its header announces and the file lacks; libsndfile reads on without a word, but notes
    it. Under 1% is taken for a sloppy header, a size near the largest (0x7fff...) for the mark of an unknown length."""
    noted = re.search(r"^data : (\d+) \(should be (\d+)\)", header, re.MULTILINE)
    announced, there = map(int, noted.groups()) if noted else (1, 1)
    return 1 - there / announced if there < 0.99 * announced and announced < 0x7FFF0000 else 0.0


def fit_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Pad with zeros at the end, or cut, to exactly `samples` (paper, section 4.1: "padded to 5 s")."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


def waveforms(paths, seconds: float, pool: ThreadPoolExecutor | None = None, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Decode clips into one float32 array (clips, samples) of `seconds` each; `pool` decodes in parallel."""
    samples = round(seconds * sample_rate)
    decoded = (pool.map if pool else map)(partial(decode, sample_rate=sample_rate), paths)
    return np.stack([fit_length(waveform, samples) for waveform in decoded])


def front_end(network: str) -> nn.Module:
    """Front end that a network was made for: LogMel for cnn14, Mn04LogMel for mn04; its `sample_rate` is what it takes."""
    return Mn04LogMel() if network == "mn04" else LogMel()


def store_path(config: RunConfig, dataset: Dataset) -> Path:
    """File of the feature store, keyed by dataset fingerprint, front end and clip length."""
    key = digest([STORE_VERSION, dataset.fingerprint, config.network, config.clip_seconds])
    return cache_folder(config) / "features" / f"{config.network}-{key}.npy"


def open_store(config: RunConfig, dataset: Dataset, progress=None) -> np.ndarray:
    """Log-mels of all clips, float16 (clips, frames, mels) in dB, in the order of `dataset.clips`, memory-mapped read-only.

    Built on first use: in batches, decoding in parallel; safe against two builders at once (lock) and a kill in the
    middle (temporary file, then rename). Rounding to float16 is off by at most FLOAT16_ERROR_DB. `progress`
    (iterable, total=batches) may wrap the loop."""
    path = store_path(config, dataset)
    if not path.is_file():
        from filelock import FileLock

        _writable(path.parent)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _build(path, config, dataset, progress)
    try:
        store = np.load(path, mmap_mode="r")
    except (ValueError, OSError) as error:
        raise UserError(f"feature store {path} is damaged ({error}): delete it, it is made again") from None
    if len(store) != len(dataset.clips):
        raise UserError(f"feature store {path} has {len(store)} clips, not {len(dataset.clips)}: delete it")
    return store


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): set outputs or cache_dir elsewhere") from None


def _build(path: Path, config: RunConfig, dataset: Dataset, progress) -> None:
    extractor = front_end(config.network).eval()
    paths = list(dataset.clips["path"])
    batches = [paths[i : i + BATCH] for i in range(0, len(paths), BATCH)]
    temporary, shape = path.with_suffix(".building"), None
    try:
        # Plain writes: on a full disk they raise, where writing through a memory map would kill the process (SIGBUS).
        with (
            temporary.open("wb") as file,
            ThreadPoolExecutor(limits.cores()) as pool,
            torch.inference_mode(),
        ):
            for batch in progress(batches, total=len(batches)) if progress else batches:
                audio = waveforms(batch, config.clip_seconds, pool, extractor.sample_rate)
                levels = extractor(torch.from_numpy(audio)).squeeze(1).to(torch.float16).numpy()
                if shape is None:
                    shape = (len(paths), *levels.shape[1:])
                    header = {"descr": levels.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(levels.tobytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"feature store {path} cannot be written ({error.strerror}): free some space") from None
    finally:
        temporary.unlink(missing_ok=True)


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
