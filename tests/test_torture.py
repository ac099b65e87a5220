"""SIGKILL at random times, the same command again, until the run ends: byte for byte the record of an undisturbed run.

ESC_KILLS kills in all, over supervised and FixMatch runs: 3 by default, 20 with `make torture`."""

import math
import multiprocessing
import os
import random
import time
from itertools import cycle

import pytest
from test_training import comparable

from esc_utils import checkpoint, runs, training

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
}
# As warm kernels: a run is a fork of a process that has imported everything, so a start is mostly training.
SERVER = multiprocessing.get_context("forkserver")
PRELOADED = ["torch._dynamo", "pandas", "scipy.stats", "sklearn.metrics", "sklearn.linear_model", "esc_utils.training"]


def trained(knobs, longest: float | None = None) -> bool:
    """Whether a training process came to its end within so many seconds; it is killed where it did not."""
    process = SERVER.Process(target=training.run, args=(knobs, True))
    process.start()
    process.join(longest)
    ended = not process.is_alive()
    process.kill()
    process.join()
    assert not ended or process.exitcode == 0
    return ended


def tortured(knobs, most: int, longest: float, dice: random.Random) -> int:
    """Train to the end with at most so many kills, each up to `longest` seconds after a start; the number of kills."""
    log = runs.folder(knobs) / "log.txt"
    for kills in range(most):
        delay = dice.uniform(0, longest)
        if trained(knobs, delay):
            return kills
        last = log.read_text().splitlines()[-1:] if log.is_file() else []
        print(f"{knobs.experiment}, seed {knobs.seed}: kill {kills + 1} after {delay:.2f} s, log: {' '.join(last)[:70]}")
    assert trained(knobs)
    return most


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_runs_end_as_undisturbed_ones(tiny, tmp_path):
    SERVER.set_forkserver_preload(PRELOADED)
    dice, kills, endings = random.Random(KILLS), 0, []
    for number, (experiment, knobs) in enumerate(cycle(RUNS.items())):
        if kills == KILLS:
            break
        whole, cut = (
            tiny(experiment, outputs=str(tmp_path / name), seed=number, **LONGER | knobs) for name in ("whole", "cut")
        )
        began = time.monotonic()
        assert trained(whole)
        longest = (time.monotonic() - began) / 2
        kills += tortured(cut, min(MOST, KILLS - kills), longest, dice)
        folder = runs.folder(cut)
        assert comparable(folder) == comparable(runs.folder(whole)), f"{experiment}, seed {number}: another ending"
        assert {path.name for path in folder.iterdir()} == {path.name for path in runs.folder(whole).iterdir()}
        endings.append(experiment)
    print(f"{kills} kills, {len(endings)} runs, {len(endings)} identical endings: {', '.join(endings)}")


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="training.run returns a finished record before it tidies up")
def test_killed_between_the_record_and_the_end(tiny):
    """The checkpoints go when the same command finds the record finished."""
    knobs = tiny("cnn14_10")
    folder = training.run(knobs, quiet=True).folder
    (folder / checkpoint.CURRENT).write_bytes(b"left")
    training.run(knobs, quiet=True)
    assert not (folder / checkpoint.CURRENT).exists()


def test_what_a_killed_process_was_writing_goes(tiny):
    knobs = tiny("cnn14_10")
    folder = runs.folder(knobs)
    folder.mkdir(parents=True)
    (folder / ".checkpoint.pt.4711").write_bytes(b"half")
    (folder / ".predictions.npz.4712").write_bytes(b"half")
    training.run(knobs, quiet=True)
    assert {path.name for path in folder.iterdir()} == {".lock", "log.txt", "metrics.json", "history.csv", "predictions.npz"}
