"""What a step cannot do without: its operations, and the bytes that it must hold and move. Counted, nothing
is timed."""

from dataclasses import dataclass

import sides

from esc_suite.run import check_paper, memory
from esc_utils import config

ADAMW_MOVES = 9  # numbers a parameter: weight, gradient and three states read, weight and states written


@dataclass(frozen=True)
class Floor:
    """Of one optimizer step in float32: operations (as check_paper.step_operations), bytes held at the peak
    (as memory.step_bytes), and bytes moved between memory and processor at the least: every activation that
    the backward pass needs written once and read once, and AdamW's pass over its numbers."""

    operations: float
    held: float
    moved: float


def floor(knobs: config.RunConfig, frames: int = check_paper.FRAMES, value_bytes: int = 4) -> Floor:
    """The floor of one step; frames: of a clip's log-mel; value_bytes: of an activation."""
    operations = check_paper.step_operations(knobs, check_paper.forward_operations(knobs.width, frames))
    held = memory.step_bytes(knobs, frames, value_bytes=value_bytes)
    optimizer = memory.step_bytes(knobs, frames, value_bytes=0)  # weights, gradients and states alone
    moved = 2 * (held - optimizer) + ADAMW_MOVES * 4 * optimizer / memory.OPTIMIZER_BYTES
    return Floor(operations, held, moved)


def report(widths) -> None:
    """The floor of the steps of (c) and (d), and of the paper's, at some widths."""
    print("The floor of one step in float32, clips of 5 s: counted, not timed")
    print(f"{'':44} {'GFLOP':>9} {'GB held':>9} {'GB moved':>9} {'FLOP a byte':>12}")
    for width in widths:
        for method, sizes in (
            ("supervised", {}),
            ("fixmatch", {}),
            ("fixmatch", {"fixmatch_batch_size": 16}),
        ):
            knobs = sides.knobs_of(method, width, **sizes)
            found = floor(knobs)
            name = f"supervised, width {width}, B = {knobs.batch_size}"
            if method == "fixmatch":
                name = f"FixMatch, width {width}, B = {knobs.fixmatch_batch_size}, mu = {knobs.mu}"
            print(
                f"{name:44} {found.operations / 1e9:9,.1f} {found.held / 1e9:9.2f} {found.moved / 1e9:9.2f} "
                f"{found.operations / found.moved:12.0f}"
            )
