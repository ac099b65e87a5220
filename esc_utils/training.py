"""The supervised and the FixMatch loop: trains one run from its config, resumes where it was cut off, writes its record."""

import os
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from . import allocator, checkpoint, provenance, runs
from .config import RunConfig, digest
from .device import choose_device, choose_precision, device_name, prepare
from .errors import UserError
from .evaluation import metrics, predict, scored
from .fast import lay_out
from .features import Clips, open_store
from .graphs import StepGraph, optimizer_too, usable
from .norms import clean_statistics, keeps_stored
from .optim import Average, optimizer, rate_factor, rates_on, set_rate
from .progress import Progress
from .record import HISTORY, write_record
from .sampling import DROPOUT, START, Budget, Draw, budget, draw_epoch, labelled_batch, moved, stream_seed, unlabelled_batch
from .start import build_model, parameter_groups, prepare_start, some
from .steps import StepLoss, fixmatch_step, supervised_step
from .urbansound import Dataset, Split, open_dataset, split

LEAST_VALIDATIONS = 4  # of a run, where it has as many epochs, whatever `evaluate_every`
SAVING_SHARE = 0.1  # of the time, at most, goes into checkpoints: all epochs of a narrow network, some of CNN14's
REMEDY = "lower batch_size, fixmatch_batch_size or mu"


def run(config: RunConfig, quiet: bool = False) -> runs.Run:
    """Train one run, or finish one that was cut off, and return its record; a finished record of the same config, code and
    data is returned as it is. UserError for whatever a user can mend, with nothing half-written."""
    dataset = open_dataset(config)
    folds = split(config, dataset)
    identity = digest([config.hash, provenance.code_hash(), dataset.fingerprint, provenance.weights_digest(config)])
    folder = runs.folder(config)
    with runs.claim(folder):
        if runs.complete(folder) and runs.read_metrics(folder)["provenance"]["identity"] == identity:
            checkpoint.remove(folder)  # of a run that was killed just after its record was written
            return runs.read(folder)
        try:
            return _trained(config, dataset, folds, folder, identity, quiet)
        finally:
            allocator.give_back()


def _trained(config: RunConfig, *rest) -> runs.Run:
    """The record of a run; UserError with what to lower where a device runs out of memory or is lost."""
    trainer = None
    try:
        trainer = _Trainer(config, *rest)
        return trainer.train()
    except RuntimeError as error:  # the CPU's allocator and a lost device raise no class of their own
        known = isinstance(error, torch.AcceleratorError) or "allocate memory" in str(error)
        if not known and "out of memory" not in str(error):
            raise
        reason = str(error).strip().splitlines()[0]
        kept = f"the first {trainer.saved[0]} epochs are kept" if trainer and trainer.saved else "nothing is kept yet"
        raise UserError(
            f"{config.device} failed ({reason}): if for memory, {REMEDY}; {kept}, the same command goes on from there"
        ) from error


class _Trainer:
    """State of one run. Training sees labels of `split.labelled` only; those of the unlabelled folds are read once, after
    the last step, to write the audit."""

    def __init__(self, config: RunConfig, dataset: Dataset, folds: Split, folder: Path, identity: str, quiet: bool):
        self.config, self.dataset, self.folds, self.folder = config, dataset, folds, folder
        self.identity, self.quiet = identity, quiet
        self.device = choose_device(config.device)
        self.dtype = choose_precision(config.precision, self.device)
        prepare(self.device, config.threads or os.cpu_count() or 1)
        self.clips = Clips(open_store(config, dataset), self.device)
        self.labels = torch.from_numpy(dataset.clips["class_id"].to_numpy()[folds.labelled]).to(self.device)
        self.plan: Budget = budget(config, len(folds.labelled), len(folds.unlabelled), len(folds.labelled_folds))
        self.model = lay_out(build_model(config), self.device).train()
        prepare_start(self.model, config, self.clips, folds.labelled, self.labels)
        self.step = self._step
        self.graphs = usable(self.device, self.clips.place.type == "cuda")
        self.whole = optimizer_too(config)  # whether a step updates the weights, too
        self.optimizer = optimizer(config, parameter_groups(self.model, config))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.average = Average(self.model, config.ema) if config.ema else None
        self.epoch, self.seconds, self.history, self.best = 0, 0.0, [], None
        self.saved: tuple[int, float, float] | None = None  # last checkpoint: epoch, when, seconds it took
        self.losses = np.zeros(2)  # over all steps so far: lambda_u L_u, and the whole loss
        rounds = self.plan.epochs if config.method == "fixmatch" else 0
        self.confidence = torch.full((rounds, len(folds.unlabelled)), float("nan"))
        self.pseudo = torch.full((rounds, len(folds.unlabelled)), -1, dtype=torch.int8)

    def _forward(self):
        """Around what a step, or a batch that is scored, computes forward."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    # ---- the loop -------------------------------------------------------------------------------------------------
    def train(self) -> runs.Run:
        self._resume()
        if self.graphs:
            self.step = StepGraph(self._step)
            if self.whole:
                rates_on(self.optimizer, self.device)
        progress = Progress(self.folder / "log.txt", self.plan.epochs, self.epoch, self.quiet)
        try:
            progress.say(self._opening())
            if not self.history:  # the start, before any training
                self.history.append(self._row({}, evaluate=True))
            while self.epoch < self.plan.epochs:
                began = time.monotonic()
                means = self._one_epoch()
                self.epoch += 1
                last = self.epoch == self.plan.epochs
                spent = time.monotonic() - began
                every = min(self.config.evaluate_every, max(1, self.plan.epochs // LEAST_VALIDATIONS))
                row = self._row(means, evaluate=last or self.epoch % every == 0)
                self.seconds += time.monotonic() - began
                progress.epoch(self.epoch, row, self._clips_a_step() * means["steps"] / spent)
                if row["valid_accuracy"] is not None:
                    self.history.append(row)
                if not last:
                    self._save_in_time()
            record = self._record()
        finally:
            progress.close()
        checkpoint.remove(self.folder)
        return record

    def _opening(self) -> str:
        folds, plan = self.folds, self.plan
        pools = (
            f"{len(folds.labelled)} labelled, {len(folds.validation)} validation, {len(folds.unlabelled)} unlabelled clips"
        )
        start = f", resumed after epoch {self.epoch}" if self.epoch else ""
        return f"{self.config.experiment}: {pools}; {plan.steps} steps in {plan.epochs} epochs on {self.device}{start}"

    def _clips_a_step(self) -> int:
        if not self.plan.steps:
            return 0
        extra = unlabelled_batch(self.config) if self.config.method == "fixmatch" else 0
        return labelled_batch(self.config) + extra

    def _one_epoch(self) -> dict:
        config, folds, plan = self.config, self.folds, self.plan
        draws = draw_epoch(config, plan, self.epoch, len(folds.labelled), len(folds.unlabelled), self.clips.shape)
        rows = self._rows(folds.labelled, [draw.labelled for draw in draws])
        sums = torch.zeros(4, device=self.device)
        others = [None] * len(draws)
        if config.method == "fixmatch":
            others = self._rows(folds.unlabelled, [draw.unlabelled for draw in draws])
            confidence = torch.full((len(folds.unlabelled),), float("nan"), device=self.device)
            pseudo = torch.full((len(folds.unlabelled),), -1, dtype=torch.int8, device=self.device)
        first = self.epoch * plan.per_epoch
        for step, draw in enumerate(moved(draws, self.device)):  # no step of the epoch waits for the device
            number = first + step
            # Dropout's own stream begins anew with every step, so that a step's labelled pass, which comes first, drops the
            # same whether unlabelled passes follow or not.
            torch.manual_seed(stream_seed(config, DROPOUT, number))
            set_rate(self.optimizer, rate_factor(config.schedule, number, plan.steps, plan.period, config.warmup))
            found = self.step(rows[step], others[step], draw)
            due = (number + 1) % config.accumulate == 0 or number + 1 == plan.steps
            if due and not self.whole:
                self._optimize()
            if due and self.average is not None:
                self.average.update(self.model, first=number < config.accumulate)
            sums += torch.stack([found.loss, found.supervised, found.unlabelled, found.mask_rate])
            if config.method == "fixmatch":
                confidence[draw.unlabelled] = found.confidence
                pseudo[draw.unlabelled] = found.pseudo_labels.to(torch.int8)
        if config.method == "fixmatch":
            self.confidence[self.epoch], self.pseudo[self.epoch] = confidence.cpu(), pseudo.cpu()
        values = (sums / len(draws)).tolist()  # the epoch's only wait for the device
        if not np.isfinite(values[0]):
            raise UserError(f"the loss is {values[0]} in epoch {self.epoch + 1}: lower learning_rate, or precision: float32")
        means = dict(zip(("loss", "supervised_loss", "unlabelled_loss", "mask_rate"), values, strict=True))
        weighted = config.loss_scale * config.lambda_u * means["unlabelled_loss"]
        self.losses += len(draws) * np.array([weighted, means["loss"]])
        return means | {"steps": len(draws), "unlabelled_share": weighted / means["loss"] if means["loss"] else 0.0}

    def _rows(self, pool: np.ndarray, positions: list[torch.Tensor]) -> torch.Tensor:
        """Rows of the store, (steps, clips), of the positions in a pool that each step draws; there where the store is."""
        return torch.from_numpy(pool[torch.stack(positions).numpy()]).to(self.clips.place)

    def _step(self, rows: torch.Tensor, others: torch.Tensor | None, draw: Draw) -> StepLoss:
        """One batch: loss, gradients (accumulated in some runs [ledger 21]) and, where it can, the optimizer's step."""
        config = self.config
        with self._forward():
            x, y = self.clips[rows], self.labels[draw.labelled]
            if config.method == "fixmatch":
                found = fixmatch_step(self.model, config, draw, x, y, self.clips[others])
            else:
                found = supervised_step(self.model, config, draw, x, y)
        self.scaler.scale(found.loss / config.accumulate).backward()
        if self.whole:
            self._optimize()
        return found._replace(loss=found.loss.detach())

    def _optimize(self) -> None:
        if self.config.clip_gradients:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_gradients)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=self.whole or not self.graphs)  # a record adds to gradients where they lie

    # ---- evaluation and state -------------------------------------------------------------------------------------
    def _evaluated(self) -> torch.nn.Module:
        return self.model if self.average is None else self.average.module

    def _scoring(self):
        """Around scoring: the batch-norm statistics that it uses [ledger 27]. What is not yet trained, a probe and every
        start, keeps those that its last layer was fitted to."""
        if self.config.norm_statistics == "trained" or keeps_stored(self.config) or not self.epoch:
            return nullcontext()
        # In random order: neighbours in the index are slices of one recording, and a batch of them would spread too little.
        rows = np.random.default_rng(stream_seed(self.config, START, 1)).permutation(some(self.folds.labelled))
        return clean_statistics(self._evaluated(), (self.clips[batch] for batch in scored(self.clips, rows)))

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        return predict(self._evaluated(), self.clips, rows, self._forward)

    def _row(self, means: dict, evaluate: bool) -> dict:
        fixmatch = self.config.method == "fixmatch"
        row = dict.fromkeys(HISTORY) | {k: v for k, v in means.items() if k in HISTORY}
        row |= {"epoch": self.epoch, "step": min(self.epoch * self.plan.per_epoch, self.plan.steps)}
        row["learning_rate"] = float(self.optimizer.param_groups[-1]["lr"]) if means else None
        if not fixmatch:
            row |= {"unlabelled_loss": None, "unlabelled_share": None, "mask_rate": None}
        if evaluate:
            rows = self.folds.validation
            with self._scoring():
                prob = self._predict(rows)
            truth = self.dataset.clips["class_id"].to_numpy()[rows]
            found = metrics(truth, prob)
            row["valid_loss"] = float(-np.log(np.maximum(prob[np.arange(len(rows)), truth], 1e-12)).mean())
            row |= {"valid_accuracy": found["accuracy"], "valid_auc": found["auc_weighted"]}
            if self.best is None or found["accuracy"] > self.best["accuracy"]:
                self.best = found | {"epoch": self.epoch}
        return row

    def _save_in_time(self) -> None:
        """Write a checkpoint, unless the last took long and is recent: CNN14's is 1.3 GB, its epoch a second on a GPU."""
        now = time.monotonic()
        if self.saved and (now - self.saved[1]) * SAVING_SHARE < self.saved[2]:
            return
        checkpoint.save(self.folder, checkpoint.state_of(self))
        self.saved = (self.epoch, time.monotonic(), time.monotonic() - now)

    def _resume(self) -> None:
        if state := checkpoint.load(self.folder, self.identity):
            checkpoint.restore(self, state)
            self.saved = (self.epoch, time.monotonic(), 0.0)

    # ---- the record -----------------------------------------------------------------------------------------------
    def _record(self) -> runs.Run:
        folds = self.folds
        with self._scoring():
            prob = self._predict(folds.validation)
            other = self._predict(folds.unlabelled) if len(folds.unlabelled) else None
        pseudo = (self.confidence.numpy(), self.pseudo.numpy()) if self.config.method == "fixmatch" else None
        found = {
            "identity": self.identity, "device": device_name(self.device), "threads": torch.get_num_threads(),
            "precision": str(self.dtype).removeprefix("torch."), "best": self.best, "seconds": self.seconds,
            "clips_a_step": self._clips_a_step(), "losses": self.losses,
        }  # fmt: skip
        return write_record(
            self.folder, self.config, self.dataset, folds, self.plan, self.history, prob, other, pseudo, found
        )
