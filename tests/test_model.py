"""Cnn14's structure, and load_pann against whole, damaged, foreign and hostile files."""

import os
import re

import pytest
import torch
from oracles import published_tensors, randomise, reference_front_end, save_published, settle
from safetensors.torch import save_file

from esc_utils.errors import UserError
from esc_utils.logmel import LogMel
from esc_utils.model import Cnn14
from esc_utils.weights import front_end_tensors, load_pann

NARROW = 4


def narrow(seed=0):
    model = Cnn14(10, width=NARROW)
    randomise(model, seed)
    return model.eval()


@pytest.fixture(scope="module")
def source():
    return narrow(1)


def test_size_is_that_of_the_paper():
    """80,753,615 trainable values with PANN's 527-way head."""
    with torch.device("meta"):
        model = Cnn14(527)
    assert sum(p.numel() for p in model.parameters()) == 80_753_615
    backbone = [key for key in model.state_dict() if not key.startswith("fc_transfer.")]
    assert len(backbone) == 84 - 3 - 2  # the file's 84 without its front end and its head
    assert model.fc1.weight.shape == (2048, 2048)


def test_initial_values():
    torch.manual_seed(0)
    model = Cnn14(10, width=NARROW)
    for name, p in model.named_parameters():
        if "bn" in name:
            assert torch.equal(p, torch.full_like(p, float(name.endswith("weight"))))
        elif name.endswith("bias"):
            assert not p.any()
        # Xavier: uniform within sqrt(6 / (fan in + fan out)), so the variance is 2 / (fan in + fan out)
        else:
            fans = (p.shape[0] + p.shape[1]) * p[0, 0].numel()
            assert p.abs().max() <= (6 / fans) ** 0.5
            if p.numel() > 5000:
                assert p.var().item() == pytest.approx(2 / fans, rel=0.05)


def test_forward_is_its_four_steps_and_the_view_comes_after_bn0():
    model = narrow()
    x = torch.randn(3, 1, 96, 64) * 20 - 40
    z = model.normalise(x)
    bn = model.bn0
    by_hand = (x - bn.running_mean) / (bn.running_var + bn.eps).sqrt() * bn.weight + bn.bias
    assert torch.allclose(z, by_hand, atol=1e-5)
    e = model.embed(z)
    assert e.shape == (3, 32 * NARROW)
    assert torch.equal(model(x), model.classify(e))
    seen = []
    out = model(x, view=lambda v: seen.append(v) or v[0::2])
    assert torch.equal(seen[0], z)
    assert torch.equal(out, model.classify(model.embed(z[0::2])))


def test_dropout_only_in_training_and_where_pann_has_it(monkeypatch):
    rates = []
    monkeypatch.setattr(
        "torch.nn.functional.dropout", lambda x, p, training: rates.append((p, training)) or x
    )
    model = narrow()
    x = torch.randn(2, 1, 32, 64)
    model(x)
    assert rates == [(0.2, False)] * 6 + [(0.5, False)] * 2
    rates.clear()
    model.train()(x)
    assert rates == [(0.2, True)] * 6 + [(0.5, True)] * 2


def test_channels_last_changes_nothing():
    model = narrow()
    x = torch.randn(2, 1, 64, 64)
    plain = model(x)
    assert torch.allclose(model.to(memory_format=torch.channels_last)(x), plain, atol=1e-5)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_published_checkpoint_fills_everything_but_the_new_head(tmp_path, source, legacy):
    path = save_published(tmp_path / "Cnn14_16k.pth", published_tensors(source), legacy)
    model = Cnn14(10, width=NARROW)
    head = model.fc_transfer.weight.clone()
    assert load_pann(model, path) is model
    for key, value in source.state_dict().items():
        assert key.startswith("fc_transfer.") or torch.equal(model.state_dict()[key], value), key
    assert torch.equal(model.fc_transfer.weight, head)


def test_a_backbone_of_ours(tmp_path, source):
    tensors = {k: v.clone() for k, v in source.state_dict().items() if not k.startswith("fc_transfer.")}
    save_file(tensors, tmp_path / "backbone.safetensors")
    model = load_pann(Cnn14(3, width=NARROW), tmp_path / "backbone.safetensors")
    assert torch.equal(model.fc1.weight, source.fc1.weight)
    with pytest.raises(
        UserError, match=r"conv_block1.conv1.weight has shape \(4, 1, 3, 3\), needed \(8, 1, 3, 3\)"
    ):
        load_pann(Cnn14(3, width=8), tmp_path / "backbone.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "backbone.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        load_pann(Cnn14(3, width=NARROW), tmp_path / "cut.safetensors")


@torch.no_grad()
def test_every_tensor_of_the_backbone_matters():
    """Shifted by one place, each changes the embedding by more than the 1e-4 that parity allows."""
    model = narrow()
    torch.manual_seed(0)
    x = torch.randn(2, 1, 64, 64) * 20 - 40
    settle(model, x)
    whole = model.embed(model.normalise(x))
    for name, tensor in model.state_dict().items():
        if name.startswith("fc_transfer.") or tensor.ndim == 0:
            continue
        kept = tensor.clone()
        tensor.copy_(tensor.roll(1, 0 if tensor.shape[0] > 1 else 1))
        change = (model.embed(model.normalise(x)) - whole).norm() / whole.norm()
        tensor.copy_(kept)
        assert change > 1e-4, name


def test_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(UserError, match=r"make data.*Cnn14_16k_mAP=0.438.pth.*3987831"):
        load_pann(Cnn14(10, width=NARROW), tmp_path / "none.pth")


def refusal(tmp_path, tensors) -> str:
    """The one line that load_pann answers with; the model must be as before."""
    model = Cnn14(10, width=NARROW)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_pann(model, save_published(tmp_path / "x.pth", tensors))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_that_does_not_fit_is_listed(tmp_path, source):
    tensors = published_tensors(source)
    del tensors["bn0.bias"]
    tensors["conv_block3.conv1.weight"] = torch.zeros(1, 2)
    tensors["fc1.bias"] = torch.full((32 * NARROW,), torch.nan)
    tensors["conv_block7.conv1.weight"] = torch.zeros(1)
    message = refusal(tmp_path, tensors)
    assert "4 tensors" in message
    for part in (
        "bn0.bias missing",
        "conv_block3.conv1.weight has shape (1, 2)",
        "fc1.bias is not finite",
        "conv_block7",
    ):
        assert part in message


@pytest.mark.parametrize(("rate", "window", "name"), [(32000, 1024, "32 kHz"), (8000, 256, "8 kHz")])
def test_another_sample_rate_is_named(tmp_path, source, rate, window, name):
    spectrogram, logmel = reference_front_end(
        sample_rate=rate, window_size=window, hop_size=window // 3, fmax=rate // 2
    )
    tensors = published_tensors(source)
    tensors |= {f"spectrogram_extractor.{k}": v for k, v in spectrogram.state_dict().items()}
    tensors |= {f"logmel_extractor.{k}": v for k, v in logmel.state_dict().items()}
    message = refusal(tmp_path, tensors)
    assert f"is a {name} checkpoint" in message
    assert "Cnn14_16k_mAP=0.438.pth" in message


def test_our_front_end_is_torchlibrosas():
    spectrogram, logmel = reference_front_end()
    for key, value in front_end_tensors().items():
        oracle = (spectrogram.state_dict() | logmel.state_dict())[key.split(".", 1)[1]]
        assert (value - oracle).abs().max() < 1e-6, key


@pytest.mark.parametrize("key", ["logmel_extractor.melW", "spectrogram_extractor.stft.conv_imag.weight"])
def test_another_front_end_is_refused(tmp_path, source, key):
    tensors = published_tensors(source)
    if key.endswith("melW"):
        from torchaudio.functional import melscale_fbanks

        # Fmin 0 instead of 50
        tensors[key] = melscale_fbanks(257, 0.0, 8000.0, 64, 16000, "slaney", "slaney")
    else:
        tensors[key] = -tensors[key]
    assert re.search(f"another front end.*{key}", refusal(tmp_path, tensors))
    del tensors[key]
    assert f"lacks {key}" in refusal(tmp_path, tensors)


@pytest.mark.parametrize("change", [{"fmin": 0}, {"fmax": 7600}, {"mels": 128}, {"window": 400}])
def test_a_front_end_of_ours_that_differs_is_noticed(tmp_path, source, monkeypatch, change):
    monkeypatch.setattr("esc_utils.weights.LogMel", lambda: LogMel(**change))
    assert "another front end" in refusal(tmp_path, published_tensors(source))


@pytest.mark.parametrize("legacy", [True, False])
def test_damage_is_reported_in_one_line(tmp_path, source, legacy):
    whole = save_published(tmp_path / "whole.pth", published_tensors(source), legacy).read_bytes()
    path = tmp_path / "damaged.pth"
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], whole[:-1000], b"<html>not found</html>" * 50):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged.*make data"):
            load_pann(Cnn14(10, width=NARROW), path)
    torch.save(source.state_dict(), path)
    with pytest.raises(UserError, match="no entry `model`"):
        load_pann(Cnn14(10, width=NARROW), path)


class Bomb:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("call", [os.mkdir, os.system, eval, exec])
def test_code_in_a_checkpoint_never_runs(tmp_path, source, legacy, call):
    trace = tmp_path / "ran"
    argument = {os.mkdir: str(trace), os.system: f"mkdir {trace}"}.get(
        call, f"__import__('os').mkdir({str(trace)!r})"
    )
    hostile = published_tensors(source) | {"fc1.bias": Bomb(call, argument)}
    path = save_published(tmp_path / "hostile.pth", hostile, legacy)
    with pytest.raises(
        UserError, match=r"holds more than weights \(\S*(mkdir|system|eval|exec)\) and was refused"
    ):
        load_pann(Cnn14(10, width=NARROW), path)
    assert not trace.exists()
