"""mn04: front end against a NumPy formula, network against one written anew from the table of blocks, both
against the authors' own outputs where the weights are at hand, and what training relies on."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import randomise, settle
from torch.nn import functional as F

from esc_suite.run import mn04_copy
from esc_utils import augment, config, sampling, start
from esc_utils.errors import UserError
from esc_utils.features import front_end
from esc_utils.logmel import Mn04LogMel
from esc_utils.paths import MN04_FILE
from esc_utils.standins.mn04 import Mn04, class_names, load_mn04, top_classes

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "mn04"
ORACLE, WEIGHTS = SHARED / "oracle.npz", SHARED / MN04_FILE
TO_HAVE = "the authors' outputs are not beside the checkout (../shared/mn04)"
needs_oracle = pytest.mark.skipif(not (ORACLE.is_file() and WEIGHTS.is_file()), reason=TO_HAVE)

# MobileNetV3-Large at width .4, as its authors' papers have it: kernel, inner channels, squeezed channels,
# out channels, hardswish, stride; every number rounded to a multiple of 8.
BLOCKS = [
    (3, 8, 0, 8, False, 1),
    (3, 24, 0, 16, False, 2),
    (3, 32, 0, 16, False, 1),
    (5, 32, 8, 16, False, 2),
    (5, 48, 16, 16, False, 1),
    (5, 48, 16, 16, False, 1),
    (3, 96, 0, 32, True, 2),
    (3, 80, 0, 32, True, 1),
    (3, 72, 0, 32, True, 1),
    (3, 72, 0, 32, True, 1),
    (3, 192, 48, 48, True, 1),
    (3, 272, 72, 48, True, 1),
    (5, 272, 72, 64, True, 2),
    (5, 384, 96, 64, True, 1),
    (5, 384, 96, 64, True, 1),
]


def waves(seconds: float = 1.0) -> dict[str, np.ndarray]:
    """Sounds at 32 kHz, float32."""
    t = np.arange(round(32000 * seconds)) / 32000
    noise = np.random.default_rng(0).standard_normal(len(t))
    made = {
        "tone": 0.5 * np.sin(2 * math.pi * 440 * t),
        "sweep": 0.5 * np.sin(2 * math.pi * (100 + 7000 * t) * t),
        "noise": 0.1 * noise,
        "quiet": 1e-4 * noise,
        "bark": noise * np.exp(-(t % 0.3) * 18),
        "silence": 0 * t,
    }
    return {name: wave.astype(np.float32) for name, wave in made.items()}


def log_mel(*names, seconds: float = 1.0):
    return Mn04LogMel()(torch.from_numpy(np.stack([waves(seconds)[name] for name in names])))


def by_formula(wave: np.ndarray) -> np.ndarray:
    """One frame, one band at a time, in float64: (frames, 128)."""
    wave = wave.astype(np.float64)
    emphasised = wave[1:] - 0.97 * wave[:-1]
    padded = np.pad(emphasised, 512, mode="reflect")
    window = np.zeros(1024)
    window[112:912] = np.hanning(800)

    def mel(hz):
        return 1127 * math.log(1 + hz / 700)

    edges, bins = np.linspace(0, mel(15000), 130), [mel(k * 32000 / 1024) for k in range(512)]
    matrix = np.zeros((513, 128))
    for band in range(128):
        low, centre, high = edges[band : band + 3]
        for k, at in enumerate(bins):
            matrix[k, band] = max(0, min((at - low) / (centre - low), (high - at) / (high - centre)))
    rows = []
    for first in range(0, len(emphasised) + 1, 320):
        power = np.abs(np.fft.rfft(padded[first : first + 1024] * window)) ** 2
        rows.append((np.log(power @ matrix + 1e-5) + 4.5) / 5)
    return np.array(rows)


def anew(state: dict, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Embedding and AudioSet logits of (B, 1, frames, 128), from tensors by name alone and the table
    above."""

    def conv_norm(name, x, stride=1, groups=1):
        weight = state[f"{name}.0.weight"]
        x = F.conv2d(x, weight, None, stride, (weight.shape[-1] - 1) // 2, 1, groups)
        mean, var, scale, shift = (
            state[f"{name}.1.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * scale + shift

    def hardswish(x):
        return x * (x + 3).clamp(0, 6) / 6

    z = hardswish(conv_norm("features.0", x.transpose(2, 3), stride=2))
    for number, (kernel, inner, squeezed, out, hard, stride) in enumerate(BLOCKS, start=1):
        before, step, activation = z, 0, hardswish if hard else torch.relu
        if inner != z.shape[1]:
            z = activation(conv_norm(f"features.{number}.block.{step}", z))
            step += 1
        assert state[f"features.{number}.block.{step}.0.weight"].shape == (inner, 1, kernel, kernel)
        z = activation(conv_norm(f"features.{number}.block.{step}", z, stride, groups=inner))
        if squeezed:
            step += 1
            name = f"features.{number}.block.{step}.conc_se_layers.0"
            assert state[f"{name}.fc1.weight"].shape == (squeezed, inner)
            gate = torch.relu(z.mean((2, 3)) @ state[f"{name}.fc1.weight"].T + state[f"{name}.fc1.bias"])
            gate = torch.sigmoid(gate @ state[f"{name}.fc2.weight"].T + state[f"{name}.fc2.bias"])
            z = z * gate[:, :, None, None]
        z = conv_norm(f"features.{number}.block.{step + 1}", z)
        assert z.shape[1] == out
        z = z + before if stride == 1 and z.shape == before.shape else z
    e = hardswish(conv_norm("features.16", z)).mean((2, 3))
    hidden = hardswish(e @ state["classifier.2.weight"].T + state["classifier.2.bias"])
    return e, hidden @ state["classifier.5.weight"].T + state["classifier.5.bias"]


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture(scope="module")
def random_weights():
    torch.manual_seed(0)
    model = Mn04(10)
    randomise(model)
    settle(model, log_mel("noise", "sweep", "bark", "tone"))
    return model


@pytest.fixture(scope="module")
def pretrained():
    if not WEIGHTS.is_file():
        pytest.skip(TO_HAVE)
    return load_mn04(Mn04(10), WEIGHTS).eval()


# ---- Front end -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["tone", "sweep", "noise", "quiet", "bark", "silence"])
def test_front_end_is_the_formula(name):
    wave = waves()[name]
    found = Mn04LogMel()(torch.from_numpy(wave)[None])[0, 0].numpy()
    expected = by_formula(wave)
    assert found.shape == expected.shape == (100, 128)
    assert np.abs(found - expected).max() < 1e-3


def test_a_mutated_front_end_fails_the_formula():
    wave = waves()["noise"]
    expected = by_formula(wave)
    periodic, shifted = Mn04LogMel(), Mn04LogMel()
    periodic.hann = torch.hann_window(800)
    shifted.mel = shifted.mel.roll(1, 0)
    for mutant in (periodic, shifted):
        assert np.abs(mutant(torch.from_numpy(wave)[None])[0, 0].numpy() - expected).max() > 1e-3


def test_frames():
    ours = front_end("mn04")
    assert isinstance(ours, Mn04LogMel) and ours.sample_rate == 32000
    assert ours(torch.zeros(2, 128_000)).shape == (2, 1, 400, 128)
    assert torch.allclose(ours(torch.zeros(1, 514)), torch.tensor((math.log(1e-5) + 4.5) / 5))
    with pytest.raises(ValueError, match="513 samples"):
        ours(torch.zeros(1, 513))


# ---- Network -------------------------------------------------------------------------------------
@torch.no_grad()
@pytest.mark.parametrize("frames", [32, 97, 100])
def test_network_is_the_one_written_anew(random_weights, frames):
    x = log_mel("bark", "noise")[:, :, :frames]
    embedding, logits = anew(random_weights.state_dict(), x)
    found = random_weights.embed(random_weights.normalise(x))
    assert found.shape == (2, 384) and logits.shape == (2, 527)
    assert relative(found, embedding) < 1e-4
    assert torch.allclose(random_weights.audioset_logits(found), logits, atol=1e-4, rtol=1e-4)
    assert relative(found[0], found[1]) > 0.01


@torch.no_grad()
def test_every_tensor_matters(random_weights):
    x = log_mel("bark")
    model = random_weights

    def outputs():
        e = model.embed(model.normalise(x))
        return torch.cat([e, model.audioset_logits(e)], dim=1)

    whole = outputs()
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 0 or name.startswith("fc_transfer") or name == "mean":
            continue
        kept = tensor.clone()
        tensor.copy_(tensor.roll(1, 0))
        change = relative(outputs(), whole)
        tensor.copy_(kept)
        assert change > 1e-6, name


def test_what_is_trained():
    """Every tensor of the network and the new layer; never the 527 AudioSet logits."""
    model = Mn04(10)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("classifier") for name in trained)
    model(log_mel("noise", "bark"), view=lambda z: augment.mixup(z, torch.tensor([0.5]))).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trained
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(0.98e6, rel=0.02)


@torch.no_grad()
def test_set_statistics_makes_zero_the_bands_mean(random_weights):
    x = log_mel("noise", "sweep", "bark", "silence")
    model = random_weights
    before = model.embed(model.normalise(x))
    model.set_statistics(x)
    try:
        z = model.normalise(x)
        assert torch.allclose(z.mean(dim=(0, 1, 2)), torch.zeros(128), atol=1e-4)
        assert relative(model.embed(z), before) < 1e-4, "the shift is taken back before the first layer"
        # A stripe of zeros is a stripe of the bands' means to the first layer.
        masks = augment.STRONG.draw(4, *x.shape[2:], torch.Generator().manual_seed(0))
        holes = augment.apply(torch.ones_like(x), masks) == 0
        filled = torch.where(holes, model.mean.expand_as(x), x)
        assert relative(model.embed(augment.apply(z, masks)), model.embed(model.normalise(filled))) < 1e-4
        # Blending shifted log-mels is blending log-mels.
        w = torch.tensor([0.3, 0.8])
        assert (
            relative(model.embed(augment.mixup(z, w)), model.embed(model.normalise(augment.mixup(x, w))))
            < 1e-4
        )
    finally:
        model.mean.zero_()


@torch.no_grad()
def test_folded_norms_are_the_unfolded_ones(random_weights, monkeypatch):
    import esc_utils.standins.mn04

    x = log_mel("noise", "bark")
    folded, calls = random_weights(x), []
    monkeypatch.setattr(
        esc_utils.standins.mn04, "conv_norm", lambda conv, norm, x: calls.append(norm) or norm(conv(x))
    )
    assert relative(random_weights(x), folded) < 1e-4
    assert len(calls) == sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in random_weights.modules())


# ---- SpecAugment ---------------------------------------------------------------------------------
def test_frequency_widths_follow_the_bands():
    pann, cnn14 = config.for_run("lite", "pann_10"), config.for_run("lite", "cnn14_10")
    assert (pann.bands, cnn14.bands) == (128, 64)
    for view, width in (("weak", 8), ("strong", 35)):
        ours, table1 = augment.views(pann)[view], augment.views(cnn14)[view]
        assert (ours.freq_width, table1.freq_width) == (2 * width, width)
        assert vars(ours) | {"freq_width": width} == vars(table1), "stripes and times are the same"
        assert vars(table1) == vars({"weak": augment.WEAK, "strong": augment.STRONG}[view])
    assert config.for_run("paper", "pann_10").stripes("strong")["freq_width"] == 35


def test_both_networks_lose_the_same_share():
    shares = []
    for name, frames in (("pann_10", 400), ("cnn14_10", 401)):
        knobs = config.for_run("lite", name)
        view, random = augment.views(knobs)["strong"], torch.Generator().manual_seed(0)
        blank = torch.ones(2000, 1, frames, knobs.bands, dtype=torch.uint8)
        shares.append(1 - view(blank, view.draw(2000, frames, knobs.bands, random)).float().mean().item())
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


def test_a_step_draws_on_all_bands():
    knobs = config.for_run("lite", "fixmatch_tau075")
    draws = sampling.draw_epoch(knobs, sampling.Budget(200, 200, 1.0), 0, 100, 300, (400, 128))
    for view, width in (("weak", 16), ("strong", 70)):
        stripes = torch.cat([getattr(draw, f"{view}_masks").freq.flatten(0, 1) for draw in draws])
        assert (stripes[:, 1] - stripes[:, 0]).max() == width - 1
        assert stripes.max() > 120


# ---- AudioSet ------------------------------------------------------------------------------------
def test_class_names():
    names = class_names()
    assert len(names) == len(set(names)) == 527
    assert (names[0], names[137], names[526]) == ("Speech", "Music", "Field recording")
    scores = torch.zeros(527)
    scores[[3, 137]] = torch.tensor([0.5, 0.9])
    assert top_classes(scores, 2) == [("Music", pytest.approx(0.9)), (names[3], pytest.approx(0.5))]


@torch.no_grad()
def test_scores_of_a_waveform(random_weights):
    wave = torch.from_numpy(waves()["noise"])
    _, logits = anew(random_weights.state_dict(), Mn04LogMel()(wave[None]))
    assert torch.allclose(random_weights.audioset_scores(wave), logits[0].sigmoid(), atol=1e-4)
    assert random_weights.audioset_scores(wave[:100]).shape == (527,)
    with pytest.raises(ValueError, match="eval"):
        Mn04(10).audioset_scores(wave)


# ---- The authors' own outputs --------------------------------------------------------------------
@needs_oracle
@torch.no_grad()
def test_outputs_are_the_authors(pretrained):
    oracle = np.load(ORACLE)
    x = Mn04LogMel()(torch.from_numpy(oracle["waveform"]))
    assert np.abs(x[:, 0].transpose(1, 2).numpy() - oracle["logmel"]).max() < 1e-3
    for route in (pretrained, None):
        if route is None:
            embedding, logits = anew(pretrained.state_dict(), x)
        else:
            embedding = route.embed(route.normalise(x))
            logits = route.audioset_logits(embedding)
        assert np.abs(embedding.numpy() - oracle["embedding"]).max() < 1e-3
        assert np.abs(logits.numpy() - oracle["logits"]).max() < 1e-3


@torch.no_grad()
def test_the_embedded_check_knows_the_weights_and_any_other(pretrained, tmp_path):
    assert mn04_copy.is_mn04(WEIGHTS)
    state = {k: v for k, v in pretrained.state_dict().items() if not k.startswith(("fc_transfer", "mean"))}
    for name in (
        "features.0.0.weight",
        "features.9.block.1.1.running_var",
        "features.16.1.bias",
        "classifier.5.weight",
    ):
        path = tmp_path / "other.pt"
        torch.save(state | {name: state[name].roll(1, 0)}, path)
        assert not mn04_copy.is_mn04(path), name
    path.write_bytes(b"no weights")
    assert not mn04_copy.is_mn04(path)


def test_names_are_the_published_list():
    import csv

    path = SHARED / "class_labels_indices.csv"
    if not path.is_file():
        pytest.skip(TO_HAVE)
    with path.open(encoding="utf-8", newline="") as file:
        assert class_names() == tuple(row["display_name"] for row in csv.DictReader(file))


@pytest.mark.parametrize(("class_id", "expected"), [
    pytest.param(3, {"Animal", "Dog", "Domestic animals, pets", "Bark"}, id="dog_bark"),
    pytest.param(9, {"Music"}, id="street_music"),
    pytest.param(8, {"Siren", "Police car (siren)", "Emergency vehicle", "Ambulance (siren)", "Civil defense "
                                                                                              "siren",
                     "Fire engine, fire truck (siren)", "Vehicle"}, id="siren"),
])  # fmt: skip
@pytest.mark.real
def test_it_knows_what_it_hears(pretrained, class_id, expected):
    """At least three of five real clips have one of the expected AudioSet classes on top."""
    from esc_utils.features import decode

    files = sorted((ROOT.parent / "shared" / "us8k-real" / "audio" / "fold1").glob(f"*-{class_id}-*-*.opus"))
    if not files:
        pytest.skip("no real clips: ../shared/us8k-real is missing")
    clips = [torch.from_numpy(decode(file, 32000)) for file in files[:: len(files) // 5][:5]]
    tops = [top_classes(pretrained.audioset_scores(clip), 1)[0][0] for clip in clips]
    assert sum(top in expected for top in tops) >= 3, tops


def test_a_run_of_lite_says_what_stands_in(monkeypatch):

    knobs = config.for_run("lite", "pann_10")
    assert knobs.network == "mn04" and start.BACKBONES[knobs.backbone] == "EfficientAT mn04 (AudioSet)"
    asked = []
    monkeypatch.setattr(start, "load_mn04", lambda model, path: asked.append(path) or model)
    assert isinstance(start.build_model(knobs), Mn04)
    start.build_model(knobs.model_copy(update={"weights_path": "mine.pt"}))
    assert asked == ["", "mine.pt"]
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"mine\.pt"):
        start.build_model(knobs.model_copy(update={"weights_path": "mine.pt"}))


class Plain(Mn04):
    """The same network with nothing overwritten: every layer by its plain module or formula."""

    def embed(self, z):
        x = (z + self.mean).transpose(2, 3)
        for layer in self.features:
            x = plain_residual(layer, x) if hasattr(layer, "residual") else plain_conv(layer, x)
        return x.mean(dim=(2, 3))


def plain_conv(layer, x):
    x = layer[1](layer[0](x))
    return layer.activation(x) if layer.activation else x


def plain_residual(layer, x):
    y = x
    for part in layer.block:
        if hasattr(part, "conc_se_layers"):
            y = y * part.conc_se_layers[0](y.mean(dim=(2, 3)))[:, :, None, None]
        else:
            y = plain_conv(part, y)
    return x + y if layer.residual else y


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradients", [True, False])
def test_what_is_overwritten_changes_nothing(layout, gradients):
    """Outputs, gradients and running statistics of a training pass, with gradients (a step) and without
    (pseudo-labels)."""
    torch.manual_seed(0)
    fast, plain = Mn04(10).train(), Plain(10).train()
    plain.load_state_dict(fast.state_dict())
    x = torch.randn(4, 1, 64, 128)
    results = []
    for model in (fast.to(memory_format=layout), plain.to(memory_format=layout)):
        kept = x.clone().requires_grad_()
        with torch.set_grad_enabled(gradients):
            logits = model(kept)
        if gradients:
            logits.square().sum().backward()
        assert kept.equal(x), "the input belongs to the caller"
        trained = [p.grad for p in model.parameters() if p.requires_grad] + [kept.grad] if gradients else []
        results.append([logits.detach(), *trained, *model.buffers()])
    assert len(results[0]) > 100 and not results[0][0].isnan().any()
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
