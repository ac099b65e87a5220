"""Training of one run, top to bottom: epochs, steps, validation. No file of results is read or written here:
esc_suite/records does that, after each epoch and at the end."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch

from .beyond import openmatch
from .errors import UserError
from .evaluation import metrics, predict, scored
from .graphs import StepGraph, optimizer_too, usable
from .norms import clean_statistics
from .optim import rate_factor, rates_on, set_rate
from .sampling import DROPOUT, LEAST_EPOCHS, START, Draw, clips_a_step, draw_epoch, moved, stream_seed
from .start import statistics_rows
from .state import State
from .steps import StepLoss, fixmatch_step, supervised_step

HISTORY = (
    "epoch", "step", "learning_rate", "loss", "supervised_loss", "unlabelled_loss", "unlabelled_share",
    "mask_rate",
    "pseudo_accuracy", "valid_loss", "valid_accuracy", "valid_auc",
)  # fmt: skip


def train(state: State, after_epoch: Callable[[dict, float], None] = lambda row, rate: None) -> None:
    """All epochs that are left of a run (`state.set_up`), in place. after_epoch: called with the epoch's line
    of the history and its clips a second."""
    config, epochs = state.config, state.budget.epochs
    step = step_of(state)
    every = min(config.evaluate_every, max(1, epochs // LEAST_EPOCHS))
    if not state.history:  # the start, before any training
        state.history.append(history_row(state, {}) | validate(state))
    while state.epoch < epochs:
        began = time.monotonic()
        means = train_epoch(state, step)
        state.epoch += 1
        rate = clips_a_step(config) * means["steps"] / (time.monotonic() - began)
        row = history_row(state, means)
        if state.epoch == epochs or state.epoch % every == 0:
            row |= validate(state)
            state.history.append(row)
        state.seconds += time.monotonic() - began
        after_epoch(row, rate)


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


# ---- evaluate ------------------------------------------------------------------------------------
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


def scores(state: State) -> dict[str, np.ndarray]:
    """Of the network as it is now, within `scoring_statistics`, for each pool of `Split.to_score`:
    `<pool>_prob`, softmax scores (clips, classes), and with OpenMatch `<pool>_inlier` (clips,)."""
    score, found = partial(predict, state.trained, state.clips, forward=state.autocast), {}
    for name, rows in state.folds.to_score.items():
        found[f"{name}_prob"] = score(rows)
        if state.config.open_set == "openmatch":
            found[f"{name}_inlier"] = score(rows, of=openmatch.score)
    return found
