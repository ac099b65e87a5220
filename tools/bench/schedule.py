"""Threads a run and runs at once: python tools/bench/schedule.py [--cores 2] [--seconds 3] [--repeats 5]

For every split of the cores (runs at once x threads each) the FixMatch steps a second that the whole machine
makes, at the scale of the profile `quick`. One worker process a run; the splits take turns; medians. It
changes no default: profiles name their threads (params/profiles), and workflow/drive.py starts as many runs
as cores allow.
"""

import argparse
import multiprocessing
import os
import time

import numpy as np

from esc_suite.run.together import exit_with
from esc_utils import config
from esc_utils.errors import UserError


def real_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def splits(cores: int) -> list[tuple[int, int]]:
    """(runs at once, threads each) whose product is `cores`."""
    return [(runs, cores // runs) for runs in range(1, cores + 1) if cores % runs == 0]


def worker(pipe, changes: dict) -> None:
    """Train one network for as long as it is told: takes (threads, seconds), answers steps a second; None
    ends it."""
    import sides
    import torch

    knobs = config.for_run("quick", sides.EXPERIMENTS["fixmatch"], **changes)
    torch.set_num_threads(1)
    side = sides.Ours(knobs, sides.Pool(knobs, 64))
    side.train()
    pipe.send(None)  # ready
    while (order := pipe.recv()) is not None:
        threads, seconds = order
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
            side.train()
        steps, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds or not steps:
            side.train()
            steps += 1
        pipe.send(steps / spent)


def measure(cores: int, seconds: float, repeats: int, **changes) -> dict[tuple[int, int], np.ndarray]:
    """Steps a second of the whole machine, (repeats,), for each split; UserError for more cores than there
    are."""
    if not 1 <= cores <= real_cores():
        raise UserError(
            f"--cores {cores}: this machine gives {real_cores()}, and only real cores are measured"
        )
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    try:
        for _ in range(cores):
            pipe, end = context.Pipe()
            process = context.Process(target=worker, args=(end, changes), daemon=True)
            process.start()
            end.close()
            pipes.append(pipe)
            processes.append(process)
        for pipe in pipes:
            pipe.recv()
        found = {split: [] for split in splits(cores)}
        for _ in range(repeats + 1):  # the first turn of each warms up
            for runs, threads in found:
                for pipe in pipes[:runs]:
                    pipe.send((threads, seconds))
                found[runs, threads].append(sum(pipe.recv() for pipe in pipes[:runs]))
        for pipe in pipes:
            pipe.send(None)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.terminate()
    return {split: np.array(rates[1:]) for split, rates in found.items()}


def report(found: dict[tuple[int, int], np.ndarray]) -> tuple[int, int]:
    """Print the table; the best split."""
    best = max(found, key=lambda split: np.median(found[split]))
    print(f"{'runs at once x threads each':30} {'steps/s, whole machine':>24}   {'a run':>7}")
    for (runs, threads), rates in found.items():
        low, middle, high = np.percentile(rates, [25, 50, 75])
        mark = "  best" if (runs, threads) == best else f"  {middle / np.median(found[best]):.0%} of it"
        words = f"{middle:.2f} [{low:.2f}, {high:.2f}]"
        print(f"{f'{runs} x {threads}':30} {words:>24}   {middle / runs:7.2f}{mark}")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, default=real_cores())
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with exit_with():
        report(measure(options.cores, options.seconds, options.repeats))


if __name__ == "__main__":
    main()
