"""The paper's step on one device, a GPU above all: clips a second, share of the device's own matrix rate,
memory, hours.

Ways that are compared, one after the other, each alone on the device:
    ours                  bfloat16 autocast, channels_last, fused AdamW, log-mels from a store on the device
    ours, one CUDA graph  the same, a whole step launched at once; on CUDA only
    reference             reference.py: audio (already on the device) in, front end inside, float32,
                          contiguous, one forward
                          pass with gradients; as PyTorch comes (TF32 in cuDNN's convolutions only), and with
                          TF32 off
Operations are those that the method needs (check_paper.step_operations), whatever a way computes besides.
"""

import gc
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import sides
import timing
import torch
from torch.utils.flop_counter import FlopCounterMode

from esc_suite.run import check_paper
from esc_utils import config
from esc_utils.errors import UserError


@dataclass(frozen=True)
class Scale:
    """What is measured: the paper's step, unless a test makes it small. steps: optimizer steps (or batches
    scored) between two looks at the clock; matrix: side of the square product."""

    width: int = 64
    batch: int = 32
    fixmatch_batch: int = 16
    mu: int = 7
    clip_seconds: float = 5.0
    scored: int = 256
    dtype: torch.dtype = torch.bfloat16
    matrix: int = 8192
    products: int = 20
    steps: int = 10
    repeats: int = 5

    def knobs(self, method: str, **changes) -> config.RunConfig:
        """Knobs of one step."""
        sizes = {"batch_size": self.batch, "fixmatch_batch_size": self.fixmatch_batch, "mu": self.mu}
        return sides.knobs_of(method, self.width, clip_seconds=self.clip_seconds, **(sizes | changes))


@dataclass(frozen=True)
class Found:
    """Of one way: clips and operations of a step, its seconds (repeats,), bytes on the device at the peak
    (CUDA only)."""

    clips: int
    operations: float
    seconds: np.ndarray
    peak: float | None


def ways(scale: Scale, cuda: bool) -> dict:
    """Name -> (TF32 in convolutions, how a side is made from knobs and pool), of what a device can do."""

    def ours(side):
        return lambda knobs, pool: side(knobs, pool, scale.dtype)

    half = str(scale.dtype).removeprefix("torch.")
    replayed = {f"ours, {half}, one CUDA graph a step": (False, ours(sides.Replayed))}
    return {
        f"ours, {half}": (False, ours(sides.Ours)),
        **(replayed if cuda else {}),
        "reference, as PyTorch comes": (True, sides.Plain),
        "reference, TF32 off": (False, sides.Plain),
    }


def choose(name: str) -> torch.device:
    """The device of that name; UserError where it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: not a device, use cpu, cuda or cuda:<number>") from None
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        count = torch.cuda.device_count()
        raise UserError(
            f"--device {name}: not there ({count} CUDA devices, torch {torch.__version__}): nothing was "
            "measured"
        )
    return device


@contextmanager
def convolutions(tf32: bool, search: bool = False):
    """cuDNN's convolutions with or without TF32; search: it tries all of them once for every shape. As before
    afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark, cudnn.allow_tf32 = search, tf32
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before


def timed(work, device: torch.device, scale: Scale) -> tuple[np.ndarray, float | None]:
    """Seconds of one of work's steps, (repeats,), and the peak of the device's memory; work(n) takes n steps.

    Two turns go before: convolutions are chosen and steps recorded there."""
    cuda = device.type == "cuda"
    work(scale.steps), work(scale.steps)
    timing.wait(device)
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    took = [timing.seconds(lambda: work(scale.steps), device) / scale.steps for _ in range(scale.repeats)]
    return np.array(took), float(torch.cuda.max_memory_allocated(device)) if cuda else None


def alone(make, knobs: config.RunConfig, clips: int, device: torch.device) -> sides.Side:
    """One side on a device, with the clips in the form that it takes and no other."""
    audio = make is sides.Plain
    return make(knobs, sides.Pool(knobs, clips, device, of="audio" if audio else "levels"))


def forward_operations(knobs: config.RunConfig, shape: tuple[int, int]) -> int:
    """Operations of one forward pass of the knobs' network on one log-mel (frames, mels), counted by
    PyTorch."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        sides.network(knobs).eval()(torch.empty(1, 1, *shape))
    return counter.get_total_flops()


def training(make, method: str, device: torch.device, scale: Scale, **changes) -> Found:
    """Optimizer steps of one way, from what is stored to updated weights; changes: other knobs."""
    knobs = scale.knobs(method, **changes)
    side = alone(make, knobs, 2 * sides.loaded(knobs), device)
    seconds, peak = timed(side.train, device, scale)
    operations = check_paper.step_operations(knobs, forward_operations(knobs, side.pool.shape))
    return Found(sides.loaded(knobs), operations, seconds, peak)


def scoring(make, device: torch.device, scale: Scale, **changes) -> Found:
    """Logits of unaugmented clips, `scored` at a time."""
    knobs = scale.knobs("supervised", **changes)
    side = alone(make, knobs, scale.scored, device)
    rows = torch.arange(scale.scored, device=device)

    def work(batches: int) -> None:
        for _ in range(batches):
            side.score(rows)

    seconds, peak = timed(work, device, scale)
    operations = scale.scored * forward_operations(knobs, side.pool.shape)
    return Found(scale.scored, operations, seconds, peak)


def attempt(work) -> Found | str:
    """What work() found, or in one line why it could not: out of memory, above all."""
    try:
        return work()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        lines = str(error).strip().splitlines()
        return f"not measured ({type(error).__name__}: {lines[0] if lines else ''})"
    finally:
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()


def hours(rows: list[check_paper.Row], step: dict[str, Found], scored: Found) -> dict[str, float]:
    """Hours of a plan (check_paper.whole_plan) at measured rates: {"supervised", "fixmatch", "scoring"}.

    step: method -> its measured step; other batches of the plan count by their operations. Scoring is every
    clip that is scored without training on it."""
    forward = check_paper.forward_operations()
    found = dict.fromkeys((*step, "scoring"), 0.0)
    for row in rows:
        knobs = config.for_run("paper", row.experiment)
        operations = row.steps * check_paper.step_operations(knobs, forward)
        # A control's step is a supervised one, a probe has none
        kind = "fixmatch" if knobs.method == "fixmatch" else "supervised"
        found[kind] += operations * np.median(step[kind].seconds) / step[kind].operations
        clips = (row.operations - operations) / forward
        found["scoring"] += clips * np.median(scored.seconds) / scored.clips
    return {name: float(seconds) / 3600 for name, seconds in found.items()}


def measure(device: torch.device, scale: Scale) -> dict[str, dict[str, Found | str]]:
    """Print everything; {way: {"supervised", "fixmatch", "scoring": Found or why not}}."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    print(f"{name}, torch {torch.__version__}, CUDA {torch.version.cuda if cuda else 'not used'}")
    if cuda and torch.cuda.get_device_capability(device)[0] < 8:
        print("This card has no bfloat16 of its own: its figures below say little.")
    rate = timing.matrix_rate(device, scale.dtype, scale.matrix, scale.repeats, scale.products)
    half = str(scale.dtype).removeprefix("torch.")
    print(
        f"{rate / 1e12:.3g} TFLOP/s: its own {half} matrix rate, {scale.matrix} square, median of "
        f"{scale.repeats}\n"
    )
    kinds = (
        ("fixmatch", f"FixMatch step, B = {scale.fixmatch_batch}, mu = {scale.mu}"),
        ("supervised", f"supervised step, B = {scale.batch}"),
        ("scoring", f"inference, {scale.scored} at a time"),
    )
    chosen = ways(scale, cuda)
    results: dict[str, dict] = {way: {} for way in chosen}
    for kind, title in kinds:
        print(f"{title}, width {scale.width}: clips/s [quartiles], share of that rate, GB at the peak")
        for way, (tf32, make) in chosen.items():
            with convolutions(tf32):
                found = attempt(
                    lambda make=make, kind=kind: (
                        scoring(make, device, scale)
                        if kind == "scoring"
                        else training(make, kind, device, scale)
                    )
                )
            results[way][kind] = found
            print(f"    {way:32} {_words(found, rate)}", flush=True)
    print("\nHours of the whole profile `paper` on this device, from these rates (arithmetic, not run)")
    rows = check_paper.whole_plan()
    for way, found in results.items():
        if any(isinstance(one, str) for one in found.values()):
            print(f"    {way:32} not known: a rate is missing")
            continue
        of = hours(rows, {kind: found[kind] for kind in ("supervised", "fixmatch")}, found["scoring"])
        parts = ", ".join(f"{kind} {value:.2f}" for kind, value in of.items())
        print(f"    {way:32} {sum(of.values()):8.2f}  ({parts})")
    return results


def _words(found: Found | str, rate: float) -> str:
    if isinstance(found, str):
        return found
    share = found.operations / float(np.median(found.seconds)) / rate
    memory = "" if found.peak is None else f"  {found.peak / 1e9:6.2f} GB"
    return f"{timing.spread(found.clips / found.seconds):32} {share:6.1%}{memory}"
