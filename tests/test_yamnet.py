"""YAMNet: front end against a NumPy formula, network against torch-vggish-yamnet's, and what training relies on."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import randomise, settle, sounds

from esc_utils.augment import STRONG, apply, mixup
from esc_utils.errors import UserError
from esc_utils.yamnet import Yamnet, YamnetLogMel, class_names, load_yamnet, top_classes

SHARED = next((p / "shared" for p in Path(__file__).resolve().parents if (p / "shared" / "us8k-real").is_dir()), None)
real = [pytest.mark.real, pytest.mark.skipif(SHARED is None, reason="no real clips: ../shared/us8k-real is missing")]


@pytest.fixture(scope="module")
def pretrained():
    try:
        return load_yamnet(Yamnet(10)).eval()
    except UserError as error:
        pytest.skip(f"YAMNet's weights are neither cached nor to be fetched: {error}")


@pytest.fixture(scope="module")
def random_weights():
    torch.manual_seed(0)
    model = Yamnet(10)
    randomise(model)
    for name, tensor in model.state_dict().items():
        if name.endswith("bn.weight"):
            tensor.fill_(1)
    settle(model, log_mel("noise", "chord", "siren", "bark"))
    return model


def log_mel(*names):
    made = sounds()
    return YamnetLogMel()(torch.from_numpy(np.stack([made[name] for name in names])))


def real_clips(class_id: int, count: int) -> list[np.ndarray]:
    import soundfile

    files = sorted((SHARED / "us8k-real" / "audio" / "fold1").glob(f"*-{class_id}-*-*.opus"))
    step = len(files) // count
    return [soundfile.read(f, dtype="float32")[0] for f in files[::step][:count]]


def oracle_of(model: Yamnet):
    """torch-vggish-yamnet's network with the weights of `model`; it would fetch its own from elsewhere."""
    from torch_vggish_yamnet.yamnet.model import YAMNet

    oracle = YAMNet()
    names = {"layer1.conv.": "layer1.fused.conv.", "layer1.bn.": "layer1.fused.bn."}
    for part in ("depthwise", "pointwise"):
        names |= {f".{part}.": f".{part}_conv.conv.", f".{part}_bn.": f".{part}_conv.bn."}
    state = {}
    for key, value in model.state_dict().items():
        if key in ("mean", "std") or key.startswith("fc_transfer"):
            continue
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state[key] = value
    oracle.load_state_dict(state)
    return oracle.eval()


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def by_formula(wave: np.ndarray) -> np.ndarray:
    """One frame, one band at a time, in float64: (frames, 64)."""

    def mel(hz):
        return 1127 * math.log(1 + hz / 700)

    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    edges = np.linspace(mel(125), mel(7500), 66)
    bins = [mel(k * 16000 / 512) for k in range(257)]
    matrix = np.zeros((257, 64))
    for band in range(64):
        low, centre, high = edges[band : band + 3]
        for k in range(1, 257):
            if low < bins[k] < high:
                matrix[k, band] = (
                    (bins[k] - low) / (centre - low) if bins[k] <= centre else (high - bins[k]) / (high - centre)
                )
    rows = []
    for start in range(0, len(wave) - 399, 160):
        frame = np.concatenate([wave[start : start + 400] * window, np.zeros(112)])
        rows.append(np.log(np.abs(np.fft.rfft(frame)) @ matrix + 0.001))
    return np.array(rows)


@pytest.mark.parametrize("name", ["tone", "chord", "clicks", "noise", "quiet", "silence", "bark", "0.05 s"])
def test_front_end_is_the_formula(name):
    wave = sounds()[name][:32000]
    found = YamnetLogMel()(torch.from_numpy(wave)[None])[0, 0].numpy()
    assert found.shape == (198, 64)
    assert np.abs(found - by_formula(wave.astype(np.float64))).max() < 1e-5


def test_a_mutated_front_end_fails_the_formula():
    from torchaudio.functional import melscale_fbanks

    wave = sounds()["noise"][:16000]
    expected = by_formula(wave.astype(np.float64))
    in_hz = YamnetLogMel()
    in_hz.mel = melscale_fbanks(257, 125.0, 7500.0, 64, 16000, None, "htk").double()  # triangles straight in Hz
    symmetric = YamnetLogMel()
    symmetric.hann = torch.hann_window(400, periodic=False, dtype=torch.float64)
    for mutant in (in_hz, symmetric):
        assert np.abs(mutant(torch.from_numpy(wave)[None])[0, 0].numpy() - expected).max() > 1e-3


def test_frames():
    front_end = YamnetLogMel()
    assert front_end(torch.zeros(2, 80_240)).shape == (2, 1, 500, 64)
    assert front_end(torch.zeros(2, 80_000)).shape == (2, 1, 498, 64)
    assert torch.allclose(front_end(torch.zeros(1, 400)), torch.tensor(math.log(0.001)))
    with pytest.raises(ValueError, match="399 samples"):
        front_end(torch.zeros(1, 399))


@torch.no_grad()
@pytest.mark.parametrize("frames", [96, 97, 130, 498, 500])
def test_network_is_torch_vggish_yamnets(random_weights, frames):
    x = log_mel("bark", "siren")[:, :, :frames]
    embedding, logits = oracle_of(random_weights)(x)
    found = random_weights.embed(random_weights.normalise(x))
    assert relative(found, embedding.flatten(1)) < 1e-4
    assert torch.allclose(random_weights.classifier(found), logits, atol=1e-4)
    assert relative(found[0], found[1]) > 0.05


@torch.no_grad()
def test_every_tensor_matters(random_weights):
    x = log_mel("bark")[:, :, 60:124]
    whole = random_weights.embed(random_weights.normalise(x))
    for name, tensor in random_weights.state_dict().items():
        if tensor.ndim == 0 or name.startswith(("fc_transfer", "classifier")) or name.endswith("bn.weight"):
            continue
        if name in ("mean", "std"):
            continue  # they cancel, see below
        kept = tensor.clone()
        tensor.copy_(tensor.roll(1, 0))
        change = relative(random_weights.embed(random_weights.normalise(x)), whole)
        tensor.copy_(kept)
        assert change > 1e-4, name


@torch.no_grad()
def test_statistics_cancel_in_the_embedding_and_make_zero_the_average(random_weights):
    x = log_mel("noise", "chord", "bark", "silence")
    model = random_weights
    kept = model.mean.clone(), model.std.clone()
    before = model.embed(model.normalise(x))
    model.set_statistics(x)
    z = model.normalise(x)
    assert torch.allclose(z.mean(dim=(0, 1, 2)), torch.zeros(64), atol=1e-4)
    assert torch.allclose(z.std(dim=(0, 1, 2)), torch.ones(64), atol=1e-3)
    assert relative(model.embed(z), before) < 1e-4
    # A stripe of zeros is a stripe of the bands' means to the first layer.
    masks = STRONG.draw(4, *x.shape[2:], torch.Generator().manual_seed(0))
    holes = apply(torch.ones_like(x), masks) == 0
    filled = torch.where(holes, model.mean.expand_as(x), x)
    assert relative(model.embed(apply(z, masks)), model.embed(model.normalise(filled))) < 1e-4
    # Blending standardised log-mels is blending log-mels: mixup means the same on both sides.
    w = torch.tensor([0.3, 0.8])
    assert relative(model.embed(mixup(z, w)), model.embed(model.normalise(mixup(x, w)))) < 1e-4
    assert "mean" in model.state_dict()
    model.mean.copy_(kept[0])
    model.std.copy_(kept[1])


def test_what_is_trained():
    """Every convolution, the biases of batch norm (it has no scale), and the new layer; never the 521 AudioSet logits."""
    model = Yamnet(10)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("classifier") or name.endswith("bn.weight") for name in trained)
    x = log_mel("noise", "bark")[:, :, :96]
    model(x, view=lambda z: mixup(z, torch.tensor([0.5]))).sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trained
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 3_195_456 + 10_250
    fresh = Yamnet(10, dropout=0.5).train()
    e = torch.ones(400, 1024)
    assert fresh.classify(e).std(dim=0).min() > 0


def test_class_names():
    names = class_names()
    assert len(names) == 521
    assert names[0] == "Speech"
    assert names[1] == "Child speech, kid speaking"
    scores = torch.zeros(521)
    scores[[3, 70]] = torch.tensor([0.5, 0.9])
    assert top_classes(scores, 2) == [(names[70], pytest.approx(0.9)), (names[3], pytest.approx(0.5))]


@torch.no_grad()
def test_tags_are_means_over_patches(random_weights):
    model = random_weights
    wave = torch.from_numpy(sounds()["siren"])[:30_000]
    padded = torch.nn.functional.pad(wave, (0, 15_600 + 2 * 7680 - 30_000))
    x = YamnetLogMel()(padded[None])
    assert x.shape[2] == 96 + 2 * 48
    patches = torch.cat([x[:, :, i : i + 96] for i in (0, 48, 96)])
    _, logits = oracle_of(model)(patches)
    assert torch.allclose(model.audioset_scores(wave), logits.sigmoid().mean(dim=0), atol=1e-5)
    assert model.audioset_scores(wave[:100]).shape == (521,)
    with pytest.raises(ValueError, match="eval"):
        Yamnet(10).audioset_scores(wave)


@torch.no_grad()
def test_pretrained_weights_are_the_converted_copy(pretrained):
    """A float16 copy made by somebody else from the same checkpoint."""
    path = SHARED / "yamnet" / "yamnet_fp16.safetensors" if SHARED else None
    if path is None or not path.is_file():
        pytest.skip("no converted copy: ../shared/yamnet is missing")
    from safetensors.torch import load_file

    state = pretrained.state_dict()
    for key, value in load_file(path).items():
        ours = state[key.replace("logits", "classifier")]
        assert torch.equal(ours.to(value.dtype), value), key


@pytest.mark.parametrize("class_id", [pytest.param(c, marks=real) for c in (3, 6, 8)])
@torch.no_grad()
def test_parity_on_real_clips(pretrained, class_id):
    oracle = oracle_of(pretrained)
    for wave in real_clips(class_id, 2):
        clip = torch.from_numpy(np.pad(wave, (0, 80_000 - len(wave))))[None]
        x = YamnetLogMel()(clip)
        assert np.abs(x[0, 0].numpy() - by_formula(clip[0].double().numpy())).max() < 1e-5
        embedding, logits = oracle(x)
        found = pretrained.embed(pretrained.normalise(x))
        assert relative(found, embedding.flatten(1)) < 1e-4
        assert torch.allclose(pretrained.classifier(found).sigmoid(), logits.sigmoid(), atol=1e-4)


@pytest.mark.parametrize(
    ("class_id", "names"),
    [
        pytest.param(3, {"Animal", "Dog", "Domestic animals, pets", "Bark"}, marks=real, id="dog_bark"),
        pytest.param(9, {"Music"}, marks=real, id="street_music"),
        pytest.param(2, {"Speech", "Child speech, kid speaking", "Children shouting"}, marks=real, id="children_playing"),
    ],
)
def test_it_knows_what_it_hears(pretrained, class_id, names):
    """At least three of five clips have one of the expected AudioSet classes on top."""
    tops = [top_classes(pretrained.audioset_scores(torch.from_numpy(w)), 1)[0][0] for w in real_clips(class_id, 5)]
    assert sum(top in names for top in tops) >= 3, tops
