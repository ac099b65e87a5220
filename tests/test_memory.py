"""The size of a step, counted by autograd itself; batch norm with stored statistics, folded into the
convolutions."""

import pytest
import torch

import esc_utils.model
import esc_utils.standins.mn04
from esc_suite.run import memory
from esc_utils import config
from esc_utils.model import Cnn14
from esc_utils.standins.mn04 import Mn04


def saved_bytes(model, x) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, without parameters."""
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model(x).sum()
    assert loss.requires_grad
    return sum(size for size, _ in seen.values())


def test_step_bytes_match_what_autograd_keeps():
    knobs = config.for_run("paper", "pann_10", width=8, batch_size=2)
    model = Cnn14(10, width=8, dropout=(0.0, 0.0)).train()
    counted = saved_bytes(model, torch.randn(2, 1, 128, 64))
    parameters = sum(p.numel() for p in model.parameters()) * memory.OPTIMIZER_BYTES
    expected = memory.step_bytes(knobs, 128) - parameters
    assert expected == pytest.approx(counted, rel=0.08)


def test_a_step_needs_less_in_sixteen_bits_and_more_in_one_pass():
    knobs = config.for_run("paper", "fixmatch_tau075")
    assert memory.step_bytes(knobs, 501, value_bytes=2) < memory.step_bytes(knobs, 501)
    joint = knobs.model_copy(update={"forward": "joint"})
    assert memory.gradient_clips(joint) == memory.gradient_clips(knobs) + 2 * 7 * 16


@pytest.mark.parametrize("make", [lambda: Cnn14(10, width=2), lambda: Mn04(10)], ids=["cnn14", "mn04"])
def test_stored_statistics_are_folded_into_the_convolutions(make, monkeypatch):
    torch.manual_seed(0)
    model = make().eval()
    x = torch.randn(6, 1, 96, 128 if isinstance(model, Mn04) else 64)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)

    def outputs_and_gradients():
        model.zero_grad()
        outputs = model(x)
        outputs.square().mean().backward()
        return [outputs] + [p.grad.clone() for p in model.parameters() if p.grad is not None]

    folded = outputs_and_gradients()
    calls = []
    for module in (esc_utils.model, esc_utils.standins.mn04):
        monkeypatch.setattr(module, "conv_norm", lambda conv, norm, x: calls.append(norm) or norm(conv(x)))
    plain = outputs_and_gradients()
    norms = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model.modules())
    assert len(calls) >= norms - 1, "all but bn0"
    assert len(folded) == len(plain)
    for left, right in zip(folded, plain, strict=True):
        assert torch.allclose(left, right, rtol=1e-4, atol=1e-4 * right.abs().max().item())
