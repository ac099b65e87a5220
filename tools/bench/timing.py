"""Seconds of a piece of work, two sides taking turns, and the lines that show them."""

import time
from contextlib import contextmanager

import numpy as np
import torch

from esc_utils import allocator

CPU = torch.device("cpu")
SLOW, PATIENCE = 10.0, 30.0  # s: on a slow machine a part has fewer repeats, so that all parts end in minutes
USUAL_MMAP, USUAL_TRIM = 32 * allocator.MIB, 64 * allocator.MIB  # where glibc's own sliding thresholds end


@contextmanager
def usual_allocator():
    """Inside, what a program gets that sets nothing (though it may use again what was kept before); freed
    tensors are kept again after it."""
    changed = allocator.set_thresholds(USUAL_MMAP, USUAL_TRIM)
    try:
        yield
    finally:
        if changed:
            allocator.keep_freed()


def seconds(work, device: torch.device = CPU) -> float:
    """Seconds of work(); on CUDA it waits for the device before and after, never within."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(ours, theirs, repeats: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of each repeat of both, (repeats,) each, taking turns, after a go of each that does not count.

    A turn is two goes for the memory that the other side gave back to the system, then the one that is timed;
    of work that takes over SLOW s the timed one alone. After PATIENCE s no turn begins, but one is always
    taken."""
    began = time.perf_counter()
    untimed = 2 if seconds(ours) + seconds(theirs) < SLOW else 0
    pairs = []
    while not pairs or (len(pairs) < repeats and time.perf_counter() - began < PATIENCE):
        pairs.append((turn(ours, untimed), turn(theirs, untimed)))
    return tuple(np.array(pairs).T)


def turn(work, untimed: int = 2) -> float:
    """Seconds of work() after it ran `untimed` times."""
    for _ in range(untimed):
        work()
    return seconds(work)


def spread(values: np.ndarray) -> str:
    """Median [quartiles]."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:8.2f} [{low:.2f}, {high:.2f}]"


def line(name: str, unit: str, count: float, ours: np.ndarray, theirs: np.ndarray) -> None:
    """count / seconds of both sides: median [quartiles], and the ratio of the medians."""
    ratio = np.median(theirs) / np.median(ours)
    sides = f"{name:44} {spread(count / ours):26} {spread(count / theirs):26}"
    print(f"{sides} {ratio:5.2f}x  {unit}, {len(ours)} turns", flush=True)


def matrix_rate(
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
    size: int = 2048,
    repeats: int = 10,
    products: int = 1,
) -> float:
    """Operations a second of square matrix products of `size`: the median of `repeats` turns of `products`
    each.

    On the CPU that of the faster of PyTorch's two libraries: `@` is MKL, which leaves AVX-512 unused on an
    AMD processor; a 1x1 convolution is oneDNN."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    ways = [lambda: left @ right]
    if device.type == "cpu":
        kernel, columns = left.view(size, size, 1, 1), right.view(1, size, size, 1)
        ways.append(lambda: torch.nn.functional.conv2d(columns, kernel))
    return 2.0 * size**3 * products / min(_median(way, device, repeats, products) for way in ways)


def _median(way, device: torch.device, repeats: int, products: int) -> float:
    def work():
        for _ in range(products):
            way()

    work()
    return float(np.median([seconds(work, device) for _ in range(repeats)]))
