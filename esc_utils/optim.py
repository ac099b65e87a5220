"""The three optimizers of Table 4, the learning-rate schedules, and averages of the weights."""

import copy
import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .knobs import RunConfig


def optimizer(config: RunConfig, groups: list[dict]) -> torch.optim.Optimizer:
    """AdamW with amsgrad (equals PANN's Adam at weight decay 0) [ledger 4], SGD with Nesterov momentum
    [ledger 5] or Ranger (RAdam + Lookahead, Wright 2019). `groups`: parameter groups, each with `params` and
    its peak `lr`."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(
            groups, betas=(0.9, 0.999), eps=1e-8, weight_decay=config.weight_decay, amsgrad=True, fused=True
        )
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(
            groups, momentum=config.momentum, nesterov=nesterov, weight_decay=config.weight_decay, fused=True
        )
    from pytorch_optimizer import Ranger

    # degenerated_to_sgd reproduces the original Ranger step for step; the package's default does not.
    return Ranger(groups, weight_decay=config.weight_decay, degenerated_to_sgd=True)


def load_state(opt: torch.optim.Optimizer, state: dict) -> None:
    """opt.load_state_dict, with every tensor in the layout of its parameter: the fused optimizers walk
    through memory, so a state that was saved under another layout (another kind of CPU, a GPU) would go to
    the wrong weights."""
    opt.load_state_dict(state)
    for parameter, values in opt.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = laid_out_as(parameter, value)


def laid_out_as(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The values with the strides and on the device of a parameter of the same shape."""
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def rate_factor(schedule: str, step: int, steps: int, period: float, warmup: float = 0.0) -> float:
    """Factor on the learning rate at `step` of `steps` (0-based) [ledger 13]: the schedule's, times a
    straight rise over the first `warmup` share of the steps.

    cosine_restarts: (1 + cos(pi t / period)) / 2 with t counted from the last restart, every `period` steps
    (35 epochs); half_cosine: one such period over all steps; cosine_7_16: cos(7 pi step / (16 steps)),
    FixMatch's."""
    return min(1.0, (step + 1) / max(1.0, warmup * steps)) * _schedule(schedule, step, steps, period)


def _schedule(schedule: str, step: int, steps: int, period: float) -> float:
    if schedule == "cosine_7_16":
        return math.cos(7 * math.pi * step / (16 * steps))
    if schedule == "half_cosine":
        period = steps
    return (1 + math.cos(math.pi * (step % period) / period)) / 2


def set_rate(opt: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its peak (kept in the group as `peak_lr`)."""
    for group in opt.param_groups:
        rate = group.setdefault("peak_lr", group["lr"]) * factor
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def rates_on(opt: torch.optim.Optimizer, device: torch.device) -> None:
    """Keep the learning rates on a device, where a captured step (graphs.py) reads them."""
    for group in opt.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True


def saved_state(opt: torch.optim.Optimizer) -> dict:
    """opt.state_dict() with learning rates off the device, so that any device goes on from it."""
    state = opt.state_dict()
    groups = [group | {"lr": float(group["lr"])} for group in state["param_groups"]]
    groups = [group | ({"capturable": False} if "capturable" in group else {}) for group in groups]
    return state | {"param_groups": groups}


class Average:
    """`module`: a copy of a network whose weights and statistics follow it with `decay` (share kept a step).

    torch's AveragedModel does the same but reads its counter back from the device at every step."""

    def __init__(self, model: nn.Module, decay: float):
        self.module = copy.deepcopy(model).requires_grad_(False)
        self._follow = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, model: nn.Module, first: bool) -> None:
        """Follow `model` by one step; the first step copies it."""
        mine, theirs = self.module.state_dict(), model.state_dict()
        averaged = [name for name, value in mine.items() if value.is_floating_point() and not first]
        if averaged:
            self._follow([mine[name] for name in averaged], [theirs[name] for name in averaged], None)
        for name in mine.keys() - set(averaged):
            mine[name].copy_(theirs[name])
