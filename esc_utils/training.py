"""Training of one run: starts from its config, or goes on where it was cut off, and writes its record."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

from . import allocator, checkpoint, openmatch, provenance, runs
from .errors import UserError
from .evaluation import metrics, predict, scored
from .graphs import StepGraph, optimizer_too, usable
from .knobs import RunConfig
from .norms import clean_statistics
from .optim import rate_factor, rates_on, set_rate
from .progress import Progress
from .record import HISTORY, write_record
from .sampling import DROPOUT, LEAST_EPOCHS, START, Draw, clips_a_step, draw_epoch, moved, stream_seed
from .start import statistics_rows
from .state import State, restore, set_up, snapshot
from .steps import StepLoss, fixmatch_step, supervised_step
from .urbansound import open_dataset, split

# Largest share of a run's time that goes into checkpoints: all epochs of a narrow network, some of CNN14's
SAVING_SHARE = 0.1
LESS_MEMORY = "lower batch_size, fixmatch_batch_size or mu"
OUT_OF_MEMORY = ("out of memory", "allocate memory")  # words of PyTorch's messages


def run(config: RunConfig, quiet: bool = False, keep: Callable[[State], None] | None = None) -> runs.Run:
    """Train one run, or finish one that was cut off, and return its record; a finished record of the same
    config, code and data is returned as it is. `keep`: called with the trained network, before its record is
    written. UserError for whatever a user can mend, with nothing half-written."""
    dataset = open_dataset(config)
    folds = split(config, dataset)
    identity = provenance.identity(config, dataset.fingerprint)
    folder, state = runs.folder(config), None
    with runs.claim(folder):
        if runs.complete(folder) and runs.read_metrics(folder)["provenance"]["identity"] == identity:
            checkpoint.remove(folder)  # of a run that was killed just after its record was written
            return runs.read(folder)
        try:
            state = set_up(config, dataset, folds, folder, identity)
            return train(state, quiet, keep)
        except (RuntimeError, MemoryError) as error:  # PyTorch's allocators raise no class of their own
            known = isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
            if not known and not isinstance(error, torch.AcceleratorError):
                raise
            reason = str(error).strip().splitlines()[0]
            kept = f"the first {state.saved[0]} epochs are" if state and state.saved else "nothing is"
            raise UserError(
                f"the device ({config.device}) failed: {reason}. If it lacked memory, {LESS_MEMORY}; "
                f"{kept} kept, the same command goes on from there"
            ) from error
        finally:
            allocator.give_back()


def train(state: State, quiet: bool = False, keep: Callable[[State], None] | None = None) -> runs.Run:
    """All epochs that are left, then the record."""
    config, epochs = state.config, state.budget.epochs
    if kept := checkpoint.newest(state.folder, state.identity):
        restore(state, kept)
        state.saved = (state.epoch, time.monotonic(), 0.0)
    step = step_of(state)
    every = min(config.evaluate_every, max(1, epochs // LEAST_EPOCHS))
    with Progress(state.folder / "log.txt", epochs, state.epoch, quiet) as progress:
        progress.say(opening(state))
        if not state.history:  # the start, before any training
            state.history.append(history_row(state, {}) | validate(state))
        while state.epoch < epochs:
            began = time.monotonic()
            means = train_epoch(state, step)
            state.epoch += 1
            rate = clips_a_step(config) * means["steps"] / (time.monotonic() - began)
            row, last = history_row(state, means), state.epoch == epochs
            if last or state.epoch % every == 0:
                row |= validate(state)
                state.history.append(row)
            state.seconds += time.monotonic() - began
            progress.epoch(state.epoch, row, rate)
            if not last:
                save_in_time(state)
        record = finish(state, keep)
    checkpoint.remove(state.folder)
    return record


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


# ---- one epoch, one step, one update -------------------------------------------------------------
def train_epoch(state: State, step) -> dict:
    """One pass over the pool that the run draws from; returns the means over its steps. Nothing in it waits
    for the device before the last line."""
    config, folds, budget = state.config, state.folds, state.budget
    fixmatch = config.method == "fixmatch"
    pools = len(folds.labelled), len(folds.unlabelled)
    draws = draw_epoch(config, budget, state.epoch, *pools, state.clips.shape)
    rows = rows_of(state, folds.labelled, [draw.labelled for draw in draws])
    others = [None] * len(draws)
    if fixmatch:
        others = rows_of(state, folds.unlabelled, [draw.unlabelled for draw in draws])
    sums = torch.zeros(4, device=state.device)
    first = state.epoch * budget.per_epoch
    for number, draw in enumerate(moved(draws, state.device), start=first):
        # Dropout's own stream begins anew with every step, so that a step's labelled pass, which comes first,
        # drops the same whether unlabelled passes follow or not.
        torch.manual_seed(stream_seed(config, DROPOUT, number))
        factor = rate_factor(config.schedule, number, budget.steps, budget.period, config.warmup)
        set_rate(state.optimizer, factor)
        found = step(rows[number - first], others[number - first], draw)
        if (number + 1) % config.accumulate == 0 or number + 1 == budget.steps:
            if not optimizer_too(config, state.dtype):
                update(state)
            if state.average is not None:
                state.average.update(state.model, first=number < config.accumulate)
        sums += torch.stack([found.loss, found.supervised, found.unlabelled, found.mask_rate])
        if fixmatch:
            state.confidence[state.epoch, draw.unlabelled] = found.confidence
            state.pseudo_labels[state.epoch, draw.unlabelled] = found.pseudo_labels.to(torch.int8)
        if state.threshold is not None:
            state.threshold.weights[state.epoch, draw.unlabelled] = found.mask.float()
    return epoch_means(state, len(draws), sums)


def rows_of(state: State, pool: np.ndarray, positions: list[torch.Tensor]) -> torch.Tensor:
    """Rows of the store, (steps, clips), of the positions in a pool that each step draws; on its place."""
    return torch.from_numpy(pool[torch.stack(positions).numpy()]).to(state.clips.place)


def step_of(state: State):
    """`train_step` of this run; where a step can be captured, as a CUDA graph."""
    state.captured = usable(state.device, state.clips.place.type == "cuda")
    if not state.captured:
        return partial(train_step, state)
    if optimizer_too(state.config, state.dtype):
        rates_on(state.optimizer, state.device)
    return StepGraph(partial(train_step, state))


def train_step(state: State, rows: torch.Tensor, others: torch.Tensor | None, draw: Draw) -> StepLoss:
    """One batch: loss, gradients (accumulated in some runs [ledger 21]) and, where it can be captured, the
    update."""
    config = state.config
    with state.autocast():
        x, y = state.clips[rows], state.labels[draw.labelled]
        if config.method == "fixmatch":
            found = fixmatch_step(state.model, config, draw, x, y, state.clips[others], state.threshold)
        else:
            found = supervised_step(state.model, config, draw, x, y)
    state.scaler.scale(found.loss / config.accumulate).backward()
    if optimizer_too(config, state.dtype):
        update(state)
    return found._replace(loss=found.loss.detach())


def update(state: State) -> None:
    """The optimizer's step. A captured one adds to gradients where they lie, unless it ends with this."""
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=optimizer_too(state.config, state.dtype) or not state.captured)


def epoch_means(state: State, steps: int, sums: torch.Tensor) -> dict:
    """Means over the steps of an epoch; UserError where the loss is no number any more."""
    values = (sums / steps).tolist()  # the epoch's only wait for the device
    if not np.isfinite(values[0]):
        where = f"the loss is {values[0]} in epoch {state.epoch + 1}"
        raise UserError(f"{where}: lower learning_rate, or set precision: float32")
    means = dict(zip(("loss", "supervised_loss", "unlabelled_loss", "mask_rate"), values, strict=True))
    weighted = state.config.loss_scale * state.config.lambda_u * means["unlabelled_loss"]
    state.losses += steps * np.array([weighted, means["loss"]])
    return means | {"steps": steps, "unlabelled_share": weighted / means["loss"] if means["loss"] else 0.0}


# ---- evaluate, save, finish ----------------------------------------------------------------------
def history_row(state: State, means: dict) -> dict:
    """An epoch's line of the history, without validation."""
    row = dict.fromkeys(HISTORY) | {key: value for key, value in means.items() if key in HISTORY}
    row |= {"epoch": state.epoch, "step": min(state.epoch * state.budget.per_epoch, state.budget.steps)}
    row["learning_rate"] = float(state.optimizer.param_groups[0]["lr"]) if means else None
    if state.config.method != "fixmatch":
        row |= {"unlabelled_loss": None, "unlabelled_share": None, "mask_rate": None}
    return row


def validate(state: State) -> dict:
    """Loss, accuracy and AUC on the validation fold."""
    rows = state.folds.validation
    with scoring_statistics(state):
        prob = predict(state.trained, state.clips, rows, state.autocast)
    truth = state.dataset.clips["class_id"].to_numpy()[rows]
    found = metrics(truth, prob, state.dataset.classes)
    if state.best is None or found["accuracy"] > state.best["accuracy"]:
        state.best = found | {"epoch": state.epoch}
    loss = float(-np.log(np.maximum(prob[np.arange(len(rows)), truth], 1e-12)).mean())
    return {"valid_loss": loss, "valid_accuracy": found["accuracy"], "valid_auc": found["auc_weighted"]}


def scoring_statistics(state: State):
    """Around scoring: the batch-norm statistics that it uses [ledger 27]. What is not yet trained, a probe
    and every start, keeps those that its last layer was fitted to."""
    if state.config.norm_statistics == "trained" or not state.epoch:
        return nullcontext()
    # In random order: neighbours in the index are slices of one recording, and a batch of them would spread
    # too little.
    rng, rows = np.random.default_rng(stream_seed(state.config, START, 1)), state.folds.labelled
    order = rng.permutation(statistics_rows(rows))
    return clean_statistics(state.trained, (state.clips[batch] for batch in scored(state.clips, order)))


def save_in_time(state: State) -> None:
    """Write a checkpoint, unless the last took long and is recent: CNN14's is 1.3 GB, an epoch a second."""
    now = time.monotonic()
    if state.saved and (now - state.saved[1]) * SAVING_SHARE < state.saved[2]:
        return
    checkpoint.save(state.folder, snapshot(state))
    state.saved = (state.epoch, time.monotonic(), time.monotonic() - now)


def finish(state: State, keep: Callable[[State], None] | None = None) -> runs.Run:
    """Score the last network and write the record."""
    with scoring_statistics(state):
        score = partial(predict, state.trained, state.clips, forward=state.autocast)
        prob = {name: score(rows) for name, rows in state.folds.to_score.items()}
        heads = state.folds.to_score if state.config.open_set == "openmatch" else {}
        inlier = {f"{name}_inlier": score(rows, of=openmatch.score) for name, rows in heads.items()}
        if keep:
            keep(state)
    return write_record(state, prob, inlier)
