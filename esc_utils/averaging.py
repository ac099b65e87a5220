"""Exponential moving average of a network's weights (EMA), for validation [ledger 22]."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


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
