"""The paper's scale, on any machine: the plan of the whole `paper` profile, and one real optimizer step of
it.

python -m esc_suite check-paper [--plan-only] [--teraflops 20 100]

The step is FixMatch's at full width: CNN14 of 64 channels from random start, random log-mels of 5 s, the
labelled and unlabelled batch of the profile, mixup, AdamW. It needs no dataset and no weights.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass

from esc_suite.run import memory, needed_runs
from esc_suite.run.together import exit_with
from esc_utils import config
from esc_utils.errors import UserError
from esc_utils.sampling import Budget, budget, draw_epoch, labelled_batch, unlabelled_batch
from esc_utils.urbansound import CLASSES, CLIPS, FOLD_SIZES, FOLDS

EXPERIMENT = "fixmatch_tau075"
FRAMES, MELS = 501, 64  # of a clip of 5 s
GB = 1e9
# What the paper's step must fit: a card, and the memory of a machine without one
CARD_GB, MACHINE_GB = (16, 24)
RESERVE = 1.25  # workspace of the convolutions, fragmentation
REMEDY = "lower fixmatch_batch_size or mu in params/profiles/paper.yaml"


@dataclass(frozen=True)
class Row:
    """All runs of one experiment: how many, their optimizer steps in all, and their operations."""

    experiment: str
    runs: int
    steps: int
    operations: float


def forward_operations(width: int = 64, frames: int = FRAMES) -> int:
    """Floating-point operations of one forward pass of Cnn14 on one clip, counted by PyTorch."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from esc_utils.model import Cnn14

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        Cnn14(len(CLASSES), width=width).eval()(torch.empty(1, 1, frames, MELS))
    return counter.get_total_flops()


def step_operations(knobs: config.RunConfig, forward: int) -> int:
    """Operations of one step: three forward passes' worth for what is differentiated, one for
    pseudo-labels."""
    pseudo = unlabelled_batch(knobs) if knobs.method == "fixmatch" and knobs.forward == "separate" else 0
    return (3 * memory.gradient_clips(knobs) + pseudo) * forward


def pools(knobs: config.RunConfig) -> tuple[int, int]:
    """Labelled and unlabelled clips of a run on the whole of UrbanSound8K."""
    rest, own = CLIPS - FOLD_SIZES[knobs.validation_fold], FOLD_SIZES[knobs.train_fold]
    return (rest, 0) if knobs.labelled == "all_but_one" else (own, rest - own)


def validated_clips(knobs: config.RunConfig, steps: int) -> int:
    """Clips that a run scores without training on them: validation while it trains, and all pools at the
    end."""
    held_out, (labelled, unlabelled) = FOLD_SIZES[knobs.validation_fold], pools(knobs)
    epochs = budget(knobs, labelled, unlabelled).epochs
    return held_out * (epochs // knobs.evaluate_every + 1) + unlabelled


def whole_plan(profile: str = "paper") -> list[Row]:
    """Every run of Tables 2 to 5, each once, in the order of the tables."""
    forward = forward_operations()
    seeds = config.for_run(profile, "").seeds
    jobs = dict.fromkeys(
        job
        for _, table in sorted(needed_runs.tables().items())
        for job in needed_runs.jobs(table, list(FOLDS), seeds)
    )
    runs, steps, operations = Counter(), Counter(), Counter()
    for job in jobs:
        knobs = config.for_run(profile, job.experiment, train_fold=job.fold, seed=job.seed)
        count = budget(knobs, *pools(knobs)).steps
        runs[job.experiment] += 1
        steps[job.experiment] += count
        operations[job.experiment] += count * step_operations(knobs, forward)
        operations[job.experiment] += validated_clips(knobs, count) * forward
    return [Row(name, runs[name], steps[name], operations[name]) for name in runs]


def measure_step(knobs: config.RunConfig) -> dict:
    """Take one optimizer step with random log-mels; returns seconds, loss, peak memory of the process in
    bytes, and clips. ValueError where a gradient is missing or not finite."""
    import torch

    from esc_utils.fast import lay_out
    from esc_utils.model import Cnn14
    from esc_utils.optim import optimizer
    from esc_utils.steps import fixmatch_step

    torch.manual_seed(0)
    cpu = torch.device("cpu")
    model = lay_out(Cnn14(len(CLASSES), width=knobs.width), cpu).train()
    chosen = optimizer(
        knobs, [{"params": [p for p in model.parameters() if p.requires_grad], "lr": knobs.learning_rate}]
    )
    own, others = labelled_batch(knobs), unlabelled_batch(knobs)
    draw = draw_epoch(knobs, Budget(1, 1, 1.0), 0, own, others, (FRAMES, MELS))[0]
    x, u = (torch.randn(count, 1, FRAMES, MELS) * 15 - 40 for count in (own, others))
    labels = torch.arange(own) % len(CLASSES)
    began = time.monotonic()
    found = fixmatch_step(model, knobs, draw, x, labels, u)
    found.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not torch.isfinite(parameter.grad).all():
            raise ValueError(f"{name} has no finite gradient")
    chosen.step()
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"seconds": seconds, "loss": found.loss.item(), "peak": peak, "clips": own + others}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m esc_suite check-paper", description=__doc__)
    parser.add_argument("--plan-only", action="store_true", help="leave out the step (minutes on a CPU)")
    parser.add_argument(
        "--teraflops",
        type=float,
        nargs="+",
        default=[20.0, 100.0, 300.0],
        help="rates assumed of the GPU, in 10^12 a second",
    )
    options = parser.parse_args()
    with exit_with():
        report(options)


def report(options) -> None:
    rows = whole_plan()
    seeds = len(config.for_run("paper", "").seeds)
    print(f"Plan of the whole profile `paper`, Tables 2 to 5, each run once, seeds: {seeds}\n")
    print(f"{'experiment':28} {'runs':>5} {'steps':>9} {'PFLOP':>9}")
    for row in rows:
        print(f"{row.experiment:28} {row.runs:5} {row.steps:9,} {row.operations / 1e15:9,.0f}")
    runs, steps, operations = (
        sum(getattr(row, key) for row in rows) for key in ("runs", "steps", "operations")
    )
    print(f"{'in all':28} {runs:5} {steps:9,} {operations / 1e15:9,.0f}\n")
    print("GPU hours, if it keeps up (assumed rates: nothing was measured on a GPU):")
    for rate in options.teraflops:
        print(f"  {operations / (rate * 1e12) / 3600:6.1f} at {rate:g} TFLOP/s")
    knobs = config.for_run("paper", EXPERIMENT)
    store = CLIPS * FRAMES * MELS * 2 / GB
    need = {bits: memory.step_bytes(knobs, FRAMES, value_bytes=bits // 8) / GB for bits in (16, 32)}
    enough = "enough" if RESERVE * need[16] + store < CARD_GB else f"too little: {REMEDY}"
    print(
        f"Memory of a FixMatch step: {need[16]:.1f} GB in 16 bits, {need[32]:.1f} GB in float32; and "
        f"{store:.2f} GB of "
        f"log-mels. In 16 bits a card of {CARD_GB} GB is {enough}."
    )
    weights = sum(p.numel() for p in _parameters()) * 4 / GB
    print(
        f"Disk: {store:.2f} GB feature store, {2 * 4 * weights:.1f} GB of checkpoints while a run lasts, "
        "some MB a record."
    )
    if options.plan_only:
        return
    print("\nOne step of full width on this CPU ...", flush=True)
    found = measure_step(knobs)
    print(
        f"{found['clips']} clips in {found['seconds']:.0f} s ({found['clips'] / found['seconds']:.2f} "
        "clips/s), loss "
        f"{found['loss']:.3f}, every gradient finite, peak memory {found['peak'] / GB:.1f} GB"
    )
    if found["peak"] > MACHINE_GB * GB:
        raise UserError(f"the step took more than {MACHINE_GB} GB: {REMEDY}")


def _parameters():
    import torch

    from esc_utils.model import Cnn14

    with torch.device("meta"):
        return list(Cnn14(len(CLASSES)).parameters())


if __name__ == "__main__":
    main()
