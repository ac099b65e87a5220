"""What a GPU needs, on the CPU: no step waits for the device, 16-bit arithmetic beside float32 losses, a
store that lies anywhere. Under CUDA, where there is any: the CPU's results."""

import shutil
import types
import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from esc_suite.records import provenance, train
from esc_utils import config, device, sampling, state, training
from esc_utils import features as clips
from esc_utils.urbansound import open_dataset, split

NO_CUDA = "needs a CUDA device"
# What needs a value on the host
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")


class Watch(TorchDispatchMode):
    """Names of the operations that would make the host wait for a device."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation._schema.name.removeprefix("aten::") in WAITING:
            self.waits.append(operation._schema.name)
        return operation(*args, **kwargs or {})


def trainer(knobs):
    dataset = open_dataset(knobs)
    return state.set_up(knobs, dataset, split(knobs, dataset))


@pytest.mark.parametrize(
    ("experiment", "change"),
    [
        ("pann_10", {}),
        ("fixmatch_tau075", {}),
        ("fixmatch_tau075_accum", {"forward": "joint"}),
        ("fixmatch_tau075", {"mixup_pairs": "mixmatch", "pseudo_mode": "eval"}),
        ("fixmatch_tau075_sgd", {"ema": 0.9}),
    ],
)
def test_no_step_waits_for_the_device(tiny, experiment, change):
    one = trainer(tiny(experiment, **change))
    with Watch() as watch:
        training.train_epoch(one, training.step_of(one))
    assert watch.waits == []
    with Watch() as watch:
        torch.ones(1).item()
    assert watch.waits, "the watch would see one"


def test_moved_draws_are_the_same_draws():
    knobs = config.for_run("paper", "l07_mixmatch")
    draws = sampling.draw_epoch(knobs, sampling.Budget(9, 3, 1.0), 0, 40, 300, (501, 64))
    for draw, again in zip(draws, sampling.moved(draws, torch.device("cpu")), strict=True):
        for field in fields(draw):
            left, right = getattr(draw, field.name), getattr(again, field.name)
            if isinstance(left, sampling.SpecMasks):
                assert torch.equal(left.time, right.time) and torch.equal(left.freq, right.freq)
            else:
                assert torch.equal(left, right), field.name


def test_clips_are_the_same_wherever_the_store_lies():
    store = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float16)
    there, rows = clips.Clips(store, torch.device("cpu")), torch.tensor([3, 0, 3])
    mapped = there[rows]
    there.store = torch.from_numpy(store)  # as on an accelerator
    assert torch.equal(mapped, there[rows])
    assert mapped.shape == (3, 1, 3, 4) and mapped.dtype == torch.float32


def test_store_is_resident_only_where_it_fits(monkeypatch):
    store = np.zeros((4, 8, 8), np.float16)
    accelerator = torch.device("meta")
    monkeypatch.setattr(clips, "free_bytes", lambda where: store.nbytes / clips.SHARE)
    assert clips.Clips(store, accelerator).place == accelerator
    monkeypatch.setattr(clips, "free_bytes", lambda where: store.nbytes / clips.SHARE - 1)
    assert clips.Clips(store, accelerator).place == torch.device("cpu")


def test_a_read_only_store_becomes_resident_without_a_warning(tmp_path):
    np.save(tmp_path / "store.npy", np.arange(6, dtype=np.float16).reshape(2, 1, 3))
    store = np.load(tmp_path / "store.npy", mmap_mode="r")
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else only the first warning of a process shows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            clips.Clips(store, torch.device("meta"))
    finally:
        torch.set_warn_always(always)


def test_sixteen_bits_keep_weights_and_losses_in_float32(tiny):
    one = trainer(tiny("fixmatch_tau075", precision="bfloat16", steps=4))
    seen, plain = [], training.fixmatch_step

    def step(*words):
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        seen.append(plain(*words))
        return seen[-1]

    training.fixmatch_step = step
    try:
        means = training.train_epoch(one, training.step_of(one))
    finally:
        training.fixmatch_step = plain
    assert seen and all(value.dtype == torch.float32 for value in seen[0][:4])
    assert np.isfinite(means["loss"])
    assert all(p.dtype == torch.float32 for p in one.model.parameters())


def test_float16_scales_the_loss_and_skips_an_overflow(tiny):
    """As on a GPU without bfloat16; the CPU stands in, its arithmetic stays in float32."""
    one = trainer(tiny("pann_10"))
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    weight = one.model.fc_transfer.weight
    before = weight.detach().clone()
    one.scaler.scale((weight * float("inf")).sum()).backward()
    training.update(one)
    assert torch.equal(weight, before) and one.scaler.get_scale() == 2.0**9
    one.scaler.scale(weight.sum()).backward()
    training.update(one)
    assert not torch.equal(weight, before)
    assert torch.isfinite(weight).all()


def test_precision_follows_the_card(monkeypatch):
    cuda = torch.device("cuda")
    for capability, dtype in (((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where, found=capability: found)
        assert device.choose_precision("auto", cuda) == dtype
        assert device.choose_precision("float32", cuda) == torch.float32
    assert device.choose_precision("auto", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(("name", "chosen"), [("cuda", []), ("cuda:1", [1])])
def test_settings_on_cuda(monkeypatch, name, chosen):
    """set_device itself cannot run here, but its check of what it is given can."""
    seen = []
    monkeypatch.setattr(
        torch.cuda, "set_device", lambda where: seen.append(torch.cuda._get_device_index(where))
    )
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    backends = types.SimpleNamespace(
        cudnn=types.SimpleNamespace(), cuda=types.SimpleNamespace(matmul=types.SimpleNamespace())
    )
    monkeypatch.setattr(torch, "backends", backends)
    device.prepare(torch.device(name), 1)
    assert seen == chosen
    assert not (backends.cudnn.benchmark or backends.cudnn.allow_tf32 or backends.cuda.matmul.allow_tf32)


def test_what_chooses_the_arithmetic_is_part_of_a_runs_identity(tmp_path):
    before = provenance.folder_hash(provenance.METHOD, "*.none")
    folder = tmp_path / "esc_utils"
    shutil.copytree(provenance.METHOD, folder, ignore=shutil.ignore_patterns("__pycache__"))
    assert provenance.folder_hash(folder, "*.none") == before, "wherever it lies"
    for name in ("features", "device", "fast", "standins/mn04"):
        file = folder / f"{name}.py"
        text = file.read_text()
        file.write_text(text + "\nMORE = 1\n")
        assert provenance.folder_hash(folder, "*.none") != before, name
        file.write_text(text + "\n# a comment\n")
        assert provenance.folder_hash(folder, "*.none") == before, name


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
@pytest.mark.parametrize("experiment", ["pann_10", "fixmatch_tau075"])
def test_float32_on_cuda_follows_the_cpu_over_20_steps(tiny, tmp_path, experiment):
    same = {"dropout_head": 0.0, "steps": 20, "epochs": 2, "precision": "float32"}
    curves = [
        train.run(tiny(experiment, device=name, outputs=str(tmp_path / name), **same), quiet=True).history[
            "loss"
        ]
        for name in ("cpu", "cuda")
    ]
    assert np.allclose(*curves, rtol=2e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_CUDA)
def test_bfloat16_ends_within_the_spread_of_seeds(tmp_path):
    def accuracy(**change):
        knobs = config.for_run(
            "quick", "pann_10", outputs=str(tmp_path / str(change)), cache_dir=str(tmp_path), **change
        )
        return train.run(knobs, quiet=True).metrics["validation"]["last"]["accuracy"]

    seeds = [accuracy(device="cuda", precision="float32", seed=seed) for seed in range(5)]
    assert abs(accuracy(device="cuda", precision="bfloat16") - seeds[0]) <= max(seeds) - min(seeds) + 1e-9
