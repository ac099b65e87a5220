"""SIGKILL at random times, the same command again, until the run ends: byte for byte the record of an
undisturbed run.

ESC_KILLS kills in all, over supervised and FixMatch runs: 3 by default, 20 with `make torture`."""

import math
import multiprocessing
import os
import random
import shutil
import time
from itertools import cycle
from pathlib import Path

import pytest
from test_training import comparable

from esc_suite.records import checkpoint, runs, train

KILLS = int(os.environ.get("ESC_KILLS", "3"))
MOST = min(5, math.ceil(KILLS / 2))  # of one run
LONGER = {"steps": 40, "epochs": 4}
RUNS = {
    "pann_10": {"ema": 0.9, "batch_size": 2},
    "fixmatch_tau075": {},
    "cnn14_10": {"batch_size": 2},
    "fixmatch_tau075_accum": {},
    "pann_100": {"batch_size": 8},
    "fixmatch_tau075_ranger": {},
    "flexmatch": {},
    "open_openmatch": {},
    "softmatch": {},
}
# As warm kernels: a run is a fork of a process that has imported everything, so a start is mostly training.
SERVER = multiprocessing.get_context("forkserver")
PRELOADED = [
    "torch._dynamo",
    "pandas",
    "scipy.stats",
    "sklearn.metrics",
    "sklearn.linear_model",
    "esc_suite.records.train",
]


def trained(knobs, longest: float | None = None) -> bool:
    """Whether a training process came to its end within so many seconds; it is killed where it did not."""
    process = SERVER.Process(target=train.run, args=(knobs, True))
    process.start()
    process.join(longest)
    ended = not process.is_alive()
    process.kill()
    process.join()
    assert not ended or process.exitcode == 0
    return ended


def ending(knobs):
    """What the run leaves when it is trained to its end from whatever lies in its folder."""
    assert trained(knobs)
    folder = runs.folder(knobs)
    return comparable(folder), {path.name for path in folder.iterdir()}


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_runs_end_as_undisturbed_ones(tiny, tmp_path):
    """After every kill a copy goes on to its end at once, and the run itself to the next kill."""
    SERVER.set_forkserver_preload(PRELOADED)
    dice, kills, endings = random.Random(KILLS), 0, 0
    for number, (experiment, change) in enumerate(cycle(RUNS.items())):
        if kills == KILLS:
            break
        whole, cut = (
            tiny(experiment, outputs=str(tmp_path / f"{name}{number}"), seed=number, **LONGER | change)
            for name in ("whole", "cut")
        )
        began = time.monotonic()
        expected = ending(whole)
        longest = (time.monotonic() - began) / 2
        for kill in range(1, 1 + min(MOST, KILLS - kills)):
            delay = dice.uniform(0, longest)
            if trained(cut, delay):
                break
            kills += 1
            log = runs.folder(cut) / "log.txt"
            last = log.read_text().splitlines()[-1:] if log.is_file() else []
            print(f"{experiment}, seed {number}: kill {kill} after {delay:.2f} s, log: {' '.join(last)[:70]}")
            copy = cut.model_copy(update={"outputs": f"{cut.outputs}.{kill}"})
            if Path(cut.outputs).exists():
                shutil.copytree(cut.outputs, copy.outputs)
            assert ending(copy) == expected, f"{experiment}, seed {number}, kill {kill}: another ending"
            endings += 1
        assert ending(cut) == expected, f"{experiment}, seed {number}: another ending"
        endings += 1
    print(f"{kills} kills, {endings} identical endings")


def test_killed_between_the_record_and_the_end(tiny):
    """The checkpoints go when the same command finds the record finished."""
    knobs = tiny("cnn14_10")
    folder = train.run(knobs, quiet=True).folder
    (folder / checkpoint.CURRENT).write_bytes(b"left")
    train.run(knobs, quiet=True)
    assert not (folder / checkpoint.CURRENT).exists()


def test_what_a_killed_process_was_writing_goes(tiny):
    knobs = tiny("cnn14_10")
    folder = runs.folder(knobs)
    folder.mkdir(parents=True)
    (folder / ".checkpoint.pt.4711").write_bytes(b"half")
    (folder / ".predictions.npz.4712").write_bytes(b"half")
    train.run(knobs, quiet=True)
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "log.txt",
        "metrics.json",
        "history.csv",
        "predictions.npz",
    }
