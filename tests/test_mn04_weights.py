"""load_mn04: where the file is looked for, fetched from a local release, and what is refused, in one line
each."""

import pickle
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracles import randomise
from safetensors.torch import save_file
from test_download import Server, one_line

from esc_suite.records import provenance, train
from esc_suite.run import download, mn04_copy, transfer
from esc_utils import config, paths
from esc_utils.errors import UserError
from esc_utils.standins.mn04 import Mn04, load_mn04

NAME = paths.MN04_FILE


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def tensors():
    """Random tensors in the form of the published file."""
    torch.manual_seed(0)
    model = Mn04(10)
    randomise(model)
    return {
        key: value for key, value in model.state_dict().items() if not key.startswith(("fc_transfer", "mean"))
    }


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A checkout of its own, in whose data/ the weights are looked for; returns that path."""
    root = tmp_path / "checkout"
    (root / "params").mkdir(parents=True)
    (root / "params" / "base.yaml").touch()
    monkeypatch.setenv("ESC_ROOT", str(root))
    return root / "data" / NAME


@pytest.fixture
def known(monkeypatch, tensors, tmp_path):
    """The file of the random tensors, taken for the known one: its logits are those that are asked for."""
    path = tmp_path / "known.pt"
    torch.save(tensors, path)
    model = load_mn04(Mn04(1), path).eval()
    with torch.inference_mode():
        from esc_utils.logmel import Mn04LogMel

        x = Mn04LogMel()(mn04_copy.chirp()[None])
        logits = model.audioset_logits(model.embed(model.normalise(x)))[0]
    monkeypatch.setattr(mn04_copy, "LOGITS", logits[mn04_copy.CLASSES].tolist())
    return path.read_bytes()


@pytest.fixture
def offer(server, monkeypatch):
    """Publish bytes in the local release, with the checksum that they have unless another is given."""

    def put(data: bytes, checksum: str = ""):
        import hashlib

        server.files[NAME] = data
        checksum = checksum or f"sha256:{hashlib.sha256(data).hexdigest()}"
        source = replace(download.SOURCES["mn04"], host=server.url, checksum=checksum, size=len(data))
        monkeypatch.setitem(download.SOURCES, "mn04", source)

    return put


# ---- Where it is looked for ----------------------------------------------------------------------
def test_places_in_their_order(place, tensors, tmp_path):
    lite = real_lite()
    beside = tmp_path / "shared" / "mn04" / NAME
    assert paths.mn04_file() == place, "where it is fetched to"
    assert provenance.weights_digest(lite) == paths.MN04_SHA256[:16], "what will be fetched"
    for path in (beside, place):
        path.parent.mkdir(parents=True)
        torch.save(tensors, path)
        assert paths.mn04_file() == paths.weights_file(lite) == path
    mine = tmp_path / "mine.pt"
    given = lite.model_copy(update={"weights_path": str(mine)})
    assert paths.weights_file(given) == mine and provenance.weights_digest(given) == ""
    mine.write_bytes(place.read_bytes())
    assert provenance.weights_digest(given) == provenance.weights_digest(lite) != paths.MN04_SHA256[:16]
    assert filled(load_mn04(Mn04(10)), tensors)


def real_lite(**overrides) -> config.RunConfig:
    """Config of profile lite, read from the real checkout."""
    folder = Path(__file__).parent.parent / "params"
    return config.from_files([folder / "base.yaml", folder / "profiles" / "lite.yaml"], overrides)


def filled(model, tensors) -> bool:
    state = model.state_dict()
    return all(torch.equal(state[key], value) for key, value in tensors.items()) and not state["mean"].any()


def fetched() -> Path:
    """Where the weights lie once a run of lite is ready."""
    download.ready(real_lite())
    return paths.mn04_file()


# ---- Fetched -------------------------------------------------------------------------------------
def test_fetched_once_on_first_use(place, known, offer, server, tensors, capsys):
    offer(known)
    models = [Mn04(10) for _ in range(3)]
    together = [threading.Thread(target=fetched) for _ in models]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert all(filled(load_mn04(model), tensors) for model in models)
    assert len(server.requests) == 1 and place.read_bytes() == known
    assert "warning" not in capsys.readouterr().out


def test_a_run_fetches_first_and_knows_the_weights_by_their_contents(place, known, offer, server, tmp_path):
    offer(known)
    lite = real_lite(
        experiment="pann_10", dataset="synthetic", synthetic_clips=1, clip_seconds=0.5, steps=2, batch_size=2,
        outputs=str(tmp_path / "outputs"),
    )  # fmt: skip
    first = train.run(download.ready(lite), quiet=True).metrics
    assert len(server.requests) == 1 and first["steps"] == 2
    assert first["backbone"] == "EfficientAT mn04 (AudioSet)" and first["stands_in_for_pann"]
    mine = tmp_path / "mine.pt"
    place.rename(mine)
    again = train.run(lite.model_copy(update={"weights_path": str(mine)}), quiet=True)
    assert again.metrics == first, "the same weights elsewhere: nothing is trained or fetched"
    assert len(server.requests) == 1


def test_a_cut_download_goes_on(place, known, offer, server, monkeypatch):
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    offer(known)
    server.cut_at = [3 * transfer.BLOCK]
    assert fetched().read_bytes() == known
    assert server.requests == [None, f"bytes={3 * transfer.BLOCK}-"]


def test_another_checksum_is_accepted_if_the_tensors_are_the_known_ones(place, known, offer, capsys):
    offer(known, checksum="sha256:" + "0" * 64)
    assert fetched() == place and place.read_bytes() == known
    warning = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: "))
    assert NAME in warning and "0" * 64 in warning and "accepted" in warning


@pytest.mark.parametrize("spoiled", ["other weights", "cut", "page"])
def test_another_checksum_is_refused_else(place, known, offer, tensors, tmp_path, spoiled):
    other = tmp_path / "other.pt"
    torch.save(tensors | {"classifier.5.bias": 1 + tensors["classifier.5.bias"]}, other)
    sent = {"other weights": other.read_bytes(), "cut": known[:100_000], "page": b"<html>log in</html>"}[
        spoiled
    ]
    offer(sent, checksum="sha256:" + "0" * 64)
    with pytest.raises(UserError) as caught:
        fetched()
    assert "damaged" in one_line(caught) and NAME in str(caught.value)
    assert not place.exists() and not list(place.parent.glob("*.part"))


def test_offline_names_address_and_folder(place, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    dead = Server()
    dead.close()  # a port on which nobody listens
    monkeypatch.setattr(transfer.time, "sleep", lambda _: None)
    source = replace(download.SOURCES["mn04"], host=dead.url)
    monkeypatch.setitem(download.SOURCES, "mn04", source)
    with pytest.raises(UserError, match="make data PROFILE=lite"):
        load_mn04(Mn04(10))
    with pytest.raises(UserError) as caught:
        fetched()
    message = one_line(caught)
    assert source.url() in message and str(place.parent) in message and NAME in message


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["mn04"], ["mn04"]),
        (["--profile", "lite"], ["dataset", "mn04"]),
        (["--profile", "paper"], ["dataset", "weights"]),
        (["--profile", "quick"], ["dataset", "weights", "mn04"]),
        (["all", "--profile", "lite"], ["dataset", "weights", "mn04"]),
    ],
)
def test_command_downloads_what_a_profile_needs(words, names, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(download, "fetch", lambda names, *rest: asked.extend(names))
    assert download.main([*words, "--to", str(tmp_path)]) == 0
    assert asked == names


# ---- Refused -------------------------------------------------------------------------------------
class Code:
    def __reduce__(self):
        return (print, ("code ran",))


SPOILED = {
    "missing tensor": (lambda t: t.pop("features.3.block.0.0.weight"), "features.3.block.0.0.weight missing"),
    "wrong shape": (
        lambda t: t.update({"classifier.5.bias": torch.zeros(10)}),
        r"has shape \(10,\), needed \(527,\)",
    ),
    "not finite": (lambda t: t["features.16.1.bias"].fill_(float("nan")), "features.16.1.bias is not finite"),
    "extra tensor": (lambda t: t.update(other=torch.zeros(2)), "other is not part of mn04"),
    "no tensor": (lambda t: t.update({"classifier.2.bias": "text"}), "classifier.2.bias missing"),
}


@pytest.mark.parametrize("case", SPOILED)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_does_not_fit(tensors, tmp_path, case, suffix):
    spoil, words = SPOILED[case]
    made = {key: value.clone() for key, value in tensors.items()}
    spoil(made)
    if suffix == ".safetensors":
        made = {key: value for key, value in made.items() if isinstance(value, torch.Tensor)}
    path = tmp_path / f"mine{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(made, path)
    model = Mn04(10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError, match=words) as caught:
        load_mn04(model, path)
    assert "weights_path" in one_line(caught)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_what_is_no_checkpoint_is_refused(tensors, tmp_path, capsys):
    whole = tmp_path / "whole.pt"
    torch.save(tensors, whole)
    code, legacy, rows = {"features.0.0.weight": Code()}, tmp_path / "legacy.pt", tmp_path / "rows.pt"
    torch.save(code, legacy, _use_new_zipfile_serialization=False)
    torch.save([torch.zeros(2)], rows)
    for content, words in (
        (whole.read_bytes()[:100_000], "damaged"),
        (b"", "damaged"),
        (b"<html>", "damaged"),
        (pickle.dumps(code, protocol=2), "damaged|more than weights"),
        (legacy.read_bytes(), "more than weights"),
        (rows.read_bytes(), "holds no tensors by name"),
    ):
        path = tmp_path / "spoiled.pt"
        path.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            load_mn04(Mn04(10), path)
        assert "make data PROFILE=lite" in one_line(caught)
    assert "code ran" not in capsys.readouterr().out


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no weights at") as caught:
        load_mn04(Mn04(10), tmp_path / "mine.pt")
    assert "mine.pt" in one_line(caught)
