"""Which device a run trains on, in which precision, what it is called, and how much of it is free."""

import warnings

import torch

from . import allocator
from .errors import UserError


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where it is; UserError where a device is asked for that is not there, or that this
    PyTorch was built without."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings(action="ignore"):  # of names that PyTorch will forget
            device = torch.device(name)
        if device.type == "cpu" and device.index:
            raise RuntimeError
    except RuntimeError:
        raise UserError(f"device: '{name}' is not a device: use auto, cpu, cuda or cuda:<number>") from None
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= cards:
        raise UserError(f"device: {name} is not there ({cards} CUDA devices): use device: auto or cpu")
    # PyTorch knows the names of many others: whether it can compute there is tried.
    if device.type not in ("cpu", "cuda"):
        try:
            torch.ones(2, device=device).sum().item()
        except Exception:  # as the device has it: RuntimeError, AssertionError, ModuleNotFoundError, ...
            raise UserError(
                f"device: {name} is none that this PyTorch can compute on: use device: auto or cpu"
            ) from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where CUDA has it, float16 on older CUDA (a T4), float32 on the CPU, faster there."""
    if name != "auto":
        return getattr(torch, name)
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16


def prepare(device: torch.device, threads: int) -> None:
    """Settings of the whole process: threads and, on the CPU, freed memory kept for the next step; on CUDA
    float32 means float32 (PyTorch's default lets cuDNN round it to TF32), and cuDNN does not try all its
    convolutions for every shape (docs/performance.md)."""
    torch.set_num_threads(threads)
    if device.type == "cpu":
        allocator.keep_freed()
    if device.type == "cuda":
        if device.index is not None:  # set_device refuses a plain "cuda"
            torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def device_name(device: torch.device) -> str:
    """The card's name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; of any but a CUDA card (Apple's), what is free of the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
