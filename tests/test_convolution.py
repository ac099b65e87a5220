"""CNN14's convolution as a matrix product: the same function and gradients, for many channels at few
positions only."""

import pytest
import torch
from torch import nn

from esc_utils import fast as blocks
from esc_utils import fast as convolution
from esc_utils.fast import FEW, MANY, Conv3x3
from esc_utils.model import Cnn14

CPU = torch.device("cpu")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.mark.parametrize("weights", LAYOUTS)
@pytest.mark.parametrize("inputs", LAYOUTS)
def test_the_product_is_the_convolution_with_its_gradients(weights, inputs):
    torch.manual_seed(0)
    ours, plain = Conv3x3(6, MANY).double(), nn.Conv2d(6, MANY, 3, padding=1, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    ours.to(memory_format=LAYOUTS[weights])
    x = torch.randn(3, 6, 5, 2, dtype=torch.float64).to(memory_format=LAYOUTS[inputs])
    found = []
    for layer in (ours, plain):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.square().sum().backward()
        found.append((y.detach(), leaf.grad, layer.weight.grad))
    for left, right in zip(*found, strict=True):
        assert left.shape == right.shape
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-10)


def test_the_product_takes_a_bias():
    """As a folded batch norm gives it."""
    layer, bias = Conv3x3(4, MANY), torch.randn(MANY)
    x = torch.randn(2, 4, 3, 2)
    expected = layer(x) + bias.view(-1, 1, 1)
    assert torch.allclose(layer._conv_forward(x, layer.weight, bias), expected, atol=1e-5)


def test_no_clips_at_all():
    assert Conv3x3(2, MANY)(torch.zeros(0, 2, 5, 2)).shape == (0, MANY, 5, 2)


@pytest.mark.parametrize(
    ("channels", "height", "product"),
    [(MANY, FEW // 2, True), (MANY, FEW // 2 + 1, False), (MANY // 2, 3, False)],
)
def test_when_it_is_a_product(monkeypatch, channels, height, product):
    taken, own = [], convolution._product
    monkeypatch.setattr(convolution, "_product", lambda *given: taken.append(1) or own(*given))
    Conv3x3(2, channels)(torch.randn(1, 2, height, 2))
    assert bool(taken) == product


@pytest.mark.parametrize(
    ("width", "names"), [(8, []), (16, []), (64, ["5.conv1", "5.conv2", "6.conv1", "6.conv2"])]
)
def test_which_convolutions_have_many_channels(width, names):
    """Numbers of the profiles' narrow networks stay as they are."""
    with torch.device("meta"):
        many = [name for name, m in Cnn14(10, width).named_modules() if getattr(m, "many", False)]
    assert many == [f"conv_block{name}" for name in names]


def layouts(model) -> dict[str, bool]:
    """Name of each 3x3 convolution of more than one input channel -> whether its weights are
    channels_last."""
    convs = {name: m for name, m in model.named_modules() if isinstance(m, Conv3x3) and m.in_channels > 1}
    return {name: m.weight.is_contiguous(memory_format=torch.channels_last) for name, m in convs.items()}


@pytest.fixture
def wide(monkeypatch):
    """A function that makes a small network whose last blocks count as having many channels."""
    monkeypatch.setattr(convolution, "MANY", 64)
    return lambda: Cnn14(10, width=4)


@pytest.mark.parametrize(("capability", "training"), [("AVX512", True), ("AVX512", False), ("AVX2", False)])
def test_wide_networks_keep_matrices_as_they_are(monkeypatch, wide, capability, training):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    found = layouts(blocks.lay_out(wide(), CPU, training))
    assert found == {name: name.split(".")[0] not in ("conv_block5", "conv_block6") for name in found}


def test_wide_networks_train_contiguous_without_avx512(monkeypatch, wide):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert not any(layouts(blocks.lay_out(wide(), CPU)).values())


@pytest.mark.parametrize("capability", ["AVX512", "AVX2"])
def test_narrow_networks_are_channels_last(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert all(layouts(blocks.lay_out(Cnn14(10, width=4), CPU)).values())


def test_every_layout_gives_the_same_scores(monkeypatch, wide):
    torch.manual_seed(0)
    model = wide().eval()
    x = torch.randn(2, 1, 64, 64)
    plain = model(x)
    for capability in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        assert torch.allclose(blocks.lay_out(model, CPU)(x), plain, atol=1e-5)
