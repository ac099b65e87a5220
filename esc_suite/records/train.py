"""One run from its config to its record: trained by esc_utils, reported and kept as it goes."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from esc_suite.records import checkpoint, provenance, record, runs
from esc_suite.records.progress import Progress
from esc_utils import allocator, training
from esc_utils.errors import UserError
from esc_utils.knobs import RunConfig
from esc_utils.state import State, restore, set_up, snapshot
from esc_utils.urbansound import open_dataset, split

# Largest share of a run's time that goes into checkpoints: all epochs of a narrow network, some of CNN14's
SAVING_SHARE = 0.1
LESS_MEMORY = "lower batch_size, fixmatch_batch_size or mu"
OUT_OF_MEMORY = ("out of memory", "allocate memory")  # words of PyTorch's messages


class Saver:
    """Checkpoints of one run: `epochs`, how many the newest holds."""

    def __init__(self, folder: Path, identity: str):
        self.folder, self.identity, self.epochs = folder, identity, 0
        self.ended, self.took = -float("inf"), 0.0  # the newest: when, in how many seconds

    def restore(self, state: State) -> None:
        """Put the newest checkpoint of this run, if there is one, into a run that was set up anew."""
        if kept := checkpoint.newest(self.folder, self.identity):
            restore(state, kept)
            self.epochs, self.ended = state.epoch, time.monotonic()

    def save_in_time(self, state: State) -> None:
        """Write one, unless the last took long and is recent: CNN14's is 1.3 GB, an epoch a second."""
        now = time.monotonic()
        if (now - self.ended) * SAVING_SHARE < self.took:
            return
        checkpoint.save(self.folder, {"identity": self.identity} | snapshot(state))
        self.epochs, self.ended, self.took = state.epoch, time.monotonic(), time.monotonic() - now


def run(config: RunConfig, quiet: bool = False, keep: Callable[[State, str], None] | None = None) -> runs.Run:
    """Train one run, or finish one that was cut off, and return its record; a finished record of the same
    config, code and data is returned as it is. `keep`: called with the trained network and the identity of
    its record, before that is written. UserError for whatever a user can mend, with nothing half-written."""
    dataset = open_dataset(config)
    folds = split(config, dataset)
    identity = provenance.identity(config, dataset.fingerprint)
    folder = runs.folder(config)
    saver = Saver(folder, identity)
    with runs.claim(folder):
        if runs.complete(folder) and runs.read_metrics(folder)["provenance"]["identity"] == identity:
            checkpoint.remove(folder)  # of a run that was killed just after its record was written
            return runs.read(folder)
        try:
            state = set_up(config, dataset, folds)
            saver.restore(state)
            train(state, saver, quiet)
            with training.scoring_statistics(state):
                scores = training.scores(state)
                if keep:
                    keep(state, identity)
            found = record.write_record(folder, identity, state, scores)
            checkpoint.remove(folder)
            return found
        except (RuntimeError, MemoryError) as error:  # PyTorch's allocators raise no class of their own
            known = isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
            if not known and not isinstance(error, torch.AcceleratorError):
                raise
            reason = str(error).strip().splitlines()[0]
            kept = f"the first {saver.epochs} epochs are" if saver.epochs else "nothing is"
            raise UserError(
                f"the device ({config.device}) failed: {reason}. If it lacked memory, {LESS_MEMORY}; "
                f"{kept} kept, the same command goes on from there"
            ) from error
        finally:
            allocator.give_back()


def train(state: State, saver: Saver, quiet: bool) -> None:
    """`training.train`, reported in log.txt and to whoever watches, with checkpoints."""
    epochs = state.budget.epochs
    with Progress(saver.folder / "log.txt", epochs, state.epoch, quiet) as progress:
        progress.say(opening(state))

        def after_epoch(row: dict, rate: float) -> None:
            progress.epoch(state.epoch, row, rate)
            if state.epoch < epochs:
                saver.save_in_time(state)

        training.train(state, after_epoch)


def opening(state: State) -> str:
    """First line of the log."""
    folds, budget = state.folds, state.budget
    pools = ((folds.labelled, "labelled"), (folds.validation, "validation"), (folds.unlabelled, "unlabelled"))
    clips = ", ".join(f"{len(rows)} {name}" for rows, name in pools)
    start = f", resumed after epoch {state.epoch}" if state.epoch else ""
    return (
        f"{state.config.experiment}: {clips} clips; {budget.steps} steps in {budget.epochs} epochs on "
        f"{state.device}{start}"
    )
