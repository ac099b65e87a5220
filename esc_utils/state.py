"""What a run in training holds: set up from its config, kept in a checkpoint, put back from one."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from .beyond.thresholds import Threshold
from .dataset import Dataset, Split
from .device import choose_device, choose_precision, prepare
from .fast import lay_out
from .features import Clips, open_store
from .knobs import RunConfig
from .optim import Average, laid_out_as, load_state, optimizer, saved_state
from .sampling import Budget, budget
from .start import build_model, prepare_start


@dataclass
class State:
    """A run in training. `labels` are those of `folds.labelled`, the only ones that a step sees. The
    dataset's own are read to validate. Training never reads those of the unlabelled folds:
    esc_suite/records/record.py does, after the last step."""

    config: RunConfig
    dataset: Dataset
    folds: Split
    budget: Budget
    device: torch.device
    dtype: torch.dtype  # of the forward passes
    clips: Clips
    labels: Tensor  # (labelled clips,) int64
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None
    confidence: Tensor  # (epochs, unlabelled clips) of every pseudo-label; NaN where a clip was not drawn
    pseudo_labels: Tensor  # the same shape, int8; -1 where a clip was not drawn
    threshold: Threshold | None  # where more than tau decides
    epoch: int = 0  # epochs finished
    seconds: float = 0.0  # of training and validation
    history: list[dict] = field(default_factory=list)
    best: dict | None = None  # scores of the best validation
    # Sums over all steps: lambda_u L_u, whole loss.
    losses: np.ndarray = field(default_factory=lambda: np.zeros(2))
    captured: bool = False  # whether steps are launched as a CUDA graph

    @property
    def trained(self) -> nn.Module:
        """The network that is scored: the averaged one where there is one."""
        return self.model if self.average is None else self.average.module

    def autocast(self):
        """Around what a step, or a batch that is scored, computes forward."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def set_up(config: RunConfig, dataset: Dataset, folds: Split) -> State:
    """A run before its first step. UserError for a device that is not there, or weights that do not fit."""
    from joblib import cpu_count  # what the process is bound to, its container allows, $LOKY_MAX_CPU_COUNT

    device = choose_device(config.device)
    dtype = choose_precision(config.precision, device)
    prepare(device, config.threads or cpu_count())
    clips = Clips(open_store(config, dataset), device)
    labels = torch.from_numpy(dataset.clips["class_id"].to_numpy()[folds.labelled]).to(device)
    steps = budget(config, len(folds.labelled), len(folds.unlabelled), len(folds.labelled_folds))
    model = lay_out(build_model(config, len(dataset.classes)), device).train()
    prepare_start(model, config, clips, folds.labelled, labels)
    parameters = [p for p in model.parameters() if p.requires_grad]
    drawn = (steps.epochs if config.method == "fixmatch" else 0, len(folds.unlabelled))
    return State(
        config, dataset, folds, steps, device, dtype, clips, labels, model,
        optimizer=optimizer(config, [{"params": parameters, "lr": config.learning_rate}]),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        average=Average(model, config.ema) if config.ema else None,
        confidence=torch.full(drawn, float("nan"), device=device),
        pseudo_labels=torch.full(drawn, -1, dtype=torch.int8, device=device),
        threshold=None if (config.threshold, config.open_set) == ("fixed", "none") else Threshold(
            config, drawn, model.fc_transfer.out_features, config.open_warmup * steps.steps).to(device),
    )  # fmt: skip


def snapshot(state: State) -> dict:
    """All that a run needs to go on from the end of its epoch, on any device."""
    return {
        "epoch": state.epoch, "seconds": state.seconds,
        "losses": state.losses.tolist(), "history": state.history, "best": state.best,
        "model": state.model.state_dict(),
        "average": state.average.module.state_dict() if state.average else None,
        "optimizer": saved_state(state.optimizer), "scaler": state.scaler.state_dict(),
        # With gradient accumulation an epoch may end between two optimizer steps.
        "gradients": {name: p.grad for name, p in state.model.named_parameters() if p.grad is not None},
        "confidence": state.confidence, "pseudo_labels": state.pseudo_labels,
        "threshold": None if state.threshold is None else state.threshold.state_dict(),
    }  # fmt: skip


def restore(state: State, kept: dict) -> None:
    """Put a snapshot back into a run that was set up anew."""
    state.epoch, state.seconds = kept["epoch"], kept["seconds"]
    state.history, state.best, state.losses = kept["history"], kept["best"], np.array(kept["losses"])
    state.model.load_state_dict(kept["model"])
    if state.average is not None:
        state.average.module.load_state_dict(kept["average"])
    load_state(state.optimizer, kept["optimizer"])
    state.scaler.load_state_dict(kept["scaler"])
    for name, parameter in state.model.named_parameters():
        if name in kept["gradients"]:
            parameter.grad = laid_out_as(parameter, kept["gradients"][name])
    state.confidence.copy_(kept["confidence"])
    state.pseudo_labels.copy_(kept["pseudo_labels"])
    if state.threshold is not None:
        state.threshold.load_state_dict(kept["threshold"])
