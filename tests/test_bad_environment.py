"""Weights, disk, permissions, device, notebooks: one line that names the place and the remedy, earlier
results untouched."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from bad_input import one_line, refused
from permissions import drop_override, read_only
from small_disk import small_disk

from esc_suite.records import runs, train
from esc_utils import config, start

PROJECT = Path(__file__).resolve().parent.parent
# Runs in a process of its own, from configs as JSON; prints one JSON value each: null, or the message of a
# UserError.
TRAIN = """
import json, sys
from esc_suite.records import train
from esc_utils.config import RunConfig
from esc_utils.errors import UserError
for text in sys.argv[1:]:
    try:
        train.run(RunConfig(**json.loads(text)), quiet=True)
        print("null")
    except UserError as error:
        print(json.dumps(str(error)))
"""


def content(folder: Path) -> dict[str, bytes]:
    """What a record holds (the log aside, which tells of failed tries too)."""
    return {name: (folder / name).read_bytes() for name in ("metrics.json", "history.csv", "predictions.npz")}


def trained_apart(*knobs, under: tuple[str, ...] = ()) -> list[str | None]:
    """Train one after the other in a process without root's right to override permissions, or `under` a
    command."""
    done = subprocess.run(
        [*under, sys.executable, "-c", TRAIN, *(run.model_dump_json() for run in knobs)],
        preexec_fn=None if under else drop_override, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT), "MPLBACKEND": "Agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- weights --------------------------------------------------------------------------------------


class Hostile:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_weights(case: str, path: Path) -> None:
    from safetensors.torch import save_file

    from esc_utils.model import Cnn14
    from esc_utils.weights import front_end_tensors

    tensors = Cnn14(10, width=2 if "another width" in case else 1).state_dict()
    match case:
        case "text":
            path.write_text("<html>log in</html>")
        case "empty":
            path.touch()
        case "hostile":
            torch.save({"model": tensors, "sampler": Hostile(path.with_name("ran"))}, path)
        case (
            "PANN's of 32 kHz"
            | "PANN's of another width"
            | "PANN's, cut"
            | "not finite"
            | "another front end"
        ):
            front_end = front_end_tensors()
            mel = next(iter(front_end))
            if case == "PANN's of 32 kHz":
                front_end[mel] = torch.zeros(513, 64)
            if case == "another front end":
                front_end[mel] = front_end[mel].roll(1, 0)
            if case == "not finite":
                tensors["conv_block1.conv1.weight"][0] = float("nan")
            torch.save({"model": tensors | front_end}, path)
            if case == "PANN's, cut":
                path.write_bytes(path.read_bytes()[:-1000])
        case "no model inside":
            torch.save({"weights": tensors}, path)
        case "another width" | "cut" | "text for safetensors":
            path = path.with_suffix(".safetensors")
            save_file(tensors, path)
            whole = path.read_bytes()
            keep = {"cut": whole[:-100], "text for safetensors": b"not tensors"}
            path.write_bytes(keep.get(case, whole))


WEIGHTS = {
    "missing": ("mine.pth", "no weights", "make data"),
    "text": ("mine.pth", "damaged", "make data"),
    "empty": ("mine.pth", "damaged", "make data"),
    "hostile": ("mine.pth", "refused", "make data"),
    "no model inside": ("mine.pth", "not a checkpoint", "make data"),
    "PANN's of 32 kHz": ("mine.pth", "32 kHz", "16 kHz", "make data"),
    "PANN's of another width": ("mine.pth", "has shape", "needed", "set width"),
    "PANN's, cut": ("mine.pth", "damaged", "make data"),
    "not finite": ("mine.pth", "conv_block1.conv1.weight is not finite", "weights_path"),
    "another front end": ("mine.pth", "another front end", "make data"),
    "another width": ("mine.safetensors", "has shape", "needed", "set width"),
    "cut": ("mine.safetensors", "damaged", "again"),
    "text for safetensors": ("mine.safetensors", "damaged", "again"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_bad_weights(case, tiny, tmp_path):
    write_weights(case, tmp_path / "mine.pth")
    knobs = tiny("pann_10", width=1, weights_path=str(tmp_path / WEIGHTS[case][0]))
    refused(lambda: start.build_model(knobs), *WEIGHTS[case])
    assert not (tmp_path / "ran").exists()


SAMPLERS = {  # what a training sampler may keep, as PANN's own does
    "RandomState's state": lambda: np.random.RandomState(0).get_state(),
    "float16": lambda: np.zeros(3, np.float16),
    "text": lambda: np.array(["a", "bc"]),
    "bytes, big-endian, empty": lambda: [np.array([b"a"]), np.zeros(2, ">i4"), np.zeros((0, 3), np.uint8)],
    "dates and records": lambda: [np.array(["2020-01-01"], "M8[D]"), np.zeros(2, [("a", "i4"), ("b", "f8")])],
    "scalars and objects": lambda: [np.float16(3), np.str_("a"), np.array([1, "x", None], object)],
}


@pytest.mark.parametrize("case", SAMPLERS)
def test_numpy_data_of_any_kind_is_let_through(case, tmp_path):
    from esc_utils import weights

    torch.save(
        {"model": {"a": torch.ones(1)}, "sampler": {"indexes": SAMPLERS[case]()}}, tmp_path / "mine.pth"
    )
    assert weights._read_published(tmp_path / "mine.pth")["a"] == 1


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "hidden", [lambda it: it, lambda it: np.array([it], object), lambda it: {"deep": [it]}]
)
def test_code_never_is_and_is_named(hidden, legacy, tmp_path):
    """Also in an array of objects, and in the file format before PyTorch 1.6."""
    from esc_utils import weights

    path = tmp_path / "mine.pth"
    content = {"model": {}, "sampler": hidden(Hostile(tmp_path / "ran"))}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    refused(lambda: weights._read_published(path), "mine.pth", "more than weights", "getattr", "refused")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    "write",
    [
        torch.save,
        lambda content, path, pickle_protocol: path.write_bytes(pickle.dumps(content, pickle_protocol)),
    ],
)
def test_a_later_pickle_protocol_is_named_and_code_in_it_stays_unread(write, protocol, tmp_path, recwarn):
    from esc_utils import weights

    for own in (np.arange(4), Hostile(tmp_path / "ran")):
        write({"model": {}, "sampler": {"indexes": own}}, tmp_path / "mine.pth", pickle_protocol=protocol)
        refused(lambda: weights._read_published(tmp_path / "mine.pth"), "mine.pth", "move it away")
    assert not (tmp_path / "ran").exists() and not recwarn.list
    write(
        {"model": {}, "sampler": {"indexes": np.arange(4)}}, tmp_path / "mine.pth", pickle_protocol=protocol
    )
    refused(lambda: weights._read_published(tmp_path / "mine.pth"), f"pickle protocol {protocol}")


# --- disk and permissions -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory, tiny_outputs):
    """Config of a run that is finished, in a folder that no test touches."""
    layers = [*config.layers_of("quick", "cnn14_10"), PROJECT / "tests" / "tiny.yaml"]
    places = {"outputs": str(tmp_path_factory.mktemp("finished")), "cache_dir": str(tiny_outputs / "cache")}
    knobs = config.from_files(layers, {"profile": "quick", "experiment": "cnn14_10", "width": 1} | places)
    train.run(knobs, quiet=True)
    return knobs


@pytest.fixture
def finished(template, tmp_path):
    """A copy of it: its config, its folder, what its record holds."""
    knobs = template.model_copy(update={"outputs": str(tmp_path / "outputs")})
    shutil.copytree(template.outputs, knobs.outputs)
    folder = runs.folder(knobs)
    return knobs, folder, content(folder)


def test_read_only_folders(finished, tmp_path):
    """Outputs, cache, and the folder of a finished record that would have to be trained anew."""
    knobs, folder, before = finished
    closed = tmp_path / "closed"
    closed.mkdir()
    read_only(closed)
    read_only(folder)
    changed = knobs.model_copy(update={"learning_rate": 1e-3})
    cases = {key: changed.model_copy(update={key: str(closed)}) for key in ("outputs", "cache_dir")} | {
        "record": changed
    }
    messages = dict(zip(cases, trained_apart(*cases.values()), strict=True))
    read_only(closed, allow=True)
    read_only(folder, allow=True)
    one_line(messages["outputs"], str(closed), "cannot write", "outputs")
    one_line(messages["cache_dir"], str(closed), "cannot write", "cache_dir")
    one_line(messages["record"], str(folder), "cannot write", "outputs")
    assert content(folder) == before


def test_disk_full(finished, needs_mount):
    """A changed run in the place of a finished one, on a disk without room for its checkpoint."""
    knobs, folder, before = finished
    used = sum(file.stat().st_size // 4096 + 1 for file in folder.rglob("*")) * 4
    (message,) = trained_apart(
        knobs.model_copy(update={"learning_rate": 1e-3}), under=small_disk(folder, used + 40)
    )
    one_line(message, str(folder), "free some space")
    assert content(Path(f"{folder}.seen")) == before


def test_feature_store_on_a_full_disk(template, needs_mount, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(template.cache_dir, cache, ignore=shutil.ignore_patterns("features"))
    (cache / "features").mkdir()
    places = {"outputs": str(tmp_path / "outputs"), "cache_dir": str(cache)}
    (message,) = trained_apart(template.model_copy(update=places), under=small_disk(cache / "features", 32))
    one_line(message, str(cache), "free some space")
    assert not list(Path(f"{cache / 'features'}.seen").glob("*.npy"))


@pytest.mark.parametrize("write", [1, 2, 3])
def test_disk_full_within_the_record(write, finished, monkeypatch):
    """Whichever of the three files finds no room: the old record stays, or none is there; never a mixture."""
    _, folder, before = finished
    calls = iter(range(1, 99))

    def fsync(descriptor: int) -> None:
        if next(calls) == write:
            raise OSError(errno.ENOSPC, "No space left on device")

    record = runs.read(folder)
    monkeypatch.setattr(os, "fsync", fsync)
    other = {name: values[::-1] for name, values in record.predictions.items()}
    refused(
        lambda: runs.write(folder, record.metrics, record.history.iloc[:1], other),
        str(folder),
        "free some space",
    )
    assert not runs.complete(folder) or content(folder) == before


def test_damaged_record(finished):
    _, folder, _ = finished
    whole = (folder / "metrics.json").read_text()
    for name, text in (
        ("metrics.json", whole[:50]),
        ("metrics.json", "{}"),
        ("history.csv", ""),
        ("predictions.npz", "x"),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).write_text(text)
        refused(lambda: runs.read(folder), str(folder), "damaged", "train again")
        (folder / name).write_bytes(kept)
    (folder / "history.csv").unlink()
    refused(lambda: runs.read(folder), str(folder), "damaged", "train again")


# --- device, several at once, notebooks -----------------------------------------------------------


@pytest.mark.parametrize(
    "device", ["cuda:99", "gpu", "cuda:x", "cpu:3", "vulkan", "xpu", "meta", "mkldnn", "hpu"]
)
def test_device_that_is_not_there(device, tiny):
    refused(lambda: train.run(tiny(device=device), quiet=True), f"{device}", "use")


def test_no_cuda(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(lambda: train.run(tiny(device="cuda"), quiet=True), "device: cuda", "auto")


def test_two_runs_in_one_folder(finished):
    knobs, folder, before = finished
    changed = knobs.model_copy(update={"learning_rate": 1e-3})
    with runs.claim(folder):
        refused(lambda: train.run(changed, quiet=True), str(folder), "another process", "wait")
    assert content(folder) == before


@pytest.fixture
def papermill(tmp_path):
    """Execute a two-cell notebook with the project's engine; returns the written notebook."""
    from papermill.engines import papermill_engines
    from papermill.execute import execute_notebook

    from esc_suite.run.engine import EscEngine

    papermill_engines.register("esc", EscEngine)
    cells = [
        nbformat.v4.new_code_cell(
            "profile = 'quick'\nexperiment = 'pann_10'", metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_code_cell(
            "from esc_utils import config\nfrom esc_utils import urbansound\n"
            "settings = config.from_notebook(globals())"
        ),
        nbformat.v4.new_code_cell("dataset = urbansound.open_dataset(settings)"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    source, target = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    nbformat.write(notebook, source)

    def run(**parameters):
        execute_notebook(source, target, parameters, engine_name="esc", progress_bar=False, cwd=PROJECT)
        return nbformat.read(target, 4)

    run.target = target
    return run


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"widht": 8}, ("'widht'", "'width'")),
        ({"tau": "1e-1"}, ("tau", "1.0e-4")),
        ({"experiment": "pann_11"}, ("pann_11",)),
    ],
)
def test_notebook_with_bad_parameters(papermill, parameters, words):
    """Refused before anything runs."""
    import click

    with pytest.raises(click.ClickException) as caught:
        papermill(**parameters)
    one_line(caught.value.message, *words)


def test_notebook_with_a_missing_dataset(papermill, tmp_path):
    """A UserError inside a cell: one line in the notebook and on the command line, no traceback of ours."""
    import click

    with pytest.raises(click.ClickException) as caught:
        papermill(dataset="urbansound8k", data_dir=str(tmp_path / "nowhere"))
    one_line(caught.value.message, "nowhere", "data_dir")
    errors = [out for cell in nbformat.read(papermill.target, 4).cells for out in cell.get("outputs", [])]
    (error,) = [out for out in errors if out.output_type == "error" and out.ename == "UserError"]
    assert len(error.traceback) == 1 and error.traceback[0].startswith("error: ")
