"""Trajectories of the three optimizers against their definitions in float64, and the learning-rate curve of
70 epochs."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from esc_utils.optim import load_state, optimizer, rate_factor, set_rate

STEPS, RATE = 40, 5e-4
HESSIAN = torch.diag(torch.tensor([1.0, 4.0, 0.25, 9.0], dtype=torch.float64))
START = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)


def gradient(x: np.ndarray, step: int) -> np.ndarray:
    """Of a quadratic, with noise that is the same for everybody and a burst that makes amsgrad differ from
    Adam."""
    noise = np.sin(np.arange(len(x)) * 1.7 + step * 2.3)
    return HESSIAN.numpy() @ x + 0.3 * noise + (20 * noise if step == 5 else 0)


def trajectory(name: str, weight_decay=0.0, momentum=0.9, steps=STEPS, start=START, wrap=None) -> np.ndarray:
    config = SimpleNamespace(optimizer=name, weight_decay=weight_decay, momentum=momentum)
    x = torch.nn.Parameter(start.clone())
    opt = wrap([x]) if wrap else optimizer(config, [{"params": [x], "lr": RATE}])
    path = []
    for step in range(steps):
        flat = gradient(x.detach().numpy().ravel(), step)
        x.grad = torch.from_numpy(flat).view_as(x)
        opt.step()
        path.append(x.detach().numpy().copy())
    return np.array(path)


def adam_amsgrad(weight_decay=0.0, decoupled=True, amsgrad=True):
    x, m, v, v_max, path = START.numpy().copy(), 0.0, 0.0, 0.0, []
    for t in range(1, STEPS + 1):
        g = gradient(x, t - 1)
        if decoupled:
            x = x * (1 - RATE * weight_decay)
        else:
            g = g + weight_decay * x
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        v_max = np.maximum(v_max, v) if amsgrad else v
        x = x - RATE * (m / (1 - 0.9**t)) / (np.sqrt(v_max / (1 - 0.999**t)) + 1e-8)
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adamw_is_its_definition(weight_decay):
    assert np.allclose(trajectory("adamw", weight_decay), adam_amsgrad(weight_decay), rtol=1e-10)


def test_adamw_without_decay_is_panns_adam_and_amsgrad_matters():
    pann = trajectory("", wrap=lambda p: torch.optim.Adam(p, RATE, (0.9, 0.999), 1e-8, 0.0, amsgrad=True))
    ours = trajectory("adamw")
    assert np.allclose(ours, pann, rtol=1e-12)
    assert not np.allclose(ours, adam_amsgrad(amsgrad=False), rtol=1e-5)
    assert not np.allclose(trajectory("adamw", 0.01), adam_amsgrad(0.01, decoupled=False), rtol=1e-6)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.0), (0.9, 5e-4), (0.0, 0.0)])
def test_sgd_is_nesterovs(momentum, weight_decay):
    """v = m v + g; x = x - rate (g + m v), with the first v equal to g."""
    x, v, path = START.numpy().copy(), 0.0, []
    for step in range(STEPS):
        g = gradient(x, step) + weight_decay * x
        v = momentum * v + g
        x = x - RATE * (g + momentum * v)
        path.append(x)
    assert np.allclose(trajectory("sgd", weight_decay, momentum), path, rtol=1e-10)


def ranger(start, steps, centralise):
    """The original: gradient centralisation, RAdam (betas .95, .999; N_sma threshold 5), Lookahead (k 6,
    alpha .5)."""
    x, m, v, path = start.copy(), 0.0, 0.0, []
    slow = x.copy()
    b1, b2, eps = 0.95, 0.999, 1e-5
    for t in range(1, steps + 1):
        g = gradient(x.ravel(), t - 1).reshape(x.shape)
        if centralise:
            g = g - g.mean(axis=tuple(range(1, g.ndim)), keepdims=True)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        n_max = 2 / (1 - b2) - 1
        n = n_max - 2 * t * b2**t / (1 - b2**t)
        if n > 5:
            rectify = (n - 4) / (n_max - 4) * (n - 2) / n * n_max / (n_max - 2)
            x = x - RATE * math.sqrt((1 - b2**t) * rectify) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        else:  # the variance is not yet known: plain momentum
            x = x - RATE / (1 - b1**t) * m
        if t % 6 == 0:
            slow = slow + 0.5 * (x - slow)
            x = slow.copy()
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("shape", [(4,), (2, 2)], ids=["bias", "weight"])
def test_ranger_is_the_original(shape):
    start = START.view(shape)
    path = trajectory("ranger", start=start)
    assert np.allclose(path, ranger(start.numpy(), STEPS, centralise=len(shape) > 1), rtol=1e-6)


def test_rangers_default_in_the_package_is_another_optimizer():
    from pytorch_optimizer import Ranger

    default = trajectory("", wrap=lambda p: Ranger(p, lr=RATE))
    assert not np.allclose(default, ranger(START.numpy(), STEPS, False), rtol=1e-6)


def curve(schedule: str, steps_per_epoch: int = 10, epochs: int = 70, restart: int = 35) -> np.ndarray:
    steps = steps_per_epoch * epochs
    return np.array([rate_factor(schedule, s, steps, restart * steps_per_epoch) for s in range(steps)])


def test_the_rate_over_70_epochs():
    """Two cosines of 35 epochs [ledger 13], as torch's CosineAnnealingWarmRestarts with T_0 = 35 epochs."""
    found = curve("cosine_restarts")
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=350)
    expected = []
    for _ in range(700):
        expected.append(opt.param_groups[0]["lr"])
        opt.step()
        reference.step()
    assert np.allclose(found, expected, atol=1e-12)
    assert found[0] == found[350] == 1
    assert found[175] == pytest.approx(0.5)
    assert found[349] < 1e-4
    assert found[699] < 1e-4


def test_the_other_schedules():
    half = curve("half_cosine")
    assert np.allclose(half, [(1 + math.cos(math.pi * s / 700)) / 2 for s in range(700)])
    sixteenth = curve("cosine_7_16")
    assert sixteenth[0] == 1
    assert np.all(np.diff(sixteenth) < 0)
    assert sixteenth[-1] == pytest.approx(math.cos(7 * math.pi / 16), abs=2e-3)


def test_groups_keep_their_share_of_the_rate():
    x, y = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    opt = torch.optim.SGD([{"params": [x], "lr": 5e-4}, {"params": [y], "lr": 5e-5}])
    for factor in (1.0, 0.5, 0.0, 1.0):
        set_rate(opt, factor)
        assert [g["lr"] for g in opt.param_groups] == pytest.approx([5e-4 * factor, 5e-5 * factor])


@pytest.mark.parametrize("name", ["adamw", "sgd", "ranger"])
def test_a_state_saved_under_another_layout_goes_to_the_same_weights(name):
    """As when a run that began on one kind of CPU goes on, on another: fused optimizers ignore strides."""
    config = SimpleNamespace(optimizer=name, weight_decay=0.01, momentum=0.9)
    layouts = (torch.channels_last, torch.contiguous_format)
    start = torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    gradients = torch.randn(2, 7, *start.shape, generator=torch.Generator().manual_seed(1))

    def begun(layout):
        x = torch.nn.Parameter(start.clone(memory_format=layout))
        return x, optimizer(config, [{"params": [x], "lr": 0.1}])

    def steps(x, opt, some, layout):
        for one in some:
            x.grad = one.clone(memory_format=layout)
            opt.step()
        return x.detach()

    x, opt = begun(layouts[0])
    steps(x, opt, gradients[0], layouts[0])
    there, again = begun(layouts[1])
    there.data.copy_(x.detach())
    load_state(again, copy.deepcopy(opt.state_dict()))
    expected = steps(x, opt, gradients[1], layouts[0])
    assert torch.allclose(steps(there, again, gradients[1], layouts[1]), expected, atol=1e-6)
