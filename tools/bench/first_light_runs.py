"""Phases of `first_light` that train: first runs of every kind, then rows of the tables while time lasts."""

import io
import json
import os
import signal
import tarfile
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import numpy as np
from first_light_common import knobs_of, note, size_of

MOST_BYTES = 15_000_000  # of one archive of records
TABLES = (2, 3, 4, 5)
MORE_SEEDS = ("fixmatch_tau075", "pann_control")
FIRST_RUNS = (  # experiment, and whether its steps may be CUDA graphs
    ("fixmatch_tau075", True), ("fixmatch_tau075", False), ("fixmatch_tau075_sgd", True),
    ("fixmatch_tau075_accum", True), ("fixmatch_tau075_ranger", True), ("pann_control", True),
    ("pann_control", False), ("cnn14_fixmatch", True), ("cnn14_fixmatch", False), ("pann_probe", True),
    ("pann_table2", True),
)  # fmt: skip


def first_runs(options) -> None:
    """An epoch of PANN's row from a file in the published format; its numbers are random, so its scores say
    nothing."""
    import torch

    from esc_suite.records import train
    from esc_utils import training
    from esc_utils.model import Cnn14
    from esc_utils.weights import front_end_tensors

    size = size_of(options)
    torch.manual_seed(0)
    model = Cnn14(10, width=size.width)
    tensors = front_end_tensors()
    tensors |= {key: value for key, value in model.state_dict().items() if not key.startswith("fc_transfer.")}
    tensors |= {
        "fc_audioset.weight": torch.zeros(527, model.fc1.out_features),
        "fc_audioset.bias": torch.zeros(527),
    }
    path, sampler = options.work / "published.pth", {"pointers": [0, np.int64(1)], "indexes": [np.arange(3)]}
    torch.save({"iteration": 0, "model": tensors, "sampler": sampler}, path)
    published = {"backbone": "pann", "weights_path": str(path), "width": size.width}
    for experiment, recorded in FIRST_RUNS:
        changes = published | {"steps": 13} if experiment == "pann_table2" else {"steps": size.steps}
        outputs = str(options.work / f"first-{recorded}")
        knobs = knobs_of(options, experiment, **changes, outputs=outputs)
        with mock.patch.object(training, "usable", training.usable if recorded else lambda *_: False):
            run = train.run(knobs, quiet=True)
        values = {
            key: run.metrics[key]
            for key in ("experiment", "backbone", "steps", "seconds", "clips_per_second")
        }
        last = run.history.iloc[-1]
        note(options, phase="first_runs", recorded=recorded, loss=float(last["loss"] or 0), **values)


def listed_runs(options) -> list[tuple[str, int, int]]:
    """(experiment, fold, seed) of Tables 2 to 4, then of Table 5 fold by fold, each once; more seeds come
    last.

    First those whose optimizer is not part of the record, for they take longest, then FixMatch and what it is
    compared with."""
    import torch

    from esc_suite.run import needed_runs
    from esc_utils import graphs

    folds = list(needed_runs.whole_folds(knobs_of(options, "")))
    tables = needed_runs.tables()
    found = [job for n in TABLES[:-1] for job in needed_runs.jobs(tables[n], folds, [0])]
    found.sort(
        key=lambda job: (
            graphs.optimizer_too(knobs_of(options, job.experiment), torch.bfloat16),
            job.experiment not in MORE_SEEDS,
        )
    )
    last = needed_runs.jobs(tables[TABLES[-1]], folds, [0])
    last.sort(
        key=lambda job: (folds.index(job.fold), knobs_of(options, job.experiment).method == "supervised")
    )
    more = [
        (job.experiment, job.fold, seed)
        for seed in options.more_seeds
        for job in last
        if job.experiment in MORE_SEEDS
    ]
    jobs = [*((job.experiment, job.fold, job.seed) for job in found + last), *more]
    chosen = options.only.split(",") if options.only else None
    return [run for run in dict.fromkeys(jobs) if chosen is None or run[0] in chosen]


def one_run(options, experiment: str, fold: int, seed: int, knobs: dict) -> str:
    """Train one run in this process; returns its folder."""
    from esc_suite.records import train
    from esc_suite.run import needed_runs
    from esc_utils import training

    train.SAVING_SHARE = 0.0  # no checkpoint but the first: what is not finished in time is lost
    if knobs_of(options, experiment).network == "cnn14" and not options.record_wide:
        training.usable = lambda *_: False
    validates = needed_runs.whole_folds(knobs_of(options, ""))
    own = {"train_fold": fold, "valid_fold": validates[fold], "seed": seed} | knobs
    return str(train.run(knobs_of(options, experiment, **own), quiet=True).folder)


def ready_to_leave() -> None:
    """In a worker: a request to end is met between two operations, with nothing left on the card."""

    def leave(*_):
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


def recorded_and_not(options) -> dict:
    """A few steps of the wide network with dropout, recorded and not: the losses of both."""
    from esc_suite.records import train
    from esc_utils import training

    found, usable = {}, training.usable
    for name, rule in (("recorded", usable), ("not", lambda *_: False)):
        knobs = knobs_of(
            options, "cnn14_fixmatch", steps=size_of(options).steps, outputs=str(options.work / name)
        )
        training.usable = rule
        run = train.run(knobs, quiet=True)
        found[f"losses_{name}"] = [float(value) for value in run.history["loss"].dropna()]
        found[f"seconds_{name}"] = run.metrics["seconds"]
    training.usable = usable
    return found


def runs_phase(options) -> None:
    """Every run that time allows; the wide network's one at a time, beside several of the small one."""
    archive = Archive(options.out)
    waiting, pools = {}, {}
    if "first_runs" not in options.phases:
        pools["wide"] = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=ready_to_leave)
        waiting[pools["wide"].submit(recorded_and_not, options)] = ("recorded_and_not", 1, 0)
    for experiment, fold, seed in listed_runs(options):
        lane = "wide" if knobs_of(options, experiment).network == "cnn14" else "small"
        if lane not in pools:
            lanes = 1 if lane == "wide" else size_of(options).lanes
            pools[lane] = ProcessPoolExecutor(lanes, get_context("spawn"), initializer=ready_to_leave)
        own = options.run_knobs | (options.wide_knobs if lane == "wide" else {})
        waiting[pools[lane].submit(one_run, options, experiment, fold, seed, own)] = (experiment, fold, seed)
    left = options.seconds - (time.time() - options.start)
    until = time.monotonic() + left - 8  # for the last archive, and for the transfer
    while waiting and (left := until - time.monotonic()) > 0:
        done, _ = wait(waiting, timeout=left, return_when=FIRST_COMPLETED)
        for job in done:
            experiment, fold, seed = waiting.pop(job)
            values = {"phase": "runs", "experiment": experiment, "fold": fold, "seed": seed}
            try:
                folder = job.result()
                if isinstance(folder, dict):
                    note(options, **values, **folder)
                    continue
                folder = Path(folder)
            except Exception as error:  # one run that fails must not take the others along
                note(options, **values, failed=" ".join(f"{type(error).__name__}: {error}".split())[:300])
                continue
            archive.add(folder, options.work / "outputs")
            metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            last = metrics["validation"]["last"]
            note(
                options, **values, steps=metrics["steps"], seconds=metrics["seconds"],
                accuracy=last["accuracy"],
                by_recording=last["accuracy_by_recording"], auc=last["auc_weighted"],
                clips_per_second=metrics["clips_per_second"],
            )  # fmt: skip
    note(options, phase="runs", unfinished=[list(run) for run in waiting.values()])
    for pool in pools.values():
        for worker in list(pool._processes.values()) if waiting else ():
            worker.terminate()
        pool.shutdown(cancel_futures=True)


class Archive:
    """Records of finished runs in archives of bounded size: records-0.tar.gz, records-1.tar.gz ... Each is
    closed, so whole, after every record; the newest is written anew to take the next one."""

    def __init__(self, out: Path):
        self.out, self.number, self.members = out, 0, []

    def add(self, folder: Path, outputs: Path) -> None:
        files = [
            path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".csv", ".npz", ".txt")
        ]
        new = [(str(path.relative_to(outputs)), path.read_bytes()) for path in files]
        if self.members and sum(len(content) for _, content in self.members + new) > MOST_BYTES:
            self.number, self.members = self.number + 1, []
        self.members += new
        partial = self.out / ".records"
        with tarfile.open(partial, "w:gz", compresslevel=1) as tar:
            for name, content in self.members:
                about = tarfile.TarInfo(name)
                about.size = len(content)
                tar.addfile(about, io.BytesIO(content))
        partial.rename(self.out / f"records-{self.number}.tar.gz")
