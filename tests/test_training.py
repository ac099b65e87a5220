import json
import warnings

import numpy as np
import pandas
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from esc_suite.records import checkpoint, runs, train
from esc_utils import config, evaluation, graphs, optim, state, training
from esc_utils import start as head
from esc_utils.errors import UserError
from esc_utils.model import Cnn14
from esc_utils.paths import ASSETS
from esc_utils.urbansound import open_dataset, split

TIMES = {"seconds", "clips_per_second"}


def comparable(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["config"] = {k: v for k, v in metrics["config"].items() if k != "outputs"}
    metrics["provenance"].pop("commit"), metrics["provenance"].pop("dirty")
    kept = {k: v for k, v in metrics.items() if k not in TIMES}
    return kept, (folder / "history.csv").read_bytes(), (folder / "predictions.npz").read_bytes()


EXPERIMENTS = ["cnn14_10", "pann_10", "pann_100", "fixmatch_tau075", "fixmatch_tau095_nomixup",
               "fixmatch_tau075_accum",
               "fixmatch_tau075_sgd", "fixmatch_tau075_ranger", "flexmatch", "freematch",
               "softmatch", "open_control", "open_openmatch"]  # fmt: skip


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_kind_of_row_trains_and_leaves_a_valid_record(tiny, experiment):
    knobs = tiny(experiment)
    run = train.run(knobs, quiet=True)
    assert runs.read(run.folder).metrics == run.metrics
    dataset = open_dataset(knobs)
    parts = split(knobs, dataset)
    last = run.metrics["validation"]["last"]
    again = evaluation.metrics(run.predictions["valid_label"], run.predictions["valid_prob"])
    assert last["accuracy"] == pytest.approx(again["accuracy"])
    assert last["auc_weighted"] == pytest.approx(again["auc_weighted"], abs=0.01)
    assert run.metrics["validation"]["clips"] == len(parts.validation)
    assert run.history["step"].iloc[-1] == run.metrics["steps"]
    if knobs.method == "fixmatch":
        confidence = run.predictions["pseudo_confidence"]
        assert confidence.shape == (run.metrics["epochs"], len(parts.unlabelled))
        weight = run.predictions.get("pseudo_weight", confidence >= knobs.tau)
        weighed = (knobs.threshold, knobs.open_set) != ("fixed", "none")
        assert weighed == ("pseudo_weight" in run.predictions)
        rate = np.nanmean(weight[-1], where=~np.isnan(confidence[-1]))
        assert run.history["mask_rate"].iloc[-1] == pytest.approx(rate, abs=0.02)
    assert not list(run.folder.glob("*.pt"))


def test_hidden_labels_do_not_touch_training(tiny, monkeypatch):
    """The same run with every hidden label (unlabelled and validation folds) changed predicts the same, bit
    for bit."""
    honest = train.run(tiny("fixmatch_tau075", seed=1), quiet=True)

    def scrambled(config):
        dataset = open_dataset(config)
        parts = split(config, dataset)
        clips = dataset.clips.copy()
        hidden = np.concatenate([parts.unlabelled, parts.validation])
        clips.loc[hidden, "class_id"] = (clips.loc[hidden, "class_id"] + 3) % 10
        return type(dataset)(dataset.root, clips, True, "scrambled", {})

    original = state.open_store
    monkeypatch.setattr(state, "open_store", lambda config, _: original(config, open_dataset(config)))
    monkeypatch.setattr(train, "open_dataset", scrambled)
    scrambled_run = train.run(
        tiny("fixmatch_tau075", seed=1, outputs=str(honest.folder.parents[3] / "other")), quiet=True
    )
    assert np.array_equal(honest.predictions["valid_prob"], scrambled_run.predictions["valid_prob"])
    assert np.array_equal(honest.predictions["unlabelled_prob"], scrambled_run.predictions["unlabelled_prob"])
    assert not np.array_equal(
        honest.predictions["unlabelled_label"], scrambled_run.predictions["unlabelled_label"]
    )


def test_same_command_twice_gives_the_same_record(tiny, tmp_path):
    one = train.run(tiny("fixmatch_tau075", outputs=str(tmp_path / "a")), quiet=True)
    two = train.run(tiny("fixmatch_tau075", outputs=str(tmp_path / "b")), quiet=True)
    assert comparable(one.folder) == comparable(two.folder)


@pytest.mark.parametrize(
    "experiment",
    [
        "pann_10",
        "fixmatch_tau075",
        "fixmatch_tau075_accum",
        "fixmatch_tau075_ranger",
        "flexmatch",
        "freematch",
        "softmatch",
        "open_openmatch",
    ],
)
@pytest.mark.parametrize("damage", [False, True])
def test_interrupted_run_ends_the_same(tiny, tmp_path, monkeypatch, experiment, damage):
    change = {"ema": 0.9} if experiment == "pann_10" else {}
    whole = train.run(tiny(experiment, outputs=str(tmp_path / "whole"), **change), quiet=True)
    knobs = tiny(experiment, outputs=str(tmp_path / "cut"), **change)
    save, saved = checkpoint.save, []

    def cut(folder, state):
        save(folder, state)
        saved.append(state["epoch"])
        if len(saved) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(train.checkpoint, "save", cut)
    monkeypatch.setattr(train, "SAVING_SHARE", float("inf"))
    with pytest.raises(KeyboardInterrupt):
        train.run(knobs, quiet=True)
    monkeypatch.setattr(train.checkpoint, "save", save)
    folder = runs.folder(knobs)
    assert not runs.complete(folder)
    if damage:
        content = bytearray((folder / checkpoint.CURRENT).read_bytes())
        content[len(content) // 2] ^= 255
        (folder / checkpoint.CURRENT).write_bytes(content)
        with pytest.warns(UserWarning, match="damaged"):
            train.run(knobs, quiet=True)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            train.run(knobs, quiet=True)
    assert comparable(folder) == comparable(whole.folder)
    assert "resumed after epoch" in (folder / "log.txt").read_text()


def test_finished_run_is_not_trained_again_and_a_changed_one_is(tiny):
    knobs = tiny("pann_10")
    first = train.run(knobs, quiet=True)
    stamp = (first.folder / "metrics.json").stat().st_mtime_ns
    train.run(knobs, quiet=True)
    assert (first.folder / "metrics.json").stat().st_mtime_ns == stamp
    train.run(tiny("pann_10", learning_rate=1e-3), quiet=True)
    assert (first.folder / "metrics.json").stat().st_mtime_ns != stamp


def test_two_processes_in_one_folder(tiny):
    knobs = tiny("pann_10")
    with runs.claim(runs.folder(knobs)), pytest.raises(UserError, match="another process is training"):
        train.run(knobs, quiet=True)


def test_gradient_accumulation_halves_the_optimizer_steps(tiny, monkeypatch):
    counted = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a, **k: (counted.append(1), original(self, *a, **k))[1]
    )
    one = train.run(tiny("fixmatch_tau075"), quiet=True).metrics["steps"]
    plain = len(counted)
    counted.clear()
    two = train.run(tiny("fixmatch_tau075_accum"), quiet=True).metrics["steps"]
    assert one == two == plain  # equal iterations
    assert len(counted) == -(-plain // 2)  # ledger 21


def test_diverged_run_is_one_line_and_leaves_no_record(tiny):
    knobs = tiny("cnn14_10", learning_rate=1e30, optimizer="sgd")
    with pytest.raises(UserError, match="learning_rate"):
        train.run(knobs, quiet=True)
    assert not runs.complete(runs.folder(knobs))


def test_missing_device_says_what_to_use(tiny):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    with pytest.raises(UserError, match="device: auto or cpu"):
        train.run(tiny("cnn14_10", device="cuda"), quiet=True)
    with pytest.raises(UserError, match="not a device"):
        train.run(tiny("cnn14_10", device="gpu!"), quiet=True)


def test_logistic_head_start_is_the_regression_on_the_embeddings():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 2, 5], 20)  # classes 1, 3, 4 have no labelled clips
    embeddings = (
        generator.normal(size=(60, 8)) * [1, 5, 0.1, 1, 1, 1, 1, 1]
        + np.where(np.arange(8) == 2, 0, 1) * labels[:, None]
    )
    model = Cnn14(6, width=1)
    model.fc_transfer = torch.nn.Linear(8, 6)
    head.start_from_logistic(model, embeddings, labels, 6, c=0.01)
    ours = model.fc_transfer(torch.from_numpy(embeddings).float()).softmax(1).detach().numpy()
    scaled = (embeddings - embeddings.mean(0)) / np.maximum(
        spread := embeddings.std(0), 0.3 * np.median(spread)
    )
    theirs = LogisticRegression(C=0.01, max_iter=1000).fit(scaled, labels).predict_proba(scaled)
    shares = ours[:, [0, 2, 5]] / ours[:, [0, 2, 5]].sum(1, keepdims=True)
    assert np.allclose(shares, theirs, atol=1e-4)
    assert set(ours.argmax(1)) <= {0, 2, 5}


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("Unable to allocate 2.0 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["device", "numpy", "cpu"],
)
def test_out_of_memory_says_what_to_lower_and_the_run_goes_on(tiny, monkeypatch, error):
    knobs, plain, calls = tiny("cnn14_10"), training.supervised_step, []

    def breaks(*args):
        calls.append(1)
        if len(calls) == 4:
            raise error
        return plain(*args)

    monkeypatch.setattr(training, "supervised_step", breaks)
    monkeypatch.setattr(train, "SAVING_SHARE", float("inf"))
    with pytest.raises(
        UserError, match=r"lower batch_size, .* or mu; the first \d+ epochs are kept"
    ) as raised:
        train.run(knobs, quiet=True)
    assert "\n" not in str(raised.value)
    monkeypatch.setattr(training, "supervised_step", plain)
    found = train.run(knobs, quiet=True)
    assert "resumed after epoch" in (found.folder / "log.txt").read_text()


def test_checkpoints_take_a_small_share_of_the_time(tiny, monkeypatch):
    saves, plain, clock = [], checkpoint.save, [0.0]

    def slow(folder, state):
        saves.append(state["epoch"])
        plain(folder, state)
        clock[0] += 5  # seconds that a save takes

    def epoch(*words):
        clock[0] += 10  # seconds that an epoch takes
        return train_epoch(*words)

    train_epoch = training.train_epoch
    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(training, "train_epoch", epoch)
    monkeypatch.setattr(train.checkpoint, "save", slow)
    run = train.run(tiny("cnn14_10"), quiet=True)
    assert run.metrics["epochs"] == 12
    assert saves == [1, 6, 11]  # 50 s between two saves of 5 s


def test_other_weights_are_another_run(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    shipped = ASSETS / "backbone.safetensors"
    own = tmp_path / "own.safetensors"
    own.write_bytes(shipped.read_bytes())
    knobs = tiny("pann_10", weights_path=str(own))
    first = train.run(knobs, quiet=True)
    assert train.run(tiny("pann_10"), quiet=True).metrics == first.metrics  # the same weights elsewhere
    tensors = load_file(own)
    tensors["fc1.weight"] *= 1.5
    save_file(tensors, own)
    second = train.run(knobs, quiet=True)
    assert second.metrics["provenance"]["identity"] != first.metrics["provenance"]["identity"]
    assert not np.array_equal(second.predictions["valid_prob"], first.predictions["valid_prob"])


def test_steps_are_recorded_only_on_cuda_and_where_nothing_is_read_back():
    card, knobs = torch.device("cuda"), config.for_run("paper", "fixmatch_tau075")
    assert graphs.usable(card, True) and not graphs.usable(card, False)
    assert not graphs.usable(torch.device("cpu"), True)
    assert graphs.optimizer_too(knobs, torch.bfloat16)
    assert not graphs.optimizer_too(knobs, torch.float16), "`precision: auto` on an older card"
    for change in ({"accumulate": 2}, {"optimizer": "ranger"}):
        assert not graphs.optimizer_too(knobs.model_copy(update=change), torch.bfloat16)


class Replay(graphs.StepGraph):
    """What a CUDA graph does, without one: the recorded function runs again on the inputs it was recorded
    with."""

    def __init__(self, take):
        self.take, self.calls, self.graph = take, 0, None

    def _warm(self, *inputs):
        return self.take(*inputs)

    def _capture(self, *inputs):
        self.inputs, self.graph = graphs.tensors(*inputs), self
        self.replay = lambda: setattr(self, "outputs", self.take(*inputs))


@pytest.fixture
def exact_rates(monkeypatch):
    """Learning rates on a device are float32, and training grows the rounding, on some processors beyond any
    bound: here they are what they are in a run whose steps are not recorded."""

    def kept(opt, device):
        for group in opt.param_groups:
            group.setdefault("peak_lr", group["lr"])
            group["lr"] = torch.tensor(float(group["lr"]), device=device, dtype=torch.float64)

    monkeypatch.setattr(training, "rates_on", kept)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_rates_on_a_device_take_the_same_steps(kind):
    ends = []
    for on_device in (False, True):
        weights = torch.nn.Parameter(torch.linspace(-1, 1, 50))
        knobs = config.for_run("quick", "fixmatch_tau075", optimizer=kind)
        opt = optim.optimizer(knobs, [{"params": [weights], "lr": knobs.learning_rate}])
        if on_device:
            optim.rates_on(opt, torch.device("cpu"))
        for step in range(5):
            optim.set_rate(opt, 1 - step / 10)
            weights.grad = torch.sin(weights.detach() * (step + 1))
            opt.step()
        ends.append(weights.detach())
    assert torch.allclose(*ends, rtol=1e-5, atol=1e-7) and not torch.equal(ends[0], torch.linspace(-1, 1, 50))


RECORDED = ["fixmatch_tau075", "fixmatch_tau075_sgd", "fixmatch_tau075_accum", "fixmatch_tau075_ranger",
            "fixmatch_tau095_nomixup", "pann_control", "flexmatch", "freematch", "softmatch",
            "open_openmatch"]  # fmt: skip


@pytest.mark.parametrize("experiment", RECORDED)
def test_a_step_that_is_recorded_once_trains_as_one_that_is_not(
    tiny, tmp_path, monkeypatch, exact_rates, experiment
):
    """All that changes from step to step reaches the record through its inputs, and nothing else does."""
    plain = train.run(tiny(experiment), quiet=True)
    monkeypatch.setattr(training, "usable", lambda *_: True)
    monkeypatch.setattr(training, "StepGraph", Replay)
    other = train.run(tiny(experiment, outputs=str(tmp_path / "recorded")), quiet=True)
    pandas.testing.assert_frame_equal(plain.history, other.history, rtol=1e-4)
    assert np.allclose(plain.predictions["valid_prob"], other.predictions["valid_prob"], atol=1e-4)


@pytest.mark.parametrize("experiment", ["fixmatch_tau075", "fixmatch_tau075_sgd", "freematch"])
def test_a_recorded_run_that_was_cut_off_goes_on_with_or_without_a_record(
    tiny, tmp_path, monkeypatch, exact_rates, experiment
):
    monkeypatch.setattr(training, "StepGraph", Replay)
    monkeypatch.setattr(train, "SAVING_SHARE", 0.0)
    whole = train.run(tiny(experiment), quiet=True)
    save = checkpoint.save
    for usable in ((True, False), (False, True)):
        knobs = tiny(experiment, outputs=str(tmp_path / str(usable)))

        def cut(*found):
            save(*found)
            raise KeyboardInterrupt

        with monkeypatch.context() as first:
            first.setattr(training, "usable", lambda *_, now=usable[0]: now)
            first.setattr(checkpoint, "save", cut)
            with pytest.raises(KeyboardInterrupt):
                train.run(knobs, quiet=True)
        monkeypatch.setattr(training, "usable", lambda *_, now=usable[1]: now)
        resumed = train.run(knobs, quiet=True)
        pandas.testing.assert_frame_equal(whole.history, resumed.history, rtol=1e-4)
