"""The whole network at full width against panns-inference's Cnn14, through a checkpoint file in the published
form."""

import copy

import pytest
import torch
from oracles import PANN_16K, panns_models, randomise, save_published, settle, sounds

from esc_utils.augment import SpecMasks, apply, mixup
from esc_utils.logmel import LogMel
from esc_utils.model import Cnn14
from esc_utils.weights import load_pann

MASKS = SpecMasks(time=torch.tensor([[[40, 90]], [[0, 63]]]), freq=torch.tensor([[[3, 20]], [[30, 60]]]))
WEIGHT = 0.3


@pytest.fixture(scope="module")
def oracle():
    torch.manual_seed(5)
    model = panns_models().Cnn14(**PANN_16K, classes_num=527)
    randomise(model)
    made = sounds(seed=1)
    settle(
        model,
        torch.stack([torch.from_numpy(made[name][:16000]) for name in ("bark", "siren", "chord", "clicks")]),
    )
    return model


@pytest.fixture(scope="module")
def ours(oracle, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "Cnn14_16k.pth"
    model = load_pann(Cnn14(10), save_published(path, oracle.state_dict()))
    path.unlink()  # 325 MB
    return model.eval()


@pytest.fixture(scope="module")
def clips():
    made = sounds()
    return torch.stack([torch.from_numpy(made[name]) for name in ("bark", "siren")])


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """The comparison that parity is judged by, and that every mutation below must fail: 1e-4 relative."""
    return relative(found, expected) < 1e-4


@torch.no_grad()
def embedding(model: Cnn14, clips: torch.Tensor, front_end=None) -> torch.Tensor:
    return model.embed(model.normalise((front_end or LogMel())(clips)))


@torch.no_grad()
def test_embedding_and_head(oracle, ours, clips):
    expected = oracle(clips)
    found = embedding(ours, clips)
    assert found.shape == (2, 2048)
    assert same(found, expected["embedding"])
    # An embedding that ignores its input would pass the line above
    assert relative(found[0], found[1]) > 0.05
    tagger = copy.copy(ours)
    tagger._modules = ours._modules | {"fc_transfer": oracle.fc_audioset}
    assert torch.allclose(tagger(LogMel()(clips)).sigmoid(), expected["clipwise_output"], atol=1e-4)


@torch.no_grad()
def test_a_shifted_tensor_fails_the_comparison(oracle, ours, clips):
    """One place along one axis; for every tensor in turn at a small width, in test_model.py."""
    short = clips[:1, 6000:12400]
    expected = oracle(short)["embedding"]
    assert same(embedding(ours, short), expected)
    for name in ("bn0.running_mean", "conv_block1.conv1.weight", "conv_block5.bn2.running_var", "fc1.weight"):
        tensor = ours.state_dict()[name]
        kept = tensor.clone()
        tensor.copy_(tensor.roll(1, 0))
        noticed = not same(embedding(ours, short), expected)
        tensor.copy_(kept)
        assert noticed, name


@pytest.mark.parametrize("change", [{"fmin": 0}, {"hop": 320}])
def test_a_mutated_front_end_fails_the_comparison(oracle, ours, clips, change):
    short = clips[:1, 6000:22000]
    with torch.no_grad():
        expected = oracle(short)["embedding"]
    assert same(embedding(ours, short), expected)
    assert not same(embedding(ours, short, LogMel(**change)), expected)


@torch.no_grad()
def test_order_of_augmentation(oracle, ours, clips, monkeypatch):
    """PANN in training: bn0, then SpecAugment, then mixup. Dropout and batch statistics are off, the masks
    are given."""

    def given_masks(x):
        x = x.clone()
        for i in range(len(x)):
            for start, end in MASKS.time[i]:
                x[i, :, start:end] = 0
            for start, end in MASKS.freq[i]:
                x[i, :, :, start:end] = 0
        return x

    monkeypatch.setattr(oracle, "training", True)  # of the outer module alone: its layers stay in eval mode
    monkeypatch.setitem(oracle._modules, "spec_augmenter", None)
    monkeypatch.setitem(oracle.__dict__, "spec_augmenter", given_masks)
    monkeypatch.setattr("torch.nn.functional.dropout", lambda x, *_, **__: x)
    short = clips[:, 6000:25200]
    expected = oracle(short, mixup_lambda=torch.tensor([WEIGHT, 1 - WEIGHT]))["embedding"]
    x, w = LogMel()(short), torch.tensor([WEIGHT])

    z = ours.normalise(x)
    assert same(ours.embed(mixup(apply(z, MASKS), w)), expected)
    before_bn0 = ours.normalise(apply(x, MASKS))
    assert not same(ours.embed(mixup(before_bn0, w)), expected)
    mixed_first = apply(mixup(z, w), MASKS.rows([0]))
    assert not same(ours.embed(mixed_first), expected)
    assert not same(ours.embed(mixup(apply(z, MASKS), 1 - w)), expected)
